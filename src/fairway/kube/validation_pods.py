"""What the API refuses in pods and pod templates, in its own words. Pure.

Source: kubernetes `pkg/apis/core/validation`; rules and message texts only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from fairway.kube.objects import Obj, dig
from fairway.kube.quantity import parse_quantity
from fairway.kube.refusals import FieldError, duplicate, forbidden, invalid_value, not_found_value, required
from fairway.kube.validation_shapes import (
    config_key,
    label_name,
    labels,
    not_negative,
    one_of,
    port,
    port_name,
    port_or_name,
    qualified,
    subdomain,
)

Errors = Iterator[FieldError]

_ENV_NAME = re.compile(r"^[ -<>-~]+$")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_STANDARD_RESOURCES = ("cpu", "memory", "ephemeral-storage", "storage")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_FIELDS = ("metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP",
           "status.hostIPs", "status.podIP", "status.podIPs")
_IDENTITIES = 2**31 - 1
ONLY_SIDECARS = "may not be set for init containers without restartPolicy=Always"


def pod(obj: Obj) -> Errors:
    yield from pod_spec(obj.get("spec") or {}, "spec")


def pod_spec(spec: Mapping[str, Any], path: str) -> Errors:
    volumes: set[str] = set()
    for place, volume in enumerate(spec.get("volumes") or ()):
        yield from _volume(volume, f"{path}.volumes[{place}]", volumes)
    yield from _containers(spec, path, volumes)
    yield from one_of(f"{path}.restartPolicy", spec.get("restartPolicy"), ("Always", "OnFailure", "Never"))
    yield from one_of(f"{path}.dnsPolicy", spec.get("dnsPolicy"), _DNS_POLICIES)
    yield from labels(f"{path}.nodeSelector", spec.get("nodeSelector") or {})
    yield from _identities(spec.get("securityContext") or {}, f"{path}.securityContext")
    for place, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        yield from _spread(constraint, f"{path}.topologySpreadConstraints[{place}]")
    if spec.get("serviceAccountName"):
        yield from subdomain(f"{path}.serviceAccountName", spec["serviceAccountName"])
    if spec.get("nodeName"):
        yield from subdomain(f"{path}.nodeName", spec["nodeName"])
    deadline = spec.get("activeDeadlineSeconds")
    if isinstance(deadline, int) and not 1 <= deadline <= _IDENTITIES:
        yield invalid_value(f"{path}.activeDeadlineSeconds", deadline, f"must be between 1 and {_IDENTITIES}, inclusive")
    for name in ("hostname", "subdomain"):
        if spec.get(name):
            yield from label_name(f"{path}.{name}", spec[name])
    for place, toleration in enumerate(spec.get("tolerations") or ()):
        yield from _toleration(toleration, f"{path}.tolerations[{place}]")
    if spec.get("priorityClassName"):
        yield from subdomain(f"{path}.priorityClassName", spec["priorityClassName"])
    yield from not_negative(f"{path}.terminationGracePeriodSeconds", spec.get("terminationGracePeriodSeconds"))


def _containers(spec: Mapping[str, Any], path: str, volumes: set[str]) -> Errors:
    if not spec.get("containers"):
        yield required(f"{path}.containers")
    names: set[str] = set()
    for place, found in enumerate(spec.get("containers") or ()):
        here = f"{path}.containers[{place}]"
        yield from container(found, here, names, volumes)
        yield from _lifecycle(found.get("lifecycle") or {}, f"{here}.lifecycle")
        for name in _PROBES:
            if name in found:
                yield from _probe(found[name], f"{here}.{name}", success_is_one=name != "readinessProbe")
    for place, found in enumerate(spec.get("initContainers") or ()):
        here = f"{path}.initContainers[{place}]"
        yield from container(found, here, names, volumes)
        policy = found.get("restartPolicy")
        if policy is not None and policy not in ("Always", "Never", "OnFailure"):
            yield from one_of(f"{here}.restartPolicy", policy, ("Always", "Never", "OnFailure"))
        for name in ("lifecycle", *_PROBES):
            if name in found and policy != "Always":
                yield forbidden(f"{here}.{name}", ONLY_SIDECARS)
            elif name in found and name != "lifecycle":
                yield from _probe(found[name], f"{here}.{name}", success_is_one=name != "readinessProbe")


def _named(item: Mapping[str, Any], path: str, seen: set[str]) -> Errors:
    name = item.get("name") or ""
    if not name:
        yield required(f"{path}.name")
        return
    yield from label_name(f"{path}.name", name)
    if name in seen:
        yield duplicate(f"{path}.name", name)
    seen.add(name)


# --- containers -------------------------------------------------------------------------------------------------------


def container(found: Mapping[str, Any], path: str, names: set[str], volumes: set[str]) -> Errors:
    yield from _named(found, path, names)
    image = found.get("image") or ""
    if not image:
        yield required(f"{path}.image")
    elif image != image.strip():
        yield invalid_value(f"{path}.image", image, "must not have leading or trailing whitespace")
    yield from one_of(f"{path}.terminationMessagePolicy", found.get("terminationMessagePolicy"),
                      ("FallbackToLogsOnError", "File"))
    yield from _ports(found, f"{path}.ports")
    for place, variable in enumerate(found.get("env") or ()):
        yield from _variable(variable, f"{path}.env[{place}]")
    for place, source in enumerate(found.get("envFrom") or ()):
        yield from _all_of(source, f"{path}.envFrom[{place}]")
    yield from _mounts(found, f"{path}.volumeMounts", volumes)
    yield from one_of(f"{path}.imagePullPolicy", found.get("imagePullPolicy"), ("Always", "IfNotPresent", "Never"))
    yield from resources(found.get("resources") or {}, f"{path}.resources")
    security = found.get("securityContext") or {}
    yield from _identities(security, f"{path}.securityContext")
    if security.get("allowPrivilegeEscalation") is False and security.get("privileged"):
        yield invalid_value(f"{path}.securityContext", security,
                            "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")


def _ports(found: Mapping[str, Any], path: str) -> Errors:
    taken: set[str] = set()
    for place, row in enumerate(found.get("ports") or ()):
        here, name = f"{path}[{place}]", row.get("name")
        if name:
            yield from port_name(f"{here}.name", name)
            if name in taken:
                yield duplicate(f"{here}.name", name)
            taken.add(name)
        if not row.get("containerPort"):
            yield required(f"{here}.containerPort")
        else:
            yield from port(f"{here}.containerPort", row["containerPort"])
        if row.get("hostPort"):
            yield from port(f"{here}.hostPort", row["hostPort"])
        yield from one_of(f"{here}.protocol", row.get("protocol"), _PROTOCOLS)


def _variable(variable: Mapping[str, Any], path: str) -> Errors:
    name = variable.get("name") or ""
    if not name:
        yield required(f"{path}.name")
    elif not _ENV_NAME.match(name):
        yield invalid_value(f"{path}.name", name, "a valid environment variable name must consist only of printable ASCII "
                            "characters other than '=' (e.g. 'my-name', regex used for validation is '[ -<>-~]+')")
    source = variable.get("valueFrom")
    if source is None:
        return
    if not source:
        yield invalid_value(f"{path}.valueFrom", "", "must specify one of: `fieldRef`, `resourceFieldRef`, "
                            "`configMapKeyRef`, `secretKeyRef` or `fileKeyRef`")
    elif variable.get("value"):
        yield invalid_value(f"{path}.valueFrom", "", "may not be specified when `value` is not empty")
    elif len(source) > 1:
        yield invalid_value(f"{path}.valueFrom", "", "may not have more than one field specified at a time")
    if "fieldRef" in source:
        yield from _field_ref(source["fieldRef"], f"{path}.valueFrom.fieldRef")
    for kind in ("configMapKeyRef", "secretKeyRef"):
        if kind in source:
            key = source[kind].get("key") or ""
            yield from config_key(f"{path}.valueFrom.{kind}.key", key) if key else (
                required(f"{path}.valueFrom.{kind}.key"),)


def _field_ref(ref: Mapping[str, Any], path: str) -> Errors:
    field = ref.get("fieldPath") or ""
    if not field:
        yield required(f"{path}.fieldPath")
        return
    name, bracket, _ = field.partition("[")
    if bracket and name in ("metadata.labels", "metadata.annotations"):
        return
    if name not in ("metadata.labels", "metadata.annotations", *_FIELDS):
        yield invalid_value(f"{path}.fieldPath", field, "error converting fieldPath: field label not supported: " + field)


def _all_of(source: Mapping[str, Any], path: str) -> Errors:
    found = [kind for kind in ("configMapRef", "secretRef") if kind in source]
    for kind in found:
        if not source[kind].get("name"):
            yield required(f"{path}.{kind}.name")
    if not found:
        yield invalid_value(path, "", "must specify one of: `configMapRef` or `secretRef`")
    elif len(found) > 1:
        yield invalid_value(path, "", "may not have more than one field specified at a time")


def _mounts(found: Mapping[str, Any], path: str, volumes: set[str]) -> Errors:
    taken: set[str] = set()
    for place, mount in enumerate(found.get("volumeMounts") or ()):
        here, target = f"{path}[{place}]", mount.get("mountPath")
        if not mount.get("name"):
            yield required(f"{here}.name")
        elif mount["name"] not in volumes:
            yield not_found_value(f"{here}.name", mount["name"])
        if not target:
            yield required(f"{here}.mountPath")
        elif target in taken:
            yield invalid_value(f"{here}.mountPath", target, "must be unique")
        taken.add(target or "")
        for name in ("subPath", "subPathExpr"):
            if mount.get(name):
                yield from _descending(mount[name], f"{here}.{name}")
        if mount.get("subPath") and mount.get("subPathExpr"):
            yield invalid_value(f"{here}.subPathExpr", mount["subPathExpr"], "subPathExpr and subPath are mutually exclusive")


def _descending(target: str, path: str) -> Errors:
    if target.startswith("/"):
        yield invalid_value(path, target, "must be a relative path")
    if ".." in target.split("/"):
        yield invalid_value(path, target, "must not contain '..'")


def _lifecycle(hooks: Mapping[str, Any], path: str) -> Errors:
    for name in ("postStart", "preStop"):
        if name in hooks:
            yield from _handler(hooks[name] or {}, f"{path}.{name}", ("exec", "httpGet", "tcpSocket", "sleep"))


def _probe(probe: Mapping[str, Any], path: str, *, success_is_one: bool) -> Errors:
    yield from _handler(probe, path, ("exec", "httpGet", "tcpSocket", "grpc"))
    for name in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        yield from not_negative(f"{path}.{name}", probe.get(name))
    grace = probe.get("terminationGracePeriodSeconds")
    if isinstance(grace, int) and grace <= 0:
        yield invalid_value(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than 0")
    if success_is_one and probe.get("successThreshold", 1) != 1:
        yield invalid_value(f"{path}.successThreshold", probe["successThreshold"], "must be 1")


def _handler(handler: Mapping[str, Any], path: str, kinds: tuple[str, ...]) -> Errors:
    found = [name for name in kinds if name in handler]
    if not found:
        yield required(path, "must specify a handler type")
    for name in found[1:]:
        yield forbidden(f"{path}.{name}", "may not specify more than 1 handler type")
    match found[:1]:
        case ["exec"]:
            if not dig(handler, "exec", "command"):
                yield required(f"{path}.exec.command")
        case ["httpGet"]:
            asked = handler["httpGet"]
            yield from port_or_name(f"{path}.httpGet.port", asked.get("port", 0))
            yield from one_of(f"{path}.httpGet.scheme", asked.get("scheme"), ("HTTP", "HTTPS"))
        case ["tcpSocket"]:
            yield from port_or_name(f"{path}.tcpSocket.port", handler["tcpSocket"].get("port", 0))
        case ["grpc"]:
            yield from port(f"{path}.grpc.port", handler["grpc"].get("port", 0))


def resources(found: Mapping[str, Any], path: str) -> Errors:
    limits, requests = found.get("limits") or {}, found.get("requests") or {}
    for field, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            yield from _resource_name(name, f"{path}.{field}[{name}]")
            if parse_quantity(amount) < 0:
                yield invalid_value(f"{path}.{field}[{name}]", amount, "must be greater than or equal to 0")
            if field == "requests" and name in limits and parse_quantity(amount) > parse_quantity(limits[name]):
                why = f"must be less than or equal to {name} limit of {limits[name]}"
                yield invalid_value(f"{path}.requests", amount, why)


def _resource_name(name: str, path: str) -> Errors:
    yield from qualified(path, name)
    if "/" not in name and not name.startswith("hugepages-"):
        if name not in _STANDARD_RESOURCES:
            yield invalid_value(path, name, "must be a standard resource type or fully qualified")
            yield invalid_value(path, name, "must be a standard resource for containers")
        elif name == "storage":
            yield invalid_value(path, name, "must be a standard resource for containers")


def _identities(context: Mapping[str, Any], path: str) -> Errors:
    for name in ("runAsUser", "runAsGroup", "fsGroup"):
        value = context.get(name)
        if isinstance(value, int) and not 0 <= value <= _IDENTITIES:
            yield invalid_value(f"{path}.{name}", value, f"must be between 0 and {_IDENTITIES}, inclusive")


def _toleration(toleration: Mapping[str, Any], path: str) -> Errors:
    key, operator, effect = toleration.get("key") or "", toleration.get("operator") or "", toleration.get("effect")
    if key:
        yield from qualified(f"{path}.key", key)
    elif operator != "Exists":
        yield invalid_value(f"{path}.operator", operator, "operator must be Exists when `key` is empty, which means \"match "
                            'all values and all keys"')
    if operator == "Exists" and toleration.get("value"):
        yield invalid_value(f"{path}.operator", toleration["value"], "value must be empty when `operator` is 'Exists'")
    elif operator not in ("", "Equal", "Exists"):
        yield from one_of(f"{path}.operator", operator, ("Equal", "Exists"))
    if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        yield invalid_value(f"{path}.effect", effect or "", "effect must be 'NoExecute' when `tolerationSeconds` is set")
    if effect:
        yield from one_of(f"{path}.effect", effect, _EFFECTS)


def _spread(constraint: Mapping[str, Any], path: str) -> Errors:
    if int(constraint.get("maxSkew") or 0) <= 0:
        yield invalid_value(f"{path}.maxSkew", constraint.get("maxSkew") or 0, "must be greater than zero")
    if not constraint.get("topologyKey"):
        yield required(f"{path}.topologyKey", "can not be empty")
    yield from one_of(f"{path}.whenUnsatisfiable", constraint.get("whenUnsatisfiable"), ("DoNotSchedule", "ScheduleAnyway"))


# --- volumes ----------------------------------------------------------------------------------------------------------


def _volume(volume: Mapping[str, Any], path: str, seen: set[str]) -> Errors:
    yield from _volume_source({k: v for k, v in volume.items() if k != "name"}, path)
    yield from _named(volume, path, seen)


def _volume_source(source: Mapping[str, Any], path: str) -> Errors:
    kinds = list(source)
    for kind in kinds[1:]:
        yield forbidden(f"{path}.{kind}", "may not specify more than 1 volume type")
    if not kinds:
        yield required(path, "must specify a volume type")
        return
    kind, found = kinds[0], source[kinds[0]] or {}
    if kind == "emptyDir" and found.get("sizeLimit") and parse_quantity(found["sizeLimit"]) < 0:
        yield forbidden(f"{path}.emptyDir.sizeLimit", "SizeLimit field must be a valid resource quantity")
    for field in _NEEDED.get(kind, ()):
        if not found.get(field):
            yield required(f"{path}.{kind}.{field}")
    if kind == "hostPath" and ".." in str(found.get("path", "")).split("/"):
        yield invalid_value(f"{path}.hostPath.path", found["path"], "must not contain '..'")
    mode = found.get("defaultMode")
    if isinstance(mode, int) and not 0 <= mode <= 0o777:
        yield invalid_value(f"{path}.{kind}.defaultMode", mode, "must be a number between 0 and 0777 (octal), both inclusive")
    if kind in ("secret", "configMap"):
        yield from _items(found.get("items") or (), f"{path}.{kind}.items")
    for place, part in enumerate(found.get("sources") or () if kind == "projected" else ()):
        here = f"{path}.projected.sources[{place}]"
        for name in ("secret", "configMap"):
            if name in part and not part[name].get("name"):
                yield required(f"{here}.{name}.name")
        token = part.get("serviceAccountToken")
        if token is not None and not token.get("path"):
            yield required(f"{here}.path")


_NEEDED = {
    "hostPath": ("path",), "secret": ("secretName",), "configMap": ("name",), "persistentVolumeClaim": ("claimName",),
    "nfs": ("server", "path"), "csi": ("driver",), "image": ("reference",),
}


def _items(items: Any, path: str) -> Errors:
    for place, item in enumerate(items):
        for name in ("key", "path"):
            if not item.get(name):
                yield required(f"{path}[{place}].{name}")
        if item.get("path"):
            yield from _descending(item["path"], f"{path}[{place}].path")


# --- changes ----------------------------------------------------------------------------------------------------------


def pod_change(old: Obj, new: Obj) -> Errors:
    """Of a pod's spec only images, the deadline, tolerations and the grace period of a doomed pod may change."""
    if _frozen(old) != _frozen(new):
        yield forbidden("spec", "pod updates may not change fields other than `spec.containers[*].image`,`spec."
                        "initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
                        "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
                        "previously negative)")


