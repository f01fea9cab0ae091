"""The decision about a Rollout: from what is seen, and the time, to what is to be done.

A new version is let at the users little by little, and every bit of evidence may stop it. Four rules are older than the rest:

- **Stopping comes first.** A failed analysis takes the traffic away in the very pass that sees it, before anything is written
  down: should the process die in between, the next one sees the same run and stops again.
- **Stable is never weakened by a canary.** Its size is decided without looking at how the canary does.
- **What is not known is not good.** A weight that the proxy has not confirmed, a run that has not finished, a pod that is not
  available: each of them holds the step, and the reasons say so.
- **Nothing is remembered.** Step, pauses and deadlines stand in the API, times included, so that this function gives the
  same answer after a crash.

The situation (`situation.py`, one table) picks the row; each concern then says what it wants, in its own file: traffic,
analysis, replicas, steps. Their actions are carried out in the order in which they stand here. Only one ReplicaSet is
resized per pass, and a pass that resizes concludes nothing from the counts that it is about to change.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain

from fairway.kube.decision import Action, Decision, Reason, earliest
from fairway.kube.objects import Obj, meta_of
from fairway.kube.selectors import from_label_selector, to_text
from fairway.rollouts.advance import Advance, abort, promote, promotion, restart_update, step_on
from fairway.rollouts.analysis_runs import AnalysisPlan, plan_analysis, plan_blue_green_analysis
from fairway.rollouts.blue_green import active_hash, counts, cut_over, go_on, ready, retrying, returning, saturated
from fairway.rollouts.blue_green import promotion as blue_green_promotion
from fairway.rollouts.blue_green_scaling import leaves_later, plan_blue_green_rescale, plan_blue_green_scaling
from fairway.rollouts.conditions import INVALID, deadline, renew_condition, stuck, with_conditions
from fairway.rollouts.ephemeral import plan_metadata
from fairway.rollouts.experiment_step import plan_experiment
from fairway.rollouts.fields import FieldError, SpecError
from fairway.rollouts.history import forgotten
from fairway.rollouts.new_replica_set import collides, replica_set_actions
from fairway.rollouts.phase import phase_of
from fairway.rollouts.references import reference_errors
from fairway.rollouts.replicasets import available_in
from fairway.rollouts.restart import RestartPlan, plan_restart
from fairway.rollouts.scaling import plan_rescale, plan_scaling
from fairway.rollouts.seen import Seen, View, look
from fairway.rollouts.services import released
from fairway.rollouts.situation import Situation, situation_of, within_rollback_window
from fairway.rollouts.spec import BlueGreen, RolloutSpec, decode_rollout
from fairway.rollouts.status import INCONCLUSIVE, INCONCLUSIVE_EXPERIMENT, Status, read_status, write_status
from fairway.rollouts.traffic_steps import route
from fairway.rollouts.unsupported import unsupported
from fairway.rollouts.validation import spec_errors
from fairway.rollouts.workload import plan_workload, resolved

LOOK_AGAIN_AT_INVALID = timedelta(seconds=20)


def decide(seen: Seen, now: datetime) -> Decision:
    """Everything that is to happen to this Rollout now, and when to look again where no event will tell."""
    try:
        spec = decode_rollout(seen.rollout)
    except SpecError as error:
        return refused(seen, RolloutSpec(), str(error), now)
    mistake = next(chain(spec_errors(spec), unsupported(spec)), None)
    whole = resolved(spec, seen.workload) if mistake is None else mistake
    if isinstance(whole, FieldError):
        return refused(seen, spec, str(whole), now)
    view = look(seen, whole, now)
    mistake = next(reference_errors(view), None)
    if mistake is not None and not view.status.abort:  # an abort needs nothing but stable, and works whatever else is broken
        return refused(seen, spec, str(mistake), now)
    if collides(view):
        return _decision(view, Advance(replace(view.status, collisions=view.status.collisions + 1)))
    situation = situation_of(view)
    if situation is Situation.CHANGED:
        return _decision(view, restart_update(view, _counted(view)), replica_set_actions(view))
    if situation is Situation.SCALED:
        plan = plan_blue_green_rescale(view, view.blue_green) if view.blue_green else plan_rescale(view)
        return _decision(view, Advance(_counted(view), plan.wake_at, plan.reasons), plan.actions)
    return _update_blue_green(view, view.blue_green, situation) if view.blue_green else _update_canary(view, situation)


def _update_canary(view: View, situation: Situation) -> Decision:
    analysis, experiment = plan_analysis(view, situation), plan_experiment(view, situation)
    failure = _stopping(view, situation, analysis.failure, experiment.failure)
    if failure is not None:
        situation = Situation.ABORTED
        view = replace(view, status=_given_up(view.status))
        experiment = plan_experiment(view, situation)
    traffic = route(view, situation, experiment.extras)
    restart = plan_restart(view)
    scaling = plan_scaling(view, situation, traffic.weights)
    base = replace(_counted(view), weights=traffic.weights, step_run=analysis.step, background_run=analysis.background,
                   experiment=experiment.current, restarted_at=_restarted_at(view, restart))
    why = promotion(view, situation, traffic.weights)
    if why:
        advance = promote(view, base, why)
    elif situation is Situation.ABORTED:
        advance = abort(view, base, failure or "")
    else:
        unclear = INCONCLUSIVE if analysis.inconclusive else INCONCLUSIVE_EXPERIMENT if experiment.inconclusive else None
        advance = step_on(view, situation, base, traffic.weights, step_passed=analysis.step_passed or experiment.passed,
                          inconclusive=unclear, scaled=scaling.scaled)
    before, after = ((), replica_set_actions(view)) if situation is Situation.ABORTED else (replica_set_actions(view), ())
    actions = (*before, *traffic.actions, *after, *analysis.actions, *experiment.actions, *scaling.actions,
               *restart.actions, *plan_metadata(view), *released(view), *forgotten(view))
    wake = earliest(advance.wake_at, traffic.wake_at, scaling.wake_at, restart.wake_at)
    reasons = (*advance.reasons, *traffic.reasons, *analysis.reasons, *experiment.reasons, *scaling.reasons, *restart.reasons)
    return _decision(view, replace(advance, wake_at=wake, reasons=_once(reasons)), actions, abort_message=failure or "")


def _update_blue_green(view: View, green: BlueGreen, situation: Situation) -> Decision:
    if retrying(view):  # a second try pauses again
        view = replace(view, status=replace(view.status, blue_green=replace(view.status.blue_green, checkpoint=False)))
    analysis = _blue_green_analysis(view, situation)
    failure = _stopping(view, situation, analysis.failure)
    if failure is not None:
        situation = Situation.ABORTED
        view = replace(view, status=_given_up(view.status))
    restart = plan_restart(view)
    scaling = plan_blue_green_scaling(view, green, situation, analysis)
    cutover = cut_over(view, green, situation, analysis, scaled=scaling.scaled)
    base = replace(counts(view, cutover, _counted(view)), weights=None, step_index=None,
                   restarted_at=_restarted_at(view, restart))
    why = blue_green_promotion(view, green, cutover, analysis)
    later: tuple[Action, ...] = ()
    if why:
        advance, later = promote(view, base, why), leaves_later(view, green)
    elif situation is Situation.ABORTED:
        advance = abort(view, base, failure or "")
    else:
        advance = go_on(view, base, cutover)
    before, after = ((), replica_set_actions(view)) if situation is Situation.ABORTED else (replica_set_actions(view), ())
    actions = (*before, *cutover.actions, *after, *analysis.actions, *scaling.actions, *later, *restart.actions,
               *plan_metadata(view), *released(view), *forgotten(view))
    wake = earliest(advance.wake_at, cutover.wake_at, scaling.wake_at, restart.wake_at)
    reasons = (*advance.reasons, *cutover.reasons, *analysis.reasons, *scaling.reasons, *restart.reasons)
    return _decision(view, replace(advance, wake_at=wake, reasons=_once(reasons)), actions, abort_message=failure or "")


def _blue_green_analysis(view: View, situation: Situation) -> AnalysisPlan:
    active = active_hash(view)
    fast = view.status.promote_full or returning(view) or within_rollback_window(view)
    return plan_blue_green_analysis(view, situation, ready=ready(view), active=active, saturated=saturated(view), fast=fast)


def _given_up(status: Status) -> Status:
    """No pause outlives an abort, and its end is nobody's promotion."""
    return replace(status, abort=True, pauses=(), controller_pause=False)


