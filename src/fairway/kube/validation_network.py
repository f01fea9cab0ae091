"""What the API refuses in Services, Ingresses, policies and endpoints, in its own words. Pure.

Source: kubernetes `pkg/apis/{core,networking,discovery}/validation`; rules and message texts only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Any

from fairway.kube.objects import Obj, dig
from fairway.kube.refusals import FieldError, duplicate, forbidden, invalid_value, required, unsupported
from fairway.kube.validation_shapes import (
    host,
    is_address,
    label_name,
    labels,
    one_of,
    path_segment,
    port,
    port_name,
    port_or_name,
    selector,
    subdomain,
)

Errors = Iterator[FieldError]

_KINDS = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_LONGEST_AFFINITY_S = 86400
_ADDRESS_WORDS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_RANGE_WORDS = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_MOST_ENDPOINTS, _MOST_ENDPOINT_PORTS = 1000, 20000


def service(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    kind, ports, address = spec.get("type"), spec.get("ports") or (), spec.get("clusterIP")
    if not ports and kind != "ExternalName" and address != "None":
        yield required("spec.ports")
    if kind in ("LoadBalancer", "NodePort") and address == "None":
        yield invalid_value("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services")
    if kind == "ExternalName":
        if address:
            yield forbidden("spec.clusterIPs", "may not be set for ExternalName services")
        name = (spec.get("externalName") or "").removesuffix(".")
        if name:
            yield from subdomain("spec.externalName", name)
        else:
            yield required("spec.externalName")
    yield from _service_ports(ports, "spec.ports")
    yield from labels("spec.selector", spec.get("selector") or {})
    yield from _affinity(spec)
    if address not in (None, "", "None") and not is_address(address):
        yield invalid_value("spec.clusterIPs[0]", address, _ADDRESS_WORDS)
    for place, external in enumerate(spec.get("externalIPs") or ()):
        if not is_address(external):
            yield invalid_value(f"spec.externalIPs[{place}]", external, _ADDRESS_WORDS)
    yield from one_of("spec.type", kind, _KINDS)
    yield from _node_ports(ports, kind)
    yield from _repeated_ports(ports)
    yield from _policies(spec)


def _service_ports(ports: Any, path: str) -> Errors:
    names: set[str] = set()
    for place, row in enumerate(ports):
        here, name = f"{path}[{place}]", row.get("name") or ""
        if not name and len(ports) > 1:
            yield required(f"{here}.name")
        elif name:
            yield from label_name(f"{here}.name", name)
            if name in names:
                yield duplicate(f"{here}.name", name)
            names.add(name)
        yield from port(f"{here}.port", row.get("port", 0))
        yield from one_of(f"{here}.protocol", row.get("protocol"), _PROTOCOLS)
        yield from port_or_name(f"{here}.targetPort", row.get("targetPort", 0))


def _affinity(spec: Mapping[str, Any]) -> Errors:
    kind = spec.get("sessionAffinity")
    yield from one_of("spec.sessionAffinity", kind, ("ClientIP", "None"))
    config = spec.get("sessionAffinityConfig")
    if kind == "None" and config is not None:
        yield forbidden("spec.sessionAffinityConfig", "must not be set when session affinity is None")
    seconds = dig(config or {}, "clientIP", "timeoutSeconds")
    if kind == "ClientIP" and isinstance(seconds, int) and not 0 < seconds <= _LONGEST_AFFINITY_S:
        yield invalid_value("spec.sessionAffinityConfig.clientIP.timeoutSeconds", seconds,
                            f"must be greater than 0 and less than {_LONGEST_AFFINITY_S}")


def _node_ports(ports: Any, kind: Any) -> Errors:
    seen: set[tuple[Any, Any]] = set()
    for place, row in enumerate(ports):
        number = row.get("nodePort")
        if not number:
            continue
        if kind == "ClusterIP":
            yield forbidden(f"spec.ports[{place}].nodePort", "may not be used when `type` is 'ClusterIP'")
        if (row.get("protocol"), number) in seen:
            yield duplicate(f"spec.ports[{place}].nodePort", number)
        seen.add((row.get("protocol"), number))


def _repeated_ports(ports: Any) -> Errors:
    seen: set[tuple[Any, Any]] = set()
    for place, row in enumerate(ports):
        identity = (row.get("port"), row.get("protocol"))
        if identity in seen:
            shown = {"Name": "", "Protocol": identity[1], "AppProtocol": None, "Port": identity[0], "TargetPort": 0,
                     "NodePort": 0}
            yield duplicate(f"spec.ports[{place}]", shown, ordered=True)
        seen.add(identity)


def _policies(spec: Mapping[str, Any]) -> Errors:
    outside = spec.get("type") in ("NodePort", "LoadBalancer") or spec.get("externalIPs")
    policy = spec.get("externalTrafficPolicy")
    if policy is not None and not outside:
        yield invalid_value("spec.externalTrafficPolicy", policy, "may only be set for externally-accessible services")
    elif policy not in (None, "Cluster", "Local"):
        yield unsupported("spec.externalTrafficPolicy", policy, ("Cluster", "Local"))
    if spec.get("internalTrafficPolicy") not in (None, "Cluster", "Local"):
        yield unsupported("spec.internalTrafficPolicy", spec["internalTrafficPolicy"], ("Cluster", "Local"))
    if spec.get("loadBalancerSourceRanges") and spec.get("type") != "LoadBalancer":
        yield forbidden("spec.LoadBalancerSourceRanges", "may only be used when `type` is 'LoadBalancer'")
    if spec.get("loadBalancerClass") is not None and spec.get("type") != "LoadBalancer":
        yield forbidden("spec.loadBalancerClass", "may only be used when `type` is 'LoadBalancer'")


def service_change(old: Obj, new: Obj) -> Errors:
    before, after = (dig(obj, "spec", "clusterIP", default="") for obj in (old, new))
    outside = any(dig(obj, "spec", "type") == "ExternalName" for obj in (old, new))
    if before and after != before and not outside:
        yield invalid_value("spec.clusterIPs[0]", [after], "may not change once set")


# --- ingress ----------------------------------------------------------------------------------------------------------


def ingress(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    if not spec.get("rules") and not spec.get("defaultBackend"):
        yield invalid_value("spec", spec.get("rules"), "either `defaultBackend` or `rules` must be specified")
    if spec.get("defaultBackend"):
        yield from _backend(spec["defaultBackend"], "spec.defaultBackend")
    for place, rule in enumerate(spec.get("rules") or ()):
        if rule.get("host"):
            yield from host(f"spec.rules[{place}].host", rule["host"])
        paths = dig(rule, "http", "paths")
        if "http" in rule and not paths:
            yield required(f"spec.rules[{place}].http.paths")
        for number, entry in enumerate(paths or ()):
            yield from _ingress_path(entry, f"spec.rules[{place}].http.paths[{number}]")
    for place, tls in enumerate(spec.get("tls") or ()):
        for number, name in enumerate(tls.get("hosts") or ()):
            yield from host(f"spec.tls[{place}].hosts[{number}]", name)
        if tls.get("secretName"):
            yield from subdomain(f"spec.tls[{place}].secretName", tls["secretName"])
    name = spec.get("ingressClassName")
    if name is not None:
        yield from subdomain("spec.ingressClassName", name)
    annotated = (obj["metadata"].get("annotations") or {}).get("kubernetes.io/ingress.class")
    if annotated is not None and name is not None and annotated != name:
        yield invalid_value("annotations.kubernetes.io/ingress.class", annotated,
                            "must match `ingressClassName` when both are specified")


def _ingress_path(entry: Mapping[str, Any], path: str) -> Errors:
    kind, target = entry.get("pathType"), entry.get("path") or ""
    if kind is None:
        yield required(f"{path}.pathType", "pathType must be specified")
        return
    if kind not in _PATH_TYPES:
        yield unsupported(f"{path}.pathType", kind, _PATH_TYPES)
    elif not target.startswith("/") and (target or kind != "ImplementationSpecific"):
        yield invalid_value(f"{path}.path", target, "must be an absolute path")
    if kind in ("Exact", "Prefix"):
        for mark in ("//", "/./", "/../", "%2f", "%2F"):
            if mark in target:
                yield invalid_value(f"{path}.path", target, f"must not contain '{mark}'")
        for mark in ("/..", "/."):
            if target.endswith(mark):
                yield invalid_value(f"{path}.path", target, f"cannot end with '{mark}'")
    yield from _backend(entry.get("backend") or {}, f"{path}.backend")


def _backend(backend: Mapping[str, Any], path: str) -> Errors:
    found, other = backend.get("service"), backend.get("resource")
    if found is not None and other is not None:
        yield invalid_value(path, "", "cannot set both resource and service backends")
    elif other is not None:
        yield from _reference(other, f"{path}.resource")
    elif found is None:
        yield invalid_value(path, "", "resource or service backend is required")
    else:
        if not found.get("name"):
            yield required(f"{path}.service.name")
        else:
            yield from label_name(f"{path}.service.name", found["name"])
        name, number = dig(found, "port", "name", default=""), dig(found, "port", "number", default=0)
        if name and number:
            yield invalid_value(path, "", "cannot set both port name & port number")
        elif name:
            yield from port_name(f"{path}.service.port.name", name)
        elif number:
            yield from port(f"{path}.service.port.number", number)
        else:
            yield required(path, "port name or number is required")


def _reference(found: Mapping[str, Any], path: str) -> Errors:
    if found.get("apiGroup"):
        yield from subdomain(f"{path}.apiGroup", found["apiGroup"])
    for name in ("kind", "name"):
        if not found.get(name):
            yield required(f"{path}.{name}")
        else:
            yield from path_segment(f"{path}.{name}", found[name])


def ingress_class(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    if not spec.get("controller"):
        yield required("spec.controller")
    elif "/" not in spec["controller"]:
        yield invalid_value("spec.controller", spec["controller"], 'must be a domain-prefixed path (such as "acme.io/foo")')
    parameters = spec.get("parameters")
    if parameters is None:
        return
    yield from _reference(parameters, "spec.parameters")
    scope, namespace = parameters.get("scope"), parameters.get("namespace")
    yield from one_of("spec.parameters.scope", scope, ("Cluster", "Namespace"))
    if scope == "Namespace" and not namespace:
        yield required("spec.parameters.namespace", "`parameters.scope` is set to 'Namespace'")
    if scope == "Cluster" and namespace is not None:
        yield forbidden("spec.parameters.namespace", "`parameters.scope` is set to 'Cluster'")


# --- policies and endpoints -------------------------------------------------------------------------------------------


def network_policy(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    yield from selector("spec.podSelector", spec.get("podSelector"))
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for place, rule in enumerate(spec.get(direction) or ()):
            here = f"spec.{direction}[{place}]"
            for number, row in enumerate(rule.get("ports") or ()):
                yield from _policy_port(row, f"{here}.ports[{number}]")
            for number, peer in enumerate(rule.get(peers) or ()):
                yield from _peer(peer, f"{here}.{peers}[{number}]")
    types = spec.get("policyTypes") or ()
    if len(types) > 2:
        yield invalid_value("spec.policyTypes", types, "may not specify more than two policyTypes")
        return
    for place, kind in enumerate(types):
        if kind not in ("Ingress", "Egress"):
            yield unsupported(f"spec.policyTypes[{place}]", kind, ("Ingress", "Egress"))


def _policy_port(row: Mapping[str, Any], path: str) -> Errors:
    if row.get("protocol") not in (None, *_PROTOCOLS):
        yield unsupported(f"{path}.protocol", row["protocol"], ("TCP", "UDP", "SCTP"))
    first, last = row.get("port"), row.get("endPort")
    if first is not None:
        yield from port_or_name(f"{path}.port", first)
    if last is None:
        return
    if first is None:
        yield invalid_value(f"{path}.endPort", last, "may not be specified when `port` is not specified")
    elif isinstance(first, str):
        yield invalid_value(f"{path}.endPort", last, "may not be specified when `port` is non-numeric")
    else:
        if last < first:
            yield invalid_value(f"{path}.endPort", last, "must be greater than or equal to `port`")
        yield from port(f"{path}.endPort", last)


def _peer(peer: Mapping[str, Any], path: str) -> Errors:
    for name in ("podSelector", "namespaceSelector"):
        yield from selector(f"{path}.{name}", peer.get(name))
    block = peer.get("ipBlock")
    if block is not None:
        yield from _ip_block(block, f"{path}.ipBlock")
    present = [name for name in ("podSelector", "namespaceSelector", "ipBlock") if name in peer]
    if not present:
        yield required(path, "must specify a peer")
    elif len(present) > 1 and block is not None:
        yield forbidden(path, "may not specify both ipBlock and another peer")


def _ip_block(block: Mapping[str, Any], path: str) -> Errors:
    if not block.get("cidr"):
        yield required(f"{path}.cidr")
        return
    whole = _network(block["cidr"])
    if whole is None:
        yield invalid_value(f"{path}.cidr", block["cidr"], _RANGE_WORDS)
        return
    for place, text in enumerate(block.get("except") or ()):
        part = _network(text)
        if part is None:
            yield invalid_value(f"{path}.except[{place}]", text, _RANGE_WORDS)
        elif part.version != whole.version or part == whole or not part.subnet_of(whole):
            yield invalid_value(f"{path}.except[{place}]", text, "must be a strict subset of `cidr`")


def _network(text: str) -> Any:
    try:
        return ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        return None


def endpoints(obj: Obj) -> Errors:
    for place, subset in enumerate(obj.get("subsets") or ()):
        here = f"subsets[{place}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            yield required(here, "must specify `addresses` or `notReadyAddresses`")
        for field in ("addresses", "notReadyAddresses"):
            for number, row in enumerate(subset.get(field) or ()):
                if not is_address(str(row.get("ip", ""))):
                    yield invalid_value(f"{here}.{field}[{number}].ip", row.get("ip", ""), _ADDRESS_WORDS)
        ports = subset.get("ports") or ()
        for number, row in enumerate(ports):
            if len(ports) > 1 and not row.get("name"):
                yield required(f"{here}.ports[{number}].name")
            yield from port(f"{here}.ports[{number}].port", row.get("port", 0))
            yield from one_of(f"{here}.ports[{number}].protocol", row.get("protocol"), _PROTOCOLS)


def endpoint_slice(obj: Obj) -> Errors:
    kind = obj.get("addressType")
    yield from one_of("addressType", kind, ("FQDN", "IPv4", "IPv6"))
    ends = obj.get("endpoints") or ()
    if len(ends) > _MOST_ENDPOINTS:
        yield FieldError("endpoints", f"Too many: {len(ends)}: must have at most {_MOST_ENDPOINTS} items", "FieldValueTooMany")
    for place, end in enumerate(ends):
        if not end.get("addresses"):
            yield required(f"endpoints[{place}].addresses", "must contain at least 1 address")
        for number, address in enumerate(end.get("addresses") or ()):
            if kind in ("IPv4", "IPv6") and not is_address(address):
                yield invalid_value(f"endpoints[{place}].addresses[{number}]", address, _ADDRESS_WORDS)
    names: set[str] = set()
    for place, row in enumerate(obj.get("ports") or ()):
        name = row.get("name") or ""
        if name in names:
            yield duplicate(f"ports[{place}].name", name)
        names.add(name)
        yield from one_of(f"ports[{place}].protocol", row.get("protocol"), _PROTOCOLS)
