"""The state of pods, Deployments and Rollouts as metrics, under the names that kube-state-metrics made common.

Computed from the API's caches, so that rules and analyses written for a cluster (restarts, readiness, replicas) work
here too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fairway.kube.objects import Obj, condition, controller_of, dig, key_of, labels_of, spec_of, status_of
from fairway.kube.quantity import parse_quantity
from fairway.metrics.kube_state_objects import conditions
from fairway.metrics.labels import NAME

Sample = tuple[dict[str, str], float]

_PHASES = ("Pending", "Running", "Succeeded", "Failed", "Unknown")
_ROLLOUT_PHASES = ("Progressing", "Paused", "Healthy", "Degraded")


def kube_state(pods: Sequence[Obj], deployments: Sequence[Obj], rollouts: Sequence[Obj]) -> Iterator[Sample]:
    for pod in pods:
        yield from _pod(pod)
    for deployment in deployments:
        yield from _deployment(deployment)
    for rollout in rollouts:
        yield from _rollout(rollout)


def is_counter(name: str) -> bool:
    return name == "kube_pod_container_status_restarts_total"


def _sample(name: str, labels: dict[str, str], value: float) -> Sample:
    return {NAME: name, "job": "kube-state-metrics", **{k: v for k, v in labels.items() if v}}, value


def _pod(pod: Obj) -> Iterator[Sample]:
    key, status = key_of(pod), status_of(pod)
    labels = {
        "namespace": key.namespace,
        "pod": key.name,
        "uid": str(dig(pod, "metadata", "uid", default="")),
        "rollouts_pod_template_hash": labels_of(pod).get("rollouts-pod-template-hash", ""),
    }
    owner = controller_of(pod) or {}
    yield _sample(
        "kube_pod_info",
        {
            **labels,
            "pod_ip": status.get("podIP", ""),
            "node": spec_of(pod).get("nodeName", ""),
            "created_by_kind": owner.get("kind", ""),
            "created_by_name": owner.get("name", ""),
        },
        1,
    )
    for container in spec_of(pod).get("containers") or ():
        yield from _asked(labels, container)
    phase = status.get("phase", "Unknown")
    for name in _PHASES:
        yield _sample("kube_pod_status_phase", {**labels, "phase": name}, float(name == phase))
    ready = (condition(pod, "Ready") or {}).get("status", "False")
    for word in ("true", "false", "unknown"):
        yield _sample("kube_pod_status_ready", {**labels, "condition": word}, float(ready.lower() == word))
    for container in status.get("containerStatuses") or ():
        named = {**labels, "container": container["name"]}
        yield _sample("kube_pod_container_status_restarts_total", named, float(container.get("restartCount", 0)))
        yield _sample("kube_pod_container_status_ready", named, float(bool(container.get("ready"))))
        state = container.get("state") or {}
        for kind in ("running", "waiting", "terminated"):
            yield _sample(f"kube_pod_container_status_{kind}", named, float(kind in state))
        for kind in ("waiting", "terminated"):
            if reason := dig(state, kind, "reason"):
                yield _sample(f"kube_pod_container_status_{kind}_reason", {**named, "reason": str(reason)}, 1)


def _asked(labels: dict[str, str], container: Obj) -> Iterator[Sample]:
    """What a container requests, and what it may have at most."""
    for kind in ("requests", "limits"):
        for resource, amount in (dig(container, "resources", kind, default={})).items():
            unit = {"cpu": "core", "memory": "byte"}.get(resource, "integer")
            named = {**labels, "container": container["name"], "resource": resource, "unit": unit}
            yield _sample(f"kube_pod_container_resource_{kind}", named, float(parse_quantity(amount)))


def _deployment(deployment: Obj) -> Iterator[Sample]:
    key, status, spec = key_of(deployment), status_of(deployment), spec_of(deployment)
    labels = {"namespace": key.namespace, "deployment": key.name}
    yield _sample("kube_deployment_spec_replicas", labels, float(spec.get("replicas", 1)))
    yield _sample("kube_deployment_metadata_generation", labels, float(deployment["metadata"].get("generation", 0)))
    for name, field in (
        ("replicas", "replicas"),
        ("replicas_available", "availableReplicas"),
        ("replicas_ready", "readyReplicas"),
        ("replicas_unavailable", "unavailableReplicas"),
        ("replicas_updated", "updatedReplicas"),
        ("observed_generation", "observedGeneration"),
    ):
        yield _sample(f"kube_deployment_status_{name}", labels, float(status.get(field) or 0))
    yield _sample("kube_deployment_spec_paused", labels, float(bool(spec.get("paused"))))
    yield from conditions("deployment", deployment, labels)


def _rollout(rollout: Obj) -> Iterator[Sample]:
    """Argo Rollouts' own names."""
    key, status = key_of(rollout), status_of(rollout)
    labels = {"namespace": key.namespace, "name": key.name}
    yield _sample("rollout_info_replicas_desired", labels, float(spec_of(rollout).get("replicas", 1)))
    for name, field in (
        ("available", "availableReplicas"),
        ("unavailable", "unavailableReplicas"),
        ("updated", "updatedReplicas"),
    ):
        yield _sample(f"rollout_info_replicas_{name}", labels, float(status.get(field) or 0))
    for phase in _ROLLOUT_PHASES:
        yield _sample("rollout_info", {**labels, "phase": phase}, float(phase == status.get("phase")))
