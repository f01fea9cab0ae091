"""Which nodes a pod may be placed on: node selectors, node affinity, taints. Pure.

Source: kubernetes `component-helpers/scheduling/corev1`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fairway.kube.objects import Obj, dig, labels_of, meta_of, spec_of

_BINDING = "requiredDuringSchedulingIgnoredDuringExecution"


def selects(pod_spec: Obj, node: Obj) -> bool:
    """Whether nodeSelector and the required node affinity of a pod choose this node."""
    labels = labels_of(node)
    if any(labels.get(name) != value for name, value in (pod_spec.get("nodeSelector") or {}).items()):
        return False
    affinity = dig(pod_spec, "affinity", "nodeAffinity", _BINDING)
    if affinity is None:
        return True
    fields = {"metadata.name": str(meta_of(node).get("name", ""))}
    return any(_matches(term, labels, fields) for term in affinity.get("nodeSelectorTerms") or ())


def _matches(term: Obj, labels: Mapping[str, str], fields: Mapping[str, str]) -> bool:
    """A term that asks for nothing chooses nothing."""
    asked = [(one, labels) for one in term.get("matchExpressions") or ()]
    asked += [(one, fields) for one in term.get("matchFields") or ()]
    return bool(asked) and all(_holds(one, values) for one, values in asked)


def _holds(one: Obj, present: Mapping[str, str]) -> bool:
    value, wanted = present.get(one["key"]), one.get("values") or []
    match one["operator"]:
        case "In":
            return value in wanted
        case "NotIn":
            return value not in wanted
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" if value is not None and value.lstrip("-").isdigit() and len(wanted) == 1:
            return int(value) > int(wanted[0]) if one["operator"] == "Gt" else int(value) < int(wanted[0])
        case _:
            return False


def untolerated(tolerations: Sequence[Obj], node: Obj) -> Obj | None:
    """The first taint of a node that keeps a pod with these tolerations away."""
    return next((taint for taint in spec_of(node).get("taints") or ()
                 if taint.get("effect") != "PreferNoSchedule" and not any(tolerates(one, taint) for one in tolerations)), None)


def tolerates(toleration: Obj, taint: Obj) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return not toleration.get("key") or bool(toleration["key"] == taint.get("key"))
    return toleration.get("key") == taint.get("key") and (toleration.get("value") or "") == (taint.get("value") or "")
