"""The order in which objects are printed: as they were accumulated, or for `legacy` by kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairway.kube.objects import Obj
from fairway.manifests.errors import ManifestError, Place

FIRST = ("Namespace", "ResourceQuota", "StorageClass", "CustomResourceDefinition", "ServiceAccount",
         "PodSecurityPolicy", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "ConfigMap", "Secret",
         "Endpoints", "Service", "LimitRange", "PriorityClass", "PersistentVolume", "PersistentVolumeClaim",
         "Deployment", "StatefulSet", "CronJob", "PodDisruptionBudget")  # fmt: skip
LAST = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


def checked(options: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
    """`sortOptions`, or why they contradict themselves."""
    if not options:
        return options
    order = options.get("order")
    if order not in ("fifo", "legacy"):
        raise ManifestError(place, "the field 'sortOptions.order' must be one of [fifo, legacy]", "set one of the two")
    if order != "legacy" and options.get("legacySortOptions") is not None:
        raise ManifestError(place, f"the field 'sortOptions.legacySortOptions' is set but the selected sort order is "
                                   f"'{order}', not 'legacy'", "remove it, or set `order: legacy`")
    return options


def in_order(objects: list[Obj], order: str, options: Mapping[str, Any]) -> list[Obj]:
    if order != "legacy":
        return objects
    first = {kind: n for n, kind in enumerate(options.get("orderFirst", FIRST))}
    last = {kind: n for n, kind in enumerate(options.get("orderLast", LAST))}

    def rank(obj: Obj) -> tuple[Any, ...]:
        kind, meta = str(obj.get("kind")), obj.get("metadata") or {}
        at = first[kind] - len(first) if kind in first else last[kind] + 1 if kind in last else 0
        return at, str(obj.get("apiVersion")), kind, str(meta.get("namespace") or ""), str(meta.get("name") or "")

    return sorted(objects, key=rank)
