"""What the API refuses in roles, bindings, quotas, limit ranges and priority classes, in its own words. Pure.

Source: kubernetes `pkg/apis/rbac/validation` and `pkg/apis/core/validation`; rules and message texts only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fairway.kube.objects import Obj, dig
from fairway.kube.quantity import canonical, parse_quantity
from fairway.kube.refusals import FieldError, forbidden, invalid_value, required, unsupported

Errors = Iterator[FieldError]

_API = "rbac.authorization.k8s.io"
_HIGHEST_PRIORITY = 1_000_000_000  # above are those of the system


def role(obj: Obj) -> Errors:
    for i, rule in enumerate(obj.get("rules") or ()):
        yield from _rule(rule, f"rules[{i}]", namespaced=True)


def cluster_role(obj: Obj) -> Errors:
    for i, rule in enumerate(obj.get("rules") or ()):
        yield from _rule(rule, f"rules[{i}]", namespaced=False)
    if "aggregationRule" in obj and not dig(obj, "aggregationRule", "clusterRoleSelectors"):
        yield required("aggregationRule.clusterRoleSelectors",
                       "at least one clusterRoleSelector required if aggregationRule is non-nil")


def _rule(rule: Mapping[str, Any], path: str, *, namespaced: bool) -> Errors:
    if not rule.get("verbs"):
        yield required(f"{path}.verbs", "verbs must contain at least one value")
    urls = rule.get("nonResourceURLs") or []
    if urls:
        if namespaced:
            yield invalid_value(f"{path}.nonResourceURLs", urls, "namespaced rules cannot apply to non-resource URLs")
        if any(rule.get(name) for name in ("apiGroups", "resources", "resourceNames")):
            yield invalid_value(f"{path}.nonResourceURLs", urls,
                                "rules cannot apply to both regular resources and non-resource URLs")
        return
    if not rule.get("apiGroups"):
        yield required(f"{path}.apiGroups", "resource rules must supply at least one api group")
    if not rule.get("resources"):
        yield required(f"{path}.resources", "resource rules must supply at least one resource")


def role_binding(obj: Obj) -> Errors:
    yield from _binding(obj, ("Role", "ClusterRole"), namespaced=True)


def cluster_role_binding(obj: Obj) -> Errors:
    yield from _binding(obj, ("ClusterRole",), namespaced=False)


def _binding(obj: Obj, kinds: tuple[str, ...], *, namespaced: bool) -> Errors:
    ref = obj.get("roleRef") or {}
    if ref.get("apiGroup") != _API:
        yield unsupported("roleRef.apiGroup", ref.get("apiGroup", ""), [_API])
    if ref.get("kind") not in kinds:
        yield unsupported("roleRef.kind", ref.get("kind", ""), kinds)
    if not ref.get("name"):
        yield required("roleRef.name")
    for i, subject in enumerate(obj.get("subjects") or ()):
        path = f"subjects[{i}]"
        if not subject.get("name"):
            yield required(f"{path}.name")
        match subject.get("kind"):
            case "ServiceAccount":
                if subject.get("apiGroup"):
                    yield unsupported(f"{path}.apiGroup", subject["apiGroup"], [""])
                if not subject.get("namespace"):
                    yield required(f"{path}.namespace")
            case "User" | "Group":
                if subject.get("apiGroup") != _API:
                    yield unsupported(f"{path}.apiGroup", subject.get("apiGroup", ""), [_API])
            case kind:
                yield unsupported(f"{path}.kind", kind or "", ["ServiceAccount", "User", "Group"])


def role_ref_kept(old: Obj, new: Obj) -> Errors:
    if old.get("roleRef") != new.get("roleRef"):
        yield invalid_value("roleRef", new.get("roleRef"), "cannot change roleRef")


def quota(obj: Obj) -> Errors:
    for name, amount in dig(obj, "spec", "hard", default={}).items():
        if parse_quantity(amount) < 0:
            yield invalid_value(f"spec.hard[{name}]", canonical(amount), "must be greater than or equal to 0")


def limit_range(obj: Obj) -> Errors:
    """Within one entry: min <= default request <= default limit <= max."""
    seen: set[str] = set()
    for i, item in enumerate(dig(obj, "spec", "limits", default=[])):
        path, kind = f"spec.limits[{i}]", str(item.get("type", ""))
        if kind in seen:
            yield FieldError(f"{path}.type", f'Duplicate value: "{kind}"', "FieldValueDuplicate")
        seen.add(kind)
        for part in ("default", "defaultRequest"):
            if kind == "Pod" and item.get(part):
                yield forbidden(f"{path}.{part}", "may not be specified when `type` is 'Pod'")
        for lower, upper in (("min", "max"), ("min", "defaultRequest"), ("min", "default"), ("defaultRequest", "default"),
                             ("defaultRequest", "max"), ("default", "max")):
            yield from _ordered(item, path, lower, upper)


def _ordered(item: Obj, path: str, lower: str, upper: str) -> Errors:
    words = {"min": "min", "max": "max", "default": "default", "defaultRequest": "default request"}
    named = lower if lower != "min" or upper == "max" else upper
    for name, low in (item.get(lower) or {}).items():
        high = (item.get(upper) or {}).get(name)
        if high is not None and parse_quantity(low) > parse_quantity(high):
            yield invalid_value(f"{path}.{named}[{name}]", canonical(low if named == lower else high), (
                f"{words[lower]} value {canonical(low)} is greater than {words[upper]} value {canonical(high)}"))


def priority_class(obj: Obj) -> Errors:
    name, value = obj["metadata"]["name"], obj.get("value") or 0
    if name.startswith("system-"):
        yield forbidden("metadata.name", "priority class names with 'system-' prefix are reserved for system use only. error: "
                                         f"{name} is not a known system priority class")
    elif value > _HIGHEST_PRIORITY:
        yield forbidden("value", f"maximum allowed value of a user defined priority is {_HIGHEST_PRIORITY}")
    if obj.get("preemptionPolicy") not in (None, "Never", "PreemptLowerPriority"):
        yield unsupported("preemptionPolicy", obj["preemptionPolicy"], ["Never", "PreemptLowerPriority"])


def priority_kept(old: Obj, new: Obj) -> Errors:
    for field in ("value", "preemptionPolicy"):
        if old.get(field) != new.get(field):
            yield forbidden(field, "may not be changed in an update.")
