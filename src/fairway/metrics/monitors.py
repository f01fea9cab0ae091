"""ServiceMonitors and PodMonitors, as the Prometheus operator reads them: from objects to targets. Pure."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from fairway.kube.durations import parse_duration
from fairway.kube.objects import Key, Obj, annotations_of, dig, key_of, labels_of, spec_of, status_of
from fairway.kube.selectors import from_label_selector
from fairway.metrics.protobuf_exposition import Natives
from fairway.metrics.relabel import relabelled, rules
from fairway.metrics.target import PROTOBUF, PROTOCOLS, USUAL, Target, frozen, plain, pod_labels, running, url


class Secrets:
    """What monitors refer to by `{name, key}`, in their own namespace."""

    def __init__(self, secrets: Iterable[Obj]) -> None:
        self._data = {key_of(secret): secret.get("data") or {} for secret in secrets}

    def text(self, namespace: str, reference: Mapping[str, Any] | None) -> str:
        """ValueError where there is no such secret, or no such key in it."""
        name, key = str((reference or {}).get("name") or ""), str((reference or {}).get("key") or "")
        data = self._data.get(Key(namespace, name))
        if data is None:
            raise ValueError(f"secret {name!r} does not exist in namespace {namespace!r}")
        if key not in data:
            raise ValueError(f"secret {name!r} has no key {key!r}")
        return base64.b64decode(data[key]).decode()


def monitored(
    monitor: Obj, services: Sequence[Obj], slices: Mapping[Key, list[Obj]], pods: Mapping[Key, Obj], secrets: Secrets
) -> Iterator[Target]:
    """One target per address of a selected Service that has the port which an endpoint names."""
    spec = spec_of(monitor)
    selector = from_label_selector(spec.get("selector") or {})
    for service in services:
        if not (_in_namespace(monitor, service) and selector.matches(labels_of(service))):
            continue
        for place, endpoint in enumerate(spec.get("endpoints") or ()):
            for piece in slices.get(key_of(service), []):
                for name, port in _ports(endpoint, piece):
                    for member in piece.get("endpoints") or ():
                        labels = _of_service(monitor, endpoint, service, pods, member, name, port)
                        yield from _targets(monitor, endpoint, labels, place, secrets)


def pod_monitored(monitor: Obj, pods: Sequence[Obj], secrets: Secrets) -> Iterator[Target]:
    """One target per running pod and endpoint."""
    spec = spec_of(monitor)
    selector = from_label_selector(spec.get("selector") or {})
    for pod in pods:
        if not (_in_namespace(monitor, pod) and selector.matches(labels_of(pod)) and running(pod)):
            continue
        for place, endpoint in enumerate(spec.get("podMetricsEndpoints") or ()):
            for name, port in _pod_ports(endpoint, pod):
                labels = _of_one_pod(monitor, endpoint, pod, name, port)
                yield from _targets(monitor, endpoint, labels, place, secrets)


def _in_namespace(monitor: Obj, found: Obj) -> bool:
    where = spec_of(monitor).get("namespaceSelector") or {}
    if where.get("any"):
        return True
    names = where.get("matchNames") or [key_of(monitor).namespace]
    return key_of(found).namespace in names


def _targets(
    monitor: Obj, endpoint: Mapping[str, Any], labels: dict[str, str], place: int, secrets: Secrets
) -> Iterator[Target]:
    """The target of these labels, unless a relabelling drops it."""
    kept = relabelled(labels, rules(endpoint.get("relabelings")))
    if kept is None:
        return
    params = {k[len("__param_") :]: v for k, v in kept.items() if k.startswith("__param_")}
    address = url(kept["__scheme__"], kept["__address__"], kept["__metrics_path__"], params)
    public = {k: v for k, v in kept.items() if not k.startswith("__")}
    public.setdefault("instance", kept["__address__"])
    yield Target(
        address, frozen(public), _seconds(endpoint, "interval"), bool(endpoint.get("honorLabels")),
        rules(endpoint.get("metricRelabelings")), f"{monitor.get('kind') or 'ServiceMonitor'} {key_of(monitor)}/{place}",
        _seconds(endpoint, "scrapeTimeout"), int(spec_of(monitor).get("sampleLimit") or 0),
        _authorization(endpoint, key_of(monitor).namespace, secrets),
        not dig(endpoint, "tlsConfig", "insecureSkipVerify", default=False), *_formats(spec_of(monitor)), frozen(labels),
    )  # fmt: skip


def _formats(spec: Mapping[str, Any]) -> tuple[tuple[str, ...], Natives]:
    """What the target is asked for. Native histograms come in one format only, so who asks for that format first, or for them,
    means both; `scrapeNativeHistograms: false` leaves them out of it."""
    named = [str(name) for name in spec.get("scrapeProtocols") or ()]
    for name in named:
        if name not in PROTOCOLS:
            raise ValueError(f"scrapeProtocols: {name!r} is not one of {', '.join(PROTOCOLS)}")
    asked = spec.get("scrapeNativeHistograms")
    wanted = bool(asked) or (asked is None and named[:1] == [PROTOBUF])
    protocols = tuple(dict.fromkeys([*([PROTOBUF] if asked else []), *(named or USUAL)]))
    limit, factor = spec.get("nativeHistogramBucketLimit"), spec.get("nativeHistogramMinBucketFactor")
    return protocols, Natives(wanted, bool(spec.get("scrapeClassicHistograms")), int(limit or 0), float(factor or 0))


def _seconds(endpoint: Mapping[str, Any], name: str) -> float:
    return parse_duration(str(endpoint[name])).total_seconds() if endpoint.get(name) else 0.0


def _authorization(endpoint: Mapping[str, Any], namespace: str, secrets: Secrets) -> str:
    """The header of `basicAuth`, `authorization` or `bearerTokenSecret`; "" where none is asked for."""
    if basic := endpoint.get("basicAuth"):
        pair = ":".join(secrets.text(namespace, basic.get(part)) for part in ("username", "password"))
        return f"Basic {base64.b64encode(pair.encode()).decode()}"
    if given := endpoint.get("authorization"):
        return f"{given.get('type') or 'Bearer'} {secrets.text(namespace, given.get('credentials'))}"
    if (reference := endpoint.get("bearerTokenSecret")) and reference.get("key"):
        return f"Bearer {secrets.text(namespace, reference)}"
    return ""


def _ports(endpoint: Mapping[str, Any], piece: Obj) -> Iterator[tuple[str, int]]:
    """Ports of a slice that the endpoint means: `port` is the Service port's name, `targetPort` the pod's number."""
    for port in piece.get("ports") or ():
        name, number = str(port.get("name") or ""), int(port["port"])
        if ("port" in endpoint and str(endpoint["port"]) == name) or (
            "port" not in endpoint and str(endpoint.get("targetPort", number)) in (str(number), name)
        ):
            yield name, number


def _pod_ports(endpoint: Mapping[str, Any], pod: Obj) -> Iterator[tuple[str, int]]:
    """Ports of a pod's containers that the endpoint means, by name or by number."""
    for container in spec_of(pod).get("containers") or ():
        for port in container.get("ports") or ():
            name, number = str(port.get("name") or ""), int(port.get("containerPort") or 0)
            by_number = str(endpoint.get("portNumber") or endpoint.get("targetPort") or number)
            if str(endpoint["port"]) == name if endpoint.get("port") else by_number in (str(number), name):
                yield name, number


