"""The series that kube-state-metrics made common, from objects as the API keeps them."""

from __future__ import annotations

from typing import Any

from fairway.kube import resources
from fairway.kube.resources import Resource
from fairway.metrics.kube_state import SERIES, StateRecorder
from fairway.metrics.store import Store


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
    found = _series(resources.PODS, spec={"containers": [container]}, status={})
    assert found["kube_pod_container_resource_requests{container=app,resource=cpu,unit=core}"] == 0.25
    assert found["kube_pod_container_resource_limits{container=app,resource=memory,unit=byte}"] == 1024


def test_a_pod_that_crashed() -> None:
    ended = {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-01-01T00:00:00Z"}
    row = {"name": "app", "image": "web:1", "imageID": "sha256:1", "ready": False, "restartCount": 3,
           "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": ended}}
    found = _series(resources.PODS, metadata={
        "name": "x", "namespace": "shop", "labels": {"app.kubernetes.io/name": "web"},
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "ownerReferences": [{"kind": "ReplicaSet", "name": "web-1", "controller": True, "uid": "u"}],
    }, spec={"nodeName": "n", "containers": [{"name": "app"}], "volumes": [
        {"name": "data", "persistentVolumeClaim": {"claimName": "data-x"}}]},
        status={"phase": "Running", "qosClass": "Burstable", "containerStatuses": [row], "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]})  # fmt: skip
    assert found["kube_pod_container_status_restarts_total{container=app}"] == 3
    assert found["kube_pod_container_status_waiting_reason{container=app,reason=CrashLoopBackOff}"] == 1
    assert found["kube_pod_container_status_last_terminated_reason{container=app,reason=OOMKilled}"] == 1
    assert found["kube_pod_container_status_last_terminated_exitcode{container=app}"] == 137
    assert found["kube_pod_container_info{container=app,image=web:1,image_id=sha256:1,image_spec=web:1}"] == 1
    assert found["kube_pod_owner{owner_is_controller=true,owner_kind=ReplicaSet,owner_name=web-1}"] == 1
    assert found["kube_pod_labels{label_app_kubernetes_io_name=web}"] == 1
    assert found["kube_pod_created"] == found["kube_pod_status_scheduled_time"] == 1767225600
    assert found["kube_pod_status_ready{condition=false}"] == found["kube_pod_status_qos_class{qos_class=Burstable}"] == 1
    assert found["kube_pod_spec_volumes_persistentvolumeclaims_info{persistentvolumeclaim=data-x,volume=data}"] == 1


def test_a_deployment_and_an_autoscaler_in_full() -> None:
    found = _series(resources.DEPLOYMENTS, spec={"replicas": 10, "strategy": {"rollingUpdate": {"maxSurge": "25%",
                    "maxUnavailable": "25%"}}}, status={"availableReplicas": 9})  # fmt: skip
    assert found["kube_deployment_spec_strategy_rollingupdate_max_surge"] == 3
    assert found["kube_deployment_spec_strategy_rollingupdate_max_unavailable"] == 2
    assert (found["kube_deployment_spec_replicas"], found["kube_deployment_status_replicas_available"]) == (10, 9)
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
    seen = {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 40, "averageValue": "200m"}}}
    found = _series(resources.HORIZONTAL_POD_AUTOSCALERS, spec={"metrics": [cpu]}, status={"currentMetrics": [seen]})
    series = "kube_horizontalpodautoscaler_%s_target_metric{metric_name=cpu,metric_target_type=%s}"
    assert [found[series % pair] for pair in (("spec", "utilization"), ("status", "utilization"), ("status", "average"))] == [
        80, 40, 0.2]


def test_a_node_a_service_and_an_ingress() -> None:
    found = _series(resources.NODES, metadata={"name": "x"}, spec={"unschedulable": True}, status={
        "allocatable": {"cpu": "2", "memory": "1Ki", "pods": "500"}, "conditions": [{"type": "Ready", "status": "True"}]})
    assert found["kube_node_status_allocatable{resource=memory,unit=byte}"] == 1024
    assert found["kube_node_status_condition{condition=Ready,status=true}"] == found["kube_node_spec_unschedulable"] == 1
    found = _series(resources.SERVICES, spec={"clusterIP": "127.0.1.1", "type": "NodePort"})
    assert found["kube_service_info{cluster_ip=127.0.1.1}"] == found["kube_service_spec_type{type=NodePort}"] == 1
    path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}}
    found = _series(resources.INGRESSES, spec={"rules": [{"host": "example.com", "http": {"paths": [path]}}]})
    assert found["kube_ingress_path{host=example.com,path=/,path_type=Prefix,service_name=web,service_port=80}"] == 1


def test_every_kind_shows_something_of_an_empty_object() -> None:
    for resource in SERIES:
        made = {"metadata": {"name": "x", "namespace": "shop", "creationTimestamp": "2026-01-01T00:00:00Z"}}
        assert list(SERIES[resource](made)), resource


def test_what_has_not_changed_keeps_its_rows() -> None:
    def pod(version: int, phase: str) -> dict[str, Any]:
        return {"metadata": {"name": "x", "namespace": "shop", "uid": "u", "resourceVersion": str(version)},
                "status": {"phase": phase}}

    block = Store().block("state")
    recorder = StateRecorder(block)
    first = recorder.rows([(resources.PODS, [pod(1, "Pending")])])
    assert recorder.rows([(resources.PODS, [pod(1, "never looked at")])]) == first
    rows, values = recorder.rows([(resources.PODS, [pod(2, "Running")])])
    assert rows == first[0] and values != first[1]
    assert recorder.rows([]) == ([], [])