def _restarted_at(view: View, restart: RestartPlan) -> datetime | None:
    return view.spec.restart_at if restart.done else view.status.restarted_at


def _stopping(view: View, situation: Situation, *failures: str | None) -> str | None:
    """Why the update has to stop in this pass; "" where a person asked and gave no reason, None where it goes on."""
    if situation is Situation.ABORTED:
        return ""
    if situation not in (Situation.STEPPING, Situation.FINISHING):
        return None
    failure = next((said for said in failures if said is not None), None)
    if failure is not None:
        return failure
    if view.spec.progress_deadline_abort and stuck(view):
        return f'ReplicaSet "{view.new.name}" has timed out progressing.' if view.new else ""
    return None


def _decision(view: View, advance: Advance, actions: tuple[Action, ...] = (), *, abort_message: str = "") -> Decision:
    """The status with conditions, phase and message; and a look at the progress deadline."""
    seen = str(meta_of(view.seen.workload).get("generation", "")) if view.spec.workload_ref and view.seen.workload else ""
    status = replace(advance.status, observed_generation=str(meta_of(view.rollout).get("generation", "")),
                     workload_generation=seen)
    status = with_conditions(view, status, abort_message)
    phase, message = phase_of(view.spec, status)
    status = replace(status, phase=phase, message=message)
    takeover, said = plan_workload(view.spec, view.seen.workload, revision=view.revision,
                                   available=view.new.available if view.new else 0, healthy=phase == "Healthy",
                                   failed=phase == "Degraded")
    late = deadline(view)
    wake = earliest(advance.wake_at, late + timedelta(seconds=1) if late is not None and late >= view.now else None)
    return Decision((*actions, *takeover), write_status(status), wake, (*advance.reasons, *said))


