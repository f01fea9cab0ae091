"""What the API itself keeps of an object, whoever writes it: identity, generation, status apart from spec, deletion.

Pure: the time and every chance value are arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fairway.kube.api import DeleteOptions, Subresource
from fairway.kube.errors import BadRequest
from fairway.kube.objects import Obj, dig, parse_time, rfc3339
from fairway.kube.refusals import FieldError, forbidden, invalid, modified, precondition_failed
from fairway.kube.resources import Resource

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
DEFAULT_POD_GRACE_S = 30

_KEPT = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink",
         "generateName")
_NO_GENERATION = {
    ("", kind) for kind in ("Namespace", "Node", "Service", "Endpoints", "ConfigMap", "Secret", "ServiceAccount",
                            "Event", "PersistentVolume", "PersistentVolumeClaim", "LimitRange", "ResourceQuota")
} | {
    ("autoscaling", "HorizontalPodAutoscaler"), ("rbac.authorization.k8s.io", "Role"), ("apps", "ControllerRevision"),
    ("rbac.authorization.k8s.io", "RoleBinding"), ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"), ("coordination.k8s.io", "Lease"),
    ("networking.k8s.io", "IPAddress"), ("networking.k8s.io", "ServiceCIDR"), ("node.k8s.io", "RuntimeClass"),
    ("certificates.k8s.io", "CertificateSigningRequest"), ("apiregistration.k8s.io", "APIService"),
    ("resource.k8s.io", "ResourceClaim"), ("resource.k8s.io", "ResourceClaimTemplate"),
} | {
    ("storage.k8s.io", kind) for kind in ("StorageClass", "CSINode", "CSIStorageCapacity", "VolumeAttachment",
                                          "VolumeAttributesClass")
}  # fmt: skip
_OUTSIDE_SPEC = {"apiVersion", "kind", "metadata", "status"}


def counts_generations(resource: Resource) -> bool:
    return resource.group_kind not in _NO_GENERATION


def has_status(resource: Resource) -> bool:
    """Whether status is written apart from the rest."""
    return "status" in resource.subresources


def begin(resource: Resource, obj: Obj, *, uid: str, now: datetime) -> None:
    """Make `obj` a new object: what only the API may say is said here. Changes `obj`."""
    meta = obj["metadata"]
    for name in ("resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink"):
        meta.pop(name, None)
    meta["uid"] = uid
    meta["creationTimestamp"] = rfc3339(now)
    if counts_generations(resource):
        meta["generation"] = 1
    if has_status(resource):
        obj.pop("status", None)


def succeed(resource: Resource, old: Obj, new: Obj, subresource: Subresource) -> Obj:
    """`new` as the successor of `old`: only what this way of writing may change differs. May change `new`."""
    if subresource == "status":
        meta = dict(old["metadata"])
        if "managedFields" in new["metadata"]:
            meta["managedFields"] = new["metadata"]["managedFields"]
        result = {**old, "metadata": meta}
        result.pop("status", None)
        if "status" in new:
            result["status"] = new["status"]
        return result
    if subresource in _DOORS:
        new = _DOORS[subresource](old, new)
    meta, before = new["metadata"], old["metadata"]
    for name in _KEPT:
        if name in before:
            meta[name] = before[name]
        else:
            meta.pop(name, None)
    if has_status(resource) and subresource != "approval":
        new.pop("status", None)
        if "status" in old:
            new["status"] = old["status"]
    if resource.kind == "Namespace" and not resource.group and subresource != "finalize":
        new.setdefault("spec", {})["finalizers"] = dig(old, "spec", "finalizers", default=[])
    if counts_generations(resource) and _differs(resource, old, new):
        meta["generation"] = int(before.get("generation", 0)) + 1
    return new


def _through(old: Obj, new: Obj, **changed: Any) -> Obj:
    """`old`, but with the metadata's owners of `new`, and with what this door lets through."""
    meta = {**old["metadata"], "managedFields": new["metadata"].get("managedFields", [])}
    return {**old, "metadata": meta, **changed}


def _debugged(old: Obj, new: Obj) -> Obj:
    said = dig(new, "spec", "ephemeralContainers", default=[])
    return _through(old, new, spec={**old["spec"], **({"ephemeralContainers": said} if said else {})})


def _resized(old: Obj, new: Obj) -> Obj:
    spec = dict(old["spec"])
    for field in ("containers", "initContainers"):
        wanted = {c.get("name"): c for c in new["spec"].get(field) or ()}
        if field in spec:
            spec[field] = [{**c, **{k: wanted[c["name"]][k] for k in ("resources", "resizePolicy") if k in wanted[c["name"]]}}
                           if c["name"] in wanted else c for c in spec[field]]
    return _through(old, new, spec=spec)


def _approved(old: Obj, new: Obj) -> Obj:
    said = dig(new, "status", "conditions", default=[])
    return _through(old, new, status={**(old.get("status") or {}), "conditions": said})


_DOORS: dict[str, Callable[[Obj, Obj], Obj]] = {"ephemeralcontainers": _debugged, "resize": _resized, "approval": _approved}


def _differs(resource: Resource, old: Obj, new: Obj) -> bool:
    """Whether `new` asks for something else. A Deployment's annotations travel to its ReplicaSets: they count."""
    if resource.group_kind == ("apps", "Deployment"):
        before, after = old["metadata"].get("annotations"), new["metadata"].get("annotations")
        if (before or {}) != (after or {}):
            return True
    outside = _OUTSIDE_SPEC if has_status(resource) else _OUTSIDE_SPEC - {"status"}
    names = (old.keys() | new.keys()) - outside
    return any(old.get(name) != new.get(name) for name in names)


