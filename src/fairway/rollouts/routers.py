"""The traffic routers that Fairway moves: each turns the same wish into changes of its own objects, and says whether the
proxy has confirmed what they say.

An answer is only read off objects that need no change in this pass; an object that has just been changed, or that nobody
has answered for yet, has not been confirmed: unknown is not success.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fairway.kube.decision import Action, Change
from fairway.kube.objects import Obj, annotations_of, meta_of, spec_of
from fairway.rollouts.alb import move_alb, root_service
from fairway.rollouts.gateway_api import move_http_route
from fairway.rollouts.istio import RouteError, move_subsets, move_virtual_service
from fairway.rollouts.keys import APPLIED_GENERATION
from fairway.rollouts.nginx import applied_weight, canary_ingress, canary_ingress_name, move
from fairway.rollouts.seen import View
from fairway.rollouts.traffic_spec import TrafficRouting
from fairway.rollouts.traffic_wish import Wish


def moves(view: View, wish: Wish) -> tuple[Action, ...]:
    """The changes that divide the traffic as wished, of every router that the Rollout names."""
    traffic = view.canary.traffic
    if traffic is None:
        return ()
    parts = (_nginx(view, traffic, wish), _alb(view, traffic, wish), _istio(view, traffic, wish), _gateway(view, traffic, wish))
    return tuple(action for part in parts for action in part if action is not None)


def subset_moves(view: View, wish: Wish) -> tuple[Action, ...]:
    """Which pods Istio's subsets mean. As with a Service, this comes before the weights, after an abort behind them."""
    istio = view.canary.traffic.istio if view.canary.traffic else None
    rule = istio.destination_rule if istio else None
    obj = view.seen.destination_rules.get(rule.name) if rule else None
    action = move_subsets(obj, rule, view.name, wish) if obj is not None and rule is not None else None
    return (action,) if action else ()


def _nginx(view: View, traffic: TrafficRouting, wish: Wish) -> Iterator[Action | None]:
    for name in traffic.nginx.ingresses if traffic.nginx else ():
        stable = view.seen.ingresses.get(name)
        if stable is not None and traffic.nginx is not None:
            wished = canary_ingress(view.rollout, view.canary, traffic.nginx, stable, wish.canary)
            yield move(view.seen.ingresses.get(canary_ingress_name(view.name, name)), wished, traffic.nginx.annotation_prefix)


def _alb(view: View, traffic: TrafficRouting, wish: Wish) -> Iterator[Action | None]:
    for name in traffic.alb.all if traffic.alb else ():
        obj = view.seen.ingresses.get(name)
        if obj is not None and traffic.alb is not None:
            stable, canary = view.turning_services
            turned = replace(wish, stable_service=stable, canary_service=canary)
            yield move_alb(obj, traffic.alb, view.name, root_service(traffic.alb, stable), turned)


def _istio(view: View, traffic: TrafficRouting, wish: Wish) -> Iterator[Action | None]:
    istio = traffic.istio
    if istio is None:
        return
    rule = istio.destination_rule
    rule_obj = view.seen.destination_rules.get(rule.name) if rule else None
    host = str(spec_of(rule_obj).get("host", "")) if rule_obj else ""
    for ref in istio.services:
        obj = view.seen.virtual_services.get(ref.key(view.namespace))
        if obj is None:
            continue
        try:
            yield move_virtual_service(obj, ref, rule, host, wish, traffic.managed_routes or ())
        except RouteError:
            continue  # somebody changed it since the references were checked: the next pass says so


def _gateway(view: View, traffic: TrafficRouting, wish: Wish) -> Iterator[Action | None]:
    for obj in _http_routes(view, traffic):
        yield move_http_route(obj, wish, traffic.managed_routes or ())


def _http_routes(view: View, traffic: TrafficRouting) -> Iterator[Obj]:
    gateway = traffic.gateway
    for name in gateway.http_routes if gateway else ():
        obj = view.seen.http_routes.get((gateway.namespace if gateway and gateway.namespace else view.namespace, name))
        if obj is not None:
            yield obj


# --- what the proxy says ------------------------------------------------------------------------------------------------


def confirmed(view: View, wish: Wish, changing: tuple[Action, ...]) -> bool | None:
    """Whether the proxy serves the wish; None where nobody answers for any of the objects."""
    traffic = view.canary.traffic
    if traffic is None or not view.seen.verify_weights:
        return None
    answers: list[bool] = []
    for name in traffic.nginx.ingresses if traffic.nginx else ():
        answers.append(applied_weight(view.seen.ingresses.get(canary_ingress_name(view.name, name))) == str(wish.canary))
    if traffic.alb is not None:
        shares = ",".join(map(str, (wish.canary, *(extra.weight for extra in wish.extras), wish.stable)))
        answers += [applied_weight(view.seen.ingresses.get(name)) == shares for name in traffic.alb.all]
    changed = {(action.resource.kind, action.namespace, action.name) for action in changing if isinstance(action, Change)}
    refs = traffic.istio.services if traffic.istio else ()
    objects = (*(view.seen.virtual_services.get(ref.key(view.namespace)) for ref in refs), *_http_routes(view, traffic))
    for obj in objects:
        if obj is None or (obj.get("kind") == "VirtualService" and not spec_of(obj).get("http")):
            continue  # TLS and TCP connections are not divided here, so nobody could answer
        key = (str(obj.get("kind")), str(meta_of(obj).get("namespace", "")), str(meta_of(obj)["name"]))
        same = annotations_of(obj).get(APPLIED_GENERATION) == str(meta_of(obj).get("generation", ""))
        answers.append(same and key not in changed)
    return all(answers) if answers else None
