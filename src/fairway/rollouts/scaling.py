"""Which one ReplicaSet is scaled now: stable first, then the new one, then older ones; one per pass.

Old pods stay for scaleDownDelaySeconds after a promotion (proxies elsewhere may still know their addresses), the canary's for
abortScaleDownDelaySeconds after an abort; the time at which they go stands on the ReplicaSet, so a restart loses nothing.
Source: argo-rollouts `rollout/replicaset.go`, `rollout/canary.go`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fairway.kube.api import MergePatch
from fairway.kube.decision import Action, Change, Reason, earliest
from fairway.kube.objects import Obj, rfc3339, spec_of
from fairway.kube.resources import REPLICA_SETS
from fairway.rollouts.keys import DESIRED_REPLICAS, HASH_LABEL, SCALE_DOWN_DEADLINE
from fairway.rollouts.replicas import desired_counts, has_own_stable, max_unavailable
from fairway.rollouts.replicasets import ReplicaSet, available_in
from fairway.rollouts.seen import View, selector_hash
from fairway.rollouts.situation import Situation
from fairway.rollouts.status import Weights

NO_LIMIT = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ScalePlan:
    """`scaled`: a replica count changes, so nothing else may be concluded from the counts in this pass."""

    actions: tuple[Action, ...] = ()
    scaled: bool = False
    wake_at: datetime | None = None
    reasons: tuple[Reason, ...] = ()


def plan_scaling(view: View, situation: Situation, weights: Weights | None) -> ScalePlan:
    """`weights` as they are after this pass's traffic actions; stable is sized by those, or by those of the pass before,
    whichever give it more."""
    total = ScalePlan(_without_deadlines(view, situation))
    for plan in (_stable(view, weights), _new(view, situation, weights), _others(view, situation, weights)):
        total = ScalePlan((*total.actions, *plan.actions), plan.scaled, earliest(total.wake_at, plan.wake_at),
                          (*total.reasons, *plan.reasons))
        if plan.scaled:
            break
    return total


# --- stable and new -----------------------------------------------------------------------------------------------


def _stable(view: View, asked: Weights | None) -> ScalePlan:
    if view.stable is None or not has_own_stable(view.new, view.stable):
        return ScalePlan()
    weights = view.status.weights
    count = max(desired_counts(view.spec, view.canary, view.status, view.new, view.stable, view.others, each).stable
                for each in (weights, asked))  # a weight that falls (a full promotion may) needs its pods before it falls
    if weights is not None and weights.verified is False and count < view.stable.replicas:
        holds = Reason("StableKept", f"{view.stable.name} keeps its {view.stable.replicas} pods until the proxy has confirmed "
                       f"{weights.canary.weight} % for the canary")
        return ScalePlan(reasons=(holds,))
    return scale(view, view.stable, count)


def _new(view: View, situation: Situation, weights: Weights | None) -> ScalePlan:
    new = view.new
    if new is None:
        return ScalePlan()
    counts = desired_counts(view.spec, view.canary, view.status, new, view.stable, view.others, weights)
    if not delays_abort(view, situation):
        return scale(view, new, counts.canary)
    delay = view.canary.abort_scale_down_delay or timedelta(0)
    if new.deadline is not None:
        if new.deadline > view.now:
            left = Reason("CanaryKept", f"{new.name} is scaled down at {rfc3339(new.deadline)} (abortScaleDownDelaySeconds)")
            return ScalePlan(wake_at=new.deadline, reasons=(left,))
        return scale(view, new, 0)
    if new.replicas == 0:
        return ScalePlan()
    if view.stable is not None and view.stable.available >= view.spec.replicas:
        deadline = view.now + delay
        return ScalePlan((annotate(view, new, {SCALE_DOWN_DEADLINE: rfc3339(deadline)}),), wake_at=deadline)
    short = Reason("CanaryKept", f"{new.name} stays until stable has all of its {view.spec.replicas} pods available")
    return ScalePlan(reasons=(short,))


def delays_abort(view: View, situation: Situation) -> bool:
    """Whether the canary of an aborted update stays up for a while before it goes."""
    canary = view.canary
    if situation is not Situation.ABORTED or view.stable is None or canary.traffic is None:
        return False
    if canary.abort_scale_down_delay is None:
        return False
    return not (canary.dynamic_stable_scale and canary.abort_scale_down_delay_s is None)


def _without_deadlines(view: View, situation: Situation) -> tuple[Action, ...]:
    """Neither the new nor the stable ReplicaSet is to be scaled down, whatever was planned for it before."""
    keep = [view.stable] if delays_abort(view, situation) else [view.new, view.stable]
    names = {rs.name: rs for rs in keep if rs is not None and rs.has_deadline}
    return tuple(annotate(view, rs, {SCALE_DOWN_DEADLINE: None}) for rs in names.values())


# --- older ReplicaSets --------------------------------------------------------------------------------------------


def _others(view: View, situation: Situation, weights: Weights | None) -> ScalePlan:
    """Older ReplicaSets go as far as availability allows; pods of theirs that never became available go first."""
    active = sorted((rs for rs in view.others if rs.replicas > 0), key=lambda rs: -rs.revision)
    if not active:
        return ScalePlan()
    if situation is Situation.SETTLED and weights is not None and weights.verified is False:
        return ScalePlan(reasons=(Reason("OldKept", "old pods stay until the proxy confirms that stable has all traffic"),))
    spare = available_in(view.all) - (view.spec.replicas - max_unavailable(view.spec, view.canary))
    if view.canary.traffic is None:
        return _drain(view, active, spare)
    return _retire(view, situation, active, spare)


def _drain(view: View, active: Sequence[ReplicaSet], spare: int) -> ScalePlan:
    """Without a traffic router every old pod still gets traffic, so all of them have to go."""
    actions: list[Action] = []
    reasons: list[Reason] = []
    for rs in active:
        unhealthy = rs.replicas - rs.available
        goal = rs.available if unhealthy > 0 else rs.replicas
        gone = min(goal, max(spare, 0))
        goal, spare = goal - gone, spare - gone
        if goal != rs.replicas:
            actions.append(size(view, rs, goal))
            reasons.append(scaling_said(rs, goal))
    return ScalePlan(tuple(actions), scaled=bool(actions), reasons=tuple(reasons))


def _retire(view: View, situation: Situation, active: Sequence[ReplicaSet], spare: int) -> ScalePlan:
    """With a traffic router: the previous stable goes after its delay; what was superseded on the way goes at once."""
    actions: list[Action] = []
    reasons: list[Reason] = []
    wake: datetime | None = None
    scaled, delayed = False, 0
    limit = view.canary.scale_down_delay_revision_limit
    for rs in active:
        if spare <= 0 or referenced(view, rs):
            continue
        if (situation is Situation.SETTLED or rs.has_deadline) and not view.canary.dynamic_stable_scale:
            delayed += 1
            kept = delayed <= (NO_LIMIT if limit is None else limit)
            if kept and not rs.has_deadline and view.canary.scale_down_delay > timedelta(0):
                deadline = view.now + view.canary.scale_down_delay
                actions.append(annotate(view, rs, {SCALE_DOWN_DEADLINE: rfc3339(deadline)}))
                wake = earliest(wake, deadline)
                continue
            if kept and rs.deadline is not None and rs.deadline > view.now:
                wake = earliest(wake, rs.deadline)
                reasons.append(Reason("OldKept", f"{rs.name} is scaled down at {rfc3339(rs.deadline)} (scaleDownDelaySeconds)"))
                continue
        actions.append(size(view, rs, 0))
        reasons.append(scaling_said(rs, 0))
        spare, scaled = spare - rs.replicas, True
    return ScalePlan(tuple(actions), scaled, wake, tuple(reasons))


def referenced(view: View, rs: ReplicaSet) -> bool:
    """Whether traffic may still reach it: by status, weights, or a Service or subset that selects it now."""
    status = view.status
    named = {status.stable_hash, status.current_hash, status.blue_green.active, status.blue_green.preview}
    if status.weights is not None:
        named |= {status.weights.canary.hash if status.weights.canary.weight else "", status.weights.stable.hash}
    named |= {selector_hash(service, HASH_LABEL) for service in view.seen.services.values()}
    for rule in view.seen.destination_rules.values():
        named |= {str((subset.get("labels") or {}).get(HASH_LABEL, "")) for subset in spec_of(rule).get("subsets") or ()}
    return rs.hash in named


def plan_rescale(view: View) -> ScalePlan:
    """spec.replicas changed: only sizes move in this pass, and every ReplicaSet notes the new total."""
    counts = desired_counts(view.spec, view.canary, view.status, view.new, view.stable, view.others, view.status.weights)
    goals = {rs.name: rs.replicas for rs in view.all}
    if has_own_stable(view.new, view.stable) and view.stable is not None:
        goals[view.stable.name] = counts.stable
    if view.new is not None and not (view.status.abort and view.canary.traffic is not None):
        goals[view.new.name] = counts.canary
    wrong = [rs for rs in view.all
             if rs.replicas > 0 and (rs.desired != view.spec.replicas or goals[rs.name] != rs.replicas)]
    return rescaled(view, wrong, goals)


def rescaled(view: View, sets: Sequence[ReplicaSet], goals: Mapping[str, int]) -> ScalePlan:
    """Each of `sets` gets the size that stands under its name, and notes the Rollout's new total."""
    actions = tuple(size(view, rs, goals[rs.name]) for rs in sets)
    said = tuple(scaling_said(rs, goals[rs.name]) for rs in sets if rs.replicas != goals[rs.name])
    return ScalePlan(actions, scaled=bool(actions), reasons=said)


