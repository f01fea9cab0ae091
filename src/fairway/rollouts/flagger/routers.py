"""Who carries the weights: one of four, by the Canary's `provider`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from fairway.kube.decision import Action
from fairway.kube.objects import dig
from fairway.rollouts.flagger import gateway, ingress, istio
from fairway.rollouts.flagger.seen import View
from fairway.rollouts.flagger.services import point_apex
from fairway.rollouts.flagger.spec import TOTAL
from fairway.rollouts.flagger.weights import Routes


@dataclass(frozen=True, slots=True)
class Router:
    """`set` makes the routes so; `read` says how they are. Both raise `NoRoutes`."""

    set: Callable[[View, Routes, str], Iterator[Action]]
    read: Callable[[View], Routes]


def _point(view: View, routes: Routes, cookie: str) -> Iterator[Action]:
    """Without weights there is all or nothing: the users' Service leads to one side."""
    if not view.label or routes not in (Routes(TOTAL, 0), Routes(0, TOTAL)):
        return
    pods = view.value if routes.canary else f"{view.value}-primary"
    there = dig(view.seen.services.get(view.spec.apex), "spec", "selector", default={})
    if there != {view.label: pods}:
        yield point_apex(view.spec, view.label, pods)


_ROUTERS: Mapping[str, Router] = {
    "istio": Router(istio.reconcile, istio.read),
    "nginx": Router(ingress.reconcile, ingress.read),
    "gatewayapi": Router(gateway.reconcile, gateway.read),
    "kubernetes": Router(_point, lambda view: Routes(0, 0)),
}
CARRIED = tuple(_ROUTERS)


def router_of(provider: str) -> Router | None:
    """None for a provider that is not carried. A version (`gatewayapi:v1`) may follow the name."""
    return _ROUTERS.get(provider.partition(":")[0])
