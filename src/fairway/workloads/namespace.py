"""A Namespace that is being deleted: its contents go first, then the finalizer that holds it.

Source: kubernetes `pkg/controller/namespace/deletion`.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fairway.kube.api import WriteOptions
from fairway.kube.cache import Informers
from fairway.kube.decision import Action, Decision, Delete, Outcome, Reason, carry_out_decision
from fairway.kube.errors import NotFound
from fairway.kube.objects import (
    Key,
    Obj,
    is_deleting,
    key_of,
    meta_of,
    rfc3339,
    spec_of,
    status_of,
    uid_of,
    with_condition,
)
from fairway.kube.reconcile import Watch
from fairway.kube.resources import NAMESPACES, Resource

NAME = "namespace-controller"
FINALIZER = "kubernetes"
LOOK_AGAIN = timedelta(milliseconds=500)


@dataclass(frozen=True, slots=True)
class Seen:
    """`contents`: everything in the namespace, with the resource that serves it."""

    namespace: Obj
    contents: Sequence[tuple[Resource, Obj]]


def decide(seen: Seen, now: datetime) -> Decision:
    """The status tells what remains. With nothing left there is nothing to decide: the hands take the finalizer off."""
    actions: list[Action] = []
    for resource, obj in seen.contents:
        if not is_deleting(obj):
            namespace, name = key_of(obj)
            actions.append(Delete(resource, namespace, name, uid_of(obj)))
    kinds = Counter(resource.qualified for resource, _ in seen.contents)
    held = Counter(name for _, obj in seen.contents for name in meta_of(obj).get("finalizers") or ())
    remaining = ", ".join(f"{kind} has {count} resource instances" for kind, count in sorted(kinds.items()))
    finalizers = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(held.items()))
    entries = [
        _entry(now, "NamespaceDeletionDiscoveryFailure", False, "ResourcesDiscovered",
               "All resources successfully discovered"),
        _entry(now, "NamespaceDeletionGroupVersionParsingFailure", False, "ParsedGroupVersions",
               "All legacy kube types successfully parsed"),
        _entry(now, "NamespaceDeletionContentFailure", False, "ContentDeleted",
               "All content successfully deleted, may be waiting on finalization"),
        _entry(now, "NamespaceContentRemaining", True, "SomeResourcesRemain",
               f"Some resources are remaining: {remaining}") if kinds else
        _entry(now, "NamespaceContentRemaining", False, "ContentRemoved", "All content successfully removed"),
        _entry(now, "NamespaceFinalizersRemaining", True, "SomeFinalizersRemain",
               f"Some content in the namespace has finalizers remaining: {finalizers}") if held else
        _entry(now, "NamespaceFinalizersRemaining", False, "ContentHasNoFinalizers",
               "All content-preserving finalizers finished"),
    ]
    conditions = list(status_of(seen.namespace).get("conditions") or ())
    for entry in entries:
        conditions = with_condition(conditions, entry)
    status: Obj = {"phase": "Terminating", "conditions": conditions}
    if not kinds:
        return Decision((), status)
    return Decision(tuple(actions), status, now + LOOK_AGAIN, (Reason("ContentRemaining", remaining),))


def _entry(now: datetime, kind: str, holds: bool, reason: str, message: str) -> Obj:
    return {"type": kind, "status": "True" if holds else "False", "lastTransitionTime": rfc3339(now),
            "reason": reason, "message": message}


class NamespaceController:
    """Implements `Controller`."""

    name = NAME
    resource = NAMESPACES
    workers = 2

    def __init__(self, informers: Informers) -> None:
        self._informers = informers
        self._cache = informers.of(NAMESPACES)

    def watches(self) -> Sequence[Watch]:
        return ()

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        namespace = self._cache.get(key)
        if namespace is None or not is_deleting(namespace):
            return Outcome()
        api = self._informers.api
        contents = [(row, obj) for row in api.resources if row.namespaced
                    for obj in (await api.list(row, key.name)).items]
        decision = decide(Seen(namespace, contents), now)
        outcome = await carry_out_decision(api, decision, NAMESPACES, namespace, manager=NAME)
        if not contents:
            await self._finalize(key)
        return outcome

    async def _finalize(self, key: Key) -> None:
        with contextlib.suppress(NotFound):
            namespace = await self._informers.api.get(NAMESPACES, key.name)
            kept = [name for name in spec_of(namespace).get("finalizers") or () if name != FINALIZER]
            body = {**namespace, "spec": {**spec_of(namespace), "finalizers": kept}}
            await self._informers.api.replace(body, WriteOptions(manager=NAME), subresource="finalize")
