"""The series that kube-state-metrics made common, from objects as the API keeps them."""

from __future__ import annotations

from typing import Any

from fairway.kube import resources
from fairway.kube.resources import Resource
from fairway.metrics.kube_state import kube_state
from fairway.metrics.kube_state_objects import SERIES


def _series(resource: Resource, **obj: Any) -> dict[str, float]:
    """`name{labels}` without the labels that every series of the object has."""
    obj.setdefault("metadata", {"name": "x", "namespace": "shop", "generation": 2})
    return {_line(labels): value for labels, value in SERIES[resource](obj)}


def _line(labels: dict[str, str]) -> str:
    own = {k: v for k, v in labels.items() if k not in ("__name__", "job", "namespace") and v != "x"}
    return labels["__name__"] + ("{" + ",".join(f"{k}={v}" for k, v in sorted(own.items())) + "}" if own else "")


def test_numbers_of_a_stateful_set() -> None:
    found = _series(resources.STATEFUL_SETS, spec={"replicas": 3},
                    status={"readyReplicas": 2, "replicas": 3, "currentRevision": "x-1", "updateRevision": "x-2"})
    assert found["kube_statefulset_replicas"] == 3 and found["kube_statefulset_status_replicas_ready"] == 2
    assert found["kube_statefulset_metadata_generation"] == 2 and found["kube_statefulset_status_replicas_updated"] == 0
    assert found["kube_statefulset_status_update_revision{revision=x-2}"] == 1


def test_a_job_that_failed_and_a_cron_job() -> None:
    found = _series(resources.JOBS, spec={"completions": 1}, status={
        "failed": 2, "startTime": "2026-01-01T00:00:00Z", "conditions": [{"type": "Failed", "status": "True"}]})
    assert found["kube_job_failed{condition=true}"] == 1 and found["kube_job_status_failed"] == 2
    assert found["kube_job_status_start_time"] == 1767225600
    found = _series(resources.CRON_JOBS, spec={"schedule": "@daily", "suspend": True}, status={"active": [{}]})
    assert found["kube_cronjob_info{schedule=@daily}"] == 1
    assert found["kube_cronjob_spec_suspend"] == found["kube_cronjob_status_active"] == 1


def test_an_autoscaler_a_budget_and_a_claim() -> None:
    found = _series(resources.HORIZONTAL_POD_AUTOSCALERS, spec={"minReplicas": 1, "maxReplicas": 5}, status={
        "desiredReplicas": 4, "conditions": [{"type": "ScalingLimited", "status": "False"}]})
    assert found["kube_horizontalpodautoscaler_status_desired_replicas"] == 4
    assert found["kube_horizontalpodautoscaler_status_condition{condition=ScalingLimited,status=false}"] == 1
    found = _series(resources.POD_DISRUPTION_BUDGETS, status={"disruptionsAllowed": 1})
    assert found["kube_poddisruptionbudget_status_pod_disruptions_allowed"] == 1
    found = _series(resources.PERSISTENT_VOLUME_CLAIMS, spec={"resources": {"requests": {"storage": "1Gi"}}},
                    status={"phase": "Bound"})
    assert found["kube_persistentvolumeclaim_resource_requests_storage_bytes"] == 2**30
    assert found["kube_persistentvolumeclaim_status_phase{phase=Bound}"] == 1


def test_what_a_container_requests() -> None:
    container = {"name": "app", "resources": {"requests": {"cpu": "250m"}, "limits": {"memory": "1Ki"}}}
    pod = {"metadata": {"name": "x", "namespace": "shop"}, "spec": {"containers": [container]}, "status": {}}
    found = {_line(labels): value for labels, value in kube_state([pod], [], [])}
    assert found["kube_pod_container_resource_requests{container=app,resource=cpu,unit=core}"] == 0.25
    assert found["kube_pod_container_resource_limits{container=app,resource=memory,unit=byte}"] == 1024
