"""The one reconcile loop: names in, passes out.

An event only says "look again" at a name. A pass re-reads everything, is idempotent, and does not retry inside: it
raises, and the loop tries again after a growing delay. One name is in at most one pass at a time; a name that becomes
dirty during its pass gets another. Besides events, every name is looked at again every `RESYNC`, and whenever a pass
asked for it. A pass over many objects may ask for a rest, so that a thousand events are answered by a few passes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from fairway.kube.cache import Informers
from fairway.kube.clock import Clock
from fairway.kube.decision import Outcome, Reason
from fairway.kube.errors import ApiError, Conflict
from fairway.kube.objects import Key, Obj, controller_of, key_of
from fairway.kube.resources import Resource

RESYNC = timedelta(minutes=10)
FIRST_DELAY_S, LONGEST_DELAY_S = 0.05, 60.0
"""Backoff doubles from the first to the longest: eleven failures in a row reach the minute."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Objects of `resource` that concern us; `keys` names the primary objects to look at again.

    `when` says of a change (old and new, None where there is none) whether it concerns us; without it every one does.
    """

    resource: Resource
    keys: Callable[[Obj], Iterable[Key]]
    when: Callable[[Obj | None, Obj | None], bool] | None = None


def own_key(obj: Obj) -> Iterable[Key]:
    """For `Watch`: the object itself."""
    return (key_of(obj),)


def more_than_status(old: Obj | None, new: Obj | None) -> bool:
    """For a `Watch` of the controller's own resource, where it alone writes the status and says when to look again: the echo
    of its own write is no news."""
    if old is None or new is None:
        return True
    return any(old.get(part) != new.get(part) for part in old.keys() | new.keys() if part not in ("status", "metadata")) or (
        _lasting(old) != _lasting(new))


def _lasting(obj: Obj) -> Obj:
    return {name: value for name, value in obj["metadata"].items() if name not in _AT_EVERY_WRITE}


_AT_EVERY_WRITE = frozenset({"resourceVersion", "generation", "managedFields"})


def owner_keys(kind: str) -> Callable[[Obj], Iterable[Key]]:
    """For `Watch`: the controller of the object, where it is of this kind."""

    def keys(obj: Obj) -> Iterable[Key]:
        ref = controller_of(obj)
        if ref is not None and ref["kind"] == kind:
            yield Key(key_of(obj).namespace, ref["name"])

    return keys


class Controller(Protocol):
    """The hands of one room for one kind: gather, decide, carry out.

    `workers` passes run side by side, each on a name of its own.
    """

    name: str
    resource: Resource
    workers: int

    def watches(self) -> Sequence[Watch]:
        """Other resources whose changes concern us. Every change of `resource` itself does too, unless one of these asks for it
        by `own_key`: then those alone that its `when` lets through."""
        ...

    async def reconcile(self, key: Key, now: datetime) -> Outcome: ...


class _Queue:
    """Names to look at: each at most once in the queue, never in two passes at a time."""

    def __init__(self) -> None:
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._dirty: set[Key] = set()
        self._running: set[Key] = set()
        self._resting: set[Key] = set()

    def add(self, key: Key) -> None:
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._running and key not in self._resting:
            self._ready.put_nowait(key)

    async def take(self) -> Key:
        key = await self._ready.get()
        self._dirty.discard(key)
        self._running.add(key)
        return key

    def done(self, key: Key, *, rest: bool = False) -> None:
        """With `rest`, the name waits for `rested` before it is looked at again."""
        self._running.discard(key)
        if rest:
            self._resting.add(key)
        elif key in self._dirty:
            self._ready.put_nowait(key)

    def rested(self, key: Key) -> None:
        self._resting.discard(key)
        if key in self._dirty:
            self._ready.put_nowait(key)

    @property
    def idle(self) -> bool:
        return not self._dirty and not self._running


class ControllerLoop:
    """Runs one controller until it is cancelled. `reasons` holds, per name, why the last pass did what it did."""

    def __init__(self, controller: Controller, informers: Informers, clock: Clock) -> None:
        self.controller = controller
        self.reasons: dict[Key, tuple[Reason, ...]] = {}
        self._informers = informers
        self._clock = clock
        self._queue = _Queue()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._listening = False
        self._log = logging.getLogger(f"fairway.{controller.name}")

    async def run(self) -> None:
        """Until cancelled. May be called again after a failure: it goes on with the names that are dirty."""
        if not self._listening:
            self._listening = True
            watches = self.controller.watches()
            if all(watch.keys is not own_key for watch in watches):
                self._listen(self.controller.resource, own_key)
            for watch in watches:
                self._listen(watch.resource, watch.keys, watch.when)
        await self._informers.synced()
        async with asyncio.TaskGroup() as tasks:
            for n in range(max(self.controller.workers, 1)):
                tasks.create_task(self._work(), name=f"{self.controller.name} worker {n}")
            tasks.create_task(self._resync(), name=f"{self.controller.name} resync")

    def look_again(self, key: Key) -> None:
        """Ask for a pass on this name, as an event would."""
        self._queue.add(key)

    @property
    def idle(self) -> bool:
        return self._queue.idle

    def _listen(self, resource: Resource, keys: Callable[[Obj], Iterable[Key]],
                when: Callable[[Obj | None, Obj | None], bool] | None = None) -> None:
        def changed(old: Obj | None, new: Obj | None) -> None:
            if when is not None and not when(old, new):
                return
            for obj in (old, new):
                for key in keys(obj) if obj is not None else ():
                    self._queue.add(key)

        self._informers.of(resource).on_change(changed)

    async def _work(self) -> None:
        while True:
            key = await self._queue.take()
            rest_s = 0.0
            try:
                rest_s = await self._pass(key)
            finally:
                self._queue.done(key, rest=rest_s > 0)
            if rest_s > 0:
                asyncio.get_running_loop().call_later(rest_s, self._queue.rested, key)

    async def _pass(self, key: Key) -> float:
        """How long the name rests now."""
        self._cancel_timer(key)
        try:
            outcome = await self.controller.reconcile(key, self._clock.now())
        except Conflict as error:
            self._log.debug("%s: %s", key, error)
            self._retry(key)
        except ApiError as error:
            self._log.warning("%s: %s", key, error)
            self.reasons[key] = (Reason(error.reason, error.message),)
            self._retry(key)
        except Exception as error:  # the one place that catches broadly: a defect in one pass must not stop the rest
            self._log.exception("%s: pass failed", key)
            self.reasons[key] = (Reason("InternalError", f"{type(error).__name__}: {error}"),)
            self._retry(key)
        else:
            self._failures.pop(key, None)
            known = self.reasons.get(key, ())
            for reason in outcome.reasons:
                if reason not in known:
                    self._log.info("%s: %s", key, reason)
            self._remember(key, outcome)
            return outcome.rest_s
        return 0.0

    def _remember(self, key: Key, outcome: Outcome) -> None:
        if outcome.reasons:
            self.reasons[key] = outcome.reasons
        else:
            self.reasons.pop(key, None)
        if outcome.wake_at is not None:
            self._wake_in(key, max((outcome.wake_at - self._clock.now()).total_seconds(), 0.001))

    def _retry(self, key: Key) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        self._wake_in(key, min(FIRST_DELAY_S * 2 ** (failures - 1), LONGEST_DELAY_S))

    def _wake_in(self, key: Key, seconds: float) -> None:
        self._cancel_timer(key)
        loop = asyncio.get_running_loop()
        self._timers[key] = loop.call_later(seconds, self._queue.add, key)

    def _cancel_timer(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    async def _resync(self) -> None:
        cache = self._informers.of(self.controller.resource)
        while True:
            await asyncio.sleep(RESYNC.total_seconds())
            for obj in cache.list():
                self._queue.add(key_of(obj))
