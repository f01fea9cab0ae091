"""The API in this process: every verb of the port over the store.

A write is one synchronous step from what is there to what shall be there; only waiting for the disk is asynchronous.
That is why no write needs a lock, and why the same class lives in virtual time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from fairway.kube import crds, lifecycle, listing, ownership, patching, refusals, scale
from fairway.kube.admission import Admission, Write
from fairway.kube.api import (
    ApplyPatch,
    DeleteOptions,
    ObjList,
    Patch,
    Subresource,
    WatchEvent,
    WriteOptions,
)
from fairway.kube.asking import Asking
from fairway.kube.clock import Clock
from fairway.kube.crds import CustomTypes
from fairway.kube.errors import BadRequest, Conflict, Invalid, MethodNotAllowed, NotFound
from fairway.kube.expiry import Expiry
from fairway.kube.identities import Identities
from fairway.kube.journal import SqliteJournal
from fairway.kube.objects import Key, Obj, dig, rfc3339
from fairway.kube.patches.apply import Owner
from fairway.kube.resources import BUILT_IN, CORE_EVENTS, CRDS, NAMESPACES, SERVICES, Resource, ResourceMap
from fairway.kube.reviewed import NOBODY, Operation, Reviewed
from fairway.kube.store import Change, Snapshot, Store, Table, Version
from fairway.kube.watching import Selection, WatchStream
from fairway.kube.webhooks import Reach

Owners = list[Owner]

_TRIES = 5
FIRST_NAMESPACES = ("default", "kube-system", "fairway", "argocd")

_encode = msgspec.json.encode
_decode = msgspec.json.Decoder().decode


def table_of(resource: Resource) -> Table:
    return Table(resource.group, resource.plural)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list as the store holds it: shared objects, and their JSON encoded once (`Version.raw`)."""

    versions: list[Version]
    resource_version: str
    continue_token: str
    remaining: int | None


@dataclass(frozen=True, slots=True)
class _Founded:
    """A new world in memory, with all that every world has. A thousand rehearsals begin at the same moment with the same
    seed: the first one's beginning is everyone's."""

    store: Snapshot
    identities: tuple[object, ...]
    custom: CustomTypes


_FOUNDED: dict[tuple[datetime, int, str, bool], _Founded] = {}
_FOUNDED_LIMIT = 16


