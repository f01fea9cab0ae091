"""What a Deployment does next: one ReplicaSet per pod template, and pods moved from the old ones to the new one.

A pass takes at most one step of the move and lets the ReplicaSets answer. Source: kubernetes
`pkg/controller/deployment` (sync.go, rolling.go, recreate.go, progress.go).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fairway.kube.api import MergePatch
from fairway.kube.decision import Action, Change, Create, Decision, Delete, Reason
from fairway.kube.objects import (
    Obj,
    annotations_of,
    dig,
    is_controlled_by,
    is_deleting,
    key_of,
    labels_of,
    meta_of,
    owner_reference,
    spec_of,
    status_of,
    uid_of,
)
from fairway.kube.resources import DEPLOYMENTS, REPLICA_SETS
from fairway.kube.selectors import from_label_selector
from fairway.kube.template import template_hash, without_label
from fairway.workloads import deployment_replicas as sizes_of
from fairway.workloads.deployment_replicas import DESIRED_REPLICAS, MAX_REPLICAS, size_of
from fairway.workloads.deployment_spec import DeploymentSpec, decode
from fairway.workloads.deployment_status import Progress, rollout_status
from fairway.workloads.pods import adoption, may_adopt

HASH = "pod-template-hash"
SCALING = "ScalingReplicaSet"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
_NOT_COPIED = frozenset({
    "kubectl.kubernetes.io/last-applied-configuration", REVISION, REVISION_HISTORY, DESIRED_REPLICAS, MAX_REPLICAS,
    "deprecated.deployment.rollback.revision", "deprecated.daemonset.template.generation",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """`replica_sets`: its own, and those of the namespace that have no controller. `running_pods`: by ReplicaSet uid, the pods
    that have not ended. `taken`: the names of others' ReplicaSets that begin as its own would."""

    deployment: Obj
    replica_sets: Sequence[Obj]
    running_pods: Mapping[str, int]
    taken: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class _Family:
    """The ReplicaSets of one Deployment."""

    new: Obj | None
    old: tuple[Obj, ...]

    @property
    def all(self) -> tuple[Obj, ...]:
        return (*self.old, self.new) if self.new else self.old


def decide(seen: Seen, now: datetime) -> Decision:
    deployment = seen.deployment
    spec = decode(deployment)
    family, adopted = _family(deployment, seen.replica_sets)
    if is_deleting(deployment):
        status = rollout_status(deployment, spec, family.new, family.old, now, Progress())
        return Decision((), status.status, status.wake_at)
    actions: list[Action] = list(adopted)
    progress = Progress()
    if spec.paused or sizes_of.is_scaling(spec, [size_of(rs) for rs in family.all]):
        new = size_of(family.new) if family.new else None
        sizes = sizes_of.rescale(spec, new, [size_of(rs) for rs in family.old])
        actions += _resize(deployment, spec, family.all, sizes)
        reasons = (Reason("Paused", "the Deployment is paused"),) if spec.paused else _say(sizes, family)
    else:
        steps, progress, reasons = _roll(deployment, spec, family, seen)
        actions += steps
    if family.new is not None and not spec.paused:
        actions += _revisions(deployment, spec, family)
    result = rollout_status(deployment, spec, family.new, family.old, now, progress)
    if result.complete and not spec.paused:
        actions += _clean(spec, family.old)
    return Decision(tuple(actions), result.status, result.wake_at, (*reasons, *result.reasons))


def _family(deployment: Obj, replica_sets: Sequence[Obj]) -> tuple[_Family, list[Action]]:
    selector = from_label_selector(spec_of(deployment).get("selector"))
    ours: list[Obj] = []
    adopted: list[Action] = []
    for rs in replica_sets:
        if is_controlled_by(rs, deployment):
            ours.append(rs)
        elif selector.matches(labels_of(rs)) and may_adopt(rs) and not is_deleting(deployment):
            adopted.append(Change(REPLICA_SETS, *key_of(rs), MergePatch(adoption(deployment, rs))))
            ours.append(rs)
    template = without_label(spec_of(deployment)["template"], HASH)
    ours.sort(key=lambda rs: (meta_of(rs).get("creationTimestamp") or "", meta_of(rs)["name"]))
    new = next((rs for rs in ours if without_label(spec_of(rs)["template"], HASH) == template), None)
    return _Family(new, tuple(rs for rs in ours if rs is not new)), adopted


def _roll(deployment: Obj, spec: DeploymentSpec, family: _Family, seen: Seen
          ) -> tuple[list[Action], Progress, tuple[Reason, ...]]:
    old = [size_of(rs) for rs in family.old]
    if spec.recreate:
        sizes = {one.name: 0 for one in old if one.replicas > 0}
        if sizes:
            return _resize(deployment, spec, family.all, sizes), Progress(), _say(sizes, family)
        running = sum(int(status_of(rs).get("replicas") or 0) for rs in family.old)
        running = max(running, sum(seen.running_pods.get(uid_of(rs), 0) for rs in family.old))
        if running:
            return [], Progress(), (Reason("WaitingForOldPods", f"{running} pods of the old template still run"),)
    if family.new is None:
        return _create(deployment, spec, family, seen.taken)
    new = size_of(family.new)
    if spec.recreate:
        sizes = {new.name: spec.replicas} if new.replicas != spec.replicas else {}
    else:
        sizes = sizes_of.grow_new(spec, new, old) or sizes_of.shrink_old(spec, new, old)
    found = "" if sizes else new.name
    return _resize(deployment, spec, family.all, sizes), Progress(found=found), _say(sizes, family)


