"""Traffic through Istio: the weights of VirtualService routes, and the subsets of a DestinationRule.

A VirtualService may hold HTTP, TLS and TCP routes; which of them belong to the Rollout is said by name (HTTP), by port and
SNI hosts (TLS) or by port (TCP), or is the only one there is. Routes that a step adds stand before all others.
Source: argo-rollouts `rollout/trafficrouting/istio/istio.go`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fairway.kube.api import MergePatch
from fairway.kube.decision import Action, Change, differs
from fairway.kube.objects import Obj, annotations_of, copy_of, meta_of, spec_of
from fairway.kube.resources import DESTINATION_RULES, VIRTUAL_SERVICES
from fairway.rollouts.keys import HASH_LABEL, MANAGED_BY
from fairway.rollouts.traffic_spec import DestinationRuleRef, VirtualServiceRef
from fairway.rollouts.traffic_wish import ManagedRoute, Wish


class RouteError(ValueError):
    """A VirtualService that does not have the routes which the Rollout speaks of; the message is upstream's."""


# --- which routes -------------------------------------------------------------------------------------------------


def http_routes(ref: VirtualServiceRef, routes: Sequence[Obj], managed: Sequence[str]) -> list[int]:
    if not ref.routes:
        own = [i for i, route in enumerate(routes) if route.get("name", "") not in managed]
        if len(own) > 1:
            raise RouteError("spec.http[] should be set in VirtualService and it must have exactly one route when omitting "
                             "spec.strategy.canary.trafficRouting.istio.virtualService.routes")
        return own
    found = []
    for name in ref.routes:
        index = next((i for i, route in enumerate(routes) if route.get("name") == name), None)
        if index is None:
            raise RouteError(f"HTTP Route '{name}' is not found in the defined Virtual Service.")
        found.append(index)
    return found


def port_routes(kind: str, wanted: Sequence[Obj], routes: Sequence[Obj]) -> list[int]:
    """TLS ("tls") and TCP ("tcp") routes: by the one port that they match, TLS also by all of its SNI hosts."""
    if not wanted:
        if len(routes) > 1:
            raise RouteError(f"spec.{kind}[] should be set in VirtualService and it must have exactly one route when omitting "
                             f"spec.strategy.canary.trafficRouting.istio.virtualService.{kind}Routes")
        return [0] if routes else []
    found = []
    for wish in wanted:
        hits = [i for i, route in enumerate(routes) if _matches(kind, wish, route.get("match") or ())]
        if not hits:
            raise RouteError(f"No matching {kind.upper()} routes found in the defined Virtual Service.")
        found += hits
    return found


def _matches(kind: str, wish: Obj, matches: Sequence[Obj]) -> bool:
    ports = {match.get("port", 0) for match in matches} or {0}
    hosts = {host for match in matches for host in match.get("sniHosts") or ()}
    if ports != {wish.get("port", 0)}:
        return False
    return kind == "tcp" or hosts == set(wish.get("sniHosts") or ())


def virtual_service_errors(obj: Obj, ref: VirtualServiceRef, rule: DestinationRuleRef | None, *, canary: str, stable: str,
                           managed: Sequence[str]) -> list[str]:
    """What keeps the Rollout from moving weights in this VirtualService, in upstream's words."""
    spec = spec_of(obj)
    if not any(spec.get(kind) for kind in ("http", "tls", "tcp")):
        return ["Unable to get any of the HTTP, TCP or TLS routes for the Istio VirtualService"]
    found = []
    for kind in ("http", "tls", "tcp"):
        routes = spec.get(kind) or []
        if not routes:
            continue
        try:
            for index in _indices(kind, ref, routes, managed):
                _check(routes[index].get("route") or (), rule, canary=canary, stable=stable)
        except RouteError as error:
            found.append(f"Istio VirtualService has invalid {kind.upper()} routes. Error: {error}")
    return found


def _indices(kind: str, ref: VirtualServiceRef, routes: Sequence[Obj], managed: Sequence[str]) -> list[int]:
    if kind == "http":
        return http_routes(ref, routes, managed)
    return port_routes(kind, ref.tls_routes if kind == "tls" else ref.tcp_routes, routes)


def _check(destinations: Sequence[Obj], rule: DestinationRuleRef | None, *, canary: str, stable: str) -> None:
    if rule is not None:
        subsets = {(d.get("destination") or {}).get("subset", "") for d in destinations}
        for role, name in (("Canary", rule.canary_subset), ("Stable", rule.stable_subset)):
            if not name or name not in subsets:
                raise RouteError(f"{role} DestinationRule subset '{name}' not found in route")
        return
    hosts = {host_of(d) for d in destinations}
    for role, name in (("Canary", canary), ("Stable", stable)):
        if not name or name not in hosts:
            raise RouteError(f"{role} Service '{name}' not found in route")


def host_of(destination: Obj) -> str:
    """The Service's name: what stands before the first dot."""
    return str((destination.get("destination") or {}).get("host", "")).partition(".")[0]


# --- VirtualService -----------------------------------------------------------------------------------------------