def check_finalizers(resource: Resource, old: Obj, new: Obj) -> None:
    """An object that is being deleted takes no new finalizers."""
    if "deletionTimestamp" not in old["metadata"]:
        return
    before = set(old["metadata"].get("finalizers") or ())
    added = [f for f in new["metadata"].get("finalizers") or () if f not in before]
    if added:
        words = ", ".join(f'"{f}"' for f in added)
        error: FieldError = forbidden("metadata.finalizers", "no new finalizers can be added if the object is being "
                                      f"deleted, found new finalizers []string{{{words}}}")
        raise invalid(resource, old["metadata"]["name"], [error, error])


def released(resource: Resource, obj: Obj) -> bool:
    """Nothing holds a deleted object any more: it may go."""
    meta = obj["metadata"]
    if "deletionTimestamp" not in meta or meta.get("finalizers"):
        return False
    if resource.kind == "Namespace" and not resource.group:
        return not dig(obj, "spec", "finalizers", default=[])
    return int(meta.get("deletionGracePeriodSeconds") or 0) == 0


@dataclass(frozen=True, slots=True)
class Deletion:
    """What a delete makes of an object: its last or next state, and whether it is gone."""

    obj: Obj
    gone: bool
    changed: bool


def delete(resource: Resource, obj: Obj, options: DeleteOptions, now: datetime) -> Deletion:
    """Decide what a delete of `obj` does. `obj` is not changed."""
    check_preconditions(resource, obj, uid=options.uid, version=options.resource_version)
    grace = _grace(resource, obj, options)
    meta: dict[str, Any] = dict(obj["metadata"])
    finalizers = _finalizers(list(meta.get("finalizers") or ()), options)
    marked = _mark(meta, grace, now)
    changed = marked or finalizers != list(obj["metadata"].get("finalizers") or ())
    if finalizers:
        meta["finalizers"] = finalizers
    else:
        meta.pop("finalizers", None)
    result = {**obj, "metadata": meta}
    if resource.kind == "Namespace" and not resource.group:
        result["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}
    if not released(resource, result):
        return Deletion(result, gone=False, changed=changed)
    return Deletion(result if resource.group_kind == ("", "Pod") else obj, gone=True, changed=True)


def check_preconditions(resource: Resource, obj: Obj, *, uid: str = "", version: str = "") -> None:
    meta = obj["metadata"]
    if uid and uid != meta["uid"]:
        raise precondition_failed(
            resource, meta["name"], f"the UID in the precondition ({uid}) does not match the UID in record "
            f"({meta['uid']}). The object might have been deleted and then recreated")
    if version and version != meta["resourceVersion"]:
        raise precondition_failed(
            resource, meta["name"], f"the ResourceVersion in the precondition ({version}) does not match the "
            f"ResourceVersion in record ({meta['resourceVersion']}). The object might have been modified")


def check_lock(resource: Resource, old: Obj, new: Obj) -> None:
    """A resourceVersion or uid in what is written must be the object's own."""
    meta, before = new["metadata"], old["metadata"]
    uid, version = meta.get("uid") or "", meta.get("resourceVersion") or ""
    if version and version != before["resourceVersion"]:
        if not str(version).isdigit():
            raise BadRequest(f"invalid resourceVersion {version!r}: a number is needed")
        raise modified(resource, before["name"])
    if uid and uid != before["uid"]:
        raise precondition_failed(
            resource, before["name"], f"Precondition failed: UID in precondition: {uid}, UID in object meta: "
            f"{before['uid']}")


def _grace(resource: Resource, obj: Obj, options: DeleteOptions) -> int:
    """Seconds that the object keeps before it may go: only a pod on a node has any."""
    if resource.group_kind != ("", "Pod"):
        return 0
    if not dig(obj, "spec", "nodeName") or dig(obj, "status", "phase") in ("Succeeded", "Failed"):
        return 0
    if options.grace_period_s is not None:
        return max(options.grace_period_s, 0)
    return int(dig(obj, "spec", "terminationGracePeriodSeconds", default=DEFAULT_POD_GRACE_S))


def _finalizers(present: list[str], options: DeleteOptions) -> list[str]:
    wanted = {"Foreground": FOREGROUND, "Orphan": ORPHAN}.get(options.propagation)
    kept = [f for f in present if f not in (FOREGROUND, ORPHAN)]
    return [*kept, wanted] if wanted else kept


def _mark(meta: dict[str, Any], grace: int, now: datetime) -> bool:
    """Mark as being deleted. A second delete may only shorten the grace period."""
    if "deletionTimestamp" in meta:
        before = int(meta.get("deletionGracePeriodSeconds") or 0)
        if grace >= before:
            return False
        asked = parse_time(meta["deletionTimestamp"]) - timedelta(seconds=before)
        meta["deletionTimestamp"] = rfc3339(asked + timedelta(seconds=grace))
        meta["deletionGracePeriodSeconds"] = grace
        return True
    meta["deletionTimestamp"] = rfc3339(now + timedelta(seconds=grace))
    meta["deletionGracePeriodSeconds"] = grace
    if meta.get("generation"):
        meta["generation"] += 1
    return True
