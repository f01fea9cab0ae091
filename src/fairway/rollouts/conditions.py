"""The conditions of a Rollout: Progressing, Paused, Available, Healthy, Completed, InvalidSpec, ReplicaFailure.

Reasons and messages are upstream's, because people and tools match on them. Source: argo-rollouts
`utils/conditions/conditions.go`, `rollout/sync.go`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

from fairway.kube.objects import Obj, parse_time, rfc3339
from fairway.rollouts.replicasets import available_in
from fairway.rollouts.seen import View
from fairway.rollouts.status import Status

Answer = Literal["True", "False", "Unknown"]
PROGRESSING, PAUSED, AVAILABLE, HEALTHY = "Progressing", "Paused", "Available", "Healthy"
COMPLETED, INVALID, FAILURE = "Completed", "InvalidSpec", "ReplicaFailure"
ABORTED_REASON, TIMED_OUT, PAUSED_REASON = "RolloutAborted", "ProgressDeadlineExceeded", "RolloutPaused"
AVAILABLE_REASON = "NewReplicaSetAvailable"


def set_condition(conditions: Iterable[Obj], kind: str, answer: Answer, reason: str, message: str,
                  now: datetime) -> tuple[Obj, ...]:
    """The list with this condition; one with the same answer and reason stays as it was, message included."""
    old = {c["type"]: c for c in conditions}
    before = old.get(kind)
    if before is not None and before.get("status") == answer and before.get("reason") == reason:
        return tuple(old.values())
    return _put(old, kind, answer, reason, message, now)


def renew_condition(conditions: Iterable[Obj], kind: str, answer: Answer, reason: str, message: str,
                    now: datetime) -> tuple[Obj, ...]:
    """As `set_condition`, but lastUpdateTime is now: progress was made."""
    return _put({c["type"]: c for c in conditions}, kind, answer, reason, message, now)


def _put(old: dict[str, Obj], kind: str, answer: Answer, reason: str, message: str, now: datetime) -> tuple[Obj, ...]:
    before, at = old.pop(kind, None), rfc3339(now)
    same = before is not None and before.get("status") == answer
    new = {"type": kind, "status": answer, "reason": reason, "message": message, "lastUpdateTime": at,
           "lastTransitionTime": before["lastTransitionTime"] if same and before else at}
    return (*old.values(), new)


def without(conditions: Iterable[Obj], kind: str) -> tuple[Obj, ...]:
    return tuple(c for c in conditions if c.get("type") != kind)


def with_conditions(view: View, status: Status, abort_message: str) -> Status:
    """`status` with its conditions brought up to date; `abort_message` is why the update is aborted in this pass."""
    now, old = view.now, view.status
    found = without(_paused(view, old.conditions, now), INVALID)
    healthy = is_healthy(view, status)
    became_unhealthy = False
    if healthy and not is_paused(view, old):
        found = set_condition(found, HEALTHY, "True", "RolloutHealthy", "Rollout is healthy", now)
    elif (before := old.condition(HEALTHY)) is not None:
        became_unhealthy = before.get("status") == "True"
        found = set_condition(found, HEALTHY, "False", "RolloutHealthy", "Rollout is not healthy", now)
    if status.abort:
        message = f"Rollout aborted update to revision {view.revision}"
        message = f"{message}: {abort_message}" if abort_message else message
        found = set_condition(found, PROGRESSING, "False", ABORTED_REASON, message, now)
    else:
        found = _progress(view, status, found, healthy=healthy, became_unhealthy=became_unhealthy)
    found = _availability(view, found)
    found = _failures(view, found)
    done = bool(status.stable_hash) and status.promoted
    found = set_condition(found, COMPLETED, "True" if done else "False", "RolloutCompleted", "RolloutCompleted", now)
    return replace(status, conditions=found)


def _paused(view: View, conditions: tuple[Obj, ...], now: datetime) -> tuple[Obj, ...]:
    """Paused and resumed as they were when this pass began."""
    status, paused = view.status, is_paused(view, view.status)
    progressing = status.condition(PROGRESSING) or {}
    aborted = progressing.get("reason") == ABORTED_REASON
    if aborted and not status.abort:
        return set_condition(conditions, PROGRESSING, "Unknown", "RolloutRetry", "Retrying Rollout after abort", now)
    if aborted:
        return conditions
    if paused != (progressing.get("reason") == PAUSED_REASON):
        reason, message = (PAUSED_REASON, "Rollout is paused") if paused else ("RolloutResumed", "Rollout is resumed")
        conditions = set_condition(conditions, PROGRESSING, "Unknown", reason, message, now)
    was = (status.condition(PAUSED) or {}).get("status") == "True"
    if paused != was:
        conditions = set_condition(conditions, PAUSED, "True" if paused else "False", PAUSED_REASON, "Rollout is paused", now)
    return conditions


def _progress(view: View, status: Status, found: tuple[Obj, ...], *, healthy: bool,
              became_unhealthy: bool) -> tuple[Obj, ...]:
    name = view.new.name if view.new else ""
    if healthy:
        done = f'ReplicaSet "{name}" has successfully progressed.'
        return set_condition(found, PROGRESSING, "True", AVAILABLE_REASON, done, view.now)
    if made_progress(view.status, status) or became_unhealthy:
        if status.promoted and became_unhealthy:
            return renew_condition(found, PROGRESSING, "True", "ReplicaSetNotAvailable",
                                   "Rollout does not have minimum availability", view.now)
        doing = f'ReplicaSet "{name}" is progressing.' if name else f'Rollout "{view.name}" is progressing.'
        return renew_condition(found, PROGRESSING, "True", "ReplicaSetUpdated", doing, view.now)
    if timed_out(view):
        late = f'ReplicaSet "{name}"' if name else f'Rollout "{view.name}"'
        late += " has timed out progressing."
        return set_condition(found, PROGRESSING, "False", TIMED_OUT, late, view.now)
    return found


def _availability(view: View, found: tuple[Obj, ...]) -> tuple[Obj, ...]:
    serving = [view.active] if view.blue_green is not None else view.all
    if available_in(serving) >= view.spec.replicas:
        return set_condition(found, AVAILABLE, "True", "AvailableReason", "Rollout has minimum availability", view.now)
    return set_condition(found, AVAILABLE, "False", "AvailableReason", "Rollout does not have minimum availability", view.now)


def _failures(view: View, found: tuple[Obj, ...]) -> tuple[Obj, ...]:
    failure = next((rs.failure for rs in view.all if rs.failure), None)
    if failure is None:
        return without(found, FAILURE)
    return set_condition(found, FAILURE, "True", str(failure.get("reason", "")), str(failure.get("message", "")), view.now)


# --- the questions ------------------------------------------------------------------------------------------------


def is_paused(view: View, status: Status) -> bool:
    return bool(status.pauses) or view.spec.paused


def is_healthy(view: View, status: Status) -> bool:
    """All replicas run the wished-for template, are available, and nothing else runs."""
    observed = view.status.observed_generation == str(view.rollout["metadata"].get("generation", ""))
    replicas, green = view.spec.replicas, status.blue_green
    counts = status.updated == replicas and status.available == replicas
    if view.blue_green is not None:
        shown = not view.blue_green.preview_service or green.preview == status.current_hash
        return observed and counts and shown and green.active == status.current_hash
    steps = len(view.canary.steps)
    done = not steps or status.step_index is None or status.step_index == steps
    promoted = bool(status.stable_hash) and status.promoted
    return done and promoted and observed and counts and status.replicas == replicas


def made_progress(old: Status, new: Status) -> bool:
    """Pods came, became ready or available, old ones went, or the update moved on."""
    old_pods, new_pods = old.replicas - old.updated, new.replicas - new.updated
    stepped = None not in (old.step_index, new.step_index) and old.step_index != new.step_index
    return (
        new.updated != old.updated or new_pods < old_pods or new.ready > old.ready or new.available > old.available
        or new.blue_green.active != old.blue_green.active or new.stable_hash != old.stable_hash or stepped
        or new.step_hash != old.step_hash
    )  # fmt: skip


def deadline(view: View) -> datetime | None:
    """When lack of progress becomes a failure; None while nothing is to be waited for."""
    at = view.status.condition(PROGRESSING)
    step = view.step
    waits = step is not None and (step.pause or step.analysis or step.experiment)
    if at is None or waits or is_paused(view, view.status) or at.get("reason") in (AVAILABLE_REASON, TIMED_OUT, ABORTED_REASON):
        return None
    started = at.get("lastUpdateTime") or at.get("lastTransitionTime")
    return parse_time(started) + timedelta(seconds=view.spec.progress_deadline_s) if started else None


def timed_out(view: View) -> bool:
    due = deadline(view)
    return due is not None and due < view.now


def stuck(view: View) -> bool:
    """As `timed_out`, and also where that was said already: progressDeadlineAbort may have been asked for since."""
    return timed_out(view) or (view.status.condition(PROGRESSING) or {}).get("reason") == TIMED_OUT
