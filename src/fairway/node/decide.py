"""What the node does next for one pod: bind, fetch, start, restart, stop, remove. Pure.

The order is the kubelet's: init containers one after the other, then all containers; each one that ends is judged by
the restart policy, and crashes are answered after a growing pause. A pod that is being deleted first leaves the
traffic, then is asked to stop, then is stopped.

Source: kubernetes `pkg/kubelet` (kuberuntime_manager.go, kubelet_pods.go, pod_workers.go).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from fairway.kube.decision import Reason, earliest
from fairway.kube.objects import Obj, dig, is_deleting, meta_of, parse_time, spec_of, status_of
from fairway.node.attempt import Attempt
from fairway.node.probes import Health
from fairway.node.spec import Container, PodSpec, decode

CRASH_BASE_S, CRASH_LIMIT_S, CRASH_RESET_S = 10, 300, 600
"""The first restart is at once; then 10 s, doubled up to 5 min; forgotten after 10 min of running."""
DRAIN_LIMIT_S = 10
"""How long a pod that is being deleted may wait until nobody sends it traffic any more."""
LEAST_GRACE_S = 2
"""What SIGTERM gets even where the preStop hook used up the grace period."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a container could not be started; `retry_at` is when to try again."""

    reason: str
    message: str
    retry_at: datetime


@dataclass(frozen=True, slots=True)
class Run:
    """What the node knows of a container beyond its attempts."""

    attempts: tuple[Attempt, ...] = ()
    """Newest first; at least the last two."""
    image: Literal["unknown", "fetching", "ready"] = "unknown"
    image_id: str = ""
    problem: Problem | None = None
    health: Health | None = None
    crashes: int = 0
    """Ends in a row after short runs: the level of the pause."""
    hook_failure: str = ""
    stopping: bool = False
    pre_stop: Literal["none", "running", "done"] = "none"
    why_stopped: str = ""
    """Why the node stopped the last attempt ("OOMKilled", "Error"), "" where it ended by itself."""
    said: Mapping[int, str] = field(default_factory=dict)
    """By attempt, what the container itself said about its end."""

    @property
    def last(self) -> Attempt | None:
        return self.attempts[0] if self.attempts else None

    @property
    def running(self) -> bool:
        return self.last is not None and self.last.running


@dataclass(frozen=True, slots=True)
class Seen:
    """`drained`: nobody sends traffic to the pod's address. `stopping_since`: when the node first saw the deletion."""

    pod: Obj
    node_name: str
    runs: Mapping[str, Run]
    address: str = ""
    drained: bool = True
    stopping_since: datetime | None = None
    evicted: str = ""
    """Why the node cannot keep the pod; "" where it can."""
    decoded: PodSpec | None = None
    """What the pod's spec says, where somebody has read it already."""

    @property
    def spec(self) -> PodSpec:
        return decode(self.pod) if self.decoded is None else self.decoded

    def run(self, name: str) -> Run:
        return self.runs.get(name, _FRESH)


_FRESH = Run()


# --- what may be asked of the hands ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bind:
    """Take the pod: it gets this node, an address and a folder."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Get the image of this container."""

    container: str


@dataclass(frozen=True, slots=True)
class Start:
    container: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Hook:
    """Run the preStop hook, for at most this long."""

    container: str
    limit_s: float


@dataclass(frozen=True, slots=True)
class Stop:
    """SIGTERM now, SIGKILL after `grace_s`."""

    container: str
    grace_s: float
    why: str


@dataclass(frozen=True, slots=True)
class EndShim:
    """Nothing of the pod will run again."""


@dataclass(frozen=True, slots=True)
class Remove:
    """The API object may go now."""


Action = Bind | Fetch | Start | Hook | Stop | EndShim | Remove


@dataclass(frozen=True, slots=True)
class NodeDecision:
    """`verdict` is set where the pod ends by decision of the node: (phase, reason, message)."""

    actions: tuple[Action, ...] = ()
    wake_at: datetime | None = None
    reasons: tuple[Reason, ...] = ()
    verdict: tuple[str, str, str] | None = field(default=None)


