"""ResourceQuotas: how much of a namespace is used, and what would be too much. Pure.

Source: kubernetes `pkg/quota/v1/evaluator/core` and the quota admission; rules and message texts only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from fairway.kube.limits import pod_total, written
from fairway.kube.objects import Obj, dig
from fairway.kube.quantity import parse_quantity
from fairway.kube.resources import Resource

Usage = dict[str, Decimal]

_COUNTED = {("", name): name for name in ("pods", "services", "secrets", "configmaps", "persistentvolumeclaims",
                                          "replicationcontrollers", "resourcequotas")}
_COMPUTE = ("cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory")
"""What every container must name where a quota limits it."""
_BYTES = ("memory", "storage")


def usage_of(resource: Resource, obj: Obj) -> Usage:
    """What one object uses, by the names that quotas limit."""
    kind = (resource.group, resource.plural)
    count = f"count/{resource.qualified}"
    used: Usage = {count: Decimal(1)}
    if kind == ("", "pods"):
        return used | _pod(obj)
    if kind in _COUNTED:
        used[_COUNTED[kind]] = Decimal(1)
    if kind == ("", "services"):
        used |= _service(obj)
    elif kind == ("", "persistentvolumeclaims"):
        used |= _claim(obj)
    return used


def _pod(pod: Obj) -> Usage:
    """Pods that ended use nothing but their place in `count/pods`."""
    if dig(pod, "status", "phase") in ("Succeeded", "Failed"):
        return {}
    used: Usage = {"pods": Decimal(1)}
    spec = pod["spec"]
    for name, amount in pod_total(spec, "requests").items():
        used[f"requests.{name}"] = amount
        if "/" not in name:
            used[name] = amount
    for name, amount in pod_total(spec, "limits").items():
        if "/" not in name:
            used[f"limits.{name}"] = amount
    return used


def _service(service: Obj) -> Usage:
    spec = service.get("spec") or {}
    ports = Decimal(len(spec.get("ports") or ()))
    match spec.get("type"):
        case "NodePort":
            return {"services.nodeports": ports}
        case "LoadBalancer":
            allocated = Decimal(0) if spec.get("allocateLoadBalancerNodePorts") is False else ports
            return {"services.loadbalancers": Decimal(1), "services.nodeports": allocated}
    return {}


def _claim(claim: Obj) -> Usage:
    used: Usage = {}
    asked = dig(claim, "spec", "resources", "requests", "storage")
    if asked is not None:
        used["requests.storage"] = parse_quantity(asked)
    storage_class = dig(claim, "spec", "storageClassName", default="")
    if storage_class:
        lead = f"{storage_class}.storageclass.storage.k8s.io"
        used[f"{lead}/persistentvolumeclaims"] = Decimal(1)
        if asked is not None:
            used[f"{lead}/requests.storage"] = parse_quantity(asked)
    return used


# --- scopes -----------------------------------------------------------------------------------------------------------


def applies(quota: Obj, resource: Resource, obj: Obj) -> bool:
    """Whether `quota` counts this object at all: quotas with scopes count the pods that are in all of them."""
    scopes = [{"scopeName": name, "operator": "Exists"} for name in dig(quota, "spec", "scopes", default=[])]
    scopes += dig(quota, "spec", "scopeSelector", "matchExpressions", default=[])
    if not scopes:
        return True
    return (resource.group, resource.plural) == ("", "pods") and all(_in_scope(scope, obj) for scope in scopes)


def _in_scope(scope: Mapping[str, Any], pod: Obj) -> bool:
    spec = pod["spec"]
    best_effort = not pod_total(spec, "requests") and not pod_total(spec, "limits")
    match scope.get("scopeName"):
        case "Terminating":
            return spec.get("activeDeadlineSeconds") is not None
        case "NotTerminating":
            return spec.get("activeDeadlineSeconds") is None
        case "BestEffort":
            return best_effort
        case "NotBestEffort":
            return not best_effort
        case "PriorityClass":
            return _chosen(scope, str(spec.get("priorityClassName") or ""))
    return False


def _chosen(scope: Mapping[str, Any], name: str) -> bool:
    match scope.get("operator"):
        case "In":
            return name in (scope.get("values") or ())
        case "NotIn":
            return name not in (scope.get("values") or ())
        case "DoesNotExist":
            return not name
    return bool(name)


# --- decisions --------------------------------------------------------------------------------------------------------


def total(quota: Obj, objects: Iterable[tuple[Resource, Obj]],
          usage: Callable[[Resource, Obj], Usage] = usage_of) -> Usage:
    """What of the limits of `quota` these objects use. `usage`: `usage_of`, or one that remembers."""
    hard = dig(quota, "spec", "hard", default={})
    used: Usage = dict.fromkeys(hard, Decimal(0))
    for resource, obj in objects:
        if applies(quota, resource, obj):
            for name, amount in usage(resource, obj).items():
                if name in used:
                    used[name] += amount
    return used


def refusal(quota: Obj, resource: Resource, new: Obj, more: Usage, used: Usage) -> str:
    """Why `new`, which would use `more`, is too much; "" where it is not."""
    name, hard = quota["metadata"]["name"], dig(quota, "spec", "hard", default={})
    if (resource.group, resource.plural) == ("", "pods"):
        missing = _unnamed(hard, new["spec"])
        if missing:
            return f"failed quota: {name}: must specify {'; '.join(missing)}"
    over = sorted(key for key, amount in more.items()
                  if key in hard and amount > 0 and used[key] + amount > parse_quantity(hard[key]))
    if not over:
        return ""
    asked, present, limit = (
        ",".join(f"{key}={shown(key, amounts[key], hard)}" for key in over)
        for amounts in (more, used, {key: parse_quantity(hard[key]) for key in over}))
    return f"exceeded quota: {name}, requested: {asked}, used: {present}, limited: {limit}"


def _unnamed(hard: Mapping[str, Any], spec: Obj) -> list[str]:
    found: dict[str, set[str]] = {}
    for key in _COMPUTE:
        if key not in hard:
            continue
        part, _, name = key.rpartition(".")
        for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
            if name not in (dig(container, "resources", part or "requests") or {}):
                found.setdefault(key, set()).add(container["name"])
    return [f"{key} for: {','.join(sorted(names))}" for key, names in sorted(found.items())]


def shown(key: str, amount: Decimal, hard: Mapping[str, Any]) -> str:
    """An amount as quotas show it: bytes in the units of 1024 where they come out even."""
    binary = key.endswith(_BYTES) and (amount % 1024 == 0) and str(hard.get(key, "i")).endswith("i")
    return written(amount, binary=binary)
