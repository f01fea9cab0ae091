"""Traffic through Gateway API: the weights of an HTTPRoute's backends.

Every rule that names both the stable and the canary Service is divided; header routes are rules of their own before them,
recognised by their name. Source: argoproj-labs `rollouts-plugin-trafficrouter-gatewayapi`, Gateway API v1 HTTPRoute.
"""

from __future__ import annotations

from collections.abc import Sequence

from fairway.kube.api import MergePatch
from fairway.kube.decision import Action, Change
from fairway.kube.objects import Obj, copy_of, meta_of, spec_of
from fairway.kube.resources import HTTP_ROUTES
from fairway.rollouts.traffic_wish import ManagedRoute, Wish

_KINDS = {"exact": "Exact", "regex": "RegularExpression"}


def divided_rules(obj: Obj, canary: str, stable: str) -> list[Obj]:
    """The rules whose weights are the Rollout's to move."""
    return [rule for rule in spec_of(obj).get("rules") or () if {canary, stable} <= _names(rule)]


def move_http_route(obj: Obj, wish: Wish, managed: Sequence[str]) -> Action | None:
    """The change that gives its rules the wished-for weights; None where they have them."""
    rules: list[Obj] = [copy_of(rule) for rule in spec_of(obj).get("rules") or () if rule.get("name", "") not in managed]
    main: Obj | None = None
    for rule in rules:
        if not {wish.canary_service, wish.stable_service} <= _names(rule):
            continue
        main = main or rule
        weights = {wish.canary_service: wish.canary, wish.stable_service: wish.stable,
                   **{extra.service: extra.weight for extra in wish.extras}}
        refs = [ref for ref in rule["backendRefs"] if ref.get("name") not in wish.gone]
        port = next((ref.get("port") for ref in refs if ref.get("port")), None)
        have = {ref.get("name") for ref in refs}
        refs += [{"name": extra.service, "port": port} for extra in wish.extras if extra.service not in have]
        rule["backendRefs"] = [{**ref, "weight": weights[ref["name"]]} if ref.get("name") in weights else ref for ref in refs]
    if main is not None:
        rules = [_header_rule(route, main, wish.canary_service) for route in wish.routes if not route.mirror] + rules
    if rules == (spec_of(obj).get("rules") or []):
        return None
    meta = meta_of(obj)
    return Change(HTTP_ROUTES, str(meta.get("namespace", "")), str(meta["name"]), MergePatch({"spec": {"rules": rules}}))


def _header_rule(route: ManagedRoute, main: Obj, canary: str) -> Obj:
    """What matches goes to the canary, on the paths of the rule that divides the rest."""
    headers = [_header(match) for match in route.spec.get("match") or ()]
    ref = next(copy_of(ref) for ref in main["backendRefs"] if ref.get("name") == canary)
    ref["weight"] = 1
    matches = [{**match, "headers": [*(match.get("headers") or ()), header]}
               for match in main.get("matches") or [{}] for header in headers]
    kept: Obj = {name: main[name] for name in ("filters", "timeouts") if name in main}
    return {"name": route.name, "matches": matches, "backendRefs": [ref], **kept}


def _header(match: Obj) -> Obj:
    value: Obj = match.get("headerValue") or {}
    if value.get("prefix"):
        return {"name": match.get("headerName", ""), "type": "RegularExpression", "value": f"{value['prefix']}.*"}
    kind = next((kind for kind in _KINDS if value.get(kind)), "exact")
    return {"name": match.get("headerName", ""), "type": _KINDS[kind], "value": value.get(kind, "")}


def _names(rule: Obj) -> set[str]:
    return {str(ref.get("name", "")) for ref in rule.get("backendRefs") or ()}
