"""Weights in an Istio VirtualService of the users' Service, and a DestinationRule for each side.

Source of the shape: flagger `pkg/router/istio.go`. An A/B test has a matched route first and everybody else's second; session
affinity has the cookie's route first.
"""

from __future__ import annotations

from collections.abc import Iterator

from fairway.kube.api import JsonPatch
from fairway.kube.decision import Action, Change, Create
from fairway.kube.objects import Obj, dig, spec_of
from fairway.kube.resources import VIRTUAL_SERVICES
from fairway.rollouts.flagger.affinity import cookie_pattern, set_cookie
from fairway.rollouts.flagger.seen import View
from fairway.rollouts.flagger.spec import TOTAL
from fairway.rollouts.flagger.weights import Routes

_PASSED_ON = ("rewrite", "timeout", "retries", "corsPolicy", "headers")


class NoRoutes(ValueError):
    """What is there does not split between this Canary's two Services."""


def reconcile(view: View, routes: Routes, cookie: str) -> Iterator[Action]:
    """Create or correct; `routes` are the weights that it has to have."""
    spec = view.spec
    for name, side in ((spec.canary_service, "canary"), (spec.primary_service, "primary")):
        if ("DestinationRule", name) not in view.seen.routes:
            policy = dig(spec.service.raw, side, "trafficPolicy") or spec.service.raw.get("trafficPolicy")
            rule = {"host": name, "trafficPolicy": policy} if policy else {"host": name}
            yield Create({"apiVersion": "networking.istio.io/v1beta1", "kind": "DestinationRule",
                          "metadata": _meta(view, name), "spec": rule})
    wished = _virtual_service(view, routes, cookie)
    there = view.seen.routes.get(("VirtualService", spec.apex))
    if there is None:
        yield Create({"apiVersion": "networking.istio.io/v1beta1", "kind": "VirtualService",
                      "metadata": _meta(view, spec.apex), "spec": wished})
    elif spec_of(there) != wished:
        yield Change(VIRTUAL_SERVICES, spec.namespace, spec.apex,
                     JsonPatch([{"op": "add", "path": "/spec", "value": wished}]))


def read(view: View) -> Routes:
    """The weights as they are. The last route that names both Services: cookies' and everybody's stand before and after."""
    there = view.seen.routes.get(("VirtualService", view.spec.apex))
    if there is None:
        return Routes()
    matched = bool(view.spec.checks.match) and view.spec.checks.iterations > 0
    for route in spec_of(there).get("http") or () if matched else reversed(spec_of(there).get("http") or ()):
        weights = {str(dig(to, "destination", "host", default="")).split(".")[0]: to.get("weight")
                   for to in route.get("route") or ()}
        if view.spec.primary_service in weights and view.spec.canary_service in weights:
            primary, canary = (int(weights[n] or 0) for n in (view.spec.primary_service, view.spec.canary_service))
            if primary == 0 and canary == 0:
                break
            return Routes(primary, canary, bool(dig(route, "mirror", "host", default="")))
    raise NoRoutes(f"VirtualService {view.spec.apex}.{view.spec.namespace} does not contain routes for "
                   f"{view.spec.primary_service} and {view.spec.canary_service}")


def _virtual_service(view: View, routes: Routes, cookie: str) -> Obj:
    spec, analysis = view.spec, view.spec.checks
    raw = spec.service.raw
    passed = {name: raw[name] for name in _PASSED_ON if raw.get(name)}
    split = {**passed, "route": [_to(spec.primary_service, routes.primary), _to(spec.canary_service, routes.canary)]}
    own_match = list(raw.get("match") or ())
    if analysis.match and analysis.iterations > 0:
        users = {**passed, "route": [_to(spec.primary_service, TOTAL)]}
        http = [{"match": _merged(analysis.match, own_match), **split}, _with_match(users, own_match)]
    elif cookie and routes.canary:
        sticky = {**passed, "match": [{"headers": {"Cookie": {"regex": cookie_pattern(cookie)}}}],
                  "route": [_to(spec.primary_service, 0), _to(spec.canary_service, TOTAL)]}
        assert analysis.affinity is not None
        headers = {"response": {"add": {"Set-Cookie": set_cookie(cookie, analysis.affinity.max_age)}}}
        split["route"] = [split["route"][0], {**split["route"][1], "headers": headers}]
        http = [sticky, _with_match(split, own_match)]
    else:
        http = [_with_match(split, own_match)]
    if routes.mirrored:
        http[-1]["mirror"] = {"host": spec.canary_service}
        http[-1]["mirrorPercentage"] = {"value": analysis.mirror_weight}
    if spec.service.delegation:
        return {"http": http}
    hosts = list(dict.fromkeys((*spec.service.hosts, spec.apex) if "*" not in spec.service.hosts else spec.service.hosts))
    made: Obj = {"hosts": hosts, "http": http}
    if spec.service.gateways:
        made["gateways"] = list(spec.service.gateways)
    return made


def _merged(tests: tuple[Obj, ...], own: list[Obj]) -> list[Obj]:
    """The test's conditions, each together with each of the Service's own."""
    return [{**mine, **test} for test in tests for mine in own] if own else [dict(test) for test in tests]


def _with_match(route: Obj, match: list[Obj]) -> Obj:
    return {"match": match, **route} if match else dict(route)


def _to(host: str, weight: int) -> Obj:
    return {"destination": {"host": host}, "weight": weight}


def _meta(view: View, name: str) -> Obj:
    apex = dig(view.spec.service.raw, "apex", default={}) if name == view.spec.apex else {}
    return {"name": name, "namespace": view.spec.namespace, "labels": dict(apex.get("labels") or {}),
            "annotations": dict(apex.get("annotations") or {}), "ownerReferences": [view.owner]}
