"""The series of kube-state-metrics about what runs and scales pods: one function or one table per kind.

A kind without an object has no series; a number that a status does not say is 0, as kube-state-metrics shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from fairway.kube import resources
from fairway.kube.objects import Obj, dig, key_of, spec_of, status_of
from fairway.kube.quantity import parse_quantity
from fairway.kube.resources import Resource
from fairway.kube.template import int_or_percent
from fairway.metrics.kube_state_samples import (
    Labels,
    Sample,
    about,
    conditions,
    moment,
    named,
    number,
    owner,
    sample,
    spec_numbers,
    words,
)

Fields = Mapping[str, str]
"""Metric name without the kind's prefix, to the path of its number in the object."""

_GENERATIONS = {"metadata_generation": "metadata.generation", "status_observed_generation": "status.observedGeneration"}
_NUMBERS: Mapping[str, Fields] = {
    "deployment": {
        **_GENERATIONS, "status_replicas": "status.replicas", "status_replicas_available": "status.availableReplicas",
        "status_replicas_ready": "status.readyReplicas", "status_replicas_unavailable": "status.unavailableReplicas",
        "status_replicas_updated": "status.updatedReplicas",
    },
    "replicaset": {
        **_GENERATIONS, "spec_replicas": "spec.replicas", "status_replicas": "status.replicas",
        "status_ready_replicas": "status.readyReplicas", "status_fully_labeled_replicas": "status.fullyLabeledReplicas",
    },
    "statefulset": {
        **_GENERATIONS, "replicas": "spec.replicas", "status_replicas": "status.replicas",
        "status_replicas_available": "status.availableReplicas", "status_replicas_current": "status.currentReplicas",
        "status_replicas_ready": "status.readyReplicas", "status_replicas_updated": "status.updatedReplicas",
        "ordinals_start": "spec.ordinals.start",
    },
    "daemonset": {
        **_GENERATIONS, "status_current_number_scheduled": "status.currentNumberScheduled",
        "status_desired_number_scheduled": "status.desiredNumberScheduled",
        "status_number_available": "status.numberAvailable", "status_number_misscheduled": "status.numberMisscheduled",
        "status_number_ready": "status.numberReady", "status_number_unavailable": "status.numberUnavailable",
        "status_updated_number_scheduled": "status.updatedNumberScheduled",
    },
    "job": {"status_active": "status.active", "status_succeeded": "status.succeeded", "status_failed": "status.failed"},
    "horizontalpodautoscaler": {
        "metadata_generation": "metadata.generation",
        "spec_min_replicas": "spec.minReplicas", "spec_max_replicas": "spec.maxReplicas",
        "status_current_replicas": "status.currentReplicas", "status_desired_replicas": "status.desiredReplicas",
    },
    "poddisruptionbudget": {
        "status_current_healthy": "status.currentHealthy", "status_desired_healthy": "status.desiredHealthy",
        "status_pod_disruptions_allowed": "status.disruptionsAllowed", "status_expected_pods": "status.expectedPods",
        "status_observed_generation": "status.observedGeneration",
    },
}  # fmt: skip
_ROLLOUT_PHASES = ("Progressing", "Paused", "Healthy", "Degraded")


def _numbers(kind: str, obj: Obj, labels: Labels) -> Iterator[Sample]:
    for name, path in _NUMBERS[kind].items():
        yield sample(f"kube_{kind}_{name}", labels, number(obj, path))
    yield from about(kind, obj, labels)


def _deployment(obj: Obj) -> Iterator[Sample]:
    labels, spec = named("deployment", obj), spec_of(obj)
    yield from _numbers("deployment", obj, labels)
    replicas = int(spec.get("replicas", 1))
    yield sample("kube_deployment_spec_replicas", labels, float(replicas))
    yield sample("kube_deployment_spec_paused", labels, float(bool(spec.get("paused"))))
    for name, field, up in (("max_unavailable", "maxUnavailable", False), ("max_surge", "maxSurge", True)):
        if (bound := dig(spec, "strategy", "rollingUpdate", field)) is not None:
            value = float(int_or_percent(bound, replicas, round_up=up))
            yield sample(f"kube_deployment_spec_strategy_rollingupdate_{name}", labels, value)
    yield from owner("deployment", obj, labels)
    yield from conditions("deployment", obj, labels)


def _rollout(obj: Obj) -> Iterator[Sample]:
    """Argo Rollouts' own names."""
    labels, status = {"namespace": key_of(obj).namespace, "name": key_of(obj).name}, status_of(obj)
    yield sample("rollout_info_replicas_desired", labels, number(obj, "spec.replicas", 1))
    for name in ("available", "unavailable", "updated"):
        yield sample(f"rollout_info_replicas_{name}", labels, number(obj, f"status.{name}Replicas"))
    for phase in _ROLLOUT_PHASES:
        yield sample("rollout_info", {**labels, "phase": phase}, float(phase == status.get("phase")))


def _replica_set(obj: Obj) -> Iterator[Sample]:
    labels = named("replicaset", obj)
    yield from _numbers("replicaset", obj, labels)
    yield from owner("replicaset", obj, labels)


