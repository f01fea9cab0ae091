"""Which ReplicaSet of a blue-green Rollout is scaled now: the active one, then the new one, then older ones.

The active ReplicaSet is whole for as long as users reach it. The new one may be small until its preview has passed. Older
ones keep their pods for scaleDownDelaySeconds after the switch, at most scaleDownDelayRevisionLimit of them.
Source: argo-rollouts `rollout/bluegreen.go`, `rollout/replicaset.go`, `utils/replicaset/replicaset.go` NewRSNewReplicas.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from fairway.kube.decision import Action, Reason, earliest
from fairway.kube.objects import rfc3339
from fairway.rollouts.analysis_runs import AnalysisPlan
from fairway.rollouts.blue_green import active_hash, preview_hash, retrying, returning
from fairway.rollouts.keys import SCALE_DOWN_DEADLINE
from fairway.rollouts.replicasets import ReplicaSet
from fairway.rollouts.scaling import NO_LIMIT, ScalePlan, annotate, rescaled, scale, scaling_said, size
from fairway.rollouts.seen import View
from fairway.rollouts.situation import Situation
from fairway.rollouts.spec import BlueGreen, RolloutSpec
from fairway.rollouts.status import INCONCLUSIVE, Status


def new_replicas(spec: RolloutSpec, green: BlueGreen, status: Status, new: ReplicaSet | None,
                 active: ReplicaSet | None) -> int:
    """How many pods the new ReplicaSet should have: few while it is only looked at."""
    if green.preview_replicas is None or active is None or (new is not None and active.name == new.name):
        return spec.replicas
    if new is not None and new.hash != status.current_hash:
        return green.preview_replicas
    unpaused = not spec.paused and not status.pauses
    if status.promote_full or (unpaused and status.blue_green.checkpoint):
        return spec.replicas
    return green.preview_replicas


def plan_blue_green_scaling(view: View, green: BlueGreen, situation: Situation, analysis: AnalysisPlan) -> ScalePlan:
    total = ScalePlan(tuple(_without_deadlines(view, situation)))
    for plan in (_active(view), _new(view, green, situation), _older(view, green, situation, analysis)):
        total = ScalePlan((*total.actions, *plan.actions), total.scaled or plan.scaled,
                          earliest(total.wake_at, plan.wake_at), (*total.reasons, *plan.reasons))
    return total


def plan_blue_green_rescale(view: View, green: BlueGreen) -> ScalePlan:
    """spec.replicas changed: only sizes move in this pass."""
    active = view.active
    goals = {rs.name: view.spec.replicas for rs in view.all if rs.replicas > 0}
    if view.new is not None and not view.status.abort:
        goals[view.new.name] = new_replicas(view.spec, green, view.status, view.new, active)
    wrong = [rs for rs in view.all
             if rs.name in goals and (rs.desired != view.spec.replicas or goals[rs.name] != rs.replicas)]
    return rescaled(view, wrong, goals)


def _without_deadlines(view: View, situation: Situation) -> Iterable[Action]:
    """Whoever serves users is not to leave. The new ReplicaSet keeps its mark until the switch: it says "back again"."""
    if view.stable is not None and view.stable.has_deadline and not (view.stable is view.new and returning(view)):
        yield annotate(view, view.stable, {SCALE_DOWN_DEADLINE: None})
    new = view.new
    if new is None or new is view.stable or not new.has_deadline or situation is Situation.ABORTED:
        return
    if retrying(view) or active_hash(view) == new.hash:
        yield annotate(view, new, {SCALE_DOWN_DEADLINE: None})


def _active(view: View) -> ScalePlan:
    now = active_hash(view)
    serving = next((rs for rs in view.all if rs.hash and rs.hash == now), None)
    return scale(view, serving, view.spec.replicas) if serving is not None else ScalePlan()


def _new(view: View, green: BlueGreen, situation: Situation) -> ScalePlan:
    new = view.new
    if new is None or new.hash == active_hash(view):
        return ScalePlan()
    if situation is not Situation.ABORTED:
        serving = next((rs for rs in view.all if rs.hash and rs.hash == active_hash(view)), None)
        return scale(view, new, new_replicas(view.spec, green, view.status, new, serving))
    delay = green.abort_scale_down_delay
    if new.replicas == 0 or delay is None or new is view.stable:
        return ScalePlan()
    if new.deadline is None:
        at = view.now + delay
        return ScalePlan((annotate(view, new, {SCALE_DOWN_DEADLINE: rfc3339(at)}),), wake_at=at)
    if new.deadline > view.now:
        left = Reason("PreviewKept", f"{new.name} is scaled down at {rfc3339(new.deadline)} (abortScaleDownDelaySeconds)")
        return ScalePlan(wake_at=new.deadline, reasons=(left,))
    return scale(view, new, 0)


def _older(view: View, green: BlueGreen, situation: Situation, analysis: AnalysisPlan) -> ScalePlan:
    if view.status.pause(INCONCLUSIVE) is not None or _judged_still(view, green, analysis):
        return ScalePlan()
    actions: list[Action] = []
    reasons: list[Reason] = []
    wake: datetime | None = None
    scaled, delayed = False, 0
    limit = NO_LIMIT if green.scale_down_delay_revision_limit is None else green.scale_down_delay_revision_limit
    serving = {view.hash, view.status.stable_hash, view.status.blue_green.active, active_hash(view), preview_hash(view)}
    for rs in sorted((rs for rs in view.others if rs.replicas > 0), key=lambda rs: -rs.revision):
        if rs.hash in serving:
            continue
        if rs.has_deadline:
            delayed += 1
            if delayed <= limit and rs.deadline is not None and rs.deadline > view.now:
                wake = earliest(wake, rs.deadline)
                reasons.append(Reason("OldKept", f"{rs.name} is scaled down at {rfc3339(rs.deadline)} (scaleDownDelaySeconds)"))
                continue
        actions.append(size(view, rs, 0))
        reasons.append(scaling_said(rs, 0))
        scaled = True
    return ScalePlan(tuple(actions), scaled, wake, tuple(reasons))


def _judged_still(view: View, green: BlueGreen, analysis: AnalysisPlan) -> bool:
    """Without a delay of its own, the old version stays until the analysis after the switch has succeeded."""
    if green.after is None or green.scale_down_delay_s is not None or view.status.promoted:
        return False
    return not analysis.after_passed


def leaves_later(view: View, green: BlueGreen) -> tuple[Action, ...]:
    """The version that has just been replaced keeps its pods for a while."""
    old = view.stable
    if old is None or old is view.new or old.replicas == 0:
        return ()
    delay = green.scale_down_delay
    if delay <= timedelta(0):
        return ()
    return (annotate(view, old, {SCALE_DOWN_DEADLINE: rfc3339(view.now + delay)}),)