def decide(seen: Seen, now: datetime) -> NodeDecision:
    pod, spec = seen.pod, seen.spec
    if is_deleting(pod):
        return _terminate(seen, spec, now)
    if status_of(pod).get("phase") in ("Succeeded", "Failed"):
        return NodeDecision((EndShim(),))
    if not spec_of(pod).get("nodeName"):
        return NodeDecision((Bind(),))
    if (ended_here := _ended_by_node(seen, spec, now)) is not None:
        return ended_here
    fetches = tuple(Fetch(one.name) for one in spec.all
                    if seen.run(one.name).image == "unknown" and _may_try(seen.run(one.name), now))
    ready = None if _mains_ended(seen, spec) else _advance_init(seen, spec, now)
    if ready is None:
        decisions = [_advance(seen, spec, one, now) for one in spec.containers]
    else:
        decisions = [ready]
    sidecars = [_advance(seen, spec, one, now) for one in spec.init
                if one.sidecar and seen.run(one.name).attempts and not _mains_ended(seen, spec)]
    debuggers = [_debug(seen, one, now) for one in spec.ephemeral] if ready is None else []
    every = [*decisions, *sidecars, *debuggers]
    actions = (*fetches, *(action for one in every for action in one.actions))
    deadline = _deadline(pod, spec)
    waits = [one.wake_at for one in every]
    waits += [run.problem.retry_at for run in seen.runs.values() if run.problem and run.problem.retry_at > now]
    if ended(spec, seen.runs) is not None and not actions:
        return NodeDecision((EndShim(),))
    return NodeDecision(actions, earliest(*waits, deadline), tuple(r for one in every for r in one.reasons))


def ended(spec: PodSpec, runs: Mapping[str, Run]) -> str | None:
    """"Succeeded" or "Failed" where nothing of the pod will be started again, else None."""
    for one in spec.init:
        last = runs.get(one.name, _FRESH).last
        if not one.sidecar and last is not None and last.code and spec.restart_policy == "Never":
            return "Failed" if not any(run.running for run in runs.values()) else None
    codes: list[int] = []
    for one in spec.containers:
        last = runs.get(one.name, _FRESH).last
        if last is None or last.code is None or _restarts(spec, one, last):
            return None
        codes.append(last.code)
    if any(runs.get(one.name, _FRESH).running for one in spec.init if one.sidecar):
        return None
    return "Failed" if any(codes) else "Succeeded"


# --- starting and restarting ----------------------------------------------------------------------------------------


def _may_try(run: Run, now: datetime) -> bool:
    return run.problem is None or now >= run.problem.retry_at


def _advance_init(seen: Seen, spec: PodSpec, now: datetime) -> NodeDecision | None:
    """The step of the first init container that is not done; None where all are."""
    for one in spec.init:
        run = seen.run(one.name)
        if one.sidecar:
            if not (run.running and run.health is not None and run.health.started):
                return _advance(seen, spec, one, now) if not run.attempts else NodeDecision(
                    reasons=(Reason("Initializing", f"sidecar {one.name} has not started yet"),))
            continue
        if run.last is not None and run.last.code == 0:
            continue
        if any(seen.run(later.name).attempts for later in spec.containers):
            continue  # adopted: the containers run, so the init containers were done
        return _advance(seen, spec, one, now)
    return None


def _advance(seen: Seen, spec: PodSpec, one: Container, now: datetime) -> NodeDecision:
    run = seen.run(one.name)
    last = run.last
    if last is None:
        return _start(run, one, 0, now)
    if last.running:
        return _watch(run, spec, one)
    if not _restarts(spec, one, last):
        return _stop_sidecars(seen, spec) if not one.init else NodeDecision()
    pause = _pause(run.crashes)
    again_at = (last.finished or now) + timedelta(seconds=pause)
    if now < again_at:
        reason = Reason("CrashLoopBackOff", f"{one.name} is started again in {(again_at - now).total_seconds():.0f} s")
        return NodeDecision(wake_at=again_at, reasons=(reason,))
    return _start(run, one, last.number + 1, now)


def _start(run: Run, one: Container, attempt: int, now: datetime) -> NodeDecision:
    if run.image != "ready":
        return NodeDecision(reasons=(Reason("WaitingForImage", f"{one.name}: {one.image}"),))
    if not _may_try(run, now):
        assert run.problem is not None
        return NodeDecision(wake_at=run.problem.retry_at, reasons=(Reason(run.problem.reason, run.problem.message),))
    return NodeDecision((Start(one.name, attempt),))


def _debug(seen: Seen, one: Container, now: datetime) -> NodeDecision:
    """An ephemeral container runs once."""
    return NodeDecision() if seen.run(one.name).attempts else _start(seen.run(one.name), one, 0, now)


def _watch(run: Run, spec: PodSpec, one: Container) -> NodeDecision:
    if run.stopping:
        return NodeDecision(reasons=(Reason("Stopping", one.name),))
    why = ""
    grace = spec.grace_s
    if run.hook_failure:
        why = f"PostStartHook failed: {run.hook_failure}"
    elif run.health is not None and run.health.unhealthy:
        why = run.health.unhealthy
        grace = spec.grace_s if run.health.grace_s is None else run.health.grace_s
    if not why:
        return NodeDecision()
    return NodeDecision((Stop(one.name, float(grace), why),), reasons=(Reason("Unhealthy", f"{one.name}: {why}"),))


