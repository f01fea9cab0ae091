"""What the controllers here ask of pods and pod templates: active, ready, available, and which one to delete first.

Source: kubernetes `pkg/controller/controller_utils.go` and `pkg/api/v1/pod/util.go`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from fairway.kube.objects import (
    Obj,
    annotations_of,
    condition,
    controller_of,
    dig,
    is_deleting,
    is_true,
    labels_of,
    meta_of,
    owner_reference,
    parse_time,
    spec_of,
    status_of,
    uid_of,
)

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_SAFE = "bcdfghjklmnpqrstvwxz2456789"


def safe_suffix(*seeds: object, length: int = 5) -> str:
    """Characters that spell no word and are not mistaken for each other; the same seeds give the same suffix."""
    number = int.from_bytes(hashlib.sha256("\0".join(map(str, seeds)).encode()).digest()[:8], "big")
    text = ""
    for _ in range(length):
        number, digit = divmod(number, len(_SAFE))
        text += _SAFE[digit]
    return text


def phase(pod: Obj) -> str:
    return str(status_of(pod).get("phase") or "Pending")


def is_finished(pod: Obj) -> bool:
    return phase(pod) in ("Succeeded", "Failed")


def is_active(pod: Obj) -> bool:
    """Counts towards its owner's replicas: neither finished nor on its way out."""
    return not is_finished(pod) and not is_deleting(pod)


def is_ready(pod: Obj) -> bool:
    return is_true(pod, "Ready")


def available_at(pod: Obj, min_ready_s: int) -> datetime | None:
    """When a ready pod counts as available; None while it is not ready."""
    ready = condition(pod, "Ready")
    if ready is None or ready.get("status") != "True":
        return None
    since = ready.get("lastTransitionTime")
    if min_ready_s == 0 or not since:
        return datetime.min.replace(tzinfo=UTC)
    return parse_time(since) + timedelta(seconds=min_ready_s)


def restarts(pod: Obj) -> int:
    statuses = [*(status_of(pod).get("containerStatuses") or ()), *(status_of(pod).get("initContainerStatuses") or ())]
    return sum(int(entry.get("restartCount") or 0) for entry in statuses)


def deletion_order(pods: Iterable[Obj]) -> list[Obj]:
    """The pod that is missed least comes first.

    Not bound before bound, Pending before Unknown before Running, not ready before ready, cheaper before dearer
    (`pod-deletion-cost`), ready for a shorter time first, restarted more often first, newer first.
    """

    def rank(pod: Obj) -> tuple[object, ...]:
        ready = condition(pod, "Ready")
        ready_since = str(ready.get("lastTransitionTime") or "") if ready and is_ready(pod) else ""
        cost = annotations_of(pod).get(DELETION_COST, "0")
        return (
            bool(spec_of(pod).get("nodeName")),
            {"Pending": 0, "Unknown": 1}.get(phase(pod), 2),
            is_ready(pod),
            int(cost) if cost.lstrip("-").isdigit() else 0,
            _newest_first(ready_since),
            -restarts(pod),
            _newest_first(str(meta_of(pod).get("creationTimestamp") or "")),
            meta_of(pod)["name"],
        )

    return sorted(pods, key=rank)


def _newest_first(moment: str) -> float:
    return -parse_time(moment).timestamp() if moment else float("-inf")


def pod_from_template(owner: Obj, template: Obj, name: str) -> Obj:
    """A pod as its owner creates it: the template's labels, annotations, finalizers and spec, and the owner."""
    meta = template.get("metadata") or {}
    made: Obj = {
        "name": name,
        "namespace": meta_of(owner)["namespace"],
        "labels": dict(meta.get("labels") or {}),
        "ownerReferences": [owner_reference(owner)],
    }
    if meta.get("annotations"):
        made["annotations"] = dict(meta["annotations"])
    if meta.get("finalizers"):
        made["finalizers"] = list(meta["finalizers"])
    return {"apiVersion": "v1", "kind": "Pod", "metadata": made, "spec": dict(template.get("spec") or {})}


def base_name(owner: Obj) -> str:
    """`<owner>-`, cut so that a five-letter suffix fits into a label value of 63."""
    name: str = meta_of(owner)["name"]
    return name[:57] + "-"


def may_adopt(obj: Obj) -> bool:
    """An orphan that is not being deleted may get a controller."""
    return controller_of(obj) is None and not is_deleting(obj)


def adoption(owner: Obj, obj: Obj) -> Obj:
    """Merge patch that makes `owner` the controller of `obj`, only while `obj` is still the one that was seen."""
    refs = [*(meta_of(obj).get("ownerReferences") or ()), owner_reference(owner)]
    return {"metadata": {"uid": uid_of(obj), "ownerReferences": refs}}


def release(owner: Obj, obj: Obj) -> Obj:
    """Merge patch that takes `owner` out of the owners of `obj`."""
    refs = [ref for ref in meta_of(obj).get("ownerReferences") or () if ref.get("uid") != uid_of(owner)]
    return {"metadata": {"uid": uid_of(obj), "ownerReferences": refs}}


def template_labels(owner: Obj) -> dict[str, str]:
    found: dict[str, str] = dig(owner, "spec", "template", "metadata", "labels", default={})
    return found


def has_labels(obj: Obj, wanted: dict[str, str]) -> bool:
    have = labels_of(obj)
    return all(have.get(name) == value for name, value in wanted.items())
