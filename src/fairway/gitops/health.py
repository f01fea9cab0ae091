"""Whether a live object does its work: Argo CD's words and messages, one function per kind.

`health(obj)` is None where the kind has no check. `worst` folds many into one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from fairway.gitops.crd_health import crd_check
from fairway.kube.objects import Obj, annotations_of, dig, group_of, is_deleting, meta_of, spec_of, status_of

HealthStatus = Literal["Healthy", "Suspended", "Progressing", "Missing", "Degraded", "Unknown"]
ORDER: tuple[HealthStatus, ...] = ("Healthy", "Suspended", "Progressing", "Missing", "Degraded", "Unknown")
HOOK_FINALIZER = "argocd.argoproj.io/hook-finalizer"


@dataclass(frozen=True, slots=True)
class Health:
    status: HealthStatus
    message: str = ""


def worst(found: Iterable[Health]) -> Health:
    """The worst of them; Healthy where there is none."""
    return max(found, key=lambda h: ORDER.index(h.status), default=Health("Healthy"))


Check = Callable[[Obj], "Health | None"]


def health(obj: Obj) -> Health | None:
    """By the kind's own check; None where there is none."""
    return own_health(obj, kind_health)


def own_health(obj: Obj, check: Check) -> Health | None:
    """What goes before every check: an object that is being deleted is on its way, unless it is a hook of ours."""
    if is_deleting(obj) and HOOK_FINALIZER not in (meta_of(obj).get("finalizers") or ()):
        return Health("Progressing", "Pending deletion")
    return check(obj)


def kind_health(obj: Obj) -> Health | None:
    """By the built-in check of a kind of Kubernetes or Argo, else by the row of a vendor's kind."""
    return built_in(obj) if _key(obj) in _CHECKS else _vendor_health(obj)


def built_in(obj: Obj) -> Health | None:
    check = _CHECKS.get(_key(obj))
    return None if check is None else check(obj)


def _vendor_health(obj: Obj) -> Health | None:
    check = crd_check(obj)
    try:
        return None if check is None else Health(*check(obj))
    except (TypeError, ValueError, AttributeError, LookupError) as error:
        # A status of another shape than its vendor writes: nothing is known of the object.
        return Health("Unknown", f"the status of this {obj.get('kind')} does not have the expected shape: {error}")


def _key(obj: Obj) -> tuple[str, str]:
    return group_of(str(obj.get("apiVersion") or "")), str(obj.get("kind") or "")


def _number(value: Any, default: int = 0) -> int:
    return value if isinstance(value, int) else default


def _conditions(obj: Obj) -> list[Obj]:
    return [c for c in status_of(obj).get("conditions") or () if isinstance(c, dict)]


def _condition(obj: Obj, kind: str) -> Obj:
    return next((c for c in _conditions(obj) if c.get("type") == kind), {})


def _behind(obj: Obj) -> bool:
    """The controller has not seen the last change of the spec."""
    return _number(meta_of(obj).get("generation")) > _number(status_of(obj).get("observedGeneration"))


# --- workloads ------------------------------------------------------------------------------------------------------


def _deployment(obj: Obj) -> Health:
    spec, status = spec_of(obj), status_of(obj)
    if spec.get("paused"):
        return Health("Suspended", "Deployment is paused")
    if _behind(obj):
        return Health("Progressing", "Waiting for rollout to finish: observed deployment generation "
                      "less than desired generation")
    if _condition(obj, "Progressing").get("reason") == "ProgressDeadlineExceeded":
        return Health("Degraded", f'Deployment "{meta_of(obj).get("name")}" exceeded its progress deadline')
    updated, total = _number(status.get("updatedReplicas")), _number(status.get("replicas"))
    available = _number(status.get("availableReplicas"))
    wanted = spec.get("replicas")
    if wanted is not None and updated < wanted:
        return Health("Progressing", f"Waiting for rollout to finish: {updated} out of {wanted} new "
                      "replicas have been updated...")
    if total > updated:
        return Health("Progressing", f"Waiting for rollout to finish: {total - updated} old replicas "
                      "are pending termination...")
    if available < updated:
        return Health("Progressing", f"Waiting for rollout to finish: {available} of {updated} "
                      "updated replicas are available...")
    return Health("Healthy")


