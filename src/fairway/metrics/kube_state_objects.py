"""The series of kube-state-metrics about kinds other than pods: one function or one table per kind.

A kind without an object has no series; a number that a status does not say is 0, as kube-state-metrics shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from fairway.kube import resources
from fairway.kube.objects import Obj, controller_of, dig, key_of, meta_of, parse_time, spec_of, status_of
from fairway.kube.quantity import parse_quantity
from fairway.kube.resources import Resource
from fairway.metrics.labels import NAME

Sample = tuple[dict[str, str], float]
Fields = Mapping[str, str]
"""Metric name without the kind's prefix, to the path of its number in the object."""

_PHASES: Mapping[str, tuple[str, ...]] = {
    "persistentvolumeclaim": ("Bound", "Lost", "Pending"),
    "persistentvolume": ("Available", "Bound", "Failed", "Pending", "Released"),
    "namespace": ("Active", "Terminating"),
}
_GENERATIONS = {"metadata_generation": "metadata.generation", "status_observed_generation": "status.observedGeneration"}
_NUMBERS: Mapping[str, Fields] = {
    "replicaset": {
        **_GENERATIONS, "spec_replicas": "spec.replicas", "status_replicas": "status.replicas",
        "status_ready_replicas": "status.readyReplicas", "status_fully_labeled_replicas": "status.fullyLabeledReplicas",
    },
    "statefulset": {
        **_GENERATIONS, "replicas": "spec.replicas", "status_replicas": "status.replicas",
        "status_replicas_available": "status.availableReplicas", "status_replicas_current": "status.currentReplicas",
        "status_replicas_ready": "status.readyReplicas", "status_replicas_updated": "status.updatedReplicas",
    },
    "daemonset": {
        **_GENERATIONS, "status_current_number_scheduled": "status.currentNumberScheduled",
        "status_desired_number_scheduled": "status.desiredNumberScheduled",
        "status_number_available": "status.numberAvailable", "status_number_misscheduled": "status.numberMisscheduled",
        "status_number_ready": "status.numberReady", "status_number_unavailable": "status.numberUnavailable",
        "status_updated_number_scheduled": "status.updatedNumberScheduled",
    },
    "job": {
        "spec_parallelism": "spec.parallelism", "spec_completions": "spec.completions", "status_active": "status.active",
        "status_succeeded": "status.succeeded", "status_failed": "status.failed",
    },
    "horizontalpodautoscaler": {
        "spec_min_replicas": "spec.minReplicas", "spec_max_replicas": "spec.maxReplicas",
        "status_current_replicas": "status.currentReplicas", "status_desired_replicas": "status.desiredReplicas",
    },
    "poddisruptionbudget": {
        "status_current_healthy": "status.currentHealthy", "status_desired_healthy": "status.desiredHealthy",
        "status_pod_disruptions_allowed": "status.disruptionsAllowed", "status_expected_pods": "status.expectedPods",
        "status_observed_generation": "status.observedGeneration",
    },
}  # fmt: skip


def _sample(name: str, labels: Mapping[str, str], value: float) -> Sample:
    return {NAME: name, "job": "kube-state-metrics", **{k: v for k, v in labels.items() if v}}, value


def _named(kind: str, obj: Obj, label: str = "") -> dict[str, str]:
    key = key_of(obj)
    return {"namespace": key.namespace, label or kind: key.name}


def _numbers(kind: str, obj: Obj, labels: Mapping[str, str]) -> Iterator[Sample]:
    for name, path in _NUMBERS[kind].items():
        yield _sample(f"kube_{kind}_{name}", labels, float(dig(obj, *path.split("."), default=0)))


def _phase(kind: str, obj: Obj, labels: Mapping[str, str]) -> Iterator[Sample]:
    for phase in _PHASES[kind]:
        yield _sample(f"kube_{kind}_status_phase", {**labels, "phase": phase}, float(status_of(obj).get("phase") == phase))


def conditions(kind: str, obj: Obj, labels: Mapping[str, str]) -> Iterator[Sample]:
    for entry in status_of(obj).get("conditions") or ():
        for word in ("true", "false", "unknown"):
            yield _sample(f"kube_{kind}_status_condition", {**labels, "condition": entry["type"], "status": word},
                          float(str(entry.get("status", "")).lower() == word))  # fmt: skip


def _moment(name: str, labels: Mapping[str, str], text: str | None) -> Iterator[Sample]:
    if text:
        yield _sample(name, labels, parse_time(text).timestamp())


def _owner(kind: str, obj: Obj, labels: Mapping[str, str]) -> Iterator[Sample]:
    ref = controller_of(obj) or {}
    yield _sample(f"kube_{kind}_owner", {**labels, "owner_kind": ref.get("kind", ""), "owner_name": ref.get("name", ""),
                                         "owner_is_controller": "true" if ref else ""}, 1)  # fmt: skip


def _replica_set(obj: Obj) -> Iterator[Sample]:
    labels = _named("replicaset", obj)
    yield from _numbers("replicaset", obj, labels)
    yield from _owner("replicaset", obj, labels)


