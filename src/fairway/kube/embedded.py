"""The API in this process: every verb of the port over the store.

A write is one synchronous step from what is there to what shall be there; only waiting for the disk is asynchronous.
That is why no write needs a lock, and why the same class lives in virtual time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from fairway.kube import lifecycle, listing, refusals
from fairway.kube.admission import Admission
from fairway.kube.api import (
    ApplyPatch,
    DeleteOptions,
    JsonPatch,
    MergePatch,
    ObjList,
    Patch,
    StrategicPatch,
    Subresource,
    WatchEvent,
    WriteOptions,
)
from fairway.kube.clock import Clock
from fairway.kube.errors import BadRequest, Invalid, MethodNotAllowed
from fairway.kube.identities import Identities
from fairway.kube.objects import Key, Obj
from fairway.kube.patches import json_patch, merge_patch
from fairway.kube.resources import BUILT_IN, CUSTOM, Resource, ResourceMap
from fairway.kube.store import Change, Store, Table, Version
from fairway.kube.watching import Selection, WatchStream

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


class EmbeddedApi:
    """`Api` over a `Store`. Make one with `in_memory` or `open`."""

    def __init__(self, store: Store, clock: Clock, identities: Identities) -> None:
        self.store = store
        self._clock = clock
        self._identities = identities
        self._resources = ResourceMap((*BUILT_IN, *CUSTOM))
        self._admission = Admission(store)

    @classmethod
    def in_memory(cls, clock: Clock, *, seed: int = 0) -> EmbeddedApi:
        """A world of its own, gone with the process. The same seed gives the same uids and names."""
        api = cls(Store(), clock, Identities(seed))
        api._found()
        return api

    def _found(self) -> None:
        """Put there what every cluster has."""
        for name in FIRST_NAMESPACES:
            self._create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
                         WriteOptions(manager="fairway"))

    @property
    def resources(self) -> ResourceMap:
        return self._resources

    async def close(self) -> None:
        """After this every acknowledged write is on disk and nothing runs any more."""
        await self.store.close()

    # --- reading ----------------------------------------------------------------------------------------------------

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Obj:
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
    ) -> ObjList:
        page = self.page(resource, namespace, labels=labels, fields=fields, limit=limit,
                         continue_token=continue_token, resource_version=resource_version)
        return ObjList([_as(resource, version.copy()) for version in page.versions], page.resource_version,
                       page.continue_token, page.remaining)

    def page(self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = "", limit: int = 0,
             continue_token: str = "", resource_version: str = "") -> Page:
        """`list` without copies."""
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

    def _selection(self, resource: Resource, namespace: str, labels: str, fields: str) -> Selection:
        return listing.selection(resource, namespace, labels, fields)

    # --- writing ----------------------------------------------------------------------------------------------------

    async def create(self, obj: Obj, options: WriteOptions | None = None) -> Obj:
        return await self._answer(self._create(obj, options or WriteOptions()))

    async def replace(self, obj: Obj, options: WriteOptions | None = None, *, subresource: Subresource = "") -> Obj:
        options = options or WriteOptions()
        resource = self._resources.of(obj)
        key = _key(resource, obj)
        old = self._current(resource, key)
        new = _own(obj)
        return await self._answer(self._update(resource, key, old, new, options, subresource))

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
        options = options or WriteOptions()
        key = Key(namespace if resource.namespaced else "", name)
        table = table_of(resource)
        if isinstance(patch, ApplyPatch) and self.store.head(table, key) is None and not subresource:
            return await self._answer(self._create(_named(patch.body, key), options))
        old = self._current(resource, key)
        new = _patched(resource, _as(resource, old.copy()), patch)
        meta = new.get("metadata")
        if not isinstance(meta, dict) or meta.get("name") != name:
            raise BadRequest("the name of the object may not be changed by a patch")
        return await self._answer(self._update(resource, key, old, new, options, subresource))

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        delete: DeleteOptions | None = None,
        options: WriteOptions | None = None,
    ) -> Obj:
        key = Key(namespace if resource.namespaced else "", name)
        old = self._current(resource, key)
        self._admission.deleting(resource, old.obj)
        decided = lifecycle.delete(resource, old.obj, delete or DeleteOptions(), self._now())
        if (options is not None and options.dry_run) or not decided.changed:
            return _own(_as(resource, decided.obj))
        obj = {**decided.obj, "metadata": dict(decided.obj["metadata"])}
        table = table_of(resource)
        change = self.store.remove(table, key, obj) if decided.gone else self.store.put(table, key, obj)
        return await self._answer((resource, change))

    # --- one write, synchronous ---------------------------------------------------------------------------------------

    def _create(self, obj: Obj, options: WriteOptions) -> tuple[Resource, Change | Version]:
        resource = self._resources.of(obj)
        new = _own(obj)
        meta = new.setdefault("metadata", {})
        if meta.get("resourceVersion"):
            raise BadRequest("resourceVersion should not be set on objects to be created")
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = self._free_name(resource, meta)
        lifecycle.begin(resource, new, uid=self._identities.uid(), now=self._now())
        key = _key(resource, new)
        new = self._admission.creating(resource, new, options)
        table = table_of(resource)
        if self.store.head(table, key) is not None:
            raise refusals.already_exists(resource, key.name)
        return resource, self._commit(table, key, new, options)

    def _update(self, resource: Resource, key: Key, old: Version, new: Obj, options: WriteOptions,
                subresource: Subresource) -> tuple[Resource, Change | Version]:
        if subresource and subresource not in resource.subresources:
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        lifecycle.check_lock(resource, old.obj, new)
        lifecycle.check_finalizers(resource, old.obj, new)
        new = lifecycle.succeed(resource, old.obj, new, subresource)
        new = self._admission.updating(resource, old.obj, new, options, subresource)
        table = table_of(resource)
        if lifecycle.released(resource, new):
            if options.dry_run:
                return resource, Version(old.revision, new)
            return resource, self.store.remove(table, key, _unshared(new))
        new["metadata"]["resourceVersion"] = old.obj["metadata"]["resourceVersion"]
        if new == old.obj:
            return resource, old
        return resource, self._commit(table, key, _unshared(new), options)

    def _commit(self, table: Table, key: Key, new: Obj, options: WriteOptions) -> Change | Version:
        if options.dry_run:
            return Version(self.store.revision, new)
        return self.store.put(table, key, new)

    async def _answer(self, done: tuple[Resource, Change | Version]) -> Obj:
        resource, outcome = done
        if isinstance(outcome, Version):
            return _as(resource, outcome.copy())
        await self.store.durable(outcome)
        return _as(resource, outcome.new.copy())

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

    def _now(self) -> datetime:
        return self._clock.now()


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


def _named(body: Obj, key: Key) -> Obj:
    meta = {**(body.get("metadata") or {}), "name": key.name}
    if key.namespace:
        meta["namespace"] = key.namespace
    return {**body, "metadata": meta}


def _version_number(text: str) -> int:
    if not text.isdigit():
        raise Invalid(f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax')
    return int(text)


def _patched(resource: Resource, obj: Obj, patch: Patch) -> Obj:
    match patch:
        case JsonPatch(operations):
            try:
                result = json_patch.apply_operations(obj, operations)
            except json_patch.PatchFailed as error:
                raise Invalid(f"the server rejected our request due to an error in our request: {error}") from error
        case MergePatch(body) | StrategicPatch(body) | ApplyPatch(body):
            result = merge_patch.merge(obj, body)
    found: Obj = _own(result)
    return found
