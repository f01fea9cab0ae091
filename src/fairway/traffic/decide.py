"""From what the API says to who answers a request.

A Service port becomes one cluster per pod template hash among its ready endpoints, so that every version has statistics
of its own; requests are spread by the number of ready endpoints. A canary Ingress takes its weight from the Ingress with
the same host and path, and only while its own backend has ready endpoints: exposure never exceeds what was asked, and an
empty canary costs nobody a request.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import gcd
from typing import NamedTuple

from fairway.kube.objects import Key
from fairway.traffic.addresses import is_loopback, listening_port
from fairway.traffic.decide_rules import NOT_READY, Group, PortKey, inside, rule_routes
from fairway.traffic.model import (
    Backend,
    Cluster,
    CookieMatch,
    Endpoint,
    HeaderMatch,
    IngressListener,
    Model,
    Route,
    ServiceListener,
    VirtualHost,
)
from fairway.traffic.read import Canary, Ingress, IngressPath, Remark, Service, ServicePort, Slice
from fairway.traffic.rules import RuleKind, RuleSet


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that routing depends on."""

    services: tuple[Service, ...]
    slices: tuple[Slice, ...]
    ingresses: tuple[Ingress, ...]
    pod_hashes: Mapping[Key, str]
    ingress_address: str
    ingress_port: int
    unprivileged_from: int = 0
    rule_sets: tuple[RuleSet, ...] = ()
    listening: Collection[str] = ()
    """Names of the Service listeners that there are."""


@dataclass(frozen=True, slots=True)
class Routing:
    """The model, and what follows from it once it is in force.

    `serving`: per EndpointSlice, the addresses that the model sends requests to. `weights`: per canary Ingress, the
    share of requests that it gets ("20" of its total), per Ingress of an ALB the weights of its action ("20,80").
    `generations`: per VirtualService and HTTPRoute, what of it was read. `looked_at`: every Ingress that this was decided
    from; of any other nothing may be said.
    """

    model: Model
    serving: dict[Key, tuple[str, ...]] = field(default_factory=dict)
    weights: dict[Key, str] = field(default_factory=dict)
    generations: dict[tuple[RuleKind, Key], str] = field(default_factory=dict)
    remarks: tuple[Remark, ...] = ()
    looked_at: frozenset[Key] = frozenset()


def route(seen: Seen) -> Routing:
    groups, clusters = _clusters(seen)
    remarks: list[Remark] = []
    ports = {service.key: service.ports for service in seen.services}
    ruled = rule_routes(seen.rule_sets, groups, ports, _spread, remarks)
    services = tuple(_listeners(seen, groups, inside(seen.rule_sets, groups, ports, _spread), remarks))
    hosts, weights = _ingress(seen, groups, ruled, remarks)
    model = Model(
        IngressListener(seen.ingress_address, seen.ingress_port, hosts),
        services,
        tuple(sorted(clusters, key=lambda cluster: cluster.name)),
    )
    short = {(remark.kind, remark.key) for remark in remarks if remark.reason.code == NOT_READY}
    generations: dict[tuple[RuleKind, Key], str] = {
        (one.kind, one.key): one.generation for one in seen.rule_sets if (one.kind, one.key) not in short}
    weights |= {key: said for (kind, key), said in generations.items() if kind == "Ingress" and said}
    return Routing(model, _serving(seen, model), weights, generations, tuple(remarks))


# --- clusters -----------------------------------------------------------------------------------------------------


def _clusters(seen: Seen) -> tuple[dict[PortKey, tuple[Group, ...]], list[Cluster]]:
    slices: dict[Key, list[Slice]] = defaultdict(list)
    for found in seen.slices:
        slices[Key(found.key.namespace, found.service)].append(found)
    groups: dict[PortKey, tuple[Group, ...]] = {}
    clusters: list[Cluster] = []
    for service in seen.services:
        for port in service.ports:
            made = _clusters_of(service, port, slices.get(service.key, []), seen.pod_hashes)
            groups[PortKey(*service.key, port.port)] = tuple(Group(c.name, c.subset, len(c.endpoints)) for c in made)
            clusters.extend(made)
    return groups, clusters