def _stateful_set(obj: Obj) -> Iterator[Sample]:
    labels = _named("statefulset", obj)
    yield from _numbers("statefulset", obj, labels)
    for name, field in (("current", "currentRevision"), ("update", "updateRevision")):
        if revision := status_of(obj).get(field):
            yield _sample(f"kube_statefulset_status_{name}_revision", {**labels, "revision": revision}, 1)


def _daemon_set(obj: Obj) -> Iterator[Sample]:
    yield from _numbers("daemonset", obj, _named("daemonset", obj))


def _job(obj: Obj) -> Iterator[Sample]:
    labels = _named("job", obj, "job_name")
    yield from _numbers("job", obj, labels)
    yield from _owner("job", obj, labels)
    yield from _moment("kube_job_status_start_time", labels, status_of(obj).get("startTime"))
    yield from _moment("kube_job_status_completion_time", labels, status_of(obj).get("completionTime"))
    for entry in status_of(obj).get("conditions") or ():
        name = {"Complete": "kube_job_complete", "Failed": "kube_job_failed"}.get(entry["type"])
        for word in ("true", "false", "unknown") if name else ():
            yield _sample(str(name), {**labels, "condition": word}, float(entry["status"].lower() == word))


def _cron_job(obj: Obj) -> Iterator[Sample]:
    labels, spec, status = _named("cronjob", obj), spec_of(obj), status_of(obj)
    yield _sample("kube_cronjob_info", {**labels, "schedule": spec.get("schedule", ""), "timezone": spec.get("timeZone", ""),
                                        "concurrency_policy": spec.get("concurrencyPolicy", "")}, 1)  # fmt: skip
    yield _sample("kube_cronjob_spec_suspend", labels, float(bool(spec.get("suspend"))))
    yield _sample("kube_cronjob_status_active", labels, float(len(status.get("active") or ())))
    yield from _moment("kube_cronjob_status_last_schedule_time", labels, status.get("lastScheduleTime"))
    yield from _moment("kube_cronjob_status_last_successful_time", labels, status.get("lastSuccessfulTime"))


def _autoscaler(obj: Obj) -> Iterator[Sample]:
    labels, target = _named("horizontalpodautoscaler", obj), spec_of(obj).get("scaleTargetRef") or {}
    yield _sample("kube_horizontalpodautoscaler_info", {**labels, "scaletargetref_kind": target.get("kind", ""),
                                                        "scaletargetref_name": target.get("name", "")}, 1)  # fmt: skip
    yield from _numbers("horizontalpodautoscaler", obj, labels)
    yield from conditions("horizontalpodautoscaler", obj, labels)


def _budget(obj: Obj) -> Iterator[Sample]:
    yield from _numbers("poddisruptionbudget", obj, _named("poddisruptionbudget", obj))


def _claim(obj: Obj) -> Iterator[Sample]:
    labels, spec = _named("persistentvolumeclaim", obj), spec_of(obj)
    yield _sample("kube_persistentvolumeclaim_info", {**labels, "storageclass": spec.get("storageClassName", ""),
                                                      "volumename": spec.get("volumeName", "")}, 1)  # fmt: skip
    yield from _phase("persistentvolumeclaim", obj, labels)
    if asked := dig(spec, "resources", "requests", "storage"):
        yield _sample("kube_persistentvolumeclaim_resource_requests_storage_bytes", labels, float(parse_quantity(asked)))


def _volume(obj: Obj) -> Iterator[Sample]:
    labels = {"persistentvolume": meta_of(obj)["name"]}
    yield from _phase("persistentvolume", obj, labels)
    if size := dig(obj, "spec", "capacity", "storage"):
        yield _sample("kube_persistentvolume_capacity_bytes", labels, float(parse_quantity(size)))


def _namespace(obj: Obj) -> Iterator[Sample]:
    yield from _phase("namespace", obj, {"namespace": meta_of(obj)["name"]})


def _quota(obj: Obj) -> Iterator[Sample]:
    labels = _named("resourcequota", obj)
    for kind in ("hard", "used"):
        for resource, amount in (status_of(obj).get(kind) or {}).items():
            yield _sample("kube_resourcequota", {**labels, "resource": resource, "type": kind}, float(parse_quantity(amount)))


SERIES: Mapping[Resource, Callable[[Obj], Iterator[Sample]]] = {
    resources.REPLICA_SETS: _replica_set,
    resources.STATEFUL_SETS: _stateful_set,
    resources.DAEMON_SETS: _daemon_set,
    resources.JOBS: _job,
    resources.CRON_JOBS: _cron_job,
    resources.HORIZONTAL_POD_AUTOSCALERS: _autoscaler,
    resources.POD_DISRUPTION_BUDGETS: _budget,
    resources.PERSISTENT_VOLUME_CLAIMS: _claim,
    resources.PERSISTENT_VOLUMES: _volume,
    resources.NAMESPACES: _namespace,
    resources.RESOURCE_QUOTAS: _quota,
}
