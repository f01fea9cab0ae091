"""One rehearsal: stable serves, the new version is applied, what the scenario says happens, and it ends somehow."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from fairway.kube.api import MergePatch
from fairway.kube.clock import Clock, run_virtual
from fairway.kube.objects import Obj, dig, status_of
from fairway.kube.resources import ROLLOUTS
from fairway.rehearse.series import selectors_of
from fairway.rehearse.spec import Deed, Fault, Outcome, Scenario
from fairway.rehearse.subject import VERSION, Metric, Subject
from fairway.rehearse.timeline import Entry
from fairway.rehearse.users import Span
from fairway.rehearse.windows import longest_window
from fairway.rehearse.world import NEW, World
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

    @property
    def requests(self) -> int:
        return sum(span.canary for span in self.spans)

    @property
    def errors(self) -> int:
        return sum(span.canary_errors for span in self.spans)

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
    return in_world(subject, scenario, lambda world: course(world, seed))


def in_world(subject: Subject, scenario: Scenario, play: Callable[[World], Awaitable[T]]) -> T:
    """`play` in a world in which the old version serves. Raises `CannotStart`."""

    async def story(clock: Clock) -> T:
        world = World(clock, subject, scenario)
        await world.start_outside()
        try:
            await world.start()
            await _stable(world)
            await asyncio.sleep(_lead(subject).total_seconds())
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


async def course(world: World, seed: int) -> Rehearsal:
    """The new version is applied, and everything takes its course."""
    world.begin(seed)
    world.timeline.note(world.clock.now(), "you", "NewVersion", "a new version is applied")
    namespace, name = world.subject.namespace, world.subject.name
    mark = {"spec": {"template": {"metadata": {"annotations": {VERSION: NEW}}}}}
    await world.api.patch(ROLLOUTS, name, namespace, MergePatch(mark))
    around: list[Awaitable[None]] = [_fault(world, fault) for fault in world.scenario.faults]
    around += [_person(world, person.at, person.does) for person in world.scenario.people]
    tasks = [asyncio.ensure_future(one) for one in around]
    try:
        outcome, why = await _ended(world)
        decided = _seconds(world)
        await asyncio.sleep(SETTLE_S)
        world.users.advance(world.clock.now())
        return _rehearsal(world, outcome, why, decided)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _rehearsal(world: World, outcome: Outcome, why: str, decided: float) -> Rehearsal:
    spans = tuple(world.users.spans)
    judged, empty = _evidence(world)
    # What was measured is seen a moment after what was decided from it; people read it the other way round.
    timeline = tuple(sorted(world.timeline.entries, key=lambda e: (round(e.at, 2), not e.code.startswith("Measured"))))
    clear = next((span.end for span in reversed(spans) if span.canary), decided)
    return Rehearsal(outcome, why, decided, clear, spans, timeline, tuple(world.judge.broken),
                     tuple(world.notes), judged, empty)


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
        if status.get("phase") == "Healthy" and status.get("stableRS"):
            return
        if _invalid(rollout) or world.clock.now() > end:
            raise CannotStart(f"the old version does not come up: {status.get('phase') or 'no status'}: "
                              f"{status.get('message') or 'nothing said'}")
        await asyncio.sleep(0.5)


def _invalid(rollout: Obj) -> bool:
    return any(c.get("type") == "InvalidSpec" and c.get("status") == "True" for c in status_of(rollout).get("conditions") or ())


def _lead(subject: Subject) -> timedelta:
    """Stable serves for as long as the longest window looks back, so that the first look sees what it would see."""
    windows = [_window(metric) for metric in subject.metrics()]
    return min(max([timedelta(seconds=30), *windows]), LONGEST_LEAD)


def _window(metric: Metric) -> timedelta:
    return longest_window(metric.query) if metric.query and selectors_of(metric.query) else timedelta(0)


async def _ended(world: World) -> tuple[Outcome, str]:
    begun = world.clock.now()
    changed = asyncio.Event()
    world.outside.of(ROLLOUTS).on_change(lambda _old, _new: changed.set())
    while True:
        changed.clear()
        now = world.clock.now()
        found = _verdict(world, world.rollout(), expecting=_is_expecting(world, now - begun))
        if found is not None:
            return found
        left = begun + world.scenario.limit - now
        if left <= timedelta(0):
            return "held", f"it has not ended within {world.scenario.limit}: {_standing(world.rollout())}"
        with contextlib.suppress(TimeoutError):
            often = 1.0 if status_of(world.rollout()).get("abort") else 60.0  # the proxy's part is not in the Rollout
            await asyncio.wait_for(changed.wait(), min(left.total_seconds(), often))


def _is_expecting(world: World, elapsed: timedelta) -> bool:
    """Somebody will still do something, or the controllers are down."""
    coming = [person.at for person in world.scenario.people]
    coming += [fault.end for fault in world.scenario.faults if fault.kind in ("controller", "proxy")]
    return any(at >= elapsed for at in coming)


def _verdict(world: World, rollout: Obj, *, expecting: bool) -> tuple[Outcome, str] | None:
    status = status_of(rollout)
    if str(status.get("observedGeneration")) != str(dig(rollout, "metadata", "generation")):
        return None
    if _invalid(rollout):
        return "held", str(status.get("message"))
    current = status.get("currentPodHash")
    if current == world.stable_hash:
        return None  # the new version has not been seen yet
    if status.get("phase") == "Healthy" and status.get("stableRS") == current:
        return "promoted", "all steps are done"
    if expecting:
        return None
    if status.get("abort") and world.users.weight == 0:
        return "aborted", str(status.get("message") or "")
    if _waits_for_a_person(rollout) or (status.get("phase") == "Degraded" and not status.get("abort")):
        return "held", _standing(rollout)
    return None


def _waits_for_a_person(rollout: Obj) -> bool:
    status = status_of(rollout)
    if dig(rollout, "spec", "paused"):
        return True
    for pause in status.get("pauseConditions") or ():
        if pause.get("reason") == "InconclusiveAnalysisRun":
            return True
        steps = dig(rollout, "spec", "strategy", "canary", "steps", default=[])
        index = int(status.get("currentStepIndex") or 0)
        step = steps[index] if index < len(steps) else {}
        if pause.get("reason") == "CanaryPauseStep" and "pause" in step and not (step["pause"] or {}).get("duration"):
            return True
    return False


def _standing(rollout: Obj) -> str:
    status = status_of(rollout)
    for pause in status.get("pauseConditions") or ():
        if pause.get("reason") == "InconclusiveAnalysisRun":
            runs = [dig(status, "canary", name, default={})
                    for name in ("currentBackgroundAnalysisRunStatus", "currentStepAnalysisRunStatus")]
            said = next((str(run.get("message")) for run in runs if run.get("status") == "Inconclusive"), "")
            return f"Paused: InconclusiveAnalysisRun: {said}; a person has to promote or abort"
    return f"{status.get('phase')}: {status.get('message') or ''}".rstrip(": ")


def _seconds(world: World) -> float:
    assert world.origin is not None
    return (world.clock.now() - world.origin).total_seconds()


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
    rollout = world.rollout()
    try:
        match does:
            case "promote" | "promote-full":
                patches = commands.promote(rollout, full=does == "promote-full")
            case "abort":
                patches = commands.abort(rollout)
            case "retry":
                patches = commands.retry(rollout)
            case "pause":
                patches = commands.pause(rollout)
            case "resume":
                patches = commands.Patches({"spec": {"paused": False}})
    except commands.Refused as refusal:
        world.timeline.note(world.clock.now(), "person", "Refused", f"{does}: {refusal}")
        return
    if does.startswith("promote"):
        world.judge.person_promotes()
    world.timeline.note(world.clock.now(), "person", "Person", f"fairway rollout {does}")
    for body, subresource in ((patches.spec, ""), (patches.status, "status")):
        if body is not None:
            await world.api.patch(ROLLOUTS, world.subject.name, world.subject.namespace, MergePatch(body),
                                  subresource="status" if subresource else "")