# --- labels before relabelling ------------------------------------------------------------------------------------------


def _of_service(
    monitor: Obj, endpoint: Mapping[str, Any], service: Obj, pods: Mapping[Key, Obj], member: Mapping[str, Any],
    port_name: str, port: int,
) -> dict[str, str]:  # fmt: skip
    """The public labels, and the `__meta_kubernetes_…` ones that rules read."""
    spec, key = spec_of(monitor), key_of(service)
    address = f"{member['addresses'][0]}:{port}"
    job_label = spec.get("jobLabel")
    labels = {
        **_of_endpoint(endpoint, address, port_name or str(port)),
        "__meta_kubernetes_namespace": key.namespace, "__meta_kubernetes_service_name": key.name,
        "__meta_kubernetes_endpoint_port_name": port_name, "namespace": key.namespace, "service": key.name,
        "job": (labels_of(service).get(job_label, "") if job_label else "") or key.name,
    }  # fmt: skip
    for name, value in labels_of(service).items():
        labels[f"__meta_kubernetes_service_label_{plain(name)}"] = value
        if name in (spec.get("targetLabels") or ()):
            labels[plain(name)] = value
    for name, value in annotations_of(service).items():
        labels[f"__meta_kubernetes_service_annotation_{plain(name)}"] = value
    ref = member.get("targetRef") or {}
    pod = pods.get(Key(key.namespace, ref.get("name", ""))) if ref.get("kind") == "Pod" else None
    return {**labels, **_of_pod(pod, port, spec.get("podTargetLabels") or ())} if pod is not None else labels


def _of_one_pod(monitor: Obj, endpoint: Mapping[str, Any], pod: Obj, port_name: str, port: int) -> dict[str, str]:
    spec, key = spec_of(monitor), key_of(pod)
    job_label = spec.get("jobLabel")
    return {
        **_of_endpoint(endpoint, f"{status_of(pod)['podIP']}:{port}", port_name or str(port)),
        "__meta_kubernetes_namespace": key.namespace,
        "job": (labels_of(pod).get(job_label, "") if job_label else "") or str(key_of(monitor)),
        **_of_pod(pod, port, spec.get("podTargetLabels") or ()),
    }  # fmt: skip


def _of_endpoint(endpoint: Mapping[str, Any], address: str, port: str) -> dict[str, str]:
    labels = {
        "__scheme__": str(endpoint.get("scheme") or "http"), "__address__": address,
        "__metrics_path__": str(endpoint.get("path") or "/metrics"), "endpoint": port, "instance": address,
    }  # fmt: skip
    for name, values in (endpoint.get("params") or {}).items():
        labels[f"__param_{name}"] = str(values[0] if isinstance(values, list) else values)
    return labels


def _of_pod(pod: Obj, port: int, wanted: Iterable[str]) -> dict[str, str]:
    containers = spec_of(pod).get("containers") or ()
    container = next(
        (c["name"] for c in containers if any(p.get("containerPort") == port for p in c.get("ports") or ())),
        containers[0]["name"] if containers else "",
    )
    labels = {
        **pod_labels(pod), "container": container, "__meta_kubernetes_pod_name": key_of(pod).name,
        "__meta_kubernetes_pod_container_name": container, "__meta_kubernetes_pod_ip": status_of(pod).get("podIP", ""),
        "__meta_kubernetes_pod_container_port_number": str(port),
        "__meta_kubernetes_pod_phase": status_of(pod).get("phase", ""),
        "__meta_kubernetes_pod_node_name": spec_of(pod).get("nodeName", ""),
    }  # fmt: skip
    for name, value in labels_of(pod).items():
        labels[f"__meta_kubernetes_pod_label_{plain(name)}"] = value
    for name, value in annotations_of(pod).items():
        labels[f"__meta_kubernetes_pod_annotation_{plain(name)}"] = value
    return {**labels, **{plain(name): labels_of(pod)[name] for name in wanted if name in labels_of(pod)}}
