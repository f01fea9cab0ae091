"""Which targets to scrape: a pure function of Pods, Services, EndpointSlices and ServiceMonitors.

A pod says it itself (`prometheus.io/scrape: "true"`, with `port`, `path`, `scheme`), or a ServiceMonitor says it for
every endpoint of the Services that it selects. Where both name the same address, the ServiceMonitor's labels hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from fairway.kube.durations import parse_duration
from fairway.kube.objects import Key, Obj, annotations_of, dig, key_of, labels_of, spec_of, status_of
from fairway.kube.selectors import from_label_selector, from_map
from fairway.metrics.relabel import Rule, relabelled, rules

HASH_LABEL = "rollouts-pod-template-hash"
MANAGED_SERVICE = "argo-rollouts.argoproj.io/managed-by-rollouts"


@dataclass(frozen=True, slots=True)
class Target:
    """`labels` go on every sample; `interval_s` is 0 where nobody asked for one. Equal keys are the same target."""

    url: str
    labels: tuple[tuple[str, str], ...]
    interval_s: float = 0.0
    honor_labels: bool = False
    sample_rules: tuple[Rule, ...] = ()
    source: str = ""

    @property
    def key(self) -> str:
        return f"{self.url} {self.labels}"

    @property
    def namespace(self) -> str:
        return dict(self.labels).get("namespace", "")


@dataclass(frozen=True, slots=True)
class Found:
    """`problems` are what could not be understood, one line each, naming the object."""

    targets: tuple[Target, ...]
    problems: tuple[str, ...] = ()


def find_targets(pods: Sequence[Obj], services: Sequence[Obj], slices: Sequence[Obj], monitors: Sequence[Obj]) -> Found:
    problems: list[str] = []
    by_key = {key_of(pod): pod for pod in pods}
    by_service: dict[Key, list[Obj]] = {}
    for piece in slices:
        owner = labels_of(piece).get("kubernetes.io/service-name", "")
        by_service.setdefault(Key(key_of(piece).namespace, owner), []).append(piece)
    found: dict[tuple[str, tuple[tuple[str, str], ...]], Target] = {}
    for monitor in monitors:
        try:
            for target in _monitored(monitor, services, by_service, by_key):
                found.setdefault((target.url, target.labels), target)
        except (ValueError, KeyError, TypeError) as error:
            problems.append(f"ServiceMonitor {key_of(monitor)}: {error}")
    monitored = {target.url for target in found.values()}
    for pod in pods:
        own = _annotated(pod, services)
        if own is not None and own.url not in monitored:
            found.setdefault((own.url, own.labels), own)
    return Found(tuple(sorted(found.values(), key=lambda target: target.key)), tuple(problems))


# --- pods that say it themselves ------------------------------------------------------------------------------------


def _annotated(pod: Obj, services: Sequence[Obj]) -> Target | None:
    marks = annotations_of(pod)
    if marks.get("prometheus.io/scrape") != "true" or not _running(pod):
        return None
    containers = [(dig(c, "name", default=""), p) for c in spec_of(pod).get("containers") or () for p in c.get("ports") or ()]
    wanted = marks.get("prometheus.io/port", "")
    container = next((name for name, port in containers if str(port.get("containerPort")) == wanted), "")
    port = wanted or (str(containers[0][1].get("containerPort")) if containers else "80")
    container = container or (containers[0][0] if containers else dig(pod, "spec", "containers", 0, "name", default=""))
    service = _service_of(pod, services)
    name = labels_of(pod).get("app.kubernetes.io/name") or labels_of(pod).get("app")
    labels = {
        **_pod_labels(pod),
        "container": container,
        "service": service,
        "job": service or name or "kubernetes-pods",
        "instance": f"{status_of(pod)['podIP']}:{port}",
    }
    url = _url(marks.get("prometheus.io/scheme", "http"), labels["instance"], marks.get("prometheus.io/path", "/metrics"), {})
    return Target(url, _frozen(labels), source=f"Pod {key_of(pod)}")


def _running(pod: Obj) -> bool:
    return bool(status_of(pod).get("podIP")) and status_of(pod).get("phase") == "Running"


def _pod_labels(pod: Obj) -> dict[str, str]:
    key = key_of(pod)
    return {
        "namespace": key.namespace,
        "pod": key.name,
        "rollouts_pod_template_hash": labels_of(pod).get(HASH_LABEL, ""),
    }


def _service_of(pod: Obj, services: Sequence[Obj]) -> str:
    """The Service by which people know this pod, and that stays the same while a rollout moves the pod between
    Services.
    """
    names = []
    for service in services:
        selector = {k: v for k, v in (spec_of(service).get("selector") or {}).items() if k != HASH_LABEL}
        if not selector or key_of(service).namespace != key_of(pod).namespace:
            continue
        if from_map(selector).matches(labels_of(pod)):
            managed = MANAGED_SERVICE in annotations_of(service) or HASH_LABEL in spec_of(service)["selector"]
            names.append((managed, len(key_of(service).name), key_of(service).name))
    return min(names)[2] if names else ""


# --- ServiceMonitors ------------------------------------------------------------------------------------------------


def _monitored(
    monitor: Obj, services: Sequence[Obj], slices: Mapping[Key, list[Obj]], pods: Mapping[Key, Obj]
) -> Iterator[Target]:
    spec = spec_of(monitor)
    selector = from_label_selector(spec.get("selector") or {})
    for service in services:
        if _in_namespace(monitor, service) and selector.matches(labels_of(service)):
            for place, endpoint in enumerate(spec.get("endpoints") or ()):
                yield from _endpoint_targets(monitor, place, endpoint, service, slices.get(key_of(service), []), pods)


def _in_namespace(monitor: Obj, service: Obj) -> bool:
    where = spec_of(monitor).get("namespaceSelector") or {}
    if where.get("any"):
        return True
    names = where.get("matchNames") or [key_of(monitor).namespace]
    return key_of(service).namespace in names


def _endpoint_targets(
    monitor: Obj, place: int, endpoint: Mapping[str, Any], service: Obj, slices: Sequence[Obj], pods: Mapping[Key, Obj]
) -> Iterator[Target]:
    """One target per address of the Service that has the port which the endpoint names."""
    target_rules, sample_rules = rules(endpoint.get("relabelings")), rules(endpoint.get("metricRelabelings"))
    interval = parse_duration(str(endpoint["interval"])).total_seconds() if endpoint.get("interval") else 0.0
    for piece in slices:
        for name, port in _ports(endpoint, piece):
            for member in piece.get("endpoints") or ():
                labels = _discovered(monitor, endpoint, service, pods, member, name, port)
                kept = relabelled(labels, target_rules)
                if kept is None:
                    continue
                url = _url(
                    kept["__scheme__"],
                    kept["__address__"],
                    kept["__metrics_path__"],
                    {k[len("__param_") :]: v for k, v in kept.items() if k.startswith("__param_")},
                )
                public = {k: v for k, v in kept.items() if not k.startswith("__")}
                public.setdefault("instance", kept["__address__"])
                yield Target(
                    url,
                    _frozen(public),
                    interval,
                    bool(endpoint.get("honorLabels")),
                    sample_rules,
                    source=f"ServiceMonitor {key_of(monitor)}/{place}",
                )


def _ports(endpoint: Mapping[str, Any], piece: Obj) -> Iterator[tuple[str, int]]:
    """Ports of a slice that the endpoint means: `port` is the Service port's name, `targetPort` the pod's number."""
    for port in piece.get("ports") or ():
        name, number = str(port.get("name") or ""), int(port["port"])
        if ("port" in endpoint and str(endpoint["port"]) == name) or (
            "port" not in endpoint and str(endpoint.get("targetPort", number)) in (str(number), name)
        ):
            yield name, number


def _discovered(
    monitor: Obj,
    endpoint: Mapping[str, Any],
    service: Obj,
    pods: Mapping[Key, Obj],
    member: Mapping[str, Any],
    port_name: str,
    port: int,
) -> dict[str, str]:
    """Labels before relabelling: the public ones, and the `__meta_kubernetes_…` ones that rules read."""
    spec, key = spec_of(monitor), key_of(service)
    address = f"{member['addresses'][0]}:{port}"
    job_label = spec.get("jobLabel")
    labels = {
        "__scheme__": str(endpoint.get("scheme") or "http"), "__address__": address,
        "__metrics_path__": str(endpoint.get("path") or "/metrics"),
        "__meta_kubernetes_namespace": key.namespace, "__meta_kubernetes_service_name": key.name,
        "__meta_kubernetes_endpoint_port_name": port_name,
        "namespace": key.namespace, "service": key.name, "endpoint": port_name or str(port), "instance": address,
        "job": (labels_of(service).get(job_label, "") if job_label else "") or key.name,
    }  # fmt: skip
    for name, values in (endpoint.get("params") or {}).items():
        labels[f"__param_{name}"] = str(values[0] if isinstance(values, list) else values)
    for name, value in labels_of(service).items():
        labels[f"__meta_kubernetes_service_label_{_plain(name)}"] = value
        if name in (spec.get("targetLabels") or ()):
            labels[_plain(name)] = value
    ref = member.get("targetRef") or {}
    pod = pods.get(Key(key.namespace, ref.get("name", ""))) if ref.get("kind") == "Pod" else None
    return {**labels, **_of_pod(pod, port, spec.get("podTargetLabels") or ())} if pod is not None else labels


def _of_pod(pod: Obj, port: int, wanted: Iterable[str]) -> dict[str, str]:
    containers = spec_of(pod).get("containers") or ()
    container = next(
        (c["name"] for c in containers if any(p.get("containerPort") == port for p in c.get("ports") or ())),
        containers[0]["name"] if containers else "",
    )
    labels = {
        **_pod_labels(pod), "container": container, "__meta_kubernetes_pod_name": key_of(pod).name,
        "__meta_kubernetes_pod_container_name": container, "__meta_kubernetes_pod_ip": status_of(pod).get("podIP", ""),
        "__meta_kubernetes_pod_phase": status_of(pod).get("phase", ""),
        "__meta_kubernetes_pod_node_name": spec_of(pod).get("nodeName", ""),
    }  # fmt: skip
    for name, value in labels_of(pod).items():
        labels[f"__meta_kubernetes_pod_label_{_plain(name)}"] = value
    for name, value in annotations_of(pod).items():
        labels[f"__meta_kubernetes_pod_annotation_{_plain(name)}"] = value
    return {**labels, **{_plain(name): labels_of(pod)[name] for name in wanted if name in labels_of(pod)}}


def _plain(name: str) -> str:
    """A Kubernetes key as a label name: everything that may not stand there becomes "_"."""
    return "".join(ch if ch.isascii() and (ch.isalnum() or ch == "_") else "_" for ch in name)


def _frozen(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value) for name, value in labels.items() if value))


def _url(scheme: str, address: str, path: str, params: Mapping[str, str]) -> str:
    query = f"?{urlencode(params)}" if params else ""
    return f"{scheme}://{address}{path if path.startswith('/') else '/' + path}{query}"
