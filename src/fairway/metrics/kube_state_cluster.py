"""The series of kube-state-metrics about nodes, namespaces, storage, network and configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fairway.kube import resources
from fairway.kube.objects import Obj, dig, labels_of, meta_of, spec_of, status_of
from fairway.kube.quantity import parse_quantity
from fairway.kube.resources import Resource
from fairway.metrics.kube_state_samples import Sample, about, amounts, conditions, named, one_of, sample

_ROLE = "node-role.kubernetes.io/"
_PHASES: Mapping[str, tuple[str, ...]] = {
    "persistentvolumeclaim": ("Bound", "Lost", "Pending"),
    "persistentvolume": ("Available", "Bound", "Failed", "Pending", "Released"),
    "namespace": ("Active", "Terminating"),
}


def _phase(kind: str, obj: Obj, labels: Mapping[str, str]) -> Iterator[Sample]:
    return one_of(f"kube_{kind}_status_phase", labels, "phase", _PHASES[kind], status_of(obj).get("phase"))


def _node(obj: Obj) -> Iterator[Sample]:
    name, info = meta_of(obj)["name"], status_of(obj).get("nodeInfo") or {}
    labels = {"node": name}
    addresses = {one["type"]: one["address"] for one in status_of(obj).get("addresses") or ()}
    yield sample("kube_node_info", {
        **labels, "kernel_version": info.get("kernelVersion", ""), "os_image": info.get("osImage", ""),
        "container_runtime_version": info.get("containerRuntimeVersion", ""), "kubelet_version": info.get("kubeletVersion", ""),
        "internal_ip": addresses.get("InternalIP", "")}, 1)  # fmt: skip
    yield from about("node", obj, labels)
    yield from conditions("node", obj, labels)
    yield sample("kube_node_spec_unschedulable", labels, float(bool(spec_of(obj).get("unschedulable"))))
    for taint in spec_of(obj).get("taints") or ():
        yield sample("kube_node_spec_taint", {**labels, "key": taint["key"], "value": taint.get("value", ""),
                                              "effect": taint.get("effect", "")}, 1)  # fmt: skip
    for role in labels_of(obj):
        if role.startswith(_ROLE):
            yield sample("kube_node_role", {**labels, "role": role.removeprefix(_ROLE)}, 1)
    for kind in ("capacity", "allocatable"):
        yield from amounts(f"kube_node_status_{kind}", labels, status_of(obj).get(kind))


def _namespace(obj: Obj) -> Iterator[Sample]:
    labels = {"namespace": meta_of(obj)["name"]}
    yield from about("namespace", obj, labels)
    yield from _phase("namespace", obj, labels)
    yield from conditions("namespace", obj, labels)


def _quota(obj: Obj) -> Iterator[Sample]:
    labels = named("resourcequota", obj)
    yield from about("resourcequota", obj, labels)
    for kind in ("hard", "used"):
        for resource, amount in (status_of(obj).get(kind) or {}).items():
            yield sample("kube_resourcequota", {**labels, "resource": resource, "type": kind}, float(parse_quantity(amount)))


def _limit_range(obj: Obj) -> Iterator[Sample]:
    labels = named("limitrange", obj)
    yield from about("limitrange", obj, labels)
    for limit in spec_of(obj).get("limits") or ():
        for constraint in ("min", "max", "default", "defaultRequest", "maxLimitRequestRatio"):
            for resource, amount in (limit.get(constraint) or {}).items():
                yield sample("kube_limitrange", {**labels, "resource": resource, "type": limit["type"],
                                                 "constraint": constraint}, float(parse_quantity(amount)))  # fmt: skip


# --- storage ----------------------------------------------------------------------------------------------------------


def _claim(obj: Obj) -> Iterator[Sample]:
    labels, spec = named("persistentvolumeclaim", obj), spec_of(obj)
    yield sample("kube_persistentvolumeclaim_info", {
        **labels, "storageclass": spec.get("storageClassName", ""), "volumename": spec.get("volumeName", ""),
        "volumemode": spec.get("volumeMode", "")}, 1)  # fmt: skip
    yield from about("persistentvolumeclaim", obj, labels)
    yield from _phase("persistentvolumeclaim", obj, labels)
    if asked := dig(spec, "resources", "requests", "storage"):
        yield sample("kube_persistentvolumeclaim_resource_requests_storage_bytes", labels, float(parse_quantity(asked)))
    for mode in spec.get("accessModes") or ():
        yield sample("kube_persistentvolumeclaim_access_mode", {**labels, "access_mode": mode}, 1)


def _volume(obj: Obj) -> Iterator[Sample]:
    labels, spec = {"persistentvolume": meta_of(obj)["name"]}, spec_of(obj)
    csi = spec.get("csi") or {}
    yield sample("kube_persistentvolume_info", {
        **labels, "storageclass": spec.get("storageClassName", ""), "csi_driver": csi.get("driver", ""),
        "csi_volume_handle": csi.get("volumeHandle", ""), "host_path": dig(spec, "hostPath", "path", default=""),
    }, 1)  # fmt: skip
    yield from about("persistentvolume", obj, labels)
    yield from _phase("persistentvolume", obj, labels)
    if size := dig(spec, "capacity", "storage"):
        yield sample("kube_persistentvolume_capacity_bytes", labels, float(parse_quantity(size)))
    if ref := spec.get("claimRef"):
        yield sample("kube_persistentvolume_claim_ref", {
            **labels, "name": ref.get("name", ""), "claim_namespace": ref.get("namespace", "")}, 1)  # fmt: skip


def _storage_class(obj: Obj) -> Iterator[Sample]:
    labels = {"storageclass": meta_of(obj)["name"]}
    yield sample("kube_storageclass_info", {
        **labels, "provisioner": obj.get("provisioner", ""), "reclaim_policy": obj.get("reclaimPolicy", ""),
        "volume_binding_mode": obj.get("volumeBindingMode", "")}, 1)  # fmt: skip
    yield from about("storageclass", obj, labels)


# --- network ----------------------------------------------------------------------------------------------------------


def _service(obj: Obj) -> Iterator[Sample]:
    labels, spec = {**named("service", obj), "uid": str(meta_of(obj).get("uid", ""))}, spec_of(obj)
    yield sample("kube_service_info", {
        **labels, "cluster_ip": spec.get("clusterIP", ""), "external_name": spec.get("externalName", ""),
        "load_balancer_ip": spec.get("loadBalancerIP", "")}, 1)  # fmt: skip
    yield from about("service", obj, labels)
    yield sample("kube_service_spec_type", {**labels, "type": spec.get("type", "ClusterIP")}, 1)
    for address in spec.get("externalIPs") or ():
        yield sample("kube_service_spec_external_ip", {**labels, "external_ip": address}, 1)
    for one in dig(obj, "status", "loadBalancer", "ingress", default=()):
        yield sample("kube_service_status_load_balancer_ingress", {
            **labels, "ip": one.get("ip", ""), "hostname": one.get("hostname", "")}, 1)  # fmt: skip


def _endpoints(obj: Obj) -> Iterator[Sample]:
    labels = named("endpoint", obj)
    yield sample("kube_endpoint_info", labels, 1)
    yield from about("endpoint", obj, labels)
    for subset in obj.get("subsets") or ():
        for port in subset.get("ports") or ():
            yield sample("kube_endpoint_ports", {**labels, "port_name": port.get("name", ""), "port_number": str(port["port"]),
                                                 "port_protocol": port.get("protocol", "TCP")}, 1)  # fmt: skip
        for kind, ready in (("addresses", "true"), ("notReadyAddresses", "false")):
            for address in subset.get(kind) or ():
                yield sample("kube_endpoint_address", {**labels, "ip": address["ip"], "ready": ready}, 1)


def _slice(obj: Obj) -> Iterator[Sample]:
    labels = named("endpointslice", obj)
    yield sample("kube_endpointslice_info", {**labels, "addresstype": obj.get("addressType", "")}, 1)
    yield from about("endpointslice", obj, labels)
    for endpoint in obj.get("endpoints") or ():
        said = endpoint.get("conditions") or {}
        for address in endpoint.get("addresses") or ():
            yield sample("kube_endpointslice_endpoints", {
                **labels, "address": address, "hostname": endpoint.get("hostname", ""),
                "ready": _word(said.get("ready")), "serving": _word(said.get("serving")),
                "terminating": _word(said.get("terminating")), "targetref_kind": dig(endpoint, "targetRef", "kind", default=""),
                "targetref_name": dig(endpoint, "targetRef", "name", default=""),
                "targetref_namespace": dig(endpoint, "targetRef", "namespace", default=""),
                "endpoint_nodename": endpoint.get("nodeName", "")}, 1)  # fmt: skip
    for port in obj.get("ports") or ():
        yield sample("kube_endpointslice_ports", {**labels, "port_name": port.get("name", ""),
                                                  "port_number": str(port.get("port", "")),
                                                  "port_protocol": port.get("protocol", "")}, 1)  # fmt: skip


def _word(said: Any) -> str:
    return "" if said is None else str(bool(said)).lower()


def _ingress(obj: Obj) -> Iterator[Sample]:
    labels, spec = named("ingress", obj), spec_of(obj)
    yield sample("kube_ingress_info", {**labels, "ingressclass": spec.get("ingressClassName", "_default")}, 1)
    yield from about("ingress", obj, labels)
    for rule in spec.get("rules") or ():
        for path in dig(rule, "http", "paths", default=()):
            service = dig(path, "backend", "service", default={})
            port = service.get("port") or {}
            yield sample("kube_ingress_path", {
                **labels, "host": rule.get("host", ""), "path": path.get("path", ""), "path_type": path.get("pathType", ""),
                "service_name": service.get("name", ""), "service_port": str(port.get("name") or port.get("number") or ""),
            }, 1)  # fmt: skip
    for tls in spec.get("tls") or ():
        for host in tls.get("hosts") or ():
            yield sample("kube_ingress_tls", {**labels, "tls_host": host, "secret": tls.get("secretName", "")}, 1)


def _network_policy(obj: Obj) -> Iterator[Sample]:
    labels = named("networkpolicy", obj)
    yield from about("networkpolicy", obj, labels)
    for kind in ("ingress", "egress"):
        yield sample(f"kube_networkpolicy_spec_{kind}_rules", labels, float(len(spec_of(obj).get(kind) or ())))


# --- configuration ----------------------------------------------------------------------------------------------------


def _config_map(obj: Obj) -> Iterator[Sample]:
    labels = named("configmap", obj)
    yield sample("kube_configmap_info", labels, 1)
    yield from about("configmap", obj, labels)


def _secret(obj: Obj) -> Iterator[Sample]:
    labels = named("secret", obj)
    yield sample("kube_secret_info", labels, 1)
    yield sample("kube_secret_type", {**labels, "type": obj.get("type", "Opaque")}, 1)
    yield from about("secret", obj, labels)


SERIES: Mapping[Resource, Callable[[Obj], Iterator[Sample]]] = {
    resources.NODES: _node,
    resources.NAMESPACES: _namespace,
    resources.RESOURCE_QUOTAS: _quota,
    resources.LIMIT_RANGES: _limit_range,
    resources.PERSISTENT_VOLUME_CLAIMS: _claim,
    resources.PERSISTENT_VOLUMES: _volume,
    resources.STORAGE_CLASSES: _storage_class,
    resources.SERVICES: _service,
    resources.ENDPOINTS: _endpoints,
    resources.ENDPOINT_SLICES: _slice,
    resources.INGRESSES: _ingress,
    resources.NETWORK_POLICIES: _network_policy,
    resources.CONFIG_MAPS: _config_map,
    resources.SECRETS: _secret,
}