def _stateful_set(obj: Obj) -> Health:
    spec, status = spec_of(obj), status_of(obj)
    if _number(status.get("observedGeneration")) == 0 or _behind(obj):
        return Health("Progressing", "Waiting for statefulset spec update to be observed...")
    wanted, ready = spec.get("replicas"), _number(status.get("readyReplicas"))
    if wanted is not None and ready < wanted:
        return Health("Progressing", f"Waiting for {wanted - ready} pods to be ready...")
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "RollingUpdate" and strategy.get("rollingUpdate") is not None:
        partition = dig(strategy, "rollingUpdate", "partition")
        if wanted is not None and partition is not None:
            updated = _number(status.get("updatedReplicas"))
            if updated < wanted - partition:
                return Health("Progressing", "Waiting for partitioned roll out to finish: "
                              f"{updated} out of {wanted - partition} new pods have been updated...")
        return Health("Healthy", "partitioned roll out complete: "
                      f"{_number(status.get('updatedReplicas'))} new pods have been updated...")
    if strategy.get("type") == "OnDelete":
        return Health("Healthy", f"statefulset has {ready} ready pods")
    if status.get("updateRevision") != status.get("currentRevision"):
        return Health("Progressing", "waiting for statefulset rolling update to complete "
                      f"{_number(status.get('updatedReplicas'))} pods at revision {status.get('updateRevision')}...")
    return Health("Healthy", f"statefulset rolling update complete {_number(status.get('currentReplicas'))} pods at "
                  f"revision {status.get('currentRevision')}...")


def _daemon_set(obj: Obj) -> Health:
    status, name = status_of(obj), meta_of(obj).get("name")
    if _behind(obj):
        return Health("Progressing", "Waiting for rollout to finish: observed daemon set generation "
                      "less than desired generation")
    updated, wanted = _number(status.get("updatedNumberScheduled")), _number(status.get("desiredNumberScheduled"))
    if dig(spec_of(obj), "updateStrategy", "type") == "OnDelete":
        return Health("Healthy", f"daemon set {updated} out of {wanted} new pods have been updated")
    if updated < wanted:
        return Health("Progressing", f'Waiting for daemon set "{name}" rollout to finish: {updated} '
                      f'out of {wanted} new pods have been updated...')
    available = _number(status.get("numberAvailable"))
    if available < wanted:
        return Health("Progressing", f'Waiting for daemon set "{name}" rollout to finish: '
                      f'{available} of {wanted} updated pods are available...')
    return Health("Healthy")


def _replica_set(obj: Obj) -> Health:
    if _behind(obj):
        return Health("Progressing", "Waiting for rollout to finish: observed replica set "
                      "generation less than desired generation")
    failure = _condition(obj, "ReplicaFailure")
    if failure.get("status") == "True":
        return Health("Degraded", str(failure.get("message") or ""))
    wanted, available = spec_of(obj).get("replicas"), _number(status_of(obj).get("availableReplicas"))
    if wanted is not None and available < wanted:
        return Health("Progressing", f"Waiting for rollout to finish: {available} out of {wanted} "
                      "new replicas are available...")
    return Health("Healthy")


def _pod(obj: Obj) -> Health:
    spec, status = spec_of(obj), status_of(obj)
    message = str(status.get("message") or "")
    is_hook = any(key in annotations_of(obj) for key in ("argocd.argoproj.io/hook", "helm.sh/hook"))
    always = spec.get("restartPolicy", "Always") == "Always" or (
        "argocd.argoproj.io/ignore-restart-policy" in annotations_of(obj) and not is_hook)
    statuses = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    if always:
        failing = [str(w.get("message") or w.get("reason")) for w in (dig(c, "state", "waiting", default={}) for c in statuses)
                   if _is_failure(str(w.get("reason") or ""))]
        if failing:
            return Health("Degraded", ", ".join(failing))
    match status.get("phase"):
        case "Pending":
            return Health("Progressing", message)
        case "Succeeded":
            return Health("Healthy", message)
        case "Failed":
            return Health("Degraded", message or next(filter(None, map(_end_of, statuses)), ""))
        case "Running":
            if not always:
                return Health("Progressing", message)
            if _condition(obj, "Ready").get("status") == "True":
                return Health("Healthy", message)
            if any(dig(c, "lastState", "terminated") for c in status.get("containerStatuses") or ()):
                return Health("Degraded", message)
            return Health("Progressing", message)
    return Health("Unknown", message)


def _is_failure(reason: str) -> bool:
    return reason.startswith("Err") or reason.endswith(("Error", "BackOff"))


def _end_of(status: Obj) -> str:
    ended = dig(status, "state", "terminated", default={})
    if not ended:
        return ""
    if ended.get("message"):
        return str(ended["message"])
    if ended.get("reason") == "OOMKilled":
        return "OOMKilled"
    code = ended.get("exitCode")
    return f'container "{status.get("name")}" failed with exit code {code}' if code else ""


def _job(obj: Obj) -> Health:
    complete, message = False, ""
    for entry in _conditions(obj):
        if entry.get("type") == "Failed" and entry.get("status", "True") == "True":
            return Health("Degraded", str(entry.get("message") or ""))
        if entry.get("type") == "Suspended" and entry.get("status") == "True":
            return Health("Suspended", str(entry.get("message") or ""))
        if entry.get("type") == "Complete" and entry.get("status", "True") == "True":
            complete, message = True, str(entry.get("message") or "")
    return Health("Healthy", message) if complete else Health("Progressing", message)


