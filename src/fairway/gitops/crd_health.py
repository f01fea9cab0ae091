"""Which check a custom kind has. Pure.

The rows stand by vendor in `crd_health_*.py`, in the words of `crd_health_rules.py`. A kind that is in no table has no health,
as in Argo CD, unless the user brings a check of their own (`resource.customizations.health.<group>_<kind>` in the ConfigMap
argocd-cm), which goes before everything here.
"""

from __future__ import annotations

import fnmatch

from fairway.gitops import (
    crd_health_argo,
    crd_health_cloud,
    crd_health_data,
    crd_health_network,
    crd_health_platform,
    crd_health_promoter,
    crd_health_workloads,
)
from fairway.gitops.crd_health_rules import Check
from fairway.kube.objects import Obj, group_of

CHECKS: dict[tuple[str, str], Check] = {
    **crd_health_argo.CHECKS, **crd_health_cloud.CHECKS, **crd_health_data.CHECKS, **crd_health_network.CHECKS,
    **crd_health_platform.CHECKS, **crd_health_promoter.CHECKS, **crd_health_workloads.CHECKS,
}  # fmt: skip

GROUPS: dict[str, Check] = {**crd_health_cloud.GROUPS, **crd_health_network.GROUPS, **crd_health_platform.GROUPS}
"""Whole groups, by pattern; the row of a kind goes first."""


def crd_check(obj: Obj) -> Check | None:
    group = group_of(str(obj.get("apiVersion") or ""))
    found = CHECKS.get((group, str(obj.get("kind") or "")))
    return found or next((check for pattern, check in GROUPS.items() if fnmatch.fnmatchcase(group, pattern)), None)
