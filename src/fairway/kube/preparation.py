"""What the API adds to a new object beyond defaults: first status, generated selectors, encoded secrets.

Nobody owns these fields. Changes the object given.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from fairway.kube.objects import Obj, dig

_JOB_LABELS = ("batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name", "controller-uid", "job-name")


def encode_secret(obj: Obj) -> None:
    """stringData into data: the one change before ownership is counted, since data is what is stored."""
    strings = obj.pop("stringData", None)
    if strings:
        data = obj.setdefault("data", {})
        for name, text in strings.items():
            data[name] = base64.b64encode(text.encode()).decode()


def prepare(group: str, kind: str, obj: Obj) -> None:
    """Complete a new object; its uid and name are set."""
    complete = _KINDS.get((group, kind))
    if complete is not None:
        complete(obj)


def _namespace(obj: Obj) -> None:
    meta = obj["metadata"]
    spec = obj.setdefault("spec", {})
    if "kubernetes" not in spec.setdefault("finalizers", []):
        spec["finalizers"].append("kubernetes")
    obj["status"] = {"phase": "Active"}
    meta["labels"] = {**(meta.get("labels") or {}), "kubernetes.io/metadata.name": meta["name"]}


def _pod(obj: Obj) -> None:
    spec = obj["spec"]
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    tolerations = spec.setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(t.get("key") in (key, None) and t.get("effect") in ("NoExecute", None) for t in tolerations):
            tolerations.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})
    obj["status"] = {"phase": "Pending", "qosClass": qos_class(spec)}


def qos_class(spec: dict[str, Any]) -> str:
    """Guaranteed where every container's cpu and memory requests equal its limits, BestEffort where there are none."""
    containers = [*spec.get("containers", ()), *spec.get("initContainers", ())]
    any_given, all_equal = False, True
    for container in containers:
        resources = container.get("resources") or {}
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        for name in ("cpu", "memory"):
            if name in limits or name in requests:
                any_given = True
            if name not in limits or requests.get(name, limits[name]) != limits[name]:
                all_equal = False
    if not any_given:
        return "BestEffort"
    return "Guaranteed" if all_equal else "Burstable"


def _job(obj: Obj) -> None:
    """A selector of its own, unless the user manages it, and the labels that make pods match it."""
    spec, meta = obj["spec"], obj["metadata"]
    obj["status"] = {}
    if spec.get("manualSelector"):
        return
    uid, name = meta["uid"], meta["name"]
    labels = dict(zip(_JOB_LABELS, (uid, name, uid, name), strict=True))
    template = spec.setdefault("template", {}).setdefault("metadata", {})
    template["labels"] = {**(template.get("labels") or {}), **labels}
    if "selector" not in spec:
        spec["selector"] = {"matchLabels": {_JOB_LABELS[0]: uid}}
    meta["labels"] = {**labels, **(meta.get("labels") or {})}


def _service(obj: Obj) -> None:
    obj["status"] = {"loadBalancer": {}}


def keep_address(old: Obj, new: Obj) -> None:
    """An update that does not name the address keeps it."""
    before, spec = old.get("spec") or {}, new["spec"]
    if spec.get("type") != "ExternalName" and not spec.get("clusterIP") and before.get("clusterIP"):
        spec["clusterIP"] = before["clusterIP"]


def _claim(obj: Obj) -> None:
    obj["status"] = {"phase": "Pending"}


def _ingress(obj: Obj) -> None:
    obj["status"] = {"loadBalancer": {}}


def _definition(obj: Obj) -> None:
    stored = [version["name"] for version in dig(obj, "spec", "versions", default=[]) if version.get("storage")]
    obj["status"] = {"conditions": None, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored}


def _empty_status(obj: Obj) -> None:
    obj["status"] = {}


_KINDS: dict[tuple[str, str], Callable[[Obj], None]] = {
    ("", "Namespace"): _namespace,
    ("", "Pod"): _pod,
    ("", "Service"): _service,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "PersistentVolume"): _claim,
    ("", "Node"): _empty_status,
    ("", "ResourceQuota"): _empty_status,
    ("", "ReplicationController"): lambda obj: obj.update(status={"replicas": 0}),
    ("certificates.k8s.io", "CertificateSigningRequest"): _empty_status,
    ("apiregistration.k8s.io", "APIService"): _empty_status,
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): _empty_status,
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"): _empty_status,
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"): _empty_status,
    ("networking.k8s.io", "ServiceCIDR"): _empty_status,
    ("resource.k8s.io", "ResourceClaim"): _empty_status,
    ("storage.k8s.io", "VolumeAttachment"): lambda obj: obj.update(status={"attached": False}),
    ("policy", "PodDisruptionBudget"): lambda obj: obj.update(
        status={"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0}),
    ("apps", "Deployment"): _empty_status,
    ("apps", "ReplicaSet"): lambda obj: obj.update(status={"replicas": 0}),
    ("apps", "StatefulSet"): lambda obj: obj.update(status={"replicas": 0, "availableReplicas": 0}),
    ("apps", "DaemonSet"): lambda obj: obj.update(
        status={"currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0}),
    ("batch", "Job"): _job,
    ("batch", "CronJob"): _empty_status,
    ("autoscaling", "HorizontalPodAutoscaler"): lambda obj: obj.update(
        status={"desiredReplicas": 0, "currentMetrics": None}),
    ("networking.k8s.io", "Ingress"): _ingress,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
}
