"""What a StatefulSet does next: pods with names that stay, made and updated one by one unless the user says Parallel.

Ordered: a pod is made when every lower one is available, and goes when no higher one is left. An update goes from the
highest ordinal down to the partition. Source: kubernetes `pkg/controller/statefulset/stateful_set_control.go`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fairway.kube.api import MergePatch
from fairway.kube.decision import Action, Change, Create, Decision, Delete, Reason, earliest
from fairway.kube.objects import (
    Obj,
    dig,
    is_controlled_by,
    is_deleting,
    key_of,
    labels_of,
    meta_of,
    spec_of,
    status_of,
    uid_of,
)
from fairway.kube.resources import PODS
from fairway.kube.selectors import from_label_selector
from fairway.kube.template import int_or_percent
from fairway.workloads.pods import adoption, available_at, is_finished, is_ready, may_adopt
from fairway.workloads.revisions import REVISION_LABEL, History, history, surplus, template_of
from fairway.workloads.stateful_pods import claim_owners, missing_claims, ordinal_of, pod_of

NOTHING: tuple[list[Action], tuple[Reason, ...]] = ([], ())


@dataclass(frozen=True, slots=True)
class Seen:
    """`pods`: those that the set controls and those of the namespace that nobody does. `revisions`: of the namespace.
    `claims`: of the namespace, by name."""

    stateful_set: Obj
    pods: Sequence[Obj]
    revisions: Sequence[Obj]
    claims: Mapping[str, Obj]


@dataclass(frozen=True, slots=True)
class _Set:
    """One StatefulSet as its pass sees it."""

    obj: Obj
    pods: Mapping[int, Obj]
    history: History
    claims: Mapping[str, Obj]
    now: datetime

    @property
    def ordinals(self) -> range:
        start = int(dig(self.obj, "spec", "ordinals", "start", default=0))
        return range(start, start + int(spec_of(self.obj).get("replicas", 1)))

    @property
    def ordered(self) -> bool:
        return bool(spec_of(self.obj).get("podManagementPolicy", "OrderedReady") == "OrderedReady")

    @property
    def rolling(self) -> bool:
        return bool(dig(self.obj, "spec", "updateStrategy", "type", default="RollingUpdate") == "RollingUpdate")

    @property
    def first_updated(self) -> int:
        """Lower ordinals keep the current revision."""
        return self.ordinals.start + int(dig(self.obj, "spec", "updateStrategy", "rollingUpdate", "partition", default=0))

    @property
    def update(self) -> str:
        return str(meta_of(self.history.update)["name"])

    @property
    def current(self) -> str:
        return str(status_of(self.obj).get("currentRevision") or self.update)

    def is_available(self, pod: Obj) -> bool:
        at = available_at(pod, int(spec_of(self.obj).get("minReadySeconds") or 0))
        return not is_deleting(pod) and at is not None and at <= self.now


def decide(seen: Seen, now: datetime) -> Decision:
    owner = seen.stateful_set
    found = history(owner, seen.revisions, int(status_of(owner).get("collisionCount") or 0))
    pods, adopted = _members(owner, seen.pods)
    one = _Set(owner, pods, found, seen.claims, now)
    if is_deleting(owner):
        return Decision((), _status(one))
    steps, reasons = _make(one)
    if not steps and not reasons:
        steps, reasons = _shrink(one)
    if not steps and not reasons:
        steps, reasons = _roll(one)
    elif not one.ordered:
        steps = [*steps, *_shrink(one)[0]]
    refs = [change for ordinal, pod in pods.items() if ordinal in one.ordinals
            for change in claim_owners(owner, pod, seen.claims, condemned=False)]
    live = {one.current, one.update, *(labels_of(pod).get(REVISION_LABEL, "") for pod in pods.values())}
    actions = (*found.actions, *adopted, *refs, *steps, *surplus(owner, found.old, live))
    min_ready_s = int(spec_of(owner).get("minReadySeconds") or 0)
    times = [available_at(pod, min_ready_s) for pod in pods.values()]
    return Decision(actions, _status(one), earliest(*(at for at in times if at is not None and at > now)), reasons)


def _members(owner: Obj, pods: Sequence[Obj]) -> tuple[dict[int, Obj], list[Action]]:
    selector = from_label_selector(spec_of(owner).get("selector"))
    found: dict[int, Obj] = {}
    adopted: list[Action] = []
    for pod in pods:
        ordinal = ordinal_of(owner, pod)
        if ordinal is None or not selector.matches(labels_of(pod)):
            continue
        if is_controlled_by(pod, owner):
            found[ordinal] = pod
        elif may_adopt(pod) and not is_deleting(owner):
            adopted.append(Change(PODS, *key_of(pod), MergePatch(adoption(owner, pod))))
            found[ordinal] = pod
    return dict(sorted(found.items())), adopted


# --- pods that shall be there -----------------------------------------------------------------------------------------


def _make(one: _Set) -> tuple[list[Action], tuple[Reason, ...]]:
    """Ordered: the first pod that is missing, or what the next one waits for. Parallel: every missing one."""
    steps: list[Action] = []
    for ordinal in one.ordinals:
        pod = one.pods.get(ordinal)
        name = f"{meta_of(one.obj)['name']}-{ordinal}"
        if pod is None:
            steps += _create(one, ordinal)
        elif is_finished(pod) and not is_deleting(pod):
            steps.append(_delete(pod))
        elif one.ordered and is_deleting(pod):
            return steps, (Reason("WaitingForTermination", f"{name} is ending"),)
        elif one.ordered and not one.is_available(pod):
            return steps, (Reason("WaitingForPod", f"{name} is not {'available' if is_ready(pod) else 'ready'}"),)
        else:
            continue
        if one.ordered:
            return steps, (Reason("Creating" if pod is None else "Replacing", name),)
    return steps, ()


def _create(one: _Set, ordinal: int) -> list[Action]:
    revision = one.history.update
    if one.rolling and ordinal < one.first_updated:
        revision = one.history.named(one.current) or revision
    pod = pod_of(one.obj, template_of(revision), meta_of(revision)["name"], ordinal)
    return [*missing_claims(one.obj, meta_of(pod)["name"], one.claims), Create(pod)]


# --- pods that shall go -----------------------------------------------------------------------------------------------


def _shrink(one: _Set) -> tuple[list[Action], tuple[Reason, ...]]:
    steps: list[Action] = []
    unhealthy = next((pod for pod in one.pods.values() if not one.is_available(pod)), None)
    for ordinal, pod in reversed(list(one.pods.items())):
        if ordinal in one.ordinals:
            continue
        name = meta_of(pod)["name"]
        if is_deleting(pod):
            if one.ordered:
                return steps, (Reason("WaitingForTermination", f"{name} is ending"),)
            continue
        if one.ordered and not one.is_available(pod) and pod is not unhealthy:
            assert unhealthy is not None
            return steps, (Reason("WaitingForPod", f"{meta_of(unhealthy)['name']} is not available"),)
        steps += [*claim_owners(one.obj, pod, one.claims, condemned=True), _delete(pod)]
        if one.ordered:
            return steps, (Reason("ScalingDown", name),)
    return steps, ()


def _roll(one: _Set) -> tuple[list[Action], tuple[Reason, ...]]:
    """Pods of another revision go, highest first, while fewer than `maxUnavailable` are missing."""
    if not one.rolling:
        return NOTHING
    limit = dig(one.obj, "spec", "updateStrategy", "rollingUpdate", "maxUnavailable", default=1)
    room = max(int_or_percent(limit, len(one.ordinals), round_up=True), 1)
    pods = [one.pods[ordinal] for ordinal in reversed(one.ordinals) if ordinal in one.pods and ordinal >= one.first_updated]
    room -= sum(not one.is_available(pod) for pod in pods)
    steps: list[Action] = []
    for pod in pods:
        if labels_of(pod).get(REVISION_LABEL) == one.update or is_deleting(pod):
            if not one.is_available(pod) and room <= 0:
                return steps, (Reason("WaitingForPod", f"{meta_of(pod)['name']} is not available"),)
            continue
        if one.is_available(pod):
            if room <= 0:
                return steps, (Reason("Updating", "the update goes on when the updated pods are available"),)
            room -= 1
        steps.append(_delete(pod))
    return steps, tuple(Reason("Updating", str(step.name)) for step in steps if isinstance(step, Delete))


def _delete(pod: Obj) -> Delete:
    return Delete(PODS, *key_of(pod), uid=uid_of(pod))


# --- status -----------------------------------------------------------------------------------------------------------


def _status(one: _Set) -> Obj:
    pods = list(one.pods.values())
    alive = [pod for pod in pods if not is_deleting(pod) and not is_finished(pod)]

    def of(revision: str) -> int:
        return sum(labels_of(pod).get(REVISION_LABEL) == revision for pod in alive)

    status: Obj = {
        "observedGeneration": meta_of(one.obj).get("generation", 0),
        "replicas": sum(not is_finished(pod) for pod in pods),
        "readyReplicas": sum(is_ready(pod) for pod in alive),
        "availableReplicas": sum(one.is_available(pod) for pod in alive),
        "currentReplicas": of(one.current),
        "updatedReplicas": of(one.update),
        "currentRevision": one.current,
        "updateRevision": one.update,
        "collisionCount": one.history.collisions,
    }
    wanted = len(one.ordinals)
    if one.rolling and status["updatedReplicas"] == status["replicas"] == status["availableReplicas"] == wanted:
        status["currentRevision"], status["currentReplicas"] = one.update, status["updatedReplicas"]
    return status
