"""Garbage collection by owner references, over every resource that the API serves.

A pass is about one owner, named by its uid: is it still there, and what becomes of those that it owns? The caches give
the candidates; before anything is deleted for an absent owner, the API itself is asked for that owner, and any answer
other than "not there" or "another uid" leaves everything as it is: nothing is deleted on doubt.

Source: kubernetes `pkg/controller/garbagecollector`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from fairway.kube.cache import Informers
from fairway.kube.decision import Outcome, Reason, carry_out, rest_after
from fairway.kube.errors import NotFound
from fairway.kube.objects import Key, Obj, is_deleting, key_of, meta_of, uid_of
from fairway.kube.reconcile import Watch
from fairway.kube.resources import CORE_EVENTS, CRDS, Resource
from fairway.workloads.decide_garbage import FOREGROUND, ORPHAN, Dependent, Seen, decide

NAME = "garbage-collector"
_UID = "uid"
"""Namespace part of this controller's own keys. No namespace of the API has it with a uid for a name."""
LATE = timedelta(seconds=10)
"""Resources that came after the start have no watch of ours: their owners are looked at this often."""


class GarbageCollector:
    """Implements `Controller`. Its keys are owners: ("uid", <uid>); those of its own resource are CRDs."""

    name = NAME
    resource = CRDS
    workers = 2

    def __init__(self, informers: Informers) -> None:
        self._informers = informers
        self._watched = [row for row in informers.api.resources if row not in (CRDS, CORE_EVENTS)]
        self._pairs: set[tuple[str, str]] = set()
        self._dying: dict[str, tuple[Resource, Key]] = {}

    def watches(self) -> Sequence[Watch]:
        return [Watch(row, self._concerns(row)) for row in [*self._watched, CRDS]]

    def _concerns(self, resource: Resource) -> Callable[[Obj], Iterable[Key]]:
        """Owners to look at because of `obj`: those that it newly names, and itself where it goes or is gone."""

        def keys(obj: Obj) -> Iterable[Key]:
            uid, cache = uid_of(obj), self._informers.known(resource)
            present = cache.get(key_of(obj)) if cache is not None else None
            gone = present is None or uid_of(present) != uid
            if gone:
                self._dying.pop(uid, None)
                yield Key(_UID, uid)
            elif is_deleting(obj) and _held_for_dependents(obj):
                self._dying[uid] = (resource, key_of(obj))
                yield Key(_UID, uid)
            for ref in meta_of(obj).get("ownerReferences") or ():
                pair = (uid, str(ref["uid"]))
                if gone:
                    self._pairs.discard(pair)
                elif pair not in self._pairs:
                    self._pairs.add(pair)
                    if not self._is_alive(ref, obj):
                        yield Key(_UID, pair[1])
                if gone and pair[1] in self._dying:
                    yield Key(_UID, pair[1])

        return keys

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        if key.namespace != _UID:
            return await self._late_resources(key.name, now)
        return await self._look_at(key.name)

    async def _late_resources(self, crd: str, now: datetime) -> Outcome:
        """One of the late CRDs stands for all of them."""
        skipped = {*self._watched, CRDS, CORE_EVENTS}
        late = [row for row in self._informers.api.resources if row not in skipped]
        if not late or crd != min(row.qualified for row in late):
            return Outcome()
        uids: set[str] = set()
        for row in late:
            for obj in self._informers.of(row).list():
                uids |= {str(ref["uid"]) for ref in meta_of(obj).get("ownerReferences") or ()}
                if is_deleting(obj) and _held_for_dependents(obj):
                    self._dying[uid_of(obj)] = (row, key_of(obj))
                    uids.add(uid_of(obj))
        for row in self._watched:
            for obj in self._informers.of(row).list():
                uids |= {str(ref["uid"]) for ref in meta_of(obj).get("ownerReferences") or ()}
        for uid in sorted(uids):
            await self._look_at(uid)
        return Outcome(wake_at=now + LATE)

    async def _look_at(self, uid: str) -> Outcome:
        dependents = [Dependent(row, obj, frozenset(self._alive_owners(obj)))
                      for row in self._informers.api.resources
                      if (cache := self._informers.known(row)) is not None
                      for obj in cache.owned_by(uid)]
        owner = self._dying_owner(uid)
        if owner is None and not dependents:
            return Outcome()
        if owner is None:
            if any(uid in one.alive for one in dependents):
                return Outcome()
            doubt = await self._doubt(uid, dependents)
            if doubt is not None:
                return Outcome(reasons=(doubt,))
        decision = decide(Seen(uid, owner, tuple(dependents)))
        await carry_out(self._informers.api, decision.actions, manager=NAME)
        return Outcome(decision.wake_at, decision.reasons, rest_after(len(dependents)))

    def _dying_owner(self, uid: str) -> tuple[Resource, Obj] | None:
        place = self._dying.get(uid)
        cache = self._informers.known(place[0]) if place else None
        owner = cache.get(place[1]) if place and cache is not None else None
        if place is None or owner is None or uid_of(owner) != uid or not _held_for_dependents(owner):
            return None  # gone, or let go already: a pod may stay for its grace period
        return place[0], owner

    def _cached(self, ref: Obj, dependent: Obj) -> Obj | None:
        try:
            row = self._informers.api.resources.of_kind(ref["apiVersion"], ref["kind"])
        except NotFound:
            return None
        cache = self._informers.known(row)
        return cache.get(_owner_key(row, ref, dependent)) if cache is not None else None

    def _is_alive(self, ref: Obj, dependent: Obj) -> bool:
        """Seen, and not going: its own going is an event that brings its dependents up again."""
        owner = self._cached(ref, dependent)
        return owner is not None and uid_of(owner) == ref["uid"] and not is_deleting(owner)

    def _alive_owners(self, obj: Obj) -> Iterable[str]:
        for ref in meta_of(obj).get("ownerReferences") or ():
            owner = self._cached(ref, obj)
            if owner is not None and uid_of(owner) == ref["uid"]:
                yield str(ref["uid"])

    async def _doubt(self, uid: str, dependents: Sequence[Dependent]) -> Reason | None:
        """Why the owner may still exist, although no cache has it; None where the API says that it is gone."""
        api = self._informers.api
        asked: set[tuple[Resource, Key]] = set()
        for one in dependents:
            for ref in meta_of(one.obj)["ownerReferences"]:
                if ref["uid"] != uid:
                    continue
                try:
                    row = api.resources.of_kind(ref["apiVersion"], ref["kind"])
                except NotFound as unknown:
                    return Reason("OwnerKindUnknown", f"{key_of(one.obj)} is kept: {unknown.message}")
                if row.namespaced and not meta_of(one.obj).get("namespace"):
                    return Reason("OwnerRefInvalidNamespace",
                                  f"{key_of(one.obj)} is kept: its owner {ref['kind']} lives in a namespace")
                place = (row, _owner_key(row, ref, one.obj))
                if place in asked:
                    continue
                asked.add(place)
                try:
                    found = await api.get(row, place[1].name, place[1].namespace)
                except NotFound:
                    continue
                if uid_of(found) == uid:
                    return Reason("OwnerExists", f"{ref['kind']} {place[1]} is there")
        return None


def _owner_key(row: Resource, ref: Obj, dependent: Obj) -> Key:
    return Key(key_of(dependent).namespace if row.namespaced else "", ref["name"])


def _held_for_dependents(obj: Obj) -> bool:
    held = meta_of(obj).get("finalizers") or ()
    return FOREGROUND in held or ORPHAN in held