def move_virtual_service(obj: Obj, ref: VirtualServiceRef, rule: DestinationRuleRef | None, rule_host: str, wish: Wish,
                         managed: Sequence[str]) -> Action | None:
    """The change that gives its routes the wished-for weights; None where they have them. `RouteError` as above."""
    spec, patch = spec_of(obj), Obj()
    for kind in ("http", "tls", "tcp"):
        routes: list[Obj] = [copy_of(route) for route in spec.get(kind) or ()]
        if not routes:
            continue
        if kind == "http":
            routes = [route for route in routes if route.get("name", "") not in managed]
        indices = _indices(kind, ref, routes, managed)
        for index in indices:
            routes[index]["route"] = _weighted(routes[index].get("route") or [], rule, rule_host, wish)
        if kind == "http" and indices:
            base = routes[indices[0]]["route"]
            routes = [_added(route, base, rule, rule_host, wish) for route in wish.routes] + routes
        if differs({kind: spec.get(kind)}, {kind: routes}):
            patch[kind] = routes
    if not patch:
        return None
    meta = meta_of(obj)
    return Change(VIRTUAL_SERVICES, str(meta.get("namespace", "")), str(meta["name"]), MergePatch({"spec": patch}))


def _weighted(destinations: list[Obj], rule: DestinationRuleRef | None, rule_host: str, wish: Wish) -> list[Obj]:
    kept, extras = [], {extra.service: extra for extra in wish.extras}
    for each in destinations:
        host, subset = host_of(each), (each.get("destination") or {}).get("subset", "")
        if rule is not None and rule_host and (each.get("destination") or {}).get("host") != rule_host:
            kept.append(each)
        elif _is(host, subset, wish.canary_service, rule.canary_subset if rule else ""):
            kept.append({**each, "weight": wish.canary})
        elif _is(host, subset, wish.stable_service, rule.stable_subset if rule else ""):
            kept.append({**each, "weight": wish.stable})
        elif host in extras or subset in extras:
            kept.append({**each, "weight": extras.pop(host if host in extras else subset).weight})
        elif host not in wish.gone and subset not in wish.gone:
            kept.append(each)
    for extra in extras.values():
        target = {"host": rule_host, "subset": extra.service} if rule is not None and rule_host else {"host": extra.service}
        kept.append({"destination": target, "weight": extra.weight})
    return kept


def _is(host: str, subset: str, service: str, own_subset: str) -> bool:
    if own_subset:
        return bool(subset == own_subset)
    return bool(service) and host == service


def _added(route: ManagedRoute, base: list[Obj], rule: DestinationRuleRef | None, rule_host: str, wish: Wish) -> Obj:
    """A header route sends what matches to the canary; a mirror route copies it there, and divides it as ever."""
    target: Obj = {"host": rule_host or wish.canary_service}
    port = ((base[0].get("destination") or {}).get("port")) if base else None
    if port:
        target["port"] = port
    if rule is not None and rule.canary_subset:
        target["subset"] = rule.canary_subset
    if not route.mirror:
        matches = [{"headers": {str(match.get("headerName", "")): _present(match.get("headerValue") or {})}}
                   for match in route.spec.get("match") or ()]
        return {"name": route.name, "match": matches, "route": [{"destination": target, "weight": 100}]}
    renamed = {"method": "method", "path": "uri", "headers": "headers"}
    matches = [{renamed[key]: value for key, value in match.items() if key in renamed} for match in route.spec["match"]]
    percentage = route.spec.get("percentage")
    return {"name": route.name, "match": matches, "route": [copy_of(each) for each in base], "mirror": target,
            "mirrorPercentage": {"value": 100 if percentage is None else percentage}}


def _present(match: Obj) -> Obj:
    return {kind: match[kind] for kind in ("exact", "regex", "prefix") if match.get(kind)}


# --- DestinationRule ----------------------------------------------------------------------------------------------


def move_subsets(obj: Obj, ref: DestinationRuleRef, rollout: str, wish: Wish) -> Action | None:
    """Which pods the two subsets (and those of experiments) mean; None where the rule says so already."""
    extras = {extra.service: extra for extra in wish.extras}
    subsets: list[Obj] = []
    for subset in map(copy_of, spec_of(obj).get("subsets") or ()):
        name = subset.get("name", "")
        if name == ref.canary_subset:
            subsets.append(_selecting(subset, wish.canary_hash))
        elif name == ref.stable_subset:
            subsets.append(_selecting(subset, wish.stable_hash))
        elif name in extras:
            subsets.append(_selecting(subset, extras.pop(name).hash))
        elif name not in wish.gone:
            subsets.append(subset)
    subsets += [{"name": extra.service, "labels": {HASH_LABEL: extra.hash}} for extra in extras.values()]
    patch: dict[str, Any] = {}
    if annotations_of(obj).get(MANAGED_BY) != rollout:
        patch["metadata"] = {"annotations": {MANAGED_BY: rollout}}
    if subsets != (spec_of(obj).get("subsets") or []):
        patch["spec"] = {"subsets": subsets}
    meta = meta_of(obj)
    return Change(DESTINATION_RULES, str(meta.get("namespace", "")), str(meta["name"]), MergePatch(patch)) if patch else None


def _selecting(subset: Obj, pod_hash: str) -> Obj:
    labels = {name: value for name, value in (subset.get("labels") or {}).items() if name != HASH_LABEL}
    if pod_hash:
        labels[HASH_LABEL] = pod_hash
    return {**subset, "labels": labels}
