"""What the API refuses in configuration, volumes, leases and the like, in its own words. Pure.

Source: kubernetes `pkg/apis/{core,storage,coordination,node,certificates}/validation`; rules and message texts only.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from typing import Any

from fairway.kube.objects import Obj, dig
from fairway.kube.quantity import parse_quantity
from fairway.kube.refusals import FieldError, forbidden, invalid_value, required, too_long, unsupported
from fairway.kube.validation_shapes import config_key, label_name, not_negative, one_of, qualified, selector, subdomain

Errors = Iterator[FieldError]

_LARGEST_CONFIG = 1 << 20
_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_REDACTED = "<secret contents redacted>"


# --- configuration ----------------------------------------------------------------------------------------------------


def config_map(obj: Obj) -> Errors:
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    size = 0
    for key, text in data.items():
        yield from config_key(f"data[{key}]", key)
        if key in binary:
            yield invalid_value(f"data[{key}]", key, "duplicate of key present in binaryData")
        size += len(text.encode())
    for key, text in binary.items():
        yield from config_key(f"binaryData[{key}]", key)
        size += len(text) * 3 // 4
    if size > _LARGEST_CONFIG:
        yield too_long("[]", _LARGEST_CONFIG)


def secret(obj: Obj) -> Errors:
    data, size = obj.get("data") or {}, 0
    for key, text in data.items():
        yield from config_key(f"data[{key}]", key)
        size += len(text) * 3 // 4
    if size > _LARGEST_CONFIG:
        yield too_long("data", _LARGEST_CONFIG)
    match obj.get("type"):
        case "kubernetes.io/service-account-token":
            key = "kubernetes.io/service-account.name"
            if not (obj["metadata"].get("annotations") or {}).get(key):
                yield required(f"metadata.annotations[{key}]")
        case "kubernetes.io/dockercfg":
            yield from _json_of(data, ".dockercfg")
        case "kubernetes.io/dockerconfigjson":
            yield from _json_of(data, ".dockerconfigjson")
        case "kubernetes.io/basic-auth":
            if "username" not in data and "password" not in data:
                yield required("data[%s][username]")
                yield required("data[%s][password]")
        case "kubernetes.io/ssh-auth":
            if not data.get("ssh-privatekey"):
                yield required("data[%s][ssh-privatekey]")
        case "kubernetes.io/tls":
            for key in ("tls.crt", "tls.key"):
                if key not in data:
                    yield required(f"data[{key}]")


def _json_of(data: Mapping[str, str], key: str) -> Errors:
    if key not in data:
        yield required(f"data[{key}]")
        return
    try:
        good = isinstance(json.loads(base64.b64decode(data[key])), dict)
    except (ValueError, binascii.Error):
        good = False
    if not good:
        yield invalid_value(f"data[{key}]", _REDACTED, "invalid character looking for beginning of value")


def fixed_config(old: Obj, new: Obj) -> Errors:
    """An immutable ConfigMap or Secret."""
    if not old.get("immutable"):
        return
    if not new.get("immutable"):
        yield forbidden("immutable", "field is immutable when `immutable` is set")
    for name in ("data", "binaryData"):
        if (old.get(name) or {}) != (new.get(name) or {}):
            yield forbidden(name, "field is immutable when `immutable` is set")


def namespace(obj: Obj) -> Errors:
    for place, name in enumerate(dig(obj, "spec", "finalizers", default=[])):
        yield from qualified(f"spec.finalizers[{place}]", name)


def event(obj: Obj) -> Errors:
    about = obj.get("involvedObject") or {}
    space = obj["metadata"].get("namespace", "")
    if about.get("namespace") and about["namespace"] != space:
        yield invalid_value("involvedObject.namespace", about["namespace"], "does not match event.namespace")


def lease(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    seconds = spec.get("leaseDurationSeconds")
    if isinstance(seconds, int) and seconds <= 0:
        yield invalid_value("spec.leaseDurationSeconds", seconds, "must be greater than 0")
    yield from not_negative("spec.leaseTransitions", spec.get("leaseTransitions"))


def runtime_class(obj: Obj) -> Errors:
    if not obj.get("handler"):
        yield required("handler")
    else:
        yield from label_name("handler", obj["handler"])


# --- volumes ----------------------------------------------------------------------------------------------------------


def claim(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    modes = spec.get("accessModes") or ()
    if not modes:
        yield required("spec.accessModes", "at least 1 access mode is required")
    yield from selector("spec.selector", spec.get("selector"))
    yield from _access_modes(modes)
    size = dig(spec, "resources", "requests", "storage")
    if size is None:
        yield required("spec.resources[storage]")
    elif parse_quantity(size) <= 0:
        yield invalid_value("spec.resources[storage]", size, "must be greater than zero")
    if spec.get("storageClassName"):
        yield from subdomain("spec.storageClassName", spec["storageClassName"])
    if spec.get("volumeMode") not in (None, "Block", "Filesystem"):
        yield unsupported("spec.volumeMode", spec["volumeMode"], ("Block", "Filesystem"))


def _access_modes(modes: Any) -> Errors:
    for mode in modes:
        if mode not in _MODES:
            yield unsupported("spec.accessModes", mode, _MODES)
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        yield forbidden("spec.accessModes", "may not use ReadWriteOncePod with other access modes")


def claim_change(old: Obj, new: Obj) -> Errors:
    """Only the size may grow, once the claim is bound; an unbound one is given its volume."""
    before, after = (dict(obj.get("spec") or {}) for obj in (old, new))
    sizes = [dig(spec, "resources", "requests", "storage") for spec in (before, after)]
    free = ("volumeAttributesClassName", *(name for name in ("volumeName", "storageClassName") if not before.get(name)))
    bound = dig(old, "status", "phase") == "Bound"
    for spec in (before, after):
        for name in free:
            spec.pop(name, None)
        if bound:
            resources = dict(spec.get("resources") or {})
            resources["requests"] = {k: v for k, v in (resources.get("requests") or {}).items() if k != "storage"}
            spec["resources"] = resources
    if before != after:
        yield forbidden("spec", "spec is immutable after creation except resources.requests and volumeAttributesClassName for "
                        "bound claims")
    if bound and None not in sizes and parse_quantity(sizes[1]) < parse_quantity(sizes[0]):
        yield forbidden("spec.resources.requests.storage", "field can not be less than previous value")


def volume(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    modes = spec.get("accessModes") or ()
    if not modes:
        yield required("spec.accessModes")
    yield from _access_modes(modes)
    capacity = spec.get("capacity") or {}
    if not capacity:
        yield required("spec.capacity")
    elif list(capacity) != ["storage"]:
        yield unsupported("spec.capacity", capacity, ("storage",))
    elif parse_quantity(capacity["storage"]) <= 0:
        yield invalid_value("spec.capacity[storage]", capacity["storage"], "must be greater than zero")
    policy = spec.get("persistentVolumeReclaimPolicy")
    if policy not in ("Delete", "Recycle", "Retain"):
        yield unsupported("spec.persistentVolumeReclaimPolicy", policy or "", ("Delete", "Recycle", "Retain"))
    sources = [name for name in spec if name in _VOLUME_SOURCES]
    for name in sources[1:]:
        yield forbidden(f"spec.{name}", "may not specify more than 1 volume type")
    if not sources:
        yield required("spec", "must specify a volume type")
    elif sources[0] == "hostPath" and not dig(spec, "hostPath", "path"):
        yield required("spec.hostPath.path")
    elif sources[0] == "local" and not dig(spec, "nodeAffinity"):
        yield required("spec.nodeAffinity", "Local volume requires node affinity")


_VOLUME_SOURCES = {
    "awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "fc", "flexVolume", "flocker",
    "gcePersistentDisk", "glusterfs", "hostPath", "iscsi", "local", "nfs", "photonPersistentDisk", "portworxVolume", "quobyte",
    "rbd", "scaleIO", "storageos", "vsphereVolume",
}


def volume_change(old: Obj, new: Obj) -> Errors:
    before, after = ({k: v for k, v in (obj.get("spec") or {}).items() if k in _VOLUME_SOURCES} for obj in (old, new))
    if before != after:
        yield forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation")
    if dig(old, "spec", "volumeMode") != dig(new, "spec", "volumeMode"):
        yield invalid_value("spec.volumeMode", dig(new, "spec", "volumeMode"), "field is immutable")


def storage_class(obj: Obj) -> Errors:
    if not obj.get("provisioner"):
        yield required("provisioner")
    else:
        yield from qualified("provisioner", obj["provisioner"].lower())
    for key in obj.get("parameters") or {}:
        if not key:
            yield invalid_value("parameters", key, "field can not be empty.")
    policy = obj.get("reclaimPolicy")
    if policy not in (None, "Delete", "Retain"):
        yield unsupported("reclaimPolicy", policy, ("Delete", "Retain"))
    yield from one_of("volumeBindingMode", obj.get("volumeBindingMode"), ("Immediate", "WaitForFirstConsumer"))


def storage_class_change(old: Obj, new: Obj) -> Errors:
    for name in ("parameters", "provisioner", "reclaimPolicy"):
        if (old.get(name) or None) != (new.get(name) or None):
            yield forbidden(name, f"updates to {name} are forbidden.")
    if old.get("volumeBindingMode") != new.get("volumeBindingMode"):
        yield invalid_value("volumeBindingMode", new.get("volumeBindingMode"), "field is immutable")


# --- certificates -----------------------------------------------------------------------------------------------------


def certificate_request(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    try:
        pem = base64.b64decode(spec.get("request") or "")
    except (ValueError, binascii.Error):
        pem = b""
    if b"-----BEGIN CERTIFICATE REQUEST-----" not in pem:
        yield invalid_value("spec.request", spec.get("request"), "PEM block type must be CERTIFICATE REQUEST")
    if not spec.get("usages"):
        yield required("spec.usages", "usages are required")
    name = spec.get("signerName") or ""
    if not name:
        yield required("spec.signerName", "signerName is required")
    elif "/" not in name:
        yield invalid_value("spec.signerName", name, "must be a fully qualified domain and path of the form "
                            '"example.com/signer-name"')
    seconds = spec.get("expirationSeconds")
    if isinstance(seconds, int) and seconds < 600:
        yield invalid_value("spec.expirationSeconds", seconds, "may not specify a duration less than 600 seconds (10 minutes)")


def certificate_request_change(old: Obj, new: Obj) -> Errors:
    for name in ("request", "signerName", "usages", "expirationSeconds", "username", "uid", "groups", "extra"):
        if dig(old, "spec", name) != dig(new, "spec", name):
            yield invalid_value(f"spec.{name}", dig(new, "spec", name), "field is immutable")
