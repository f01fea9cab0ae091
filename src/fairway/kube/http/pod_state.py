"""What a pod is doing, in the one word and the numbers that `kubectl get pods` shows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fairway.kube.http.ages import human
from fairway.kube.objects import Obj, condition, dig, meta_of, parse_time, spec_of, status_of


@dataclass(frozen=True, slots=True)
class PodState:
    """`restarts` is a number, with the time of the last one where there was one: `2 (14s ago)`."""

    ready: int
    total: int
    reason: str
    restarts: str


def pod_state(pod: Obj, now: datetime) -> PodState:
    spec, status = spec_of(pod), status_of(pod)
    containers = status.get("containerStatuses") or []
    init = status.get("initContainerStatuses") or []
    sidecars = {row["name"] for row in spec.get("initContainers") or () if row.get("restartPolicy") == "Always"}
    helping = [row for row in init if row.get("name") in sidecars]
    ready = sum(bool(row.get("ready")) and "running" in (row.get("state") or {}) for row in containers)
    ready += sum(bool(row.get("ready")) and bool(row.get("started")) for row in helping)
    waiting = _initializing(spec, init, sidecars)
    counted = init if waiting else [*containers, *helping]
    reason = waiting or _running(pod, containers)
    return PodState(
        ready=ready,
        total=len(spec.get("containers") or ()) + len(sidecars),
        reason=_ending(pod) or reason,
        restarts=_restarts(counted, now),
    )


def _ending(pod: Obj) -> str:
    if "deletionTimestamp" not in meta_of(pod):
        return ""
    phase, reason = status_of(pod).get("phase", ""), status_of(pod).get("reason", "")
    if reason == "NodeLost":
        return "Unknown"
    return "" if phase in ("Succeeded", "Failed") else "Terminating"


def _initializing(spec: Mapping[str, Any], init: list[Obj], sidecars: set[str]) -> str:
    """`Init:1/2`, `Init:Error`, …; "" once every init container did its work."""
    total = len(spec.get("initContainers") or ())
    for i, row in enumerate(init):
        state = row.get("state") or {}
        ended, waits = state.get("terminated"), state.get("waiting")
        if ended is not None and ended.get("exitCode", 0) == 0:
            continue
        if row.get("name") in sidecars and row.get("started"):
            continue
        if ended is not None:
            return f"Init:{_ended(ended)}"
        if waits is not None and waits.get("reason", "") not in ("", "PodInitializing"):
            return f"Init:{waits['reason']}"
        return f"Init:{i}/{total}"
    return ""


def _running(pod: Obj, containers: list[Obj]) -> str:
    status = status_of(pod)
    reason: str = status.get("reason") or status.get("phase", "")
    gate = condition(pod, "PodScheduled")
    if gate is not None and gate.get("reason") == "SchedulingGated":
        reason = "SchedulingGated"
    running = False
    for row in reversed(containers):  # the first container's word wins
        state = row.get("state") or {}
        if why := dig(state, "waiting", "reason"):
            reason = why
        elif "terminated" in state:
            reason = _ended(state["terminated"])
        elif row.get("ready") and "running" in state:
            running = True
    if reason == "Completed" and running:
        ready = condition(pod, "Ready")
        return "Running" if ready is not None and ready.get("status") == "True" else "NotReady"
    return reason


def _ended(state: Mapping[str, Any]) -> str:
    if state.get("reason"):
        return str(state["reason"])
    return f"Signal:{state['signal']}" if state.get("signal") else f"ExitCode:{state.get('exitCode', 0)}"


def _restarts(rows: list[Obj], now: datetime) -> str:
    count = sum(int(row.get("restartCount", 0)) for row in rows)
    ends = [end for row in rows if (end := dig(row, "lastState", "terminated", "finishedAt"))]
    if count and ends:
        return f"{count} ({human(now - max(parse_time(end) for end in ends))} ago)"
    return str(count)
