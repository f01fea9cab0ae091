"""What the API refuses in built-in kinds, in its own words: the rules that users meet first.

Pure: an object in, what is wrong out. Each family of kinds has a module of its own; here is what they share, and the table.
Source: kubernetes `pkg/apis/*/validation`; rules and message texts only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fairway.kube import validation_access as access
from fairway.kube import validation_admission as admission
from fairway.kube import validation_network as network
from fairway.kube import validation_storage as storage
from fairway.kube import validation_workloads as workloads
from fairway.kube.internal_form import pod_template
from fairway.kube.objects import Obj, dig
from fairway.kube.refusals import FieldError, invalid_value, too_long
from fairway.kube.resources import BUILT_IN
from fairway.kube.validation_pods import check_pod_door, pod, pod_change
from fairway.kube.validation_shapes import label_name, labels, path_segment, qualified, service_name, subdomain

__all__ = ["check_change", "check_new", "check_pod_door"]

Errors = Iterator[FieldError]

_RBAC, _ADMISSION = "rbac.authorization.k8s.io", "admissionregistration.k8s.io"
_LABEL_NAMES = {("", "Namespace")}
_SERVICE_NAMES = {("", "Service")}
_FREE_NAMES = {(_RBAC, kind) for kind in ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")} | {
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"), ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"),
    ("apiregistration.k8s.io", "APIService")}
_LARGEST_ANNOTATIONS = 256 << 10
FINALIZERS = ("kubernetes", "foregroundDeletion", "orphan")
"""Those that may do without a domain."""
_OWN_KINDS = {row.group_kind for row in BUILT_IN if row.group != "apiextensions.k8s.io"}


def check_new(group: str, kind: str, obj: Obj) -> list[FieldError]:
    """Everything wrong with an object as it would be stored."""
    errors = [*_metadata(group, kind, obj["metadata"])]
    check = _KINDS.get((group, kind))
    if check is not None:
        errors.extend(check(obj))
    return errors


def check_change(group: str, kind: str, old: Obj, new: Obj) -> list[FieldError]:
    """Everything wrong with `new` as the successor of `old`. What was wrong before is no reason to refuse: rules came later
    than some objects, which must stay changeable."""
    errors = check_new(group, kind, new)
    if errors:
        before = {str(error) for error in check_new(group, kind, old)}
        errors = [error for error in errors if str(error) not in before]
    for path in _IMMUTABLE.get((group, kind), ()):
        before, after = dig(old, *path.split(".")), dig(new, *path.split("."))
        if before != after and before is not None:
            whole = pod_template(after or {}) if path == "spec.template" else after
            errors.append(invalid_value(path, whole, "field is immutable", ordered=path == "spec.template"))
    changed = _CHANGES.get((group, kind))
    if changed is not None:
        errors.extend(changed(old, new))
    return errors


def _metadata(group: str, kind: str, meta: Mapping[str, Any]) -> Errors:
    name = meta["name"]
    if (group, kind) in _LABEL_NAMES:
        yield from label_name("metadata.name", name)
    elif (group, kind) in _SERVICE_NAMES:
        yield from service_name("metadata.name", name)
    elif (group, kind) in _FREE_NAMES:
        yield from path_segment("metadata.name", name)
    else:
        yield from subdomain("metadata.name", name)
    yield from labels("metadata.labels", meta.get("labels") or {})
    size = 0
    for key, value in (meta.get("annotations") or {}).items():
        yield from qualified("metadata.annotations", key.lower())
        size += len(key) + len(value)
    if size > _LARGEST_ANNOTATIONS:
        yield too_long("metadata.annotations", _LARGEST_ANNOTATIONS)
    yield from _owners(meta.get("ownerReferences") or ())
    for place, finalizer in enumerate(meta.get("finalizers") or ()):
        yield from qualified("metadata.finalizers", finalizer)
        if "/" not in finalizer and finalizer not in FINALIZERS and (group, kind) in _OWN_KINDS:
            yield invalid_value(f"metadata.finalizers[{place}]", finalizer,
                                "name is neither a standard finalizer name nor is it fully qualified")


def _owners(references: Any) -> Errors:
    path = "metadata.ownerReferences"
    controllers: list[str] = []
    for place, ref in enumerate(references):
        if not ref.get("apiVersion"):
            yield invalid_value(f"{path}[{place}].apiVersion", "", "version must not be empty")
        for name in ("kind", "name", "uid"):
            if not ref.get(name):
                yield invalid_value(f"{path}[{place}].{name}", "", "must not be empty")
        if ref.get("controller"):
            controllers.append(f"{ref.get('kind')}/{ref.get('name')}")
    if len(controllers) > 1:
        why = ("Only one reference can have Controller set to true. Found \"true\" in references for "
               f"{controllers[0]} and {controllers[1]}")
        yield invalid_value(path, references, why)


_KINDS: dict[tuple[str, str], Callable[[Obj], Errors]] = {
    ("", "Pod"): pod,
    ("", "Service"): network.service,
    ("", "Endpoints"): network.endpoints,
    ("", "ConfigMap"): storage.config_map,
    ("", "Secret"): storage.secret,
    ("", "Namespace"): storage.namespace,
    ("", "Event"): storage.event,
    ("", "PersistentVolume"): storage.volume,
    ("", "PersistentVolumeClaim"): storage.claim,
    ("", "ReplicationController"): workloads.replication_controller,
    ("", "ResourceQuota"): access.quota,
    ("", "LimitRange"): access.limit_range,
    ("apps", "Deployment"): workloads.deployment,
    ("apps", "ReplicaSet"): workloads.replica_set,
    ("apps", "StatefulSet"): workloads.stateful_set,
    ("apps", "DaemonSet"): workloads.daemon_set,
    ("apps", "ControllerRevision"): workloads.controller_revision,
    ("batch", "Job"): workloads.job,
    ("batch", "CronJob"): workloads.cron_job,
    ("autoscaling", "HorizontalPodAutoscaler"): workloads.autoscaler,
    ("policy", "PodDisruptionBudget"): workloads.budget,
    ("networking.k8s.io", "Ingress"): network.ingress,
    ("networking.k8s.io", "IngressClass"): network.ingress_class,
    ("networking.k8s.io", "NetworkPolicy"): network.network_policy,
    ("discovery.k8s.io", "EndpointSlice"): network.endpoint_slice,
    ("storage.k8s.io", "StorageClass"): storage.storage_class,
    ("coordination.k8s.io", "Lease"): storage.lease,
    ("node.k8s.io", "RuntimeClass"): storage.runtime_class,
    ("certificates.k8s.io", "CertificateSigningRequest"): storage.certificate_request,
    ("scheduling.k8s.io", "PriorityClass"): access.priority_class,
    (_RBAC, "Role"): access.role,
    (_RBAC, "ClusterRole"): access.cluster_role,
    (_RBAC, "RoleBinding"): access.role_binding,
    (_RBAC, "ClusterRoleBinding"): access.cluster_role_binding,
    (_ADMISSION, "MutatingWebhookConfiguration"): admission.webhooks,
    (_ADMISSION, "ValidatingWebhookConfiguration"): admission.webhooks,
    (_ADMISSION, "ValidatingAdmissionPolicy"): admission.policy,
    (_ADMISSION, "ValidatingAdmissionPolicyBinding"): admission.policy_binding,
}

_CHANGES: dict[tuple[str, str], Callable[[Obj, Obj], Errors]] = {
    ("", "Pod"): pod_change,
    ("", "Service"): network.service_change,
    ("", "ConfigMap"): storage.fixed_config,
    ("", "Secret"): storage.fixed_config,
    ("", "PersistentVolume"): storage.volume_change,
    ("", "PersistentVolumeClaim"): storage.claim_change,
    ("apps", "StatefulSet"): workloads.stateful_set_change,
    ("storage.k8s.io", "StorageClass"): storage.storage_class_change,
    ("certificates.k8s.io", "CertificateSigningRequest"): storage.certificate_request_change,
    (_RBAC, "RoleBinding"): access.role_ref_kept,
    (_RBAC, "ClusterRoleBinding"): access.role_ref_kept,
    ("scheduling.k8s.io", "PriorityClass"): access.priority_kept,
}

_IMMUTABLE: dict[tuple[str, str], tuple[str, ...]] = {
    ("apps", "Deployment"): ("spec.selector",),
    ("apps", "ReplicaSet"): ("spec.selector",),
    ("apps", "DaemonSet"): ("spec.selector",),
    ("apps", "ControllerRevision"): ("data",),
    ("batch", "Job"): ("spec.completions", "spec.selector", "spec.template", "spec.completionMode", "spec.podFailurePolicy",
                       "spec.backoffLimitPerIndex"),
    ("discovery.k8s.io", "EndpointSlice"): ("addressType",),
    ("networking.k8s.io", "IngressClass"): ("spec.controller",),
    ("node.k8s.io", "RuntimeClass"): ("handler",),
    ("", "Secret"): ("type",),
}  # fmt: skip