def _frozen(found: Obj) -> dict[str, Any]:
    spec = {k: v for k, v in (found.get("spec") or {}).items() if k not in (
        "activeDeadlineSeconds", "tolerations", "nodeName", "schedulingGates", "nodeSelector", "affinity")}
    for field in ("containers", "initContainers"):
        spec[field] = [{k: v for k, v in c.items() if k != "image"} for c in spec.get(field) or ()]
    return spec


def check_pod_door(subresource: str, old: Obj, new: Obj) -> list[FieldError]:
    """A change through `ephemeralcontainers` or `resize`."""
    if subresource == "resize":
        return [*pod(new)]
    errors: list[FieldError] = []
    spec = new["spec"]
    taken = {c["name"] for field in ("containers", "initContainers") for c in spec.get(field) or ()}
    volumes = {v["name"] for v in spec.get("volumes") or ()}
    for place, found in enumerate(spec.get("ephemeralContainers") or ()):
        path = f"spec.ephemeralContainers[{place}]"
        errors += container(found, path, taken, volumes)
        for name in ("ports", *_PROBES, "lifecycle", "resources"):
            if found.get(name):
                errors.append(forbidden(f"{path}.{name}", "cannot be set for an Ephemeral Container"))
    said = {c["name"]: c for c in spec.get("ephemeralContainers") or () if c.get("name")}
    for found in old["spec"].get("ephemeralContainers") or ():
        what = f'existing ephemeral containers "{found["name"]}" may not be'
        if found["name"] not in said:
            errors.append(forbidden("spec.ephemeralContainers", f"{what} removed\n"))
        elif said[found["name"]] != found:
            errors.append(forbidden("spec.ephemeralContainers", f"{what} changed\n"))
    return errors
