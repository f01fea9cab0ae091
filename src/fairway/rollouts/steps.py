"""Where in its steps a Rollout is, and what that step asks for. Source: argo-rollouts `utils/replicaset/canary.go`."""

from __future__ import annotations

import msgspec

from fairway.kube.template import fnv32a
from fairway.rollouts.spec import Canary, CanaryScale, Step
from fairway.rollouts.status import Status

_SAFE = "bcdfghjklmnpqrstvwxz2456789"


def step_index(canary: Canary, status: Status) -> int | None:
    """None where there are no steps; the number of steps once all are done."""
    return (status.step_index or 0) if canary.steps else None


def current_step(canary: Canary, status: Status) -> Step | None:
    """None before the first, after the last, and without steps."""
    index = step_index(canary, status)
    return canary.steps[index] if index is not None and index < len(canary.steps) else None


def first_index(canary: Canary) -> int | None:
    """Where an update begins, and where one that was given up stands."""
    return 0 if canary.steps else None


def steps_hash(raw_steps: object) -> str:
    """Changes whenever the steps do; a change in the middle of a rollout starts it anew."""
    digits = str(fnv32a(msgspec.json.encode(raw_steps, order="sorted")))
    return "".join(_SAFE[ord(digit) % len(_SAFE)] for digit in digits)


def weight_asked(canary: Canary, status: Status) -> int:
    """The last setWeight at or before the current step; none yet is 0, all steps done is everything, aborted is 0."""
    if status.abort:
        return 0
    index = step_index(canary, status)
    if index is None or index >= len(canary.steps):
        return canary.max_weight
    return weight_before(canary, index + 1)


def weight_before(canary: Canary, index: int) -> int:
    """The last setWeight among the steps before `index`, 0 where there is none."""
    for step in reversed(canary.steps[:index]):
        if step.set_weight is not None:
            return step.set_weight
    return 0


def scale_asked(canary: Canary, status: Status) -> CanaryScale | None:
    """The last setCanaryScale at or before the current step, unless matchTrafficWeight or an abort cancelled it.

    It needs a traffic router. After an abort it holds only where the user keeps the canary up for ever.
    """
    if canary.traffic is None or (status.abort and canary.abort_scale_down_delay is not None):
        return None
    index = step_index(canary, status)
    if index is None or index >= len(canary.steps):
        return None
    for step in reversed(canary.steps[: index + 1]):
        if step.set_canary_scale is not None:
            return None if step.set_canary_scale.match_traffic_weight else step.set_canary_scale
    return None


def before_starting_step(canary: Canary, status: Status) -> bool:
    """Whether the background analysis has to wait for a later step."""
    index = step_index(canary, status)
    if canary.analysis is None or canary.analysis.starting_step is None or index is None:
        return False
    return index < canary.analysis.starting_step