def _say(sizes: Mapping[str, int], family: _Family) -> tuple[Reason, ...]:
    """In the words of the event that upstream records."""
    before = {meta_of(rs)["name"]: size_of(rs).replicas for rs in family.all}
    return tuple(Reason(SCALING, f"Scaled {'up' if count > before[name] else 'down'} replica set {name} "
                                 f"from {before[name]} to {count}")
                 for name, count in sizes.items() if count != before[name])


def _create(deployment: Obj, spec: DeploymentSpec, family: _Family, taken: Collection[str]
            ) -> tuple[list[Action], Progress, tuple[Reason, ...]]:
    """A ReplicaSet for a template that has none. A name that another one holds moves the hash on (collisionCount)."""
    template = without_label(spec_of(deployment)["template"], HASH)
    base, collisions = meta_of(deployment)["name"], int(status_of(deployment).get("collisionCount") or 0)
    first = collisions
    while f"{base}-{template_hash(template, collisions)}" in taken:
        collisions += 1
    digest = template_hash(template, collisions)
    others = sum(size_of(rs).replicas for rs in family.old)
    replicas = sizes_of.new_replicas(spec, others, 0)
    labels = {**(dig(template, "metadata", "labels", default={})), HASH: digest}
    selector = dict(spec_of(deployment).get("selector") or {})
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH: digest}
    notes = {**_copied_notes(deployment), **_size_notes(spec), REVISION: str(_next_revision(family.old))}
    made: Obj = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{base}-{digest}",
            "namespace": meta_of(deployment)["namespace"],
            "labels": labels,
            "annotations": notes,
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": {
            "replicas": replicas,
            "minReadySeconds": spec.min_ready_s,
            "selector": selector,
            "template": {**template, "metadata": {**template["metadata"], "labels": labels}},
        },
    }
    name = made["metadata"]["name"]
    progress = Progress(created=name, collisions=collisions if collisions != first else None)
    revision = MergePatch({"metadata": {"annotations": {REVISION: notes[REVISION]}}})
    actions: list[Action] = [Create(made), Change(DEPLOYMENTS, *key_of(deployment), revision)]
    return actions, progress, (Reason(SCALING, f"Scaled up replica set {name} from 0 to {replicas}"),)


def _resize(deployment: Obj, spec: DeploymentSpec, sets: Sequence[Obj], sizes: Mapping[str, int]) -> list[Action]:
    changes: list[Action] = []
    for rs in sets:
        name = meta_of(rs)["name"]
        if name in sizes:
            body = {"metadata": {"annotations": _size_notes(spec)}, "spec": {"replicas": sizes[name]}}
            changes.append(Change(REPLICA_SETS, meta_of(deployment)["namespace"], name, MergePatch(body)))
    return changes


def _size_notes(spec: DeploymentSpec) -> dict[str, str]:
    return {DESIRED_REPLICAS: str(spec.replicas), MAX_REPLICAS: str(spec.replicas + spec.max_surge)}


def _copied_notes(deployment: Obj) -> dict[str, str]:
    return {name: value for name, value in annotations_of(deployment).items() if name not in _NOT_COPIED}


def revision_of(obj: Obj) -> int:
    text = annotations_of(obj).get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def _next_revision(old: Sequence[Obj]) -> int:
    return max((revision_of(rs) for rs in old), default=0) + 1


def _revisions(deployment: Obj, spec: DeploymentSpec, family: _Family) -> list[Action]:
    """The new ReplicaSet carries the highest revision, and the Deployment repeats it."""
    assert family.new is not None
    new, revision = family.new, max(_next_revision(family.old), revision_of(family.new))
    notes = {name: value for name, value in _copied_notes(deployment).items() if annotations_of(new).get(name) != value}
    if revision_of(new) != revision:
        notes[REVISION] = str(revision)
        if history := annotations_of(new).get(REVISION):
            earlier = annotations_of(new).get(REVISION_HISTORY)
            notes[REVISION_HISTORY] = f"{earlier},{history}" if earlier else history
    body: Obj = {"metadata": {"annotations": notes}} if notes else {}
    if int(spec_of(new).get("minReadySeconds") or 0) != spec.min_ready_s:
        body["spec"] = {"minReadySeconds": spec.min_ready_s}
    changes: list[Action] = []
    if body:
        changes.append(Change(REPLICA_SETS, *key_of(new), MergePatch(body)))
    if annotations_of(deployment).get(REVISION) != str(revision):
        note = {"metadata": {"annotations": {REVISION: str(revision)}}}
        changes.append(Change(DEPLOYMENTS, *key_of(deployment), MergePatch(note)))
    return changes


def _clean(spec: DeploymentSpec, old: Sequence[Obj]) -> list[Action]:
    """Old ReplicaSets beyond the history limit, lowest revision first; never one that still has pods."""
    if spec.history_limit is None:
        return []
    idle = [rs for rs in old if not is_deleting(rs)]
    surplus = sorted(idle, key=revision_of)[:max(len(idle) - spec.history_limit, 0)]
    return [Delete(REPLICA_SETS, *key_of(rs), uid=uid_of(rs)) for rs in surplus if _is_empty(rs)]


def _is_empty(rs: Obj) -> bool:
    seen = status_of(rs).get("observedGeneration", 0) >= meta_of(rs).get("generation", 0)
    return seen and not spec_of(rs).get("replicas", 1) and not status_of(rs).get("replicas")
