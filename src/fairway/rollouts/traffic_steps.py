"""Traffic as it should be now: Services and canary Ingresses first, then whether the proxy confirmed the weight."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from fairway.kube.decision import Action, Reason
from fairway.rollouts.nginx import applied_weight, canary_ingress, canary_ingress_name, move
from fairway.rollouts.seen import View
from fairway.rollouts.services import switch_services
from fairway.rollouts.situation import Situation
from fairway.rollouts.status import Share, Weights
from fairway.rollouts.weights import desired_weight, rolling_back_dynamically, stable_is_short

VERIFY_AGAIN = timedelta(seconds=10)
"""Upstream's retry; ours is woken by the Ingress anyway, so this only guards against a lost event."""


@dataclass(frozen=True, slots=True)
class TrafficPlan:
    """`weights` is what status.canary.weights has to say after the actions; None without a traffic router."""

    actions: tuple[Action, ...] = ()
    weights: Weights | None = None
    wake_at: datetime | None = None
    reasons: tuple[Reason, ...] = ()


def route(view: View, situation: Situation) -> TrafficPlan:
    switches, reasons = switch_services(view, situation)
    traffic = view.canary.traffic
    if traffic is None or traffic.nginx is None:
        return TrafficPlan(switches, None, None, reasons)
    weight = desired_weight(view, situation)
    if situation is not Situation.ABORTED and stable_is_short(view, weight):
        short = Reason("StableShort", "weights stay: stable cannot carry more traffic until more of its pods are available")
        return TrafficPlan(switches, view.status.weights, None, (*reasons, short))
    moves = _moves(view, weight)
    weights = _weights(view, situation, weight)
    if weights.verified is False:
        waits = Reason("WeightNotConfirmed", f"the proxy has not confirmed {weight} % for the canary yet")
        return TrafficPlan(_ordered(situation, moves, switches), weights, view.now + VERIFY_AGAIN, (*reasons, waits))
    return TrafficPlan(_ordered(situation, moves, switches), weights, None, reasons)


def _ordered(situation: Situation, moves: tuple[Action, ...], switches: tuple[Action, ...]) -> tuple[Action, ...]:
    """An abort takes the weight away first. Otherwise a Service leads to pods before traffic is sent to it."""
    return (*moves, *switches) if situation is Situation.ABORTED else (*switches, *moves)


def _moves(view: View, weight: int) -> tuple[Action, ...]:
    nginx = view.canary.traffic.nginx if view.canary.traffic else None
    if nginx is None:
        return ()
    actions = []
    for name in nginx.ingresses:
        stable = view.seen.ingresses.get(name)
        if stable is None:
            continue
        wished = canary_ingress(view.rollout, view.canary, nginx, stable, weight)
        action = move(view.seen.ingresses.get(canary_ingress_name(view.name, name)), wished, nginx.annotation_prefix)
        actions += [action] if action else []
    return tuple(actions)


def _weights(view: View, situation: Situation, weight: int) -> Weights:
    before = view.status.weights
    keeps_old = rolling_back_dynamically(view, situation) and before is not None
    canary_hash = before.canary.hash if keeps_old and before else (view.new.hash if view.new else "")
    return Weights(
        canary=Share(weight, canary_hash, view.canary.canary_service),
        stable=Share(view.canary.max_weight - weight, view.stable.hash if view.stable else "", view.canary.stable_service),
        verified=_verified(view, weight),
    )


def _verified(view: View, weight: int) -> bool | None:
    """None where nobody confirms weights. An Ingress that has not answered has not confirmed: unknown is not success."""
    nginx = view.canary.traffic.nginx if view.canary.traffic else None
    if not view.seen.verify_weights or nginx is None:
        return None
    answers = [applied_weight(view.seen.ingresses.get(canary_ingress_name(view.name, name))) for name in nginx.ingresses]
    return all(answer == str(weight) for answer in answers)
