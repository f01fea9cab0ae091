"""Weights in a Gateway API HTTPRoute of the users' Service. Source of the shape: flagger `pkg/router/gateway_api.go`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fairway.kube.api import JsonPatch
from fairway.kube.decision import Action, Change, Create
from fairway.kube.objects import Obj, spec_of
from fairway.kube.resources import HTTP_ROUTES
from fairway.rollouts.flagger.affinity import cookie_pattern, set_cookie
from fairway.rollouts.flagger.istio import NoRoutes
from fairway.rollouts.flagger.seen import View
from fairway.rollouts.flagger.spec import TOTAL
from fairway.rollouts.flagger.weights import Routes

_EVERYTHING: list[Obj] = [{"path": {"type": "PathPrefix", "value": "/"}}]
_KINDS = {"exact": "Exact", "regex": "RegularExpression", "prefix": "PathPrefix"}


def reconcile(view: View, routes: Routes, cookie: str) -> Iterator[Action]:
    if not view.spec.service.gateway_refs:
        raise NoRoutes("GatewayRefs must be specified when using Gateway API as a provider.")
    wished = _route(view, routes, cookie)
    there = view.seen.routes.get(("HTTPRoute", view.spec.apex))
    if there is None:
        yield Create({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {
            "name": view.spec.apex, "namespace": view.spec.namespace, "ownerReferences": [view.owner]}, "spec": wished})
    elif spec_of(there) != wished:
        yield Change(HTTP_ROUTES, view.spec.namespace, view.spec.apex,
                     JsonPatch([{"op": "add", "path": "/spec", "value": wished}]))


def read(view: View) -> Routes:
    there = view.seen.routes.get(("HTTPRoute", view.spec.apex))
    if there is None:
        return Routes()
    matched = bool(view.spec.checks.match) and view.spec.checks.iterations > 0
    rules = spec_of(there).get("rules") or ()
    for rule in rules if matched else reversed(rules):
        weights = {ref.get("name"): int(ref.get("weight", 1)) for ref in rule.get("backendRefs") or ()}
        if view.spec.primary_service in weights and view.spec.canary_service in weights:
            mirrored = any(f.get("type") == "RequestMirror" for f in rule.get("filters") or ())
            return Routes(weights[view.spec.primary_service], weights[view.spec.canary_service], mirrored)
    raise NoRoutes(f"HTTPRoute {view.spec.apex}.{view.spec.namespace} does not contain routes for {view.spec.primary_service} "
                   f"and {view.spec.canary_service}")


def _route(view: View, routes: Routes, cookie: str) -> Obj:
    spec, analysis = view.spec, view.spec.checks
    own = [_match(m) for m in spec.service.raw.get("match") or ()] or _EVERYTHING
    split: Obj = {"matches": own, "backendRefs": [_to(view, spec.primary_service, routes.primary),
                                                  _to(view, spec.canary_service, routes.canary)]}
    if analysis.match and analysis.iterations > 0:
        rules = [{**split, "matches": [_match(m) for m in analysis.match]},
                 {"matches": own, "backendRefs": [_to(view, spec.primary_service, TOTAL)]}]
    elif cookie and routes.canary:
        assert analysis.affinity is not None
        sticky = [{**match, "headers": [{"type": "RegularExpression", "name": "Cookie", "value": cookie_pattern(cookie)}]}
                  for match in own]
        answer = {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": [
            {"name": "Set-Cookie", "value": set_cookie(cookie, analysis.affinity.max_age)}]}}
        split["backendRefs"][1]["filters"] = [answer]
        rules = [{"matches": sticky, "backendRefs": [_to(view, spec.primary_service, 0),
                                                     _to(view, spec.canary_service, TOTAL)]}, split]
    else:
        rules = [split]
    if routes.mirrored:
        mirror: Obj = {"backendRef": {"group": "", "kind": "Service", "name": spec.canary_service, "port": spec.service.port}}
        if analysis.mirror_weight != 100:
            mirror["percent"] = analysis.mirror_weight
        rules[-1]["filters"] = [{"type": "RequestMirror", "requestMirror": mirror}]
    made: Obj = {"parentRefs": [dict(ref) for ref in spec.service.gateway_refs], "rules": rules}
    if spec.service.hosts:
        made["hostnames"] = list(spec.service.hosts)
    return made


def _match(match: Obj) -> Obj:
    """Istio's way to write a condition, in the Gateway API's."""
    made: Obj = {"path": _EVERYTHING[0]["path"]}
    if match.get("uri"):
        kind, value = next(iter(match["uri"].items()))
        made["path"] = {"type": _KINDS.get(kind, "Exact"), "value": value}
    headers = [_condition(name, how) for name, how in (match.get("headers") or {}).items()]
    if headers:
        made["headers"] = headers
    queries = [_condition(name, how) for name, how in (match.get("queryParams") or {}).items()]
    if queries:
        made["queryParams"] = queries
    if match.get("method"):
        made["method"] = next(iter(match["method"].values()))
    return made


def _condition(name: str, how: Any) -> Obj:
    if how.get("exact") is not None:
        return {"type": "Exact", "name": name, "value": how["exact"]}
    if how.get("prefix") is not None:
        return {"type": "RegularExpression", "name": name, "value": f"{how['prefix']}.*"}
    return {"type": "RegularExpression", "name": name, "value": how.get("regex") or how.get("suffix") or ".*"}


def _to(view: View, name: str, weight: int) -> Obj:
    return {"group": "", "kind": "Service", "name": name, "port": view.spec.service.port, "weight": weight}