class EmbeddedApi:
    """`Api` over a `Store`. Make one with `in_memory` or `open`."""

    def __init__(self, store: Store, clock: Clock, identities: Identities, address_seed: str = "", *,
                 owners: bool = True) -> None:
        self.store = store
        self._clock = clock
        self._identities = identities
        self._resources = ResourceMap(BUILT_IN)
        self._custom = CustomTypes()
        self._admission = Admission(store, self._custom, identities, address_seed, owners=owners)
        self._asking = Asking(store, self._resources)
        self._expiry = Expiry(store.rows(table_of(CORE_EVENTS)).items())
        store.listen(table_of(CRDS), self._definition_changed)

    @classmethod
    def in_memory(cls, clock: Clock, *, seed: int = 0, address_seed: str = "", owners: bool = True) -> EmbeddedApi:
        """A world of its own, gone with the process. The same seed gives the same uids and names.

        Without `owners`, plain writes are not recorded in managedFields: for a world in which nobody asks who wrote a field.
        """
        api = cls(Store(), clock, Identities(seed), address_seed, owners=owners)
        born = (clock.now(), seed, address_seed, owners)
        founded = _FOUNDED.get(born)
        if founded is not None:
            api._resume(founded)
            return api
        api._found()
        if len(_FOUNDED) < _FOUNDED_LIMIT:
            _FOUNDED[born] = _Founded(api.store.snapshot(), api._identities.state(), api._custom.copy())
        return api

    def _resume(self, founded: _Founded) -> None:
        self.store.resume(founded.store)
        self._identities.go_on(founded.identities)
        self._custom.take_over(founded.custom)
        for custom in founded.custom:
            self._resources.add(custom.resource)

    @classmethod
    async def open(cls, path: Path, clock: Clock, *, fast_storage: bool = False, address_seed: str = "") -> EmbeddedApi:
        """The world that is kept in the file `path`, made where it is absent. `Unavailable` when another process has it.

        `address_seed` keeps the Services of two worlds on one machine apart.
        """
        journal = SqliteJournal(path, fast_storage=fast_storage)
        store = Store(journal)
        store.restore(*journal.load())
        journal.start(store.settle, store.fail)
        api = cls(store, clock, Identities(None), address_seed)
        for change in api._found():
            await store.durable(change)
        return api

    def _found(self) -> list[Change]:
        """Put there what every cluster has, and bring Fairway's own definitions up to date."""
        for version in self.store.rows(table_of(CRDS)).values():
            self._serve(version.obj)
        write = Write(WriteOptions(manager="fairway"), self._clock.now())
        made = []
        for definition in crds.own_definitions():
            key = Key("", definition["metadata"]["name"])
            present = self.store.head(table_of(CRDS), key)
            if present is None or crds.is_ours(present.obj):
                made.append(self._apply(CRDS, key, ApplyPatch(definition, force=True), write))
        for name in FIRST_NAMESPACES:
            if self.store.head(table_of(NAMESPACES), Key("", name)) is None:
                namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
                made.append(self._create(NAMESPACES, namespace, write))
        for key, version in self.store.heads(table_of(SERVICES)).items():  # of a world in which addresses came later
            made.append(self._update(SERVICES, key, version, version.copy(), write))
        return [change for change in made if isinstance(change, Change)]

    @property
    def resources(self) -> ResourceMap:
        return self._resources

    async def close(self) -> None:
        """After this every acknowledged write is on disk and nothing runs any more."""
        await self.store.close()

    # --- reading ----------------------------------------------------------------------------------------------------

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Obj:
        resource = self._served(resource)
        version = self.store.get(table_of(resource), Key(namespace if resource.namespaced else "", name))
        if version is None:
            raise refusals.not_found(resource, name)
        return _as(resource, version.copy())

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        limit: int = 0,
        continue_token: str = "",
        resource_version: str = "",
        shared: bool = False,
    ) -> ObjList:
        page = self.page(resource, namespace, labels=labels, fields=fields, limit=limit,
                         continue_token=continue_token, resource_version=resource_version)
        items = [_as(resource, version.obj if shared else version.copy()) for version in page.versions]
        return ObjList(items, page.resource_version, page.continue_token, page.remaining)

    def page(self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = "", limit: int = 0,
             continue_token: str = "", resource_version: str = "") -> Page:
        """`list` without copies."""
        resource = self._served(resource)
        chosen = self._selection(resource, namespace, labels, fields)
        if resource_version and resource_version != "0":
            self.store.check_reached(_version_number(resource_version))
        start, revision = None, self.store.revision
        if continue_token:
            point = listing.Continue.parse(continue_token, oldest=self.store.oldest)
            start, revision = point.key, point.revision
        found = [(key, version) for key, version in sorted(self.store.rows(table_of(resource)).items())
                 if (start is None or key > start) and chosen.holds(key, version.obj)]
        token, remaining = "", None
        if limit > 0 and len(found) > limit and resource_version != "0":
            token = listing.Continue(revision, found[limit - 1][0]).token()
            remaining = len(found) - limit if not labels and not fields else None
            found = found[:limit]
        return Page([version for _, version in found], str(revision), token, remaining)

    def watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
        bookmarks: bool = False,
        initial_events: bool = False,
    ) -> AsyncIterator[WatchEvent]:
        resource = self._served(resource)
        chosen = self._selection(resource, namespace, labels, fields)
        from_start = initial_events or resource_version in ("", "0")
        table = table_of(resource)
        missed = [] if from_start else self.store.since(table, _version_number(resource_version))
        stream = WatchStream(self.store, table, chosen, api_version=resource.api_version, kind=resource.kind,
                             bookmarks=bookmarks)
        if from_start:
            stream.present(mark_end=initial_events)
        else:
            stream.replay(missed)
        return stream

    def _served(self, resource: Resource) -> Resource:
        """The resource as it is served now: a definition may have changed it since the caller learnt of it."""
        row = self._resources.of_plural(resource.group, resource.version, resource.plural)
        if row is None:
            raise NotFound("the server could not find the requested resource", details={
                **({"group": resource.group} if resource.group else {}), "kind": resource.plural})
        return row

    def _selection(self, resource: Resource, namespace: str, labels: str, fields: str) -> Selection:
        custom = self._custom.of(resource)
        return listing.selection(resource, namespace, labels, fields, selectable=custom.selectable if custom else ())

    # --- writing ----------------------------------------------------------------------------------------------------

    async def create(self, obj: Obj, options: WriteOptions | None = None) -> Obj:
        write = Write(options or WriteOptions(), self._clock.now())
        resource = self._resources.of(obj)
        if self._asking.anybody:
            return await self._asked(resource, "CREATE", write, lambda write: self._create(resource, _own(obj), write))
        return await self._answer(resource, self._create(resource, _own(obj), write), write.options)

    async def replace(self, obj: Obj, options: WriteOptions | None = None, *, subresource: Subresource = "") -> Obj:
        write = Write(options or WriteOptions(), self._clock.now(), subresource)
        resource = self._resources.of(obj)
        key = _key(resource, obj)
        if self._asking.anybody:
            return await self._asked(resource, "UPDATE", write, lambda write: self._update(
                resource, key, self._current(resource, key), _own(obj), write), key)
        old = self._current(resource, key)
        return await self._answer(resource, self._update(resource, key, old, _own(obj), write), write.options)

    async def patch(
        self,
        resource: Resource,
        name: str,
        namespace: str,
        patch: Patch,
        options: WriteOptions | None = None,
        *,
        subresource: Subresource = "",
    ) -> Obj:
        write = Write(options or WriteOptions(), self._clock.now(), subresource)
        resource = self._served(resource)
        key = Key(namespace if resource.namespaced else "", name)
        if subresource == "scale":
            return await self._patch_scale(resource, key, patch, write)
        if self._asking.anybody:
            known = self.store.head(table_of(resource), key) is not None
            return await self._asked(resource, "UPDATE" if known else "CREATE", write,
                                     lambda write: self._patch(resource, key, patch, write), key)
        return await self._answer(resource, self._patch(resource, key, patch, write), write.options)

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        delete: DeleteOptions | None = None,
        options: WriteOptions | None = None,
    ) -> Obj:
        resource = self._served(resource)
        key = Key(namespace if resource.namespaced else "", name)
        old = self._current(resource, key)
        self._admission.deleting(resource, old.obj)
        if options is not None and options.guard is not None:
            options.guard(old.obj, None)
        if self._asking.anybody:
            write = Write(options or WriteOptions(), self._clock.now())
            asked = self._reviewed(resource, "DELETE", key, write, None, old.obj)
            await self._asking.validate(asked, write.options.warnings)
            old = self._current(resource, key)
        decided = self._deletion(resource, old.obj, delete or DeleteOptions())
        if (options is not None and options.dry_run) or not decided.changed:
            return _own(_as(resource, decided.obj))
        change = self._delete(resource, key, decided)
        if resource == CRDS:
            self._sweep(old.obj)
        return await self._answer(resource, change, options or WriteOptions())

    # --- asking others ------------------------------------------------------------------------------------------------

    async def _asked(self, resource: Resource, operation: Operation, write: Write,
                     act: Callable[[Write], Change | Version], key: Key | None = None) -> Obj:
        """A write of which webhooks and policies are told. What they saw is what is stored, or it is begun again."""
        warnings, table = write.options.warnings, table_of(resource)
        for _ in range(_TRIES):
            before = self.store.head(table, key) if key is not None else None
            silent = replace(write.options, warnings=[])  # a try must not say anything twice
            tried = act(replace(write, options=silent, tried="unchecked"))
            asked = self._reviewed(resource, operation, key, write, tried.obj if isinstance(tried, Version) else None,
                                   before.obj if before is not None else None)
            heard: list[str] = []
            admitted = await self._asking.mutate(asked, heard)
            checked = act(replace(write, options=replace(write.options, warnings=[]), tried="checked", admitted=admitted))
            await self._asking.validate(asked.of(checked.obj if isinstance(checked, Version) else admitted), heard)
            if key is not None and self.store.head(table, key) is not before:
                continue
            answer = await self._answer(resource, act(replace(write, admitted=admitted)), write.options)
            warnings.extend(heard)
            return answer
        raise Conflict(f"{resource.qualified}: the object changes faster than webhooks answer; try again")

    def _reviewed(self, resource: Resource, operation: Operation, key: Key | None, write: Write, new: Obj | None,
                  old: Obj | None) -> Reviewed:
        meta = (new or old or {})["metadata"]
        namespace = str(meta.get("namespace") or "")
        return Reviewed(operation, resource, write.subresource, str(meta.get("name") or ""), namespace,
                        write.options.user or NOBODY, write.options.dry_run, write.options.manager,
                        None if new is None else _as(resource, new), None if old is None else _as(resource, old),
                        self._asking.space(namespace))

    def _patch(self, resource: Resource, key: Key, patch: Patch, write: Write) -> Change | Version:
        if isinstance(patch, ApplyPatch):
            return self._apply(resource, key, patch, write)
        old = self._current(resource, key)
        schema = None if self._custom.of(resource) else self._admission.schema(resource)
        new = patching.patched(resource, _as(resource, old.copy()), patch, schema)
        return self._update(resource, key, old, new, write)

    # --- one write, synchronous ---------------------------------------------------------------------------------------

    def _create(self, resource: Resource, obj: Obj, write: Write, owners: Owners | None = None) -> Change | Version:
        new = self._admission.decoded(resource, obj, write.options)
        meta = new.setdefault("metadata", {})
        if meta.get("resourceVersion"):
            raise BadRequest("resourceVersion should not be set on objects to be created")
        if write.admitted is not None:
            meta["name"] = write.admitted["metadata"].get("name", "")
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = self._free_name(resource, meta)
        key = _key(resource, new)
        table = table_of(resource)
        if key.name and self.store.head(table, key) is not None:
            raise refusals.already_exists(resource, key.name)
        lifecycle.begin(resource, new, uid=self._identities.uid(), now=write.now)
        new = self._admission.creating(resource, new, write, owners)
        if write.options.guard is not None:
            write.options.guard(None, new)
        return self._commit(resource, key, new, write)

    def _update(self, resource: Resource, key: Key, old: Version, new: Obj, write: Write,
                owners: Owners | None = None) -> Change | Version:
        if write.subresource and write.subresource not in resource.subresources:
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        meta = new.get("metadata")
        if not isinstance(meta, dict) or meta.get("name") != key.name:
            raise BadRequest(f"the name of the object ({dig(new, 'metadata', 'name')}) does not match the name on the URL "
                             f"({key.name})")
        lifecycle.check_lock(resource, old.obj, new)
        lifecycle.check_finalizers(resource, old.obj, new)
        if write.subresource == "status" and "spec" in new and new["spec"] == old.obj.get("spec"):
            new = {name: value for name, value in new.items() if name != "spec"}  # it was decoded once, and stays as it is
        new = self._admission.decoded(resource, new, write.options)
        new = lifecycle.succeed(resource, old.obj, new, write.subresource)
        new = self._admission.updating(resource, old.obj, new, write, owners)
        if write.options.guard is not None:
            write.options.guard(old.obj, new)
        if lifecycle.released(resource, new) and "deletionTimestamp" in old.obj["metadata"]:
            if write.leaves_nothing:
                return Version(old.revision, new)
            return self._delete(resource, key, lifecycle.Deletion(new, gone=True, changed=True))
        new["metadata"]["resourceVersion"] = old.obj["metadata"]["resourceVersion"]
        new["apiVersion"] = old.obj["apiVersion"]
        if new == old.obj:
            return old
        return self._commit(resource, key, _unshared(new), write)

    def _apply(self, resource: Resource, key: Key, patch: ApplyPatch, write: Write) -> Change | Version:
        said = patching.said(resource, patch.body, key, write.subresource)
        said = self._admission.said(resource, said, write.options)
        schema = self._admission.schema(resource)
        old = self.store.head(table_of(resource), key)
        if old is None and write.subresource:
            raise refusals.not_found(resource, key.name)
        live = old.copy() if old is not None else None
        version = said["metadata"].pop("resourceVersion", None)
        if old is None and said["metadata"].get("uid"):
            raise refusals.modified(resource, key.name)
        new, owners = ownership.apply_said(resource, schema, live, said, write.by(resource), force=patch.force)
        new = _own(new)
        if old is None:
            return self._create(resource, new, write, owners)
        if version:
            new["metadata"]["resourceVersion"] = version
        return self._update(resource, key, old, new, write, owners)

    async def _patch_scale(self, resource: Resource, key: Key, patch: Patch, write: Write) -> Obj:
        if "scale" not in resource.subresources:
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        paths = self._scale_paths(resource)
        old = self._current(resource, key)
        shown = scale.scale_of(scale.with_scale(old.copy(), {}, paths) if _bare_scale(old, paths) else old.copy(), paths)
        wanted = patching.patched(resource, shown, patch, None)
        new = scale.with_scale(old.copy(), wanted, paths)
        main = Write(write.options, write.now, scaled=True)
        answer = await self._answer(resource, self._update(resource, key, old, new, main), write.options)
        return scale.scale_of(answer, paths)

    def _scale_paths(self, resource: Resource) -> crds.ScalePaths:
        custom = self._custom.of(resource)
        return custom.scale if custom is not None and custom.scale is not None else scale.BUILT_IN

    def _commit(self, resource: Resource, key: Key, new: Obj, write: Write) -> Change | Version:
        if write.leaves_nothing:
            return Version(self.store.revision, new)
        custom = self._custom.of(resource)
        if custom is not None:
            new["apiVersion"] = f"{resource.group}/{custom.storage_version}"
        change = self.store.put(table_of(resource), key, new)
        if resource == CORE_EVENTS and change.old is None:
            self._expire(key, new, write.now)
        if resource == CRDS and write.subresource == "" and "deletionTimestamp" not in new["metadata"]:
            self._establish(key, change.new, write)
        return change

    def _deletion(self, resource: Resource, obj: Obj, options: DeleteOptions) -> lifecycle.Deletion:
        if resource != CRDS:
            return lifecycle.delete(resource, obj, options, self._clock.now())
        lifecycle.check_preconditions(resource, obj, uid=options.uid, version=options.resource_version)
        marked = "deletionTimestamp" in obj["metadata"]
        return lifecycle.Deletion(obj if marked else crds.doomed(obj, rfc3339(self._clock.now())), gone=False,
                                  changed=not marked)

    def _delete(self, resource: Resource, key: Key, decided: lifecycle.Deletion) -> Change:
        obj = _unshared(decided.obj)
        if not decided.gone:
            return self.store.put(table_of(resource), key, obj)
        change = self.store.remove(table_of(resource), key, obj)
        if self._custom.of(resource) is not None:
            self._release(resource)
        return change

    def _sweep(self, definition: Obj) -> None:
        """Delete every object of a kind whose definition goes. Objects that finalizers hold keep the definition."""
        for resource in self._custom.rows_of(definition)[:1]:
            for key, version in self.store.heads(table_of(resource)).items():
                decided = lifecycle.delete(resource, version.obj, DeleteOptions(), self._clock.now())
                if decided.changed:
                    self._delete(resource, key, decided)
            self._release(resource)

    def _release(self, resource: Resource) -> None:
        """Let a doomed definition go when nothing of its kind is left."""
        key = Key("", f"{resource.plural}.{resource.group}")
        definition = self.store.head(table_of(CRDS), key)
        if definition is None or "deletionTimestamp" not in definition.obj["metadata"]:
            return
        if not self.store.heads(table_of(resource)):
            obj = definition.copy()
            obj["metadata"]["finalizers"] = [f for f in obj["metadata"]["finalizers"] if f != crds.CLEANUP]
            self._update(CRDS, key, definition, obj, Write(WriteOptions(manager="kube-apiserver"), self._clock.now()))

    def _expire(self, key: Key, event: Obj, now: datetime) -> None:
        """A new event makes room: those that nobody said for an hour go."""
        table = table_of(CORE_EVENTS)
        self._expiry.add(key, event)
        for old, version in self._expiry.expired(lambda key: self.store.head(table, key), now):
            self.store.remove(table, old, _unshared(version.obj))

    def _establish(self, key: Key, version: Version, write: Write) -> None:
        """Accept a definition's names: a change of its own, by the server."""
        new = version.copy()
        new["status"] = crds.established(new, rfc3339(write.now))
        if new != version.obj:
            by_server = Write(WriteOptions(manager="kube-apiserver"), write.now, "status").by(CRDS)
            ownership.track(CRDS, self._admission.schema(CRDS), version.obj, new, by_server, built_in=True)
            self.store.put(table_of(CRDS), key, new)

    async def _answer(self, resource: Resource, outcome: Change | Version, options: WriteOptions) -> Obj:
        """What nobody stored is nobody else's; what was stored is copied where it is not asked for as it is."""
        if isinstance(outcome, Version):
            return _as(resource, outcome.copy())
        await self.store.durable(outcome)
        return _as(resource, outcome.new.obj if options.shared else outcome.new.copy())

    def _current(self, resource: Resource, key: Key) -> Version:
        version = self.store.head(table_of(resource), key)
        if version is None:
            raise refusals.not_found(resource, key.name)
        return version

    def _free_name(self, resource: Resource, meta: dict[str, Any]) -> str:
        """A name from generateName that is not taken: clients never see a clash."""
        while True:
            name = self._identities.name(meta["generateName"])
            if self.store.head(table_of(resource), Key(meta.get("namespace", ""), name)) is None:
                return name

    # --- custom kinds -------------------------------------------------------------------------------------------------

    @property
    def reach(self) -> Reach:
        """Where webhooks of Services listen."""
        return self._asking.reach

    @property
    def custom(self) -> CustomTypes:
        """The custom kinds that are served now, with their columns and schemas."""
        return self._custom

    def _definition_changed(self, change: Change) -> None:
        if change.deleted:
            for row in self._custom.withdraw(change.new.obj):
                self._resources.remove(row)
            return
        self._serve(change.new.obj)

    def _serve(self, definition: Obj) -> None:
        gone, come = self._custom.establish(definition)
        for row in gone:
            self._resources.remove(row)
        for row in come:
            self._resources.add(row)


def _own(obj: Obj) -> Obj:
    """A copy that is plain JSON."""
    copy: Obj = _decode(_encode(obj))
    return copy


def _unshared(obj: Obj) -> Obj:
    """Shares parts with its predecessor, but has a metadata of its own to carry the next resourceVersion."""
    return {**obj, "metadata": dict(obj["metadata"])}


def _as(resource: Resource, obj: Obj) -> Obj:
    """In the version that was asked for."""
    if obj.get("apiVersion") != resource.api_version:
        return {**obj, "apiVersion": resource.api_version}
    return obj


def _key(resource: Resource, obj: Obj) -> Key:
    meta = obj.get("metadata") or {}
    namespace = meta.get("namespace") or ""
    if resource.namespaced and not namespace:
        raise BadRequest(f"an empty namespace may not be set during creation of {resource.qualified}")
    if not resource.namespaced:
        meta.pop("namespace", None)
        namespace = ""
    return Key(namespace, meta.get("name") or "")


def _bare_scale(old: Version, paths: crds.ScalePaths) -> bool:
    return dig(old.obj, *paths.spec_replicas) is None


def _version_number(text: str) -> int:
    if not text.isdigit():
        raise Invalid(f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax')
    return int(text)
