"""One rehearsal: stable serves, the new version is applied, what the scenario says happens, and it ends somehow."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from fairway.kube.api import MergePatch
from fairway.kube.clock import Clock, run_virtual
from fairway.kube.objects import dig, status_of
from fairway.kube.resources import ROLLBACK_POLICIES
from fairway.rehearse.series import selectors_of
from fairway.rehearse.spec import Deed, Fault, Outcome, Scenario
from fairway.rehearse.subject import Subject
from fairway.rehearse.timeline import Entry
from fairway.rehearse.users import Luck, Span
from fairway.rehearse.windows import longest_window
from fairway.rehearse.world import World
from fairway.rollouts import commands

T = TypeVar("T")

STABLE_LIMIT = timedelta(minutes=10)
"""Of virtual time, until the old version serves. Pods that need longer never would."""
SETTLE_S = 3.0
"""After the end, so that weights and pods come to rest."""
LONGEST_LEAD = timedelta(minutes=15)


class CannotStart(ValueError):
    """The old version does not come up: what the Rollout says about it."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """`decided_at` is when it was promoted, aborted or found to be held, in seconds; `clear_at` when the last request to the
    new version was over, for one that was aborted. `broken` is what the second judge found."""

    outcome: Outcome
    why: str
    decided_at: float
    clear_at: float
    spans: tuple[Span, ...]
    timeline: tuple[Entry, ...]
    broken: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    judged: int = 0
    """Measurements that had data."""
    empty: tuple[str, ...] = field(default=())
    """Metrics that had none at all."""
    promoted_at: float | None = None
    """Where somebody watched on after the promotion."""

    @property
    def requests(self) -> int:
        return sum(span.canary for span in self.spans)

    @property
    def errors(self) -> int:
        return sum(span.canary_errors for span in self.spans)

    @property
    def after_promotion(self) -> tuple[int, int]:
        """Requests to the new version since it was promoted, and failed ones."""
        spans = [span for span in self.spans if self.promoted_at is not None and span.start >= self.promoted_at]
        return sum(span.canary for span in spans), sum(span.canary_errors for span in spans)

    @property
    def all_requests(self) -> int:
        return sum(span.canary + span.stable + span.nobody for span in self.spans)

    @property
    def nobody(self) -> int:
        return sum(span.nobody for span in self.spans)

    @property
    def first_request_at(self) -> float | None:
        return next((span.start for span in self.spans if span.canary), None)


def rehearse(subject: Subject, scenario: Scenario, seed: int = 0) -> Rehearsal:
    """The same seed gives the same rehearsal. Raises `CannotStart`."""
    return in_world(subject, scenario, lambda world: alone(world, seed))


async def alone(world: World, seed: int) -> Rehearsal:
    """The rehearsal of one seed in this world."""
    return told(world, await course(world, [seed]), world.seeds.first.luck)


def in_world(subject: Subject, scenario: Scenario, play: Callable[[World], Awaitable[T]]) -> T:
    """`play` in a world in which the old version serves. Raises `CannotStart`."""

    async def story(clock: Clock) -> T:
        world = World(clock, subject, scenario)
        await world.start_outside()
        try:
            await world.start()
            await _stable(world)
            await asyncio.sleep(_lead(world).total_seconds())
            return await play(world)
        finally:
            await world.close()

    collecting = gc.isenabled()
    gc.disable()  # a rehearsal is short and keeps most of what it makes: looking for garbage would cost a tenth of it
    try:
        return run_virtual(story, limit=scenario.limit + STABLE_LIMIT + LONGEST_LEAD + timedelta(hours=1))
    finally:
        if collecting:
            gc.enable()


@dataclass(frozen=True, slots=True)
class Ending:
    """How it ended, for all seeds of a world; `at` in seconds, and `promoted_at` where a promotion was not the end of it."""

    outcome: Outcome
    why: str
    at: float
    promoted_at: float | None = None


async def course(world: World, seeds: Sequence[int]) -> Ending:
    """The new version is applied, and everything takes its course. The world may divide (`Seeds`): this comes back in each."""
    world.begin(seeds)
    world.timeline.note(world.clock.now(), "you", "NewVersion", "a new version is applied")
    await world.case.new_version(world)
    around: list[Awaitable[None]] = [_fault(world, fault) for fault in world.scenario.faults]
    around += [_person(world, person.at, person.does) for person in world.scenario.people]
    tasks = [asyncio.ensure_future(one) for one in around]
    try:
        outcome, why = await _ended(world)
        decided = _seconds(world)
        await asyncio.sleep(SETTLE_S)
        world.users.advance(world.clock.now())
        promoted = world.aftermath.promoted_at
        return Ending(outcome, why, decided, _since_beginning(world, promoted) if promoted is not None else None)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def told(world: World, ending: Ending, luck: Luck) -> Rehearsal:
    """The story of one of the world's seeds."""
    spans = tuple(luck.spans)
    judged, empty = _evidence(world)
    # What was measured is seen a moment after what was decided from it; people read it the other way round.
    timeline = tuple(sorted(world.timeline.entries, key=lambda e: (round(e.at, 2), not e.code.startswith("Measured"))))
    return Rehearsal(ending.outcome, ending.why, ending.at, clear_at(spans, ending), spans, timeline, tuple(world.judge.broken),
                     tuple(world.notes), judged, empty, ending.promoted_at)