def _counted(view: View) -> Status:
    """The status with the pods that there are now."""
    return replace(
        view.status,
        current_hash=view.hash,
        step_hash=view.steps_hash,
        replicas=sum(rs.created for rs in view.all),
        updated=view.new.created if view.new else 0,
        ready=sum(rs.ready for rs in view.all),
        available=available_in(view.all),
        selector=to_text(from_label_selector(view.spec.selector)),
        promote_full=view.status.promote_full and view.status.stable_hash != view.hash,
    )


def refused(seen: Seen, spec: RolloutSpec, mistake: str, now: datetime) -> Decision:
    """The Rollout cannot be read, refers to what is not there, or asks for what the API refuses: it stays, and says so."""
    meta, status = meta_of(seen.rollout), read_status(seen.rollout)
    message = f'The Rollout "{meta.get("name", "")}" is invalid: {mistake}'
    before = status.condition(INVALID)
    conditions = status.conditions
    if before is None or before.get("message") != message:
        conditions = renew_condition(conditions, INVALID, "True", INVALID, message, now)
    status = replace(status, conditions=conditions, observed_generation=str(meta.get("generation", "")))
    phase, text = phase_of(spec, status)
    patch: Obj = {"conditions": list(conditions), "phase": phase, "message": text,
                  "observedGeneration": status.observed_generation or None}
    return Decision((), patch, now + LOOK_AGAIN_AT_INVALID, (Reason(INVALID, message),))


def _once(reasons: tuple[Reason, ...]) -> tuple[Reason, ...]:
    return tuple(dict.fromkeys(reasons))
