"""Phase and message of a Rollout, in upstream's words. Source: argo-rollouts `utils/rollout/rolloututil.go`."""

from __future__ import annotations

from typing import Literal

from fairway.rollouts.conditions import ABORTED_REASON, INVALID, TIMED_OUT
from fairway.rollouts.measurements import COMPLETED
from fairway.rollouts.spec import BlueGreen, RolloutSpec
from fairway.rollouts.status import Status

Phase = Literal["Degraded", "Paused", "Progressing", "Healthy"]


def phase_of(spec: RolloutSpec, status: Status) -> tuple[Phase, str]:
    """First that holds: broken, paused, still on its way (and why), healthy."""
    for condition in status.conditions:
        if condition.get("type") == INVALID:
            return "Degraded", f"{INVALID}: {condition.get('message', '')}"
        if condition.get("reason") in (ABORTED_REASON, TIMED_OUT):
            return "Degraded", f"{condition['reason']}: {condition.get('message', '')}"
    if spec.paused:
        return "Paused", "manually paused"
    if status.pauses:
        return "Paused", status.pauses[0].reason
    waiting = _waiting(spec, status)
    return ("Progressing", waiting) if waiting else ("Healthy", "")


def _waiting(spec: RolloutSpec, status: Status) -> str:
    if spec.restart_at is not None and spec.restart_at != status.restarted_at:
        return "rollout is restarting"
    if status.updated < spec.replicas:
        return "more replicas need to be updated"
    if status.available < status.updated:
        return "updated replicas are still becoming available"
    if spec.blue_green is not None:
        return _cutover(spec.blue_green, status)
    if spec.canary is not None and spec.canary.traffic is None and status.replicas > status.updated:
        return "old replicas are pending termination"
    if not status.stable_hash or not status.promoted:
        return "waiting for all steps to complete"
    return ""


def _cutover(blue_green: BlueGreen, status: Status) -> str:
    if not status.blue_green.active or status.blue_green.active != status.current_hash:
        return "active service cutover pending"
    if status.stable_hash and status.promoted:
        return ""
    run = status.blue_green.after
    if blue_green.after is not None and (run is None or run.phase not in COMPLETED):
        return "waiting for analysis to complete"
    return "waiting for post-promotion verification to complete"