def clear_at(spans: Sequence[Span], ending: Ending) -> float:
    return next((span.end for span in reversed(spans) if span.canary), ending.at)


def _evidence(world: World) -> tuple[int, tuple[str, ...]]:
    """How many measurements said something, and which metrics never did."""
    said: dict[str, int] = {}
    for run in world.judge.runs:
        for result in dig(run, "status", "metricResults", default=[]):
            name = str(result.get("name"))
            counted = int(result.get("successful") or 0) + int(result.get("failed") or 0)
            looking = any(m.get("phase") == "Running" for m in result.get("measurements") or ())
            said[name] = said.get(name, 0) + counted + looking
    return sum(said.values()), tuple(sorted(name for name, count in said.items() if not count))


# --- beginning and end ----------------------------------------------------------------------------------------------


async def _stable(world: World) -> None:
    end = world.clock.now() + STABLE_LIMIT
    while True:
        rollout = world.rollout()
        status = status_of(rollout)
        if world.case.serves(rollout):
            return
        if world.case.invalid(rollout) or world.clock.now() > end:
            said = "; ".join(str(reason) for reason in world.timeline.last) or status.get("message") or "nothing said"
            raise CannotStart(f"the old version does not come up: {status.get('phase') or 'no status'}: {said}")
        await asyncio.sleep(0.5)


def _lead(world: World) -> timedelta:
    """Stable serves for as long as the longest window looks back, so that the first look sees what it would see."""
    windows = [longest_window(query) for query in world.asked if selectors_of(query)]
    return min(max([timedelta(seconds=30), *windows]), LONGEST_LEAD)


async def _ended(world: World) -> tuple[Outcome, str]:
    begun = world.clock.now()
    changed = asyncio.Event()
    for resource in (world.case.resource, ROLLBACK_POLICIES):
        world.outside.of(resource).on_change(lambda _old, _new: changed.set())
    while True:
        changed.clear()
        now = world.clock.now()
        found = world.case.verdict(world.rollout(), world.users.weight, expecting=_is_expecting(world, now - begun))
        found = world.aftermath.verdict(found, world)
        if found is not None:
            return found
        left = begun + world.scenario.limit - now
        if left <= timedelta(0):
            return "held", f"it has not ended within {world.scenario.limit}: {world.case.standing(world.rollout())}"
        with contextlib.suppress(TimeoutError):
            stopping = world.case.stopping(world.rollout()) or world.aftermath.promoted_at is not None
            often = 1.0 if stopping else 60.0  # the proxy's part is not in the Rollout
            await asyncio.wait_for(changed.wait(), min(left.total_seconds(), often))


def _is_expecting(world: World, elapsed: timedelta) -> bool:
    """Somebody will still do something, or the controllers are down."""
    coming = [person.at for person in world.scenario.people]
    coming += [fault.end for fault in world.scenario.faults if fault.kind in ("controller", "proxy")]
    return any(at >= elapsed for at in coming)


def _seconds(world: World) -> float:
    return _since_beginning(world, world.clock.now())


def _since_beginning(world: World, at: datetime) -> float:
    assert world.origin is not None
    return (at - world.origin).total_seconds()


# --- what happens meanwhile -------------------------------------------------------------------------------------------


async def _fault(world: World, fault: Fault) -> None:
    await asyncio.sleep(fault.start.total_seconds())
    lasts = (fault.end - fault.start).total_seconds()
    begins, ends = _FAULT_WORDS[fault.kind]
    world.timeline.note(world.clock.now(), "fault", begins[0], begins[1])
    world.out[fault.kind] += 1
    if fault.kind == "controller":
        await world.kill()
    elif fault.kind == "proxy":
        world.plane.refuse("out of order in this scenario")
    await asyncio.sleep(lasts)
    world.out[fault.kind] -= 1
    if world.out[fault.kind]:
        return  # another one of its kind goes on
    if fault.kind == "controller":
        await world.start()
    elif fault.kind == "proxy":
        world.plane.refuse("")
    world.timeline.note(world.clock.now(), "fault", ends[0], ends[1])


_FAULT_WORDS = {
    "monitoring": (("MonitoringOut", "Prometheus and the proxy's counts are gone"), ("MonitoringBack", "they answer again")),
    "incident": (("Incident", "both versions fail more"), ("IncidentOver", "as before")),
    "controller": (("ControllerKilled", "kill -9"), ("ControllerStarted", "it reads the state and goes on")),
    "proxy": (("ProxyRefuses", "the proxy takes no change"), ("ProxyTakes", "it takes changes again")),
}


async def _person(world: World, at: timedelta, does: Deed) -> None:
    await asyncio.sleep(at.total_seconds())
    try:
        patches = world.case.deed(world.rollout(), does, world)
    except commands.Refused as refusal:
        world.timeline.note(world.clock.now(), "person", "Refused", f"{does}: {refusal}")
        return
    world.timeline.note(world.clock.now(), "person", "Person", f"fairway rollout {does}")
    for resource, name, body, of_status in patches:
        await world.api.patch(resource, name, world.subject.namespace, MergePatch(dict(body)),
                              subresource="status" if of_status else "")
