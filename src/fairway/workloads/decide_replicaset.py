"""What a ReplicaSet does next: as many pods as it was told, and a status that says how many of them serve.

Source: kubernetes `pkg/controller/replicaset`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fairway.kube.api import MergePatch
from fairway.kube.decision import Action, Change, Create, Decision, Delete, Reason, earliest
from fairway.kube.objects import Obj, dig, is_controlled_by, is_deleting, key_of, meta_of, spec_of, status_of, uid_of
from fairway.kube.resources import PODS
from fairway.kube.selectors import from_label_selector
from fairway.workloads.pods import (
    adoption,
    available_at,
    base_name,
    deletion_order,
    has_labels,
    is_active,
    is_ready,
    may_adopt,
    pod_from_template,
    release,
    safe_suffix,
    template_labels,
)

BURST = 500
"""Upstream's burstReplicas: pods created or deleted in one pass."""


@dataclass(frozen=True, slots=True)
class Seen:
    """`pods`: those that the ReplicaSet controls, and those of its namespace without a controller."""

    replica_set: Obj
    pods: Sequence[Obj]


def decide(seen: Seen, now: datetime) -> Decision:
    replica_set = seen.replica_set
    selector = from_label_selector(spec_of(replica_set).get("selector"))
    actions: list[Action] = []
    ours: list[Obj] = []
    deleting = is_deleting(replica_set)
    for pod in seen.pods:
        matches = selector.matches(meta_of(pod).get("labels") or {})
        if is_controlled_by(pod, replica_set):
            if matches:
                ours.append(pod)
            elif not deleting:
                actions.append(_patch_pod(pod, release(replica_set, pod)))
        elif matches and not deleting and may_adopt(pod) and is_active(pod):
            actions.append(_patch_pod(pod, adoption(replica_set, pod)))
            ours.append(pod)
    active = [pod for pod in ours if is_active(pod)]
    wanted = int(spec_of(replica_set).get("replicas", 1))
    reasons: tuple[Reason, ...] = ()
    if not deleting:
        scaling, reasons = _scale(replica_set, active, seen.pods, wanted)
        actions += scaling
    status, wake_at = _status(replica_set, active, now)
    return Decision(tuple(actions), status, wake_at, reasons)


def _scale(replica_set: Obj, active: list[Obj], known: Sequence[Obj], wanted: int
           ) -> tuple[list[Action], tuple[Reason, ...]]:
    missing = min(wanted - len(active), BURST)
    if missing > 0:
        made: list[Action] = [Create(pod_from_template(replica_set, spec_of(replica_set)["template"], name))
                              for name in _names(replica_set, known, missing)]
        return made, (Reason("ScalingUp", f"creating {missing} of {wanted} pods"),)
    if missing < 0:
        gone: list[Action] = [Delete(PODS, *key_of(pod), uid=uid_of(pod))
                              for pod in deletion_order(active)[:min(-missing, BURST)]]
        return gone, (Reason("ScalingDown", f"deleting {len(gone)} pods, {wanted} remain"),)
    return [], ()


def _names(replica_set: Obj, known: Sequence[Obj], count: int) -> list[str]:
    """New pod names. A pass that is repeated on the same version of the ReplicaSet asks for the same names."""
    taken = {meta_of(pod)["name"] for pod in known}
    base, turn = base_name(replica_set), 0
    names: list[str] = []
    while len(names) < count:
        name = base + safe_suffix(uid_of(replica_set), meta_of(replica_set).get("resourceVersion", ""), turn)
        turn += 1
        if name not in taken:
            taken.add(name)
            names.append(name)
    return names


def _status(replica_set: Obj, active: list[Obj], now: datetime) -> tuple[Obj, datetime | None]:
    min_ready_s = int(spec_of(replica_set).get("minReadySeconds") or 0)
    times = [available_at(pod, min_ready_s) for pod in active]
    labels = template_labels(replica_set)
    failures = [entry for entry in status_of(replica_set).get("conditions") or () if entry["type"] != "ReplicaFailure"]
    status: Obj = {
        "replicas": len(active),
        "fullyLabeledReplicas": sum(has_labels(pod, labels) for pod in active),
        "readyReplicas": sum(is_ready(pod) for pod in active),
        "availableReplicas": sum(at is not None and at <= now for at in times),
        "observedGeneration": dig(replica_set, "metadata", "generation", default=0),
        "conditions": failures or None,
    }
    return status, earliest(*(at for at in times if at is not None and at > now))


def _patch_pod(pod: Obj, body: Obj) -> Change:
    namespace, name = key_of(pod)
    return Change(PODS, namespace, name, MergePatch(body))
