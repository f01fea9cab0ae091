"""A pod template as kube-apiserver prints it in refusals: its internal structure, with every field, under its Go name. Pure.

Names, order and empty values are facts of Kubernetes 1.36 (`pkg/apis/core.PodTemplateSpec`). Inside of fields that are rarely
set (probes, volumes, affinity) only the names are turned; empty fields of theirs are not filled in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ACRONYMS = {"tty": "TTY", "dnsPolicy": "DNSPolicy", "dnsConfig": "DNSConfig", "os": "OS", "hostPID": "HostPID",
             "hostIPC": "HostIPC", "fsGroup": "FSGroup", "fsGroupChangePolicy": "FSGroupChangePolicy",
             "seLinuxOptions": "SELinuxOptions", "seLinuxChangePolicy": "SELinuxChangePolicy", "httpGet": "HTTPGet",
             "tcpSocket": "TCPSocket", "grpc": "GRPC", "setHostnameAsFQDN": "SetHostnameAsFQDN"}

_CONTAINER: tuple[tuple[str, Any], ...] = (
    ("name", ""), ("image", ""), ("command", None), ("args", None), ("workingDir", ""), ("ports", None), ("envFrom", None),
    ("env", None), ("resources", {"Limits": None, "Requests": None, "Claims": None}), ("resizePolicy", None),
    ("restartPolicy", None), ("restartPolicyRules", None), ("volumeMounts", None), ("volumeDevices", None),
    ("livenessProbe", None), ("readinessProbe", None), ("startupProbe", None), ("lifecycle", None),
    ("terminationMessagePath", ""), ("terminationMessagePolicy", ""), ("imagePullPolicy", ""), ("securityContext", None),
    ("stdin", False), ("stdinOnce", False), ("tty", False),
)  # fmt: skip
_SECURITY: tuple[tuple[str, Any], ...] = (
    ("hostNetwork", False), ("hostPID", False), ("hostIPC", False), ("shareProcessNamespace", None), ("hostUsers", None),
    ("seLinuxOptions", None), ("windowsOptions", None), ("runAsUser", None), ("runAsGroup", None), ("runAsNonRoot", None),
    ("supplementalGroups", None), ("supplementalGroupsPolicy", None), ("fsGroup", None), ("fsGroupChangePolicy", None),
    ("sysctls", None), ("seccompProfile", None), ("appArmorProfile", None), ("seLinuxChangePolicy", None),
)  # fmt: skip
_POD: tuple[tuple[str, Any], ...] = (
    ("volumes", None), ("initContainers", None), ("containers", None), ("ephemeralContainers", None), ("restartPolicy", ""),
    ("terminationGracePeriodSeconds", None), ("activeDeadlineSeconds", None), ("dnsPolicy", ""), ("nodeSelector", None),
    ("serviceAccountName", ""), ("automountServiceAccountToken", None), ("nodeName", ""), ("securityContext", None),
    ("imagePullSecrets", None), ("hostname", ""), ("subdomain", ""), ("setHostnameAsFQDN", None), ("affinity", None),
    ("schedulerName", ""), ("tolerations", None), ("hostAliases", None), ("priorityClassName", ""), ("priority", None),
    ("preemptionPolicy", None), ("dnsConfig", None), ("readinessGates", None), ("runtimeClassName", None), ("overhead", None),
    ("enableServiceLinks", None), ("topologySpreadConstraints", None), ("os", None), ("schedulingGates", None),
    ("resourceClaims", None), ("resources", None), ("hostnameOverride", None), ("schedulingGroup", None),
)  # fmt: skip
_AS_THEY_ARE = ("nodeSelector", "overhead", "limits", "requests", "labels", "annotations", "matchLabels")
"""Maps whose keys are data."""


def pod_template(template: Mapping[str, Any]) -> dict[str, Any]:
    """In the order of the structure's fields."""
    meta, spec = template.get("metadata") or {}, template.get("spec") or {}
    shown = {name: _inside(name, meta[name]) for name in ("name", "labels", "annotations") if meta.get(name)}
    context = {**{name: spec[name] for name in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers")
                  if name in spec}, **(spec.get("securityContext") or {})}
    pod = _structure(_POD, spec)
    pod["SecurityContext"] = _structure(_SECURITY, context)
    for field in ("InitContainers", "Containers"):
        rows = spec.get(field[0].lower() + field[1:])
        pod[field] = [_container(row) for row in rows] if rows else None
    return {**shown, "Spec": pod}


def _container(row: Mapping[str, Any]) -> dict[str, Any]:
    found = _structure(_CONTAINER, row)
    found["Resources"] = {"Limits": None, "Requests": None, "Claims": None, **_turned(row.get("resources") or {})}
    return found


def _structure(fields: tuple[tuple[str, Any], ...], value: Mapping[str, Any]) -> dict[str, Any]:
    return {_name(field): _inside(field, value[field]) if field in value else empty for field, empty in fields}


def _inside(field: str, value: Any) -> Any:
    if field in _AS_THEY_ARE:
        return dict(sorted(value.items())) if isinstance(value, Mapping) else value
    return _turned(value)


def _turned(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_name(key): _inside(key, inner) for key, inner in value.items()}
    return [_turned(item) for item in value] if isinstance(value, list) else value


def _name(field: str) -> str:
    return _ACRONYMS.get(field) or field[:1].upper() + field[1:]
