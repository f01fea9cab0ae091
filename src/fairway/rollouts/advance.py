"""Going on: when the current step is done, when the update pauses, and when the new version becomes the stable one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fairway.kube.decision import Reason
from fairway.rollouts.replicas import at_desired_counts
from fairway.rollouts.seen import View
from fairway.rollouts.situation import Situation, within_rollback_window
from fairway.rollouts.status import (
    CANARY_PAUSE,
    INCONCLUSIVE,
    INCONCLUSIVE_EXPERIMENT,
    PauseCondition,
    PauseReason,
    Status,
    Weights,
)
from fairway.rollouts.steps import first_index


@dataclass(frozen=True, slots=True)
class Advance:
    """`status` says where the Rollout stands after this pass (conditions and phase come later)."""

    status: Status
    wake_at: datetime | None = None
    reasons: tuple[Reason, ...] = ()


def restart_update(view: View, base: Status) -> Advance:
    """Template or steps are new: back to the first step. Back on the stable template there is nothing to step through."""
    count = len(view.canary.steps)
    index = first_index(view.canary)
    reason = Reason("RolloutUpdated", f"Rollout updated to revision {view.revision}")
    started = Reason("RolloutNotCompleted", f"Rollout not completed, started update to revision {view.revision} ({view.hash})")
    made = Reason("NewReplicaSetCreated", f"Created ReplicaSet {view.name}-{view.hash} (revision {view.revision})")
    if count and view.new is not None:
        if view.status.stable_hash == view.new.hash:
            index, reason = count, Reason("SkipSteps", "Rollback to stable ReplicaSets")
        elif within_rollback_window(view) and view.new.replicas > 0:
            index, reason = count, Reason("SkipSteps", "Rollback to active ReplicaSets within RollbackWindow")
    status = replace(base, current_hash=view.hash, step_hash=view.steps_hash, step_index=index, abort=False, aborted_at=None,
                     pauses=(), controller_pause=False, promote_full=False, step_run=None, background_run=None, experiment="",
                     blue_green=replace(base.blue_green, checkpoint=False, before=None, after=None))
    begun = (started,) if view.stable is not None or view.blue_green is None else ()
    return Advance(status, None, (reason, *(() if view.new else (made,)), *begun))


def promotion(view: View, situation: Situation, weights: Weights | None) -> str:
    """Why the new version becomes the stable one now, "" where it does not."""
    if situation is Situation.INITIAL:
        return "Initial deploy"
    if situation in (Situation.ABORTED, Situation.SETTLED):
        return ""
    if view.new is None or view.new.available != view.spec.replicas:
        return ""
    if view.status.promote_full:
        return "Full promotion requested"
    if within_rollback_window(view):
        return "Rollback within window"
    if view.status.pause(INCONCLUSIVE) is not None or view.status.pause(INCONCLUSIVE_EXPERIMENT) is not None:
        return ""  # what is not known is not good: a person goes on, not the last step
    if situation is Situation.FINISHING and not (weights is not None and weights.verified is False):
        return f"Completed all {len(view.canary.steps)} canary steps"
    return ""


def promote(view: View, base: Status, why: str) -> Advance:
    count = len(view.canary.steps)
    turned = base.stable_ping_pong
    if view.canary.ping_pong is not None and base.stable_hash != view.hash:
        turned = "pong" if base.stable_ping_pong == "ping" else "ping"
    status = replace(base, stable_hash=view.hash, step_index=count if count else None, promote_full=False, abort=False,
                     aborted_at=None, pauses=(), controller_pause=False, stable_ping_pong=turned,
                     blue_green=replace(base.blue_green, checkpoint=False))
    done = f"Rollout completed update to revision {view.revision} ({view.hash}): {why}"
    return Advance(status, None, (Reason("RolloutCompleted", done),))


def abort(view: View, base: Status, why: str) -> Advance:
    """The update is given up: back to before the first step, nothing pauses. `why` is "" where a person gave no reason."""
    count = len(view.canary.steps)
    index = count if count and base.stable_hash == base.current_hash else first_index(view.canary)
    status = replace(base, abort=True, aborted_at=view.status.aborted_at or view.now, step_index=index, pauses=(),
                     controller_pause=False)
    already = view.status.aborted_at is not None
    said = f"Rollout aborted update to revision {view.revision}" + (f": {why}" if why else "")
    return Advance(status, None, (Reason("StaysAborted" if already else "RolloutAborted", said),))


def step_on(view: View, situation: Situation, base: Status, weights: Weights | None, *, step_passed: bool,
            inconclusive: PauseReason | None, scaled: bool) -> Advance:
    """Neither promoted nor aborted in this pass: complete the current step, or wait and say for what.

    `inconclusive`: for which reason a person has to decide, None where nobody has to.
    """
    status = replace(base, abort=False, aborted_at=None)
    if situation is Situation.PROMOTING:
        count = len(view.canary.steps)
        return Advance(replace(status, step_index=count if count else None, pauses=(), controller_pause=False))
    if inconclusive is not None and view.status.pause(inconclusive) is None:
        what = "an Experiment" if inconclusive == INCONCLUSIVE_EXPERIMENT else "an AnalysisRun"
        return _paused(view, status, inconclusive, f"{what} was inconclusive: promote to go on, or abort")
    for reason in (INCONCLUSIVE, INCONCLUSIVE_EXPERIMENT):
        if view.status.pause(reason) is not None:
            return Advance(_kept(view, status), None, (Reason(reason, "promote to go on, or abort"),))
    if view.spec.paused:
        return Advance(_kept(view, status), None, (Reason("RolloutPaused", "spec.paused is set"),))
    step, index = view.step, view.index
    if step is None or index is None:
        return Advance(_kept(view, status), None, _finishing(view, situation))
    if _completed(view, weights, step_passed=step_passed):
        kept = tuple(p for p in view.status.pauses if p.reason != CANARY_PAUSE)
        done = [Reason("RolloutStepCompleted", f"Rollout step {index + 1}/{len(view.canary.steps)} completed ({step})")]
        if view.status.pause(CANARY_PAUSE) is not None or view.status.controller_pause:
            done.append(Reason("RolloutResumed", "Rollout is resumed"))
        status = replace(status, step_index=index + 1, step_run=None, experiment="", pauses=kept,
                         controller_pause=bool(kept))
        return Advance(status, None, tuple(done))
    if step.pause is not None and not scaled and not view.status.pause(CANARY_PAUSE) and not view.status.controller_pause:
        return _paused(view, status, CANARY_PAUSE, f"step {index + 1} of {len(view.canary.steps)} ({step})")
    return Advance(_kept(view, status), pause_ends(view), _waiting(view, weights))


def _kept(view: View, status: Status) -> Status:
    pauses = view.status.pauses
    return replace(status, pauses=pauses, controller_pause=view.status.controller_pause and bool(pauses))


def _paused(view: View, status: Status, reason: str, why: str) -> Advance:
    """The start is kept to the microsecond, because a restarted controller counts the pause from it."""
    mine = PauseCondition(reason, view.now)
    pauses = (*view.status.pauses, mine) if reason == CANARY_PAUSE else (mine, *view.status.pauses)  # what a person has to see
    length = view.step.pause.length if view.step and view.step.pause and reason == CANARY_PAUSE else None
    ends = view.now + length if length is not None else None
    said = Reason("RolloutPaused", f"Rollout is paused ({reason})")
    return Advance(replace(status, pauses=pauses, controller_pause=True), ends, (Reason(reason, why), said))


def _completed(view: View, weights: Weights | None, *, step_passed: bool) -> bool:
    step = view.step
    if step is None:
        return False
    if step.pause is not None:
        return _pause_over(view)
    if step.set_canary_scale is not None or step.set_weight is not None:
        at_counts = at_desired_counts(view.spec, view.canary, view.status, view.new, view.stable, view.others, weights)
        if step.set_canary_scale is not None:
            return at_counts
        return at_counts and not (weights is not None and weights.verified is False)
    if step.analysis is not None or step.experiment is not None:
        return step_passed
    return step.set_header_route is not None or step.set_mirror_route is not None


def _pause_over(view: View) -> bool:
    """Somebody promoted it (the condition is gone), or its time has passed."""
    condition = view.status.pause(CANARY_PAUSE)
    if view.status.controller_pause and condition is None:
        return True
    ends = pause_ends(view)
    return ends is not None and view.now >= ends


def pause_ends(view: View) -> datetime | None:
    condition, step = view.status.pause(CANARY_PAUSE), view.step
    if condition is None or step is None or step.pause is None or step.pause.length is None:
        return None
    return condition.started + max(step.pause.length, timedelta(0))


def _waiting(view: View, weights: Weights | None) -> tuple[Reason, ...]:
    """What the current step waits for."""
    step, index, count = view.step, view.index or 0, len(view.canary.steps)
    if step is None:
        return ()
    at = f"step {index + 1} of {count} ({step})"
    if step.pause is not None:
        ends = pause_ends(view)
        until = f"until {ends:%H:%M:%S}" if ends else "until somebody promotes"
        return (Reason(CANARY_PAUSE, f"{at}: {until}"),)
    if step.set_weight is not None and weights is not None and weights.verified is False:
        return (Reason("WeightNotConfirmed", f"{at}: the proxy has not confirmed the weight"),)
    if step.set_weight is not None or step.set_canary_scale is not None:
        have = view.new.available if view.new else 0
        return (Reason("WaitingForReplicas", f"{at}: {have} canary pods are available"),)
    return (Reason("StepRunning", at),)


def _finishing(view: View, situation: Situation) -> tuple[Reason, ...]:
    if situation is Situation.SETTLED:
        return ()
    have = view.new.available if view.new else 0
    if have == view.spec.replicas:
        return ()  # the traffic plan says what is waited for
    return (Reason("WaitingForReplicas", f"promotion waits: {have} of {view.spec.replicas} new pods are available"),)