def _restarts(spec: PodSpec, one: Container, last: Attempt) -> bool:
    if one.sidecar:
        return True
    if one.init:
        return bool(last.code) and spec.restart_policy != "Never"
    if spec.restart_policy == "OnFailure":
        return bool(last.code)
    return spec.restart_policy == "Always"


def _pause(crashes: int) -> float:
    """Seconds between an end and the next start, after `crashes` earlier ones in a row."""
    return 0.0 if crashes == 0 else float(min(CRASH_BASE_S * 2 ** min(crashes - 1, 10), CRASH_LIMIT_S))


def next_crashes(crashes: int, last: Attempt) -> int:
    """The level once an attempt has ended and the next one is started."""
    ran_s = ((last.finished or last.started) - last.started).total_seconds()
    return 1 if ran_s >= CRASH_RESET_S else crashes + 1


def pause_of(run: Run) -> float:
    return _pause(run.crashes)


def _stop_sidecars(seen: Seen, spec: PodSpec) -> NodeDecision:
    """Sidecars end when every container of a pod that does not restart has ended: one by one, the last one first."""
    running = [one for one in spec.init if one.sidecar and seen.run(one.name).running]
    if not _mains_ended(seen, spec) or not running or seen.run(running[-1].name).stopping:
        return NodeDecision()
    return NodeDecision((Stop(running[-1].name, float(spec.grace_s), "the pod's containers have ended"),))


def _mains_ended(seen: Seen, spec: PodSpec) -> bool:
    return all((last := seen.run(one.name).last) is not None and not last.running and not _restarts(spec, one, last)
               for one in spec.containers)


# --- ending -------------------------------------------------------------------------------------------------------


def _deadline(pod: Obj, spec: PodSpec) -> datetime | None:
    started = status_of(pod).get("startTime")
    if spec.active_deadline_s is None or not started:
        return None
    return parse_time(started) + timedelta(seconds=spec.active_deadline_s)


def _ended_by_node(seen: Seen, spec: PodSpec, now: datetime) -> NodeDecision | None:
    """A pod that is over its deadline, or evicted: it is stopped, and fails with that reason."""
    deadline, grace = _deadline(seen.pod, spec), float(spec.grace_s)
    if seen.evicted:
        reason, message, grace = "Evicted", seen.evicted, 0.0
    elif deadline is not None and now >= deadline:
        reason, message = "DeadlineExceeded", "Pod was active on the node longer than the specified deadline"
    else:
        return None
    running = [one for one in spec.all if seen.run(one.name).running]
    stops = tuple(Stop(one.name, grace, reason) for one in running if not seen.run(one.name).stopping)
    verdict = None if running else ("Failed", reason, message)
    return NodeDecision(stops if running else (EndShim(),), verdict=verdict, reasons=(Reason(reason, message),))


def _terminate(seen: Seen, spec: PodSpec, now: datetime) -> NodeDecision:
    running = [one for one in spec.all if seen.run(one.name).running]
    if not running:
        if meta_of(seen.pod).get("deletionGracePeriodSeconds") == 0:
            return NodeDecision((EndShim(),), reasons=(Reason("HeldByFinalizer", "the pod has ended"),))
        return NodeDecision((EndShim(), Remove()))
    since = seen.stopping_since or now
    grace = float(dig(seen.pod, "metadata", "deletionGracePeriodSeconds", default=spec.grace_s))
    used = (now - since).total_seconds()
    hooks = tuple(Hook(one.name, max(grace, 1.0)) for one in running
                  if one.pre_stop is not None and seen.run(one.name).pre_stop == "none"
                  and not seen.run(one.name).stopping)
    hooked = [one.name for one in running if one.pre_stop is not None and seen.run(one.name).pre_stop != "done"]
    drain_until = since + timedelta(seconds=DRAIN_LIMIT_S)
    draining = not seen.drained and now < drain_until
    mains = [one for one in running if not one.sidecar] or running[-1:]
    stops: list[Action] = []
    reasons: list[Reason] = []
    for one in mains:
        if seen.run(one.name).stopping:
            continue
        if draining:
            reasons.append(Reason("Draining", f"traffic still goes to {seen.address}"))
        elif one.name in hooked:
            reasons.append(Reason("PreStopHook", f"{one.name}: the hook runs"))
        else:
            spent = used if one.pre_stop is not None else 0.0
            stops.append(Stop(one.name, max(grace - spent, min(grace, LEAST_GRACE_S)), "Deleted"))
    return NodeDecision((*hooks, *stops), drain_until if draining else None, tuple(reasons))


__all__ = [
    "Action", "Bind", "EndShim", "Fetch", "Hook", "NodeDecision", "Problem", "Remove", "Run", "Seen", "Start", "Stop",
    "decide", "ended", "next_crashes", "pause_of",
]  # fmt: skip