def _clusters_of(service: Service, port: ServicePort, slices: Iterable[Slice],
                 hashes: Mapping[Key, str]) -> list[Cluster]:
    """One per hash, in the order of hashes; a single empty one where nothing is ready."""
    by_hash: dict[str, set[Endpoint]] = defaultdict(set)
    for found in slices:
        number = dict(found.ports).get(port.name)
        if number is None:
            continue
        for endpoint in found.endpoints:
            if endpoint.usable:
                # Connections are not divided by version: one cluster, so that the listener itself never changes.
                subset = "" if port.protocol == "tcp" else hashes.get(Key(service.key.namespace, endpoint.pod), "")
                by_hash[subset].add(Endpoint(endpoint.address, number))
    if not by_hash:
        by_hash[""] = set()
    return [
        Cluster(service.key.namespace, service.key.name, port.port, subset, tuple(sorted(endpoints)), port.protocol)
        for subset, endpoints in sorted(by_hash.items())
    ]


def _spread(parts: Iterable[tuple[int, tuple[Group, ...]]]) -> tuple[Backend, ...]:
    """Exact whole-number weights: each part has its share, divided inside by ready endpoints.

    A part whose groups are all empty keeps its share on its first cluster (which answers 503), so that the others do not
    get more than theirs.
    """
    chosen = [(share, groups) for share, groups in parts if share > 0]
    common = 1
    for _, groups in chosen:
        common *= max(sum(group.ready for group in groups), 1)
    weights: dict[str, int] = {}
    for share, groups in chosen:
        ready = sum(group.ready for group in groups)
        for group in groups if ready else groups[:1]:
            part = share * common // ready * group.ready if ready else share * common
            if part:
                weights[group.cluster] = weights.get(group.cluster, 0) + part
    divisor = gcd(*weights.values()) if weights else 1
    return tuple(Backend(name, weight // divisor) for name, weight in weights.items())


# --- Services -----------------------------------------------------------------------------------------------------


def _listeners(seen: Seen, groups: Mapping[PortKey, tuple[Group, ...]], divided: Mapping[PortKey, tuple[Backend, ...]],
               remarks: list[Remark]) -> Iterable[ServiceListener]:
    """As in Kubernetes, nobody answers at the address of a Service that has no pods, ready or not. A listener that was opened
    stays: a version that takes a while to come must not close the connections of its clients."""
    peopled = {Key(found.key.namespace, found.service) for found in seen.slices if found.endpoints}
    owners: dict[tuple[str, int], Key] = {}
    for service in seen.services:
        if not service.listens or not service.address:
            continue
        if not is_loopback(service.address):
            remarks.append(Remark.on("Service", service.key, "AddressNotLocal", f"clusterIP {service.address} is not a "
                                     "loopback address; leave spec.clusterIP out to be given one"))
            continue
        for port in service.ports:
            number = listening_port(port.port, unprivileged_from=seen.unprivileged_from)
            owner = owners.setdefault((service.address, number), service.key)
            if owner != service.key or (service.address, number) == (seen.ingress_address, seen.ingress_port):
                taken_by = f"service {owner}" if owner != service.key else "the ingress"
                remarks.append(Remark.on("Service", service.key, "AddressInUse", f"{service.address}:{number} belongs to "
                                         f"{taken_by}; remove spec.clusterIP to be given another address"))
                continue
            place = PortKey(*service.key, port.port)
            listener = ServiceListener(*service.key, port.port, service.address, number, port.protocol,
                                       divided.get(place) or _spread([(1, groups[place])]))
            if service.key in peopled or place in divided or listener.name in seen.listening:
                yield listener


# --- Ingresses ----------------------------------------------------------------------------------------------------


class _Place(NamedTuple):
    host: str
    path: str
    kind: str


def _ingress(seen: Seen, groups: Mapping[PortKey, tuple[Group, ...]], ruled: Mapping[str, list[Route]],
             remarks: list[Remark]) -> tuple[tuple[VirtualHost, ...], dict[Key, str]]:
    ports = {service.key: service.ports for service in seen.services}
    stable: dict[_Place, tuple[Ingress, IngressPath]] = {}
    canaries: dict[_Place, tuple[Ingress, IngressPath]] = {}
    for ingress in sorted(seen.ingresses, key=lambda found: (found.created, found.key)):
        table = stable if ingress.canary is None else canaries
        for path in ingress.paths:
            first = table.setdefault(_Place(path.host, path.path, path.kind), (ingress, path))
            if first[1] is not path:
                remarks.append(Remark.on("Ingress", ingress.key, "PathTaken", f"{path.host}{path.path} is served by the "
                                         f"older ingress {first[0].key}"))
    weights = {ingress.key: "0" for ingress in seen.ingresses if ingress.canary is not None}
    routes: dict[str, list[Route]] = defaultdict(list)
    for place, (ingress, path) in stable.items():
        behind = _behind(ingress.key, path, ports, groups, remarks)
        base = Route(path.path, path.kind, _spread([(1, behind)]), rewrite=ingress.rewrite,
                     idle_timeout_s=ingress.idle_timeout_s) if behind else None
        if base is None:
            continue
        taken = canaries.get(place)
        if taken is not None and taken[0].canary is not None and taken[0].key.namespace == ingress.key.namespace:
            canary = _behind(taken[0].key, taken[1], ports, groups, remarks)
            if any(group.ready for group in canary):
                weights[taken[0].key] = str(taken[0].canary.weight)
                routes[place.host].extend(_canary_routes(base, taken[0].canary, behind, canary))
                continue
            if taken[0].canary.weight or taken[0].canary.header or taken[0].canary.cookie:
                remarks.append(Remark.on("Ingress", taken[0].key, "CanaryNotReady", f"{taken[1].service} has no ready "
                                         f"endpoints; {path.service} takes all requests"))
        routes[place.host].append(base)
    _say_lost(canaries, stable, remarks)
    names = sorted(routes.keys() | ruled.keys())
    hosts = tuple(VirtualHost(host, (host,), (*ruled.get(host, ()), *_ordered(routes.get(host, ())))) for host in names)
    return hosts, weights


def _say_lost(canaries: Mapping[_Place, tuple[Ingress, IngressPath]], stable: Mapping[_Place, object],
              remarks: list[Remark]) -> None:
    for place, (ingress, _) in canaries.items():
        if place not in stable:
            remarks.append(Remark.on("Ingress", ingress.key, "CanaryWithoutMain", "no main ingress serves "
                                     f"{place.host}{place.path}; there is nothing to take from"))


def _behind(ingress: Key, path: IngressPath, ports: Mapping[Key, tuple[ServicePort, ...]],
            groups: Mapping[PortKey, tuple[Group, ...]], remarks: list[Remark]) -> tuple[Group, ...]:
    service = Key(ingress.namespace, path.service)
    if service not in ports:
        remarks.append(Remark.on("Ingress", ingress, "ServiceMissing", f"service {service} does not exist"))
        return ()
    for port in ports[service]:
        if path.port in (port.port, port.name):
            return groups[PortKey(*service, port.port)]
    known = ", ".join(f"{port.name or '-'}={port.port}" for port in ports[service])
    remarks.append(Remark.on("Ingress", ingress, "PortMissing",
                             f"service {service} has no port {path.port!r} (it has {known})"))
    return ()


def _canary_routes(base: Route, canary: Canary, stable: tuple[Group, ...], new: tuple[Group, ...]) -> Iterable[Route]:
    """In ingress-nginx's order of precedence: header, cookie, weight."""
    to_new, to_stable = _spread([(1, new)]), _spread([(1, stable)])
    if canary.header and canary.header_value:
        yield replace(base, headers=(HeaderMatch(canary.header, canary.header_value),), backends=to_new)
    elif canary.header and canary.header_pattern:
        pattern = HeaderMatch(canary.header, f".*(?:{canary.header_pattern}).*", "regex")
        yield replace(base, headers=(pattern,), backends=to_new)
    elif canary.header:
        yield replace(base, headers=(HeaderMatch(canary.header, "always"),), backends=to_new)
        yield replace(base, headers=(HeaderMatch(canary.header, "never"),), backends=to_stable)
    if canary.cookie:
        yield replace(base, cookies=(CookieMatch(canary.cookie, "always"),), backends=to_new)
        yield replace(base, cookies=(CookieMatch(canary.cookie, "never"),), backends=to_stable)
    yield replace(base, backends=_spread([(canary.total - canary.weight, stable), (canary.weight, new)]))


_KIND_ORDER = {"exact": 0, "regex": 1, "prefix": 2}


def _ordered(routes: Iterable[Route]) -> list[Route]:
    """Exact paths first, then the longest; the order within one path (header, cookie, weight) is kept."""
    return sorted(routes, key=lambda found: (_KIND_ORDER[found.path_kind], -len(found.path), found.path))


# --- what is being served -----------------------------------------------------------------------------------------


def _serving(seen: Seen, model: Model) -> dict[Key, tuple[str, ...]]:
    used = model.referenced()
    sent: dict[Key, set[str]] = defaultdict(set)
    for cluster in model.clusters:
        if cluster.name in used:
            sent[Key(cluster.namespace, cluster.service)].update(endpoint.address for endpoint in cluster.endpoints)
    return {
        found.key: tuple(
            sorted({e.address for e in found.endpoints} & sent.get(Key(found.key.namespace, found.service), set())))
        for found in seen.slices
    }
