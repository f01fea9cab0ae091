"""Which targets to scrape: a pure function of Pods, Services, EndpointSlices, ServiceMonitors and PodMonitors.

A pod says it itself (`prometheus.io/scrape: "true"`, with `port`, `path`, `scheme`), or a ServiceMonitor says it for
every endpoint of the Services that it selects, or a PodMonitor for the pods. Where several name the same address, the
monitor's labels hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fairway.kube.objects import Key, Obj, annotations_of, dig, key_of, labels_of, spec_of, status_of
from fairway.kube.selectors import from_map
from fairway.metrics.monitors import Secrets, monitored, pod_monitored
from fairway.metrics.target import HASH_LABEL, Target, frozen, pod_labels, running, url

__all__ = ["HASH_LABEL", "MANAGED_SERVICE", "Found", "Target", "find_targets"]

MANAGED_SERVICE = "argo-rollouts.argoproj.io/managed-by-rollouts"


@dataclass(frozen=True, slots=True)
class Found:
    """`problems` are what could not be understood, one line each, naming the object."""

    targets: tuple[Target, ...]
    problems: tuple[str, ...] = ()


def find_targets(
    pods: Sequence[Obj], services: Sequence[Obj], slices: Sequence[Obj], monitors: Sequence[Obj],
    pod_monitors: Sequence[Obj] = (), secrets: Sequence[Obj] = (),
) -> Found:  # fmt: skip
    """`secrets` are those from which monitors may take passwords and tokens."""
    problems: list[str] = []
    by_key = {key_of(pod): pod for pod in pods}
    known = Secrets(secrets)
    by_service: dict[Key, list[Obj]] = {}
    for piece in slices:
        owner = labels_of(piece).get("kubernetes.io/service-name", "")
        by_service.setdefault(Key(key_of(piece).namespace, owner), []).append(piece)
    found: dict[tuple[str, tuple[tuple[str, str], ...]], Target] = {}
    for monitor in (*monitors, *pod_monitors):
        kind = str(monitor.get("kind") or "ServiceMonitor")
        try:
            if kind == "PodMonitor":
                targets = pod_monitored(monitor, pods, known)
            else:
                targets = monitored(monitor, services, by_service, by_key, known)
            for target in targets:
                found.setdefault((target.url, target.labels), target)
        except (ValueError, KeyError, TypeError) as error:
            problems.append(f"{kind} {key_of(monitor)}: {error}")
    taken = {target.url for target in found.values()}
    for pod in pods:
        own = _annotated(pod, services)
        if own is not None and own.url not in taken:
            found.setdefault((own.url, own.labels), own)
    return Found(tuple(sorted(found.values(), key=lambda target: target.key)), tuple(problems))


# --- pods that say it themselves ------------------------------------------------------------------------------------


def _annotated(pod: Obj, services: Sequence[Obj]) -> Target | None:
    marks = annotations_of(pod)
    if marks.get("prometheus.io/scrape") != "true" or not running(pod):
        return None
    containers = [(dig(c, "name", default=""), p) for c in spec_of(pod).get("containers") or () for p in c.get("ports") or ()]
    wanted = marks.get("prometheus.io/port", "")
    container = next((name for name, port in containers if str(port.get("containerPort")) == wanted), "")
    port = wanted or (str(containers[0][1].get("containerPort")) if containers else "80")
    container = container or (containers[0][0] if containers else dig(pod, "spec", "containers", 0, "name", default=""))
    service = _service_of(pod, services)
    name = labels_of(pod).get("app.kubernetes.io/name") or labels_of(pod).get("app")
    labels = {
        **pod_labels(pod),
        "container": container,
        "service": service,
        "job": service or name or "kubernetes-pods",
        "instance": f"{status_of(pod)['podIP']}:{port}",
    }
    scheme, path = marks.get("prometheus.io/scheme", "http"), marks.get("prometheus.io/path", "/metrics")
    address = url(scheme, labels["instance"], path, {})
    return Target(address, frozen(labels), source=f"Pod {key_of(pod)}")


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
