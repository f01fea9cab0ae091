"""Decide, then act: what a decision is, what it may ask for, and how that is carried out.

A stage is one synchronous function from what was seen, and the time, to a `Decision`. Its actions leave no choice to
the hands: they are carried out in order, and the first refusal ends the pass (the next pass decides anew).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from fairway.kube.api import Api, ApplyPatch, DeleteOptions, MergePatch, Patch, Propagation, Subresource, WriteOptions
from fairway.kube.errors import AlreadyExists, NotFound
from fairway.kube.objects import Obj, meta_of
from fairway.kube.resources import Resource


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something happened or did not. `code` is a CamelCase word that tests and tools match on."""

    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


@dataclass(frozen=True, slots=True)
class Create:
    """Create; an object of that name that is already there is taken as this one (names are deterministic)."""

    obj: Obj


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply as `manager`, taking over fields where others hold them."""

    obj: Obj
    manager: str


@dataclass(frozen=True, slots=True)
class Change:
    """Patch one object; one that is gone is not an error."""

    resource: Resource
    namespace: str
    name: str
    patch: Patch
    subresource: Subresource = ""


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete one object, only while it is still the one that was seen (`uid`)."""

    resource: Resource
    namespace: str
    name: str
    uid: str = ""
    propagation: Propagation = "Background"


Action = Create | Apply | Change | Delete


@dataclass(frozen=True, slots=True)
class Decision:
    """`status` is merged into the object's status (None: leave it). `wake_at` asks for another look at that time."""

    actions: tuple[Action, ...] = ()
    status: Obj | None = None
    wake_at: datetime | None = None
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a reconcile pass tells the loop. `rest_s`: events of that time are answered by one pass at its end."""

    wake_at: datetime | None = None
    reasons: tuple[Reason, ...] = field(default=())
    rest_s: float = 0.0


_FREE_OF_REST = 50
_REST_PER_OBJECT_S = 0.0002


def rest_after(count: int) -> float:
    """The rest after a pass over `count` objects: such a pass costs about 30 us an object, so that events about a
    thousand pods keep their controller busy for a sixth of the time at most. Small things are answered at once."""
    return min(count * _REST_PER_OBJECT_S, 1.0) if count > _FREE_OF_REST else 0.0


def earliest(*moments: datetime | None) -> datetime | None:
    """The first of these times, or None where nobody waits."""
    return min((m for m in moments if m is not None), default=None)


async def carry_out(api: Api, actions: Iterable[Action], *, manager: str) -> None:
    """Carry the actions out in order. Raises the first `ApiError` that is not "already so".

    Objects of one kind that are created or deleted one after the other do not depend on each other: they go out side by
    side, one first, then two, then four, so that a refusal of the first costs one request.
    """
    import asyncio  # slow to load, and who only decides has no use for it

    options = WriteOptions(manager=manager)
    for run in _runs(actions):
        start, size = 0, 1
        while start < len(run):
            batch = run[start:start + size]
            if len(batch) == 1:
                await _carry_out_one(api, batch[0], options)
            else:
                done = await asyncio.gather(*(_carry_out_one(api, one, options) for one in batch), return_exceptions=True)
                for failure in done:
                    if failure is not None:
                        raise failure
            start, size = start + size, min(size * 2, _MOST_AT_ONCE)


_MOST_AT_ONCE = 64


def _runs(actions: Iterable[Action]) -> list[list[Action]]:
    runs: list[list[Action]] = []
    last: object = None
    for action in actions:
        match action:
            case Create(obj):
                kind: object = (Create, obj["kind"])
            case Delete(resource):
                kind = (Delete, resource)
            case _:
                kind = None
        if kind is None or kind != last:
            runs.append([])
        runs[-1].append(action)
        last = kind
    return runs


async def _carry_out_one(api: Api, action: Action, options: WriteOptions) -> None:
    match action:
        case Create(obj):
            with contextlib.suppress(AlreadyExists):
                await api.create(obj, options)
        case Apply(obj, as_manager):
            resource = api.resources.of(obj)
            meta = meta_of(obj)
            await api.patch(resource, meta["name"], meta.get("namespace", ""), ApplyPatch(obj, force=True),
                            WriteOptions(manager=as_manager))
        case Change(resource, namespace, name, patch, subresource):
            with contextlib.suppress(NotFound):
                await api.patch(resource, name, namespace, patch, options, subresource=subresource)
        case Delete(resource, namespace, name, uid, propagation):
            with contextlib.suppress(NotFound):
                await api.delete(resource, name, namespace, DeleteOptions(propagation, uid=uid), options)


async def carry_out_decision(api: Api, decision: Decision, resource: Resource, obj: Obj, *, manager: str) -> Outcome:
    """Actions first, then the status of `obj` where it differs; what the loop needs to know comes back."""
    await carry_out(api, decision.actions, manager=manager)
    if decision.status is not None and differs(obj.get("status") or {}, decision.status):
        meta = meta_of(obj)
        with contextlib.suppress(NotFound):
            await api.patch(resource, meta["name"], meta.get("namespace", ""), MergePatch({"status": decision.status}),
                            WriteOptions(manager=manager), subresource="status")
    return Outcome(decision.wake_at, decision.reasons)


def differs(current: Obj, patch: Obj) -> bool:
    """Whether merging `patch` into `current` (RFC 7386) would change it."""
    for name, value in patch.items():
        if value is None:
            if name in current:
                return True
        elif isinstance(value, dict):
            inner = current.get(name)
            if not isinstance(inner, dict) or differs(inner, value):
                return True
        elif name not in current or current[name] != value:
            return True
    return False