def _stateful_set(obj: Obj) -> Iterator[Sample]:
    labels = named("statefulset", obj)
    yield from _numbers("statefulset", obj, labels)
    for name, field in (("current", "currentRevision"), ("update", "updateRevision")):
        if revision := status_of(obj).get(field):
            yield sample(f"kube_statefulset_status_{name}_revision", {**labels, "revision": revision}, 1)
    kept = spec_of(obj).get("persistentVolumeClaimRetentionPolicy") or {}
    yield sample("kube_statefulset_persistentvolumeclaim_retention_policy", {
        **labels, "when_deleted": kept.get("whenDeleted", "Retain"), "when_scaled": kept.get("whenScaled", "Retain"),
    }, 1)  # fmt: skip


def _daemon_set(obj: Obj) -> Iterator[Sample]:
    yield from _numbers("daemonset", obj, named("daemonset", obj))


def _job(obj: Obj) -> Iterator[Sample]:
    labels = named("job", obj, "job_name")
    yield sample("kube_job_info", labels, 1)
    yield from _numbers("job", obj, labels)
    yield from spec_numbers("kube_job_spec", obj, labels, {
        "parallelism": "parallelism", "completions": "completions", "active_deadline_seconds": "activeDeadlineSeconds",
    })  # fmt: skip
    yield from owner("job", obj, labels)
    yield from moment("kube_job_status_start_time", labels, status_of(obj).get("startTime"))
    yield from moment("kube_job_status_completion_time", labels, status_of(obj).get("completionTime"))
    for entry in status_of(obj).get("conditions") or ():
        if name := {"Complete": "kube_job_complete", "Failed": "kube_job_failed"}.get(entry["type"]):
            yield from words(name, labels, "condition", entry["status"])
        if entry["type"] == "Suspended":
            yield sample("kube_job_status_suspended", labels, float(entry["status"] == "True"))


def _cron_job(obj: Obj) -> Iterator[Sample]:
    labels, spec, status = named("cronjob", obj), spec_of(obj), status_of(obj)
    yield sample("kube_cronjob_info", {**labels, "schedule": spec.get("schedule", ""), "timezone": spec.get("timeZone", ""),
                                       "concurrency_policy": spec.get("concurrencyPolicy", "")}, 1)  # fmt: skip
    yield from about("cronjob", obj, labels)
    yield sample("kube_cronjob_spec_suspend", labels, float(bool(spec.get("suspend"))))
    yield from spec_numbers("kube_cronjob_spec", obj, labels, {
        "starting_deadline_seconds": "startingDeadlineSeconds", "successful_job_history_limit": "successfulJobsHistoryLimit",
        "failed_job_history_limit": "failedJobsHistoryLimit"})  # fmt: skip
    yield sample("kube_cronjob_status_active", labels, float(len(status.get("active") or ())))
    yield from moment("kube_cronjob_status_last_schedule_time", labels, status.get("lastScheduleTime"))
    yield from moment("kube_cronjob_status_last_successful_time", labels, status.get("lastSuccessfulTime"))


def _autoscaler(obj: Obj) -> Iterator[Sample]:
    labels, target = named("horizontalpodautoscaler", obj), spec_of(obj).get("scaleTargetRef") or {}
    yield sample("kube_horizontalpodautoscaler_info", {
        **labels, "scaletargetref_api_version": target.get("apiVersion", ""), "scaletargetref_kind": target.get("kind", ""),
        "scaletargetref_name": target.get("name", "")}, 1)  # fmt: skip
    yield from _numbers("horizontalpodautoscaler", obj, labels)
    yield from conditions("horizontalpodautoscaler", obj, labels)
    for part, field, name in (("metrics", "target", "spec"), ("currentMetrics", "current", "status")):
        for metric in (spec_of(obj) if name == "spec" else status_of(obj)).get(part) or ():
            yield from _target(f"kube_horizontalpodautoscaler_{name}_target_metric", metric, field, labels)


_METRIC_FIELDS = {"Resource": "resource", "ContainerResource": "containerResource", "Pods": "pods", "Object": "object",
                  "External": "external"}
_TARGETS = {"averageUtilization": "utilization", "averageValue": "average", "value": "value"}


def _target(series: str, metric: Obj, part: str, labels: Labels) -> Iterator[Sample]:
    said = metric.get(_METRIC_FIELDS.get(metric.get("type", ""), "")) or {}
    name = said.get("name") or dig(said, "metric", "name", default="")
    for field, kind in _TARGETS.items():
        if (value := dig(said, part, field)) is not None:
            yield sample(series, {**labels, "metric_name": name, "metric_target_type": kind}, float(parse_quantity(value)))


def _budget(obj: Obj) -> Iterator[Sample]:
    yield from _numbers("poddisruptionbudget", obj, named("poddisruptionbudget", obj))


SERIES: Mapping[Resource, Callable[[Obj], Iterator[Sample]]] = {
    resources.DEPLOYMENTS: _deployment,
    resources.ROLLOUTS: _rollout,
    resources.REPLICA_SETS: _replica_set,
    resources.STATEFUL_SETS: _stateful_set,
    resources.DAEMON_SETS: _daemon_set,
    resources.JOBS: _job,
    resources.CRON_JOBS: _cron_job,
    resources.HORIZONTAL_POD_AUTOSCALERS: _autoscaler,
    resources.POD_DISRUPTION_BUDGETS: _budget,
}
