"""Columns of the kinds that people look at less often: storage, admission, certificates, devices, priorities. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from fairway.kube.http.ages import human
from fairway.kube.http.columns import LAYOUTS, NONE, UNSET, age_of, containers_of, joined, layout, pairs, selected
from fairway.kube.objects import Obj, condition, dig, is_deleting, meta_of, spec_of, status_of

__all__ = ["LAYOUTS"]

_STORAGE, _ADMISSION, _FLOW = "storage.k8s.io", "admissionregistration.k8s.io", "flowcontrol.apiserver.k8s.io"
_RESOURCE = "resource.k8s.io"


@layout("", "PodTemplate", "Containers,Images,Pod Labels")
def _pod_template(obj: Obj, now: datetime) -> list[Any]:
    template = obj.get("template") or {}
    return [*containers_of(template), pairs(dig(template, "metadata", "labels"))]


@layout("", "ReplicationController", "Desired:integer,Current:integer,Ready:integer,Age,Containers+,Images+,Selector+")
def _replication_controller(obj: Obj, now: datetime) -> list[Any]:
    spec, status = spec_of(obj), status_of(obj)
    return [spec.get("replicas", 0), status.get("replicas", 0), status.get("readyReplicas", 0), age_of(obj, now),
            *containers_of(spec.get("template")), pairs(spec.get("selector"))]


@layout("", "ComponentStatus", "Status,Message,Error")
def _component(obj: Obj, now: datetime) -> list[Any]:
    found: Obj = next((row for row in obj.get("conditions") or () if row.get("type") == "Healthy"), {})
    words = {"True": "Healthy", "False": "Unhealthy"}
    return [words.get(found.get("status", ""), "Unknown"), found.get("message", ""), found.get("error", "")]


@layout("networking.k8s.io", "ServiceCIDR", "CIDRs,Age")
def _service_range(obj: Obj, now: datetime) -> list[Any]:
    return [",".join(spec_of(obj).get("cidrs") or ()), age_of(obj, now)]


@layout("networking.k8s.io", "IPAddress", "ParentRef")
def _address(obj: Obj, now: datetime) -> list[Any]:
    parent = spec_of(obj).get("parentRef") or {}
    group = f".{parent['group']}" if parent.get("group") else ""
    parts = (f"{parent.get('resource', '')}{group}".lower(), parent.get("namespace", ""), parent.get("name", ""))
    return ["/".join(part for part in parts if part) if parent else NONE]


# --- storage ------------------------------------------------------------------------------------------------------


@layout(_STORAGE, "CSIDriver", "AttachRequired:boolean,PodInfoOnMount:boolean,StorageCapacity:boolean,TokenRequests,"
        "RequiresRepublish:boolean,Modes,Age")
def _driver(obj: Obj, now: datetime) -> list[Any]:
    spec = spec_of(obj)
    tokens = [row.get("audience", "") for row in spec.get("tokenRequests") or ()]
    return [bool(spec.get("attachRequired", True)), bool(spec.get("podInfoOnMount")), bool(spec.get("storageCapacity")),
            joined(tokens, UNSET), bool(spec.get("requiresRepublish")), joined(spec.get("volumeLifecycleModes") or ()),
            age_of(obj, now)]


@layout(_STORAGE, "CSINode", "Drivers:integer,Age")
def _driver_node(obj: Obj, now: datetime) -> list[Any]:
    return [len(spec_of(obj).get("drivers") or ()), age_of(obj, now)]


@layout(_STORAGE, "CSIStorageCapacity", "StorageClassName,Capacity")
def _capacity(obj: Obj, now: datetime) -> list[Any]:
    return [obj.get("storageClassName", ""), obj.get("capacity") or UNSET]


@layout(_STORAGE, "VolumeAttachment", "Attacher,PV,Node,Attached:boolean,Age")
def _attachment(obj: Obj, now: datetime) -> list[Any]:
    spec = spec_of(obj)
    return [spec.get("attacher", ""), dig(spec, "source", "persistentVolumeName", default=""), spec.get("nodeName", ""),
            bool(status_of(obj).get("attached")), age_of(obj, now)]


@layout(_STORAGE, "VolumeAttributesClass", "DriverName,Age")
def _attributes_class(obj: Obj, now: datetime) -> list[Any]:
    return [obj.get("driverName", ""), age_of(obj, now)]


# --- admission, certificates, aggregation -------------------------------------------------------------------------


def _webhooks(obj: Obj, now: datetime) -> list[Any]:
    return [len(obj.get("webhooks") or ()), age_of(obj, now)]


for _kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
    layout(_ADMISSION, _kind, "Webhooks:integer,Age")(_webhooks)


def _param_kind(obj: Obj) -> str:
    kind: Mapping[str, Any] = spec_of(obj).get("paramKind") or {}
    return f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else UNSET


@layout(_ADMISSION, "ValidatingAdmissionPolicy", "Validations:integer,ParamKind,Age")
def _validating_policy(obj: Obj, now: datetime) -> list[Any]:
    return [len(spec_of(obj).get("validations") or ()), _param_kind(obj), age_of(obj, now)]


@layout(_ADMISSION, "MutatingAdmissionPolicy", "Mutations:integer,ParamKind,Age")
def _mutating_policy(obj: Obj, now: datetime) -> list[Any]:
    return [len(spec_of(obj).get("mutations") or ()), _param_kind(obj), age_of(obj, now)]


def _policy_binding(obj: Obj, now: datetime) -> list[Any]:
    spec = spec_of(obj)
    param = spec.get("paramRef") or {}
    where = f"{param['namespace']}/" if param.get("namespace") else "*/" if param else ""
    shown = UNSET if not param else where + (param.get("name") or selected(param.get("selector")))
    return [spec.get("policyName", ""), shown, age_of(obj, now)]


for _kind in ("ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicyBinding"):
    layout(_ADMISSION, _kind, "PolicyName,ParamRef,Age")(_policy_binding)


@layout("certificates.k8s.io", "CertificateSigningRequest", "Age,SignerName,Requestor,RequestedDuration,Condition")
def _certificate_request(obj: Obj, now: datetime) -> list[Any]:
    spec = spec_of(obj)
    lasting = spec.get("expirationSeconds")
    names = {row.get("type") for row in status_of(obj).get("conditions") or ()}
    state = "Denied" if "Denied" in names else "Approved" if "Approved" in names else "Pending"
    if "Failed" in names:
        state += ",Failed"
    if status_of(obj).get("certificate"):
        state += ",Issued"
    return [age_of(obj, now), spec.get("signerName") or NONE, spec.get("username", ""),
            human(timedelta(seconds=lasting)) if lasting else NONE, state]


@layout("apiregistration.k8s.io", "APIService", "Service,Available,Age")
def _api_service(obj: Obj, now: datetime) -> list[Any]:
    service = spec_of(obj).get("service")
    found = condition(obj, "Available") or {}
    available = found.get("status", "Unknown")
    if available not in ("True", "Unknown"):
        available = f"{available} ({found.get('reason', '')})"
    return [f"{service.get('namespace', '')}/{service.get('name', '')}" if service else "Local", available, age_of(obj, now)]


# --- scheduling, devices ------------------------------------------------------------------------------------------


@layout("node.k8s.io", "RuntimeClass", "Handler,Age")
def _runtime_class(obj: Obj, now: datetime) -> list[Any]:
    return [obj.get("handler", ""), age_of(obj, now)]


@layout(_FLOW, "FlowSchema", "PriorityLevel,MatchingPrecedence,DistinguisherMethod,Age,MissingPL")
def _flow_schema(obj: Obj, now: datetime) -> list[Any]:
    spec = spec_of(obj)
    dangling = condition(obj, "Dangling") or {}
    return [dig(spec, "priorityLevelConfiguration", "name", default=""), spec.get("matchingPrecedence", 0),
            dig(spec, "distinguisherMethod", "type", default=NONE), age_of(obj, now), dangling.get("status", "?")]


@layout(_FLOW, "PriorityLevelConfiguration", "Type,NominalConcurrencyShares,Queues,HandSize,QueueLengthLimit,Age")
def _priority_level(obj: Obj, now: datetime) -> list[Any]:
    spec = spec_of(obj)
    queuing = dig(spec, "limited", "limitResponse", "queuing", default={})
    shares = dig(spec, "limited", "nominalConcurrencyShares", default=NONE)
    return [spec.get("type", ""), shares, *(queuing.get(name, NONE) for name in ("queues", "handSize", "queueLengthLimit")),
            age_of(obj, now)]


def _plain(obj: Obj, now: datetime) -> list[Any]:
    return [age_of(obj, now)]


for _kind in ("DeviceClass", "ResourceClaimTemplate"):
    layout(_RESOURCE, _kind, "Age")(_plain)


@layout(_RESOURCE, "ResourceClaim", "State,Age")
def _claim(obj: Obj, now: datetime) -> list[Any]:
    states = ["deleted"] if is_deleting(obj) else []
    if status_of(obj).get("allocation"):
        states += ["allocated", *(["reserved"] if status_of(obj).get("reservedFor") else [])]
    elif not is_deleting(obj):
        states.append("pending")
    return [",".join(states), age_of(obj, now)]


@layout(_RESOURCE, "ResourceSlice", "Node,Driver,Pool,Age")
def _slice(obj: Obj, now: datetime) -> list[Any]:
    spec = spec_of(obj)
    return [spec.get("nodeName", ""), spec.get("driver", ""), dig(spec, "pool", "name", default=""), age_of(obj, now)]


@layout("autoscaling", "Scale", "Desired:integer,Available:integer,Age")
def _scale(obj: Obj, now: datetime) -> list[Any]:
    return [spec_of(obj).get("replicas", 0), status_of(obj).get("replicas", 0),
            age_of(obj, now) if "creationTimestamp" in meta_of(obj) else "<unknown>"]
