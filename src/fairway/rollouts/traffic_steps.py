"""Traffic as it should be now: Services first, then the objects of the traffic router, then whether the proxy confirmed it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from fairway.kube.decision import Action, Reason
from fairway.rollouts.routers import confirmed, moves, subset_moves
from fairway.rollouts.seen import View
from fairway.rollouts.services import switch_services
from fairway.rollouts.situation import Situation
from fairway.rollouts.status import Share, Weights
from fairway.rollouts.traffic_wish import Extra, Wish, managed_routes
from fairway.rollouts.weights import desired_weight, rolling_back_dynamically, stable_is_short

VERIFY_AGAIN = timedelta(seconds=10)
"""Upstream's retry; ours is woken by the object anyway, so this only guards against a lost event."""


@dataclass(frozen=True, slots=True)
class TrafficPlan:
    """`weights` is what status.canary.weights has to say after the actions; None without a traffic router."""

    actions: tuple[Action, ...] = ()
    weights: Weights | None = None
    wake_at: datetime | None = None
    reasons: tuple[Reason, ...] = ()


def route(view: View, situation: Situation, extras: tuple[Extra, ...] = ()) -> TrafficPlan:
    """`extras`: what running experiments get of the traffic."""
    switches, reasons = switch_services(view, situation)
    if view.canary.traffic is None:
        return TrafficPlan(switches, None, None, reasons)
    weight = desired_weight(view, situation)
    if situation is not Situation.ABORTED and stable_is_short(view, weight):
        short = Reason("StableShort", "weights stay: stable cannot carry more traffic until more of its pods are available")
        return TrafficPlan(switches, view.status.weights, None, (*reasons, short))
    wish = _wish(view, situation, weight, extras)
    moved, switches = moves(view, wish), (*switches, *subset_moves(view, wish))
    weights = _weights(wish, confirmed(view, wish, moved))
    actions = _ordered(view, situation, moved, switches)
    before = view.status.weights.canary.weight if view.status.weights else 0
    if before != weight:
        reasons = (*reasons, Reason("TrafficWeightUpdated", f"Traffic weight updated from {before} to {weight}"))
    if weights.verified is False:
        waits = Reason("WeightNotConfirmed", f"the proxy has not confirmed {weight} % for the canary yet")
        return TrafficPlan(actions, weights, view.now + VERIFY_AGAIN, (*reasons, waits))
    return TrafficPlan(actions, weights, None, reasons)


def _ordered(view: View, situation: Situation, moved: tuple[Action, ...], switches: tuple[Action, ...]) -> tuple[Action, ...]:
    """A Service leads to pods before traffic is sent to it. Traffic is taken away first after an abort, and from a version
    that was superseded by one without pods yet."""
    if situation is Situation.ABORTED or view.new is None or view.new.available == 0:
        return (*moved, *switches)
    return (*switches, *moved)


def _wish(view: View, situation: Situation, weight: int, extras: tuple[Extra, ...]) -> Wish:
    before = view.status.weights
    keeps_old = rolling_back_dynamically(view, situation) and before is not None
    canary_hash = before.canary.hash if keeps_old and before else (view.new.hash if view.new else "")
    stable, canary = view.service_names
    present = {extra.service for extra in extras}
    return Wish(
        canary=weight,
        total=view.canary.max_weight,
        canary_service=canary,
        stable_service=stable,
        canary_hash=canary_hash,
        stable_hash=view.stable.hash if view.stable else "",
        extras=extras,
        gone=tuple(share.service for share in (before.additional if before else ()) if share.service not in present),
        routes=managed_routes(view.canary, _route_index(view, situation)),
    )


def _route_index(view: View, situation: Situation) -> int | None:
    """Up to which step managed routes count: none of them while there is no canary to lead to, or the update is over."""
    if situation not in (Situation.STEPPING, Situation.FINISHING) or view.new is None or view.new.available == 0:
        return None
    return view.index


def _weights(wish: Wish, verified: bool | None) -> Weights:
    return Weights(
        canary=Share(wish.canary, wish.canary_hash, wish.canary_service),
        stable=Share(wish.stable, wish.stable_hash, wish.stable_service),
        verified=verified,
        additional=tuple(Share(extra.weight, extra.hash, extra.service) for extra in wish.extras),
    )