# --- network, storage, scaling ----------------------------------------------------------------------------------------


def _service(obj: Obj) -> Health:
    if spec_of(obj).get("type") == "LoadBalancer" and not dig(status_of(obj), "loadBalancer", "ingress"):
        return Health("Progressing")
    return Health("Healthy")


def _ingress(obj: Obj) -> Health:
    return Health("Healthy") if dig(status_of(obj), "loadBalancer", "ingress") else Health("Progressing")


def _claim(obj: Obj) -> Health:
    by_phase: dict[str, HealthStatus] = {"Bound": "Healthy", "Pending": "Progressing", "Lost": "Degraded"}
    return Health(by_phase.get(str(status_of(obj).get("phase")), "Unknown"))


_SCALING_FAILURES = frozenset((
    ("AbleToScale", "FailedGetScale"), ("AbleToScale", "FailedUpdateScale"), ("ScalingActive", "FailedGetResourceMetric"),
    ("ScalingActive", "InvalidSelector"), ("ScalingActive", "FailedGetObjectMetric"),
    ("ScalingActive", "FailedGetPodsMetric"), ("ScalingActive", "FailedGetExternalMetric"),
    ("ScalingActive", "InvalidMetricSourceType"), ("ScalingActive", "FailedGetContainerResourceMetric"),
))  # fmt: skip


def _autoscaler(obj: Obj) -> Health:
    conditions = _conditions(obj)
    if str(obj.get("apiVersion")) == "autoscaling/v1":
        text = annotations_of(obj).get("autoscaling.alpha.kubernetes.io/conditions", "")
        if not text:
            return Health("Progressing", "Waiting to Autoscale")
        try:
            conditions = json.loads(text)
        except ValueError:
            return Health("Unknown", "failed to parse the conditions annotation")
    for entry in conditions:
        if (entry.get("type"), entry.get("reason")) in _SCALING_FAILURES:
            return Health("Degraded", str(entry.get("message") or ""))
    for entry in conditions:
        if entry.get("type") in ("AbleToScale", "ScalingLimited") and entry.get("status") == "True":
            return Health("Healthy", str(entry.get("message") or ""))
    return Health("Progressing", "Waiting to Autoscale")


def _api_service(obj: Obj) -> Health:
    available = _condition(obj, "Available")
    if not available:
        return Health("Progressing", "Waiting to be processed")
    text = f"{available.get('reason')}: {available.get('message')}"
    return Health("Healthy" if available.get("status") == "True" else "Progressing", text)


# --- Argo's and our own ---------------------------------------------------------------------------------------------


def _workflow(obj: Obj) -> Health:
    phase, message = status_of(obj).get("phase") or "", str(status_of(obj).get("message") or "")
    by_phase: dict[str, HealthStatus] = {
        "": "Progressing", "Pending": "Progressing", "Running": "Progressing", "Succeeded": "Healthy",
        "Failed": "Degraded", "Error": "Degraded",
    }
    return Health(by_phase.get(str(phase), "Unknown"), message)


def _application(obj: Obj) -> Health:
    found = dig(status_of(obj), "health", default={})
    if not found:
        return Health("Progressing", "")
    status = found.get("status")
    return Health(status if status in ORDER else "Unknown", str(found.get("message") or ""))


def _pipeline_run(obj: Obj) -> Health:
    phase, message = str(status_of(obj).get("phase") or ""), str(status_of(obj).get("message") or "")
    by_phase: dict[str, HealthStatus] = {"Succeeded": "Healthy", "Failed": "Degraded", "Cancelled": "Suspended"}
    return Health(by_phase.get(phase, "Progressing"), message)


_CHECKS: dict[tuple[str, str], Callable[[Obj], Health]] = {
    ("apps", "Deployment"): _deployment, ("apps", "StatefulSet"): _stateful_set, ("apps", "DaemonSet"): _daemon_set,
    ("apps", "ReplicaSet"): _replica_set, ("", "Pod"): _pod, ("batch", "Job"): _job,
    ("", "Service"): _service, ("networking.k8s.io", "Ingress"): _ingress, ("extensions", "Ingress"): _ingress,
    ("", "PersistentVolumeClaim"): _claim, ("autoscaling", "HorizontalPodAutoscaler"): _autoscaler,
    ("apiregistration.k8s.io", "APIService"): _api_service,
    ("argoproj.io", "Workflow"): _workflow, ("argoproj.io", "Application"): _application,
    ("fairway.dev", "PipelineRun"): _pipeline_run,
}  # fmt: skip
