"""A pod's status as the node reports it. Pure.

Source: kubernetes `pkg/kubelet/kubelet_pods.go`, `pkg/kubelet/status/generate.go`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from fairway.kube.objects import Obj, condition, is_deleting, meta_of, rfc3339, status_of, uid_of
from fairway.node.attempt import Attempt
from fairway.node.decide import Run, Seen, ended, pause_of
from fairway.node.spec import Container, PodSpec

_OWN_CONDITIONS = frozenset({"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"})
NEVER_RAN = "The container could not be located when the pod was terminated"
"""Of a container that was not started before its pod was deleted."""


def pod_status(seen: Seen, verdict: tuple[str, str, str] | None, host_ip: str, now: datetime) -> Obj:
    """The whole status of a pod that is bound to this node."""
    pod, spec = seen.pod, seen.spec
    final = status_of(pod).get("phase") in ("Succeeded", "Failed")
    phase = status_of(pod)["phase"] if final else verdict[0] if verdict else _phase(seen, spec)
    over = phase in ("Succeeded", "Failed")
    initialized = _initialized(seen, spec)
    init = [_container_status(seen, spec, one, initialized=True, over=over, now=now) for one in spec.init]
    containers = [_container_status(seen, spec, one, initialized=initialized, over=over, now=now)
                  for one in spec.containers]
    status: Obj = {
        "phase": phase,
        "hostIP": host_ip,
        "hostIPs": [{"ip": host_ip}],
        "startTime": status_of(pod).get("startTime") or rfc3339(now),
        "qosClass": status_of(pod).get("qosClass") or _qos(spec),
        "containerStatuses": containers,
        "conditions": _conditions(seen, spec, init, containers, phase, initialized=initialized, now=now),
    }
    if generation := meta_of(pod).get("generation"):
        status["observedGeneration"] = generation
        for entry in status["conditions"]:
            if entry["type"] in _OWN_CONDITIONS:
                entry["observedGeneration"] = generation
    if seen.address:
        status |= {"podIP": seen.address, "podIPs": [{"ip": seen.address}]}
    if init:
        status["initContainerStatuses"] = init
    if spec.ephemeral:
        status["ephemeralContainerStatuses"] = [
            _container_status(seen, spec, one, initialized=initialized, over=over, now=now) for one in spec.ephemeral]
    if verdict is not None and not final:
        status |= {"reason": verdict[1], "message": verdict[2]}
    return status


def _phase(seen: Seen, spec: PodSpec) -> str:
    over = ended(spec, seen.runs)
    if over is not None:
        return over
    if is_deleting(seen.pod) and not any(run.running for run in seen.runs.values()):
        codes = [last.code for one in spec.containers if (last := seen.run(one.name).last) is not None]
        return "Succeeded" if len(codes) == len(spec.containers) and not any(codes) else "Failed"
    return "Running" if any(seen.run(one.name).attempts for one in spec.containers) else "Pending"


def _initialized(seen: Seen, spec: PodSpec) -> bool:
    if any(seen.run(one.name).attempts for one in spec.containers):
        return True
    for one in spec.init:
        run = seen.run(one.name)
        if one.sidecar:
            if run.health is None or not run.health.started:
                return False
        elif run.last is None or run.last.code != 0:
            return False
    return True


def _container_status(seen: Seen, spec: PodSpec, one: Container, *, initialized: bool, over: bool, now: datetime
                      ) -> Obj:
    run = seen.run(one.name)
    running = run.running
    health = run.health
    if one in spec.ephemeral:
        ready = started = False
    elif one.init and not one.sidecar:
        ready = run.last is not None and run.last.code == 0
        started = running
    else:
        ready = running and health is not None and health.ready
        started = running and health is not None and health.started
    status: Obj = {
        "name": one.name,
        "image": one.image,
        "imageID": run.image_id,
        "ready": ready,
        "started": started,
        "restartCount": run.last.number if run.last else 0,
        "state": _state(seen, run, one, spec, initialized=initialized, over=over, now=now),
        "lastState": {},
    }
    if resources := one.raw.get("resources"):
        status["resources"] = resources
        if resources.get("requests"):
            status["allocatedResources"] = resources["requests"]
    if run.last is not None:
        status["containerID"] = f"fairway://{uid_of(seen.pod)}/{one.name}/{run.last.number}"
    if (before := _before(run, status["state"])) is not None:
        status["lastState"] = {"terminated": _terminated(seen, one, before, run, newest=before is run.last)}
    return status


def _before(run: Run, state: Obj) -> Attempt | None:
    """The attempt that `lastState` tells of."""
    if "waiting" in state and run.last is not None:
        return run.last
    return run.attempts[1] if len(run.attempts) > 1 else None


def _state(seen: Seen, run: Run, one: Container, spec: PodSpec, *, initialized: bool, over: bool, now: datetime) -> Obj:
    last = run.last
    if last is not None and last.running:
        return {"running": {"startedAt": rfc3339(last.started)}}
    if last is not None and (over or is_deleting(seen.pod) or not _comes_again(spec, one, last)):
        return {"terminated": _terminated(seen, one, last, run, newest=True)}
    if over and is_deleting(seen.pod):
        return {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown", "message": NEVER_RAN}}
    if run.problem is not None:
        return {"waiting": {"reason": run.problem.reason, "message": run.problem.message}}
    if last is not None:
        pause = pause_of(run)
        if pause == 0 or last.finished is None:
            return {"terminated": _terminated(seen, one, last, run, newest=True)}
        message = (f"back-off {_text(pause)} restarting failed container={one.name} "
                   f"pod={meta_of(seen.pod)['name']}_{meta_of(seen.pod).get('namespace', '')}({uid_of(seen.pod)})")
        return {"waiting": {"reason": "CrashLoopBackOff", "message": message}}
    if not initialized and not one.init:
        return {"waiting": {"reason": "PodInitializing"}}
    return {"waiting": {"reason": "PodInitializing" if spec.init else "ContainerCreating"}}


def _comes_again(spec: PodSpec, one: Container, last: Attempt) -> bool:
    if one in spec.ephemeral:
        return False
    if one.sidecar:
        return True
    if one.init:
        return bool(last.code) and spec.restart_policy != "Never"
    return spec.restart_policy == "Always" or (spec.restart_policy == "OnFailure" and bool(last.code))


def _text(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _terminated(seen: Seen, one: Container, attempt: Attempt, run: Run, *, newest: bool) -> Obj:
    why = run.why_stopped if newest else ""
    reason = "Completed" if attempt.code == 0 else "Error"
    if attempt.reason:
        reason, why = attempt.reason, attempt.message
    elif why == "OOMKilled":
        reason = "OOMKilled"
    state: Obj = {
        "exitCode": attempt.code,
        "reason": reason,
        "startedAt": rfc3339(attempt.started),
        "finishedAt": rfc3339(attempt.finished or attempt.started),
        "containerID": f"fairway://{uid_of(seen.pod)}/{one.name}/{attempt.number}",
    }
    if attempt.signal:
        state["signal"] = attempt.signal
    said = run.said.get(attempt.number, "") or (why if why not in ("OOMKilled", "Deleted") else "")
    if said:
        state["message"] = said
    return state


# --- conditions ---------------------------------------------------------------------------------------------------


def _conditions(seen: Seen, spec: PodSpec, init: Sequence[Obj], containers: Sequence[Obj], phase: str, *,
                initialized: bool, now: datetime) -> list[Obj]:
    unready = [one["name"] for one in containers if not one["ready"]]
    unready += [one.name for one, state in zip(spec.init, init, strict=True) if one.sidecar and not state["ready"]]
    missing = [one["name"] for one in init if not one["ready"]] if not initialized else []
    gates = [gate["conditionType"] for gate in seen.pod.get("spec", {}).get("readinessGates") or ()]
    shut = [gate for gate in gates if (condition(seen.pod, gate) or {}).get("status") != "True"]
    over = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase)
    not_ready = ("False", over, "") if over else (
        "False", "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]") if unready else None
    incomplete = f"containers with incomplete status: [{' '.join(missing)}]"
    entries = {
        "PodReadyToStartContainers": ("True" if seen.address and not over else "False", "", ""),
        "Initialized": ("False", "ContainersNotInitialized", incomplete)
        if missing else ("True", over if phase == "Succeeded" else "", ""),
        "Ready": not_ready or (("False", "ReadinessGatesNotReady", ", ".join(_shut(seen.pod, gate) for gate in shut))
                               if shut else ("True", "", "")),
        "ContainersReady": not_ready or ("True", "", ""),
        "PodScheduled": ("True", "", ""),
    }
    known = {entry["type"]: entry for entry in status_of(seen.pod).get("conditions") or ()}
    made = [_condition(known.get(kind), kind, *entry, now=now) for kind, entry in entries.items()]
    return [*made, *(entry for kind, entry in known.items() if kind not in entries)]


def _shut(pod: Obj, gate: str) -> str:
    entry = condition(pod, gate)
    if entry is None:
        return f'corresponding condition of pod readiness gate "{gate}" does not exist.'
    return f'the status of pod readiness gate "{gate}" is not "True", but {entry.get("status")}'


def _condition(old: Obj | None, kind: str, status: str, reason: str | None, message: str, *, now: datetime) -> Obj:
    same = old is not None and old.get("status") == status and old.get("lastTransitionTime")
    entry: Obj = {"type": kind, "status": status,
                  "lastTransitionTime": old["lastTransitionTime"] if same and old else rfc3339(now)}
    if reason:
        entry["reason"] = reason
    if message:
        entry["message"] = message
    return entry


def _qos(spec: PodSpec) -> str:
    resources = [one.raw.get("resources") or {} for one in (*spec.init, *spec.containers)]
    if not any(one.get("requests") or one.get("limits") for one in resources):
        return "BestEffort"

    def guaranteed(one: Mapping[str, Obj]) -> bool:
        limits, requests = one.get("limits") or {}, one.get("requests") or {}
        return {"cpu", "memory"} <= set(limits) and all(requests.get(k, limits[k]) == limits[k]
                                                        for k in ("cpu", "memory"))

    return "Guaranteed" if all(guaranteed(one) for one in resources) else "Burstable"
