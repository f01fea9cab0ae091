"""Blue-green: the new version is brought up in full beside the old one, looked at through the preview Service, and then all
users are moved at once.

    new pods ─▶ (analysis before) ─▶ (pause) ─▶ active Service switches ─▶ (analysis after) ─▶ stable, old pods leave later

The parts in brackets are there where the user asks for them. They are skipped on the fast track: the first version, going
back to pods that are still there, and a full promotion. An abort leads the active Service back to stable at once, whatever
else is under way; the preview goes on showing the version that was given up, so that it can be looked at.

Source: argo-rollouts `rollout/bluegreen.go`, `rollout/service.go`, `rollout/pause.go`, `rollout/sync.go`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fairway.kube.decision import Action, Reason
from fairway.rollouts.advance import Advance
from fairway.rollouts.analysis_runs import AnalysisPlan
from fairway.rollouts.keys import HASH_LABEL
from fairway.rollouts.replicasets import fully_available
from fairway.rollouts.seen import View, selector_hash
from fairway.rollouts.services import select, switched
from fairway.rollouts.situation import Situation, within_rollback_window
from fairway.rollouts.spec import BlueGreen
from fairway.rollouts.status import BLUE_GREEN_PAUSE, INCONCLUSIVE, BlueGreenStatus, PauseCondition, Status


@dataclass(frozen=True, slots=True)
class Cutover:
    """`status` says what the two Services select after the actions, and whether the pause has begun or is over."""

    actions: tuple[Action, ...]
    status: BlueGreenStatus
    pauses: tuple[PauseCondition, ...]
    paused_now: bool = False
    wake_at: datetime | None = None
    reasons: tuple[Reason, ...] = ()


def retrying(view: View) -> bool:
    """Somebody takes up an aborted update again, in this very pass."""
    return view.status.aborted_at is not None and not view.status.abort


def returning(view: View) -> bool:
    """Back to a version whose pods are still there because they were to leave later."""
    return view.new is not None and view.new.has_deadline and not view.status.abort and not retrying(view)


def fast_tracked(view: View) -> bool:
    active = active_hash(view)
    if view.new is None:
        return False
    return (returning(view) or within_rollback_window(view) or view.status.promote_full or not active
            or active == view.new.hash)


def active_hash(view: View) -> str:
    """What the active Service selects now."""
    green = view.blue_green
    return selector_hash(view.seen.services.get(green.active_service), HASH_LABEL) if green else ""


def preview_hash(view: View) -> str:
    green = view.blue_green
    return selector_hash(view.seen.services.get(green.preview_service), HASH_LABEL) if green and green.preview_service else ""


def ready(view: View) -> bool:
    """All pods that the new version should have now are available."""
    return fully_available(view.new) or (view.new is not None and view.spec.replicas == 0)


def saturated(view: View) -> bool:
    """The new version could take all users."""
    new = view.new
    return new is not None and new.replicas == view.spec.replicas and new.available == new.replicas == new.created


def cut_over(view: View, green: BlueGreen, situation: Situation, analysis: AnalysisPlan, *, scaled: bool) -> Cutover:
    pauses, began, wake, reasons = _pause(view, green, situation, analysis, scaled=scaled)
    before_ok = green.before is None or analysis.before_passed
    proven = situation is not Situation.ABORTED and before_ok and not began and _pause_over(view, green)
    goal, waits = _goal(view, situation, proven=proven, scaled=scaled)
    active, switch = select(view, green.active_service, goal)
    preview, show = select(view, green.preview_service, view.hash if view.new else "")
    moved = [switched(name, before, after) for action, name, before, after in (
        (show, green.preview_service, preview_hash(view), preview), (switch, green.active_service, active_hash(view), active))
        if action is not None]
    checkpoint = _checkpoint(view, green, proven=proven)
    actions = (switch, show) if situation is Situation.ABORTED else (show, switch)
    status = BlueGreenStatus(active, preview, checkpoint, analysis.before, analysis.after)
    return Cutover(tuple(a for a in actions if a), status, pauses, began, wake, (*reasons, *waits, *moved))


def _goal(view: View, situation: Situation, *, proven: bool, scaled: bool) -> tuple[str, tuple[Reason, ...]]:
    """The hash that the active Service should select, and why it is not yet the new one."""
    now = active_hash(view)
    if situation is Situation.ABORTED:
        return view.status.stable_hash or now, ()
    if view.new is None or now == view.new.hash:
        return now, ()
    if scaled or not saturated(view):
        have = f"{view.new.available} of {view.spec.replicas}"
        return now, (Reason("WaitingForReplicas", f"the active Service switches when all new pods are available: {have}"),)
    if fast_tracked(view) or proven:
        return view.new.hash, ()
    return now, ()


# --- the pause before the switch ------------------------------------------------------------------------------------


def _pause(view: View, green: BlueGreen, situation: Situation, analysis: AnalysisPlan, *,
           scaled: bool) -> tuple[tuple[PauseCondition, ...], bool, datetime | None, tuple[Reason, ...]]:
    """The pause conditions after this pass; whether the pause begins now; when it ends by itself."""
    pauses = view.status.pauses
    if analysis.inconclusive and view.status.pause(INCONCLUSIVE) is None:
        return (PauseCondition(INCONCLUSIVE, view.now), *pauses), True, None, (
            Reason(INCONCLUSIVE, "an AnalysisRun was inconclusive: promote to go on, or abort"),
            Reason("RolloutPaused", f"Rollout is paused ({INCONCLUSIVE})"))
    if situation is Situation.ABORTED:
        return (), False, None, ()
    condition, others = view.status.pause(BLUE_GREEN_PAUSE), tuple(p for p in pauses if p.reason != BLUE_GREEN_PAUSE)
    if view.new is not None and fast_tracked(view):
        return others, False, None, ()
    if view.spec.paused or not green.pauses or scaled or (condition is None and not ready(view)):
        return pauses, False, None, ()
    if green.before is not None and not analysis.before_passed:
        return pauses, False, None, ()
    if condition is None:
        if view.status.controller_pause or view.status.blue_green.checkpoint:
            return pauses, False, None, ()  # somebody promoted it
        ends = view.now + timedelta(seconds=green.auto_promotion_s) if green.auto_promotion_s else None
        return (*pauses, PauseCondition(BLUE_GREEN_PAUSE, view.now)), True, ends, (
            Reason(BLUE_GREEN_PAUSE, "the new version is ready: promote to switch, or abort"),
            Reason("RolloutPaused", f"Rollout is paused ({BLUE_GREEN_PAUSE})"))
    ends = condition.started + timedelta(seconds=green.auto_promotion_s) if green.auto_promotion_s else None
    if ends is not None and view.now >= ends:
        return others, False, None, ()
    until = f"until {ends:%H:%M:%S}" if ends else "until somebody promotes"
    return pauses, False, ends, (Reason(BLUE_GREEN_PAUSE, f"the switch waits {until}"),)


def _pause_over(view: View, green: BlueGreen) -> bool:
    if view.spec.paused or view.status.pause(INCONCLUSIVE) is not None:
        return False
    if not green.pauses:
        return True
    condition = view.status.pause(BLUE_GREEN_PAUSE)
    if condition is None:
        return view.status.controller_pause or view.status.blue_green.checkpoint
    return bool(green.auto_promotion_s) and view.now >= condition.started + timedelta(seconds=green.auto_promotion_s)


def _checkpoint(view: View, green: BlueGreen, *, proven: bool) -> bool:
    """A latch: once the small preview has passed, it grows to full size, and a restart does not make it small again."""
    if green.preview_replicas is None or not active_hash(view) or view.status.promoted:
        return False
    if view.status.blue_green.checkpoint:
        return True
    return proven and view.new is not None and view.new.available >= green.preview_replicas


# --- how far it has come --------------------------------------------------------------------------------------------


def promotion(view: View, green: BlueGreen, cutover: Cutover, analysis: AnalysisPlan) -> str:
    """Why the new version becomes the stable one now, "" where it does not."""
    if view.stable is None:
        return "Initial deploy"
    if view.status.promoted or view.new is None or cutover.status.active != view.hash:
        return ""
    if view.status.promote_full:
        return "Full promotion requested"
    if view.status.abort:
        return ""
    if within_rollback_window(view):
        return "Rollback within window"
    if green.after is not None:
        if view.new.has_deadline and not retrying(view):
            return f"Rollback to '{view.new.name}' within scaleDownDelay"
        if not analysis.after_passed:
            return ""
    return "Completed blue-green update"


def go_on(view: View, base: Status, cutover: Cutover) -> Advance:
    """Neither promoted nor aborted in this pass."""
    pauses = cutover.pauses
    held = cutover.paused_now or (view.status.controller_pause and (bool(pauses) or not _switched(view, cutover)))
    status = replace(base, abort=False, aborted_at=None, pauses=pauses, controller_pause=held)
    return Advance(status)


def _switched(view: View, cutover: Cutover) -> bool:
    """The pause has served its purpose: what somebody promoted is in place."""
    return cutover.status.active == view.hash


def counts(view: View, cutover: Cutover, status: Status) -> Status:
    """Ready and available pods are those that users reach: the active ReplicaSet's."""
    active = next((rs for rs in view.all if rs.hash and rs.hash == cutover.status.active), None)
    if active is None:
        return replace(status, blue_green=cutover.status)
    return replace(status, blue_green=cutover.status, ready=active.ready, available=active.available,
                   hpa_replicas=active.created)
