"""From the rules of VirtualServices and HTTPRoutes to routes, and to who answers for a Service from inside.

A target without ready endpoints gives its share to the others, so that an empty canary costs nobody a request; where none is
ready, the first keeps it all and answers 503.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from fairway.kube.objects import Key
from fairway.traffic.changes import joined
from fairway.traffic.model import Backend, HeaderChanges, Mirror, Route
from fairway.traffic.read import Remark, ServicePort
from fairway.traffic.rules import Destination, Match, RuleSet


class PortKey(NamedTuple):
    namespace: str
    service: str
    port: int


class Group(NamedTuple):
    """One cluster, the pod template hash of its pods, and how many of them are ready."""

    cluster: str
    subset: str
    ready: int


NOT_READY = "DestinationNotReady"
"""Where this is said of an object, what it asks for is not wholly in force: it is not answered for."""
Groups = Mapping[PortKey, tuple[Group, ...]]
Ports = Mapping[Key, tuple[ServicePort, ...]]
Spread = Callable[[Iterable[tuple[int, tuple[Group, ...]]]], tuple[Backend, ...]]

_KIND_ORDER = {"exact": 0, "regex": 1, "prefix": 2}


def rule_routes(sets: Iterable[RuleSet], groups: Groups, ports: Ports, spread: Spread,
                remarks: list[Remark]) -> dict[str, list[Route]]:
    """Routes by host, in the order in which they are to be asked. A host of two objects belongs to both, in the order of
    their names."""
    found: dict[str, list[Route]] = defaultdict(list)
    for rule_set in sorted(sets, key=lambda one: (one.kind, one.key)):
        routes: list[tuple[Match, Route]] = []
        for rule in rule_set.rules:
            backends = _backends(rule_set, rule.targets, groups, ports, spread, remarks)
            if not backends and rule.treatment.instead is None:
                continue
            mirrors = _mirrors(rule_set, rule.mirror, rule.mirror_percent, groups, ports, remarks)
            routes += [(match, Route(match.path, match.kind, backends, match.headers, (), match.queries,
                                     mirrors, rule.rewrite, treatment=rule.treatment))
                       for match in rule.matches]
        if not rule_set.ordered:
            routes.sort(key=lambda pair: (_KIND_ORDER[pair[0].kind], -len(pair[0].path), -len(pair[0].headers),
                                         -len(pair[0].queries)))
        for host in rule_set.hosts:
            found[host] += [route for _, route in routes]
    return found


def inside(sets: Iterable[RuleSet], groups: Groups, ports: Ports, spread: Spread) -> dict[PortKey, tuple[Backend, ...]]:
    """Who answers at a Service's own address, where a VirtualService names that Service as a host: its last rule, which is the
    one for everybody. Matches, redirects, faults, retries and timeouts are the ingress's alone."""
    found: dict[PortKey, tuple[Backend, ...]] = {}
    for rule_set in sets:
        base = next((rule for rule in reversed(rule_set.rules) if rule.matches == (Match(),)), None)
        for service in rule_set.services if base else ():
            for port in ports.get(service, ()):
                backends = _backends(rule_set, base.targets, groups, ports, spread, []) if base else ()
                if base and backends and port.protocol != "tcp":
                    found[PortKey(*service, port.port)] = tuple(
                        replace(backend, changes=joined(backend.changes, base.treatment.changes)) for backend in backends)
    return found


def _backends(rule_set: RuleSet, targets: Iterable[Destination], groups: Groups, ports: Ports, spread: Spread,
              remarks: list[Remark]) -> tuple[Backend, ...]:
    parts = []
    changes: dict[str, HeaderChanges] = {}
    for target in targets:
        behind = _behind(rule_set, target, groups, ports, remarks)
        parts.append((target.weight, behind))
        changes |= {group.cluster: target.changes for group in behind}
    parts = [(weight, behind) for weight, behind in parts if behind]
    ready = [(weight, behind) for weight, behind in parts if weight > 0 and any(group.ready for group in behind)]
    if ready and len(ready) < sum(1 for weight, _ in parts if weight > 0):
        remarks.append(Remark.on(rule_set.kind, rule_set.key, NOT_READY,
                                 "a destination has no ready endpoints; the others take its share"))
    return tuple(replace(backend, changes=changes[backend.cluster])
                 for backend in spread(ready or [(1, behind) for _, behind in parts[:1]]))


def _mirrors(rule_set: RuleSet, target: Destination | None, percent: float, groups: Groups, ports: Ports,
             remarks: list[Remark]) -> tuple[Mirror, ...]:
    behind = _behind(rule_set, target, groups, ports, remarks) if target else ()
    best = max((group for group in behind if group.ready), key=lambda group: group.ready, default=None)
    return (Mirror(best.cluster, percent),) if best and percent > 0 else ()


def _behind(rule_set: RuleSet, target: Destination, groups: Groups, ports: Ports, remarks: list[Remark]) -> tuple[Group, ...]:
    known = ports.get(target.service)
    if known is None:
        remarks.append(Remark.on(rule_set.kind, rule_set.key, "ServiceMissing", f"service {target.service} does not exist"))
        return ()
    port = next((p for p in known if target.port in (p.port, p.name)), known[0] if target.port is None and known else None)
    if port is None:
        shown = ", ".join(f"{p.name or '-'}={p.port}" for p in known)
        remarks.append(Remark.on(rule_set.kind, rule_set.key, "PortMissing",
                                 f"service {target.service} has no port {target.port!r} (it has {shown})"))
        return ()
    found = groups[PortKey(*target.service, port.port)]
    chosen = tuple(group for group in found if not target.subset or group.subset == target.subset)
    return chosen or tuple(group._replace(ready=0) for group in found[:1])
