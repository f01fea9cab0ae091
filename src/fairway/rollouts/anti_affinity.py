"""Keeping the pods of two revisions apart: what `antiAffinity` must say, and the rule that a new ReplicaSet's pods get.

Source: argo-rollouts `utils/replicaset/replicaset.go` GenerateReplicaSetAffinity.
"""

from __future__ import annotations

from collections.abc import Iterator

from fairway.kube.objects import Obj, copy_of
from fairway.rollouts.fields import FieldError
from fairway.rollouts.keys import HASH_LABEL

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def anti_affinity_errors(affinity: Obj | None, at: str) -> Iterator[FieldError]:
    if affinity is None:
        return
    preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution")
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if (preferred is None) == (required is None):
        said = ("antiAffinity.PreferredDuringSchedulingIgnoredDuringExecution: {} "
                "antiAffinity.RequiredDuringSchedulingIgnoredDuringExecution: {}")
        listed = said.format(*(str(kind is not None).lower() for kind in (preferred, required)))
        yield FieldError(at, "AntiAffinity must have exactly one strategy listed", listed)
    if preferred is not None and not 1 <= int(preferred.get("weight") or 0) <= 100:
        yield FieldError(f"{at}.weight", "AntiAffinity weight must be between 1-100", int(preferred.get("weight") or 0))


def with_anti_affinity(template: Obj, wish: Obj | None, stable_hash: str) -> Obj:
    """`template` with the rule that keeps its pods off the nodes of stable's; as it is where there is no stable yet."""
    if wish is None or not stable_hash:
        return template
    template = copy_of(template)
    rules = template.setdefault("spec", {}).setdefault("affinity", {}).setdefault("podAntiAffinity", {})
    term = {"labelSelector": {"matchExpressions": [{"key": HASH_LABEL, "operator": "In", "values": [stable_hash]}]},
            "topologyKey": "kubernetes.io/hostname"}
    if wish.get(_REQUIRED) is not None:
        rules.setdefault(_REQUIRED, []).append(term)
    else:
        weight = int((wish.get(_PREFERRED) or {}).get("weight") or 1)
        rules.setdefault(_PREFERRED, []).append({"weight": weight, "podAffinityTerm": term})
    return template