# --- the changes --------------------------------------------------------------------------------------------------


def scale(view: View, rs: ReplicaSet, goal: int) -> ScalePlan:
    if rs.replicas == goal and rs.desired == view.spec.replicas:
        return ScalePlan()
    resized = rs.replicas != goal
    said = (scaling_said(rs, goal),) if resized else ()
    return ScalePlan((size(view, rs, goal),), scaled=resized, reasons=said)


def scaling_said(rs: ReplicaSet, goal: int) -> Reason:
    way = "up" if goal > rs.replicas else "down"
    said = f"Scaled {way} ReplicaSet {rs.name} (revision {rs.revision}) from {rs.replicas} to {goal}"
    return Reason("ScalingReplicaSet", said)


def size(view: View, rs: ReplicaSet, goal: int) -> Action:
    notes: Obj = {DESIRED_REPLICAS: str(view.spec.replicas)}
    if goal == 0 and rs.has_deadline:
        notes[SCALE_DOWN_DEADLINE] = None
    return Change(REPLICA_SETS, view.namespace, rs.name,
                  MergePatch({"metadata": {"annotations": notes}, "spec": {"replicas": goal}}))


def annotate(view: View, rs: ReplicaSet, notes: Obj) -> Action:
    return Change(REPLICA_SETS, view.namespace, rs.name, MergePatch({"metadata": {"annotations": notes}}))
