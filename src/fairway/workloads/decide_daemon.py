"""What a DaemonSet does next: one pod on every node that fits, and the old one replaced when the template changes.

There is no scheduler between this decision and the node: a pod names its node from the start. Source: kubernetes
`pkg/controller/daemon` (daemon_controller.go, update.go).
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
from fairway.kube.placement import selects, untolerated
from fairway.kube.resources import PODS
from fairway.kube.selectors import from_label_selector
from fairway.kube.template import int_or_percent
from fairway.workloads.pods import (
    adoption,
    available_at,
    base_name,
    is_finished,
    is_ready,
    may_adopt,
    phase,
    pod_from_template,
    safe_suffix,
)
from fairway.workloads.revisions import REVISION_LABEL, hash_of, history, surplus

_TOLERATED = (
    ("not-ready", "NoExecute"), ("unreachable", "NoExecute"), ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"), ("pid-pressure", "NoSchedule"), ("unschedulable", "NoSchedule"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """`pods`: those that the set controls and those of the namespace that nobody does. `revisions`: of the namespace."""

    daemon_set: Obj
    pods: Sequence[Obj]
    revisions: Sequence[Obj]
    nodes: Sequence[Obj]


def decide(seen: Seen, now: datetime) -> Decision:
    owner = seen.daemon_set
    found = history(owner, seen.revisions, int(status_of(owner).get("collisionCount") or 0))
    digest = hash_of(found.update)
    pods, adopted = _members(owner, seen.pods)
    nodes = {meta_of(node)["name"] for node in seen.nodes if _fits(owner, node)}
    by_node: dict[str, list[Obj]] = {name: [] for name in sorted(nodes)}
    for pod in pods:
        by_node.setdefault(str(spec_of(pod).get("nodeName") or ""), []).append(pod)
    min_ready_s = int(spec_of(owner).get("minReadySeconds") or 0)
    times = {uid_of(pod): available_at(pod, min_ready_s) for pod in pods}
    available = {uid for uid, at in times.items() if at is not None and at <= now}
    status = _status(owner, by_node, nodes, digest, available, found.collisions)
    if is_deleting(owner):
        return Decision((), status)
    placed = [action for name, here in by_node.items() for action in _place(owner, name if name in nodes else "", here, digest)]
    steps = placed or _roll(owner, {name: by_node[name] for name in nodes}, digest, available)
    used = {labels_of(pod).get(REVISION_LABEL) for pod in pods}
    live = {meta_of(old)["name"] for old in found.old if hash_of(old) in used}
    actions = (*found.actions, *adopted, *steps, *surplus(owner, found.old, live))
    reasons = (Reason("Placing" if placed else "Updating", f"{len(steps)} pods"),) if steps else ()
    return Decision(actions, status, earliest(*(at for at in times.values() if at is not None and at > now)), reasons)


def _members(owner: Obj, pods: Sequence[Obj]) -> tuple[list[Obj], list[Action]]:
    selector = from_label_selector(spec_of(owner).get("selector"))
    found: list[Obj] = []
    adopted: list[Action] = []
    for pod in pods:
        if not selector.matches(labels_of(pod)):
            continue
        if is_controlled_by(pod, owner):
            found.append(pod)
        elif may_adopt(pod) and not is_deleting(owner):
            adopted.append(Change(PODS, *key_of(pod), MergePatch(adoption(owner, pod))))
            found.append(pod)
    return found, adopted


def _fits(owner: Obj, node: Obj) -> bool:
    spec = dig(owner, "spec", "template", "spec", default={})
    if spec.get("nodeName") and spec["nodeName"] != meta_of(node)["name"]:
        return False
    return selects(spec, node) and untolerated([*(spec.get("tolerations") or ()), *_tolerations()], node) is None


def _tolerations() -> list[Obj]:
    return [{"key": f"node.kubernetes.io/{name}", "operator": "Exists", "effect": effect} for name, effect in _TOLERATED]


def _place(owner: Obj, node: str, here: Sequence[Obj], digest: str) -> list[Action]:
    """`node` "": a node that shall have none. Pods that ended make room for the next one."""
    ended = [pod for pod in here if is_finished(pod) and not is_deleting(pod)]
    going = [pod for pod in here if not is_deleting(pod)] if not node else ended
    actions: list[Action] = [_delete(pod) for pod in going]
    if node and not any(not is_finished(pod) for pod in here) and not ended:
        actions.append(Create(_pod(owner, node, here, digest)))
    return actions


def _pod(owner: Obj, node: str, here: Sequence[Obj], digest: str) -> Obj:
    taken, turn = {meta_of(pod)["name"] for pod in here}, 0
    while (name := base_name(owner) + safe_suffix(uid_of(owner), meta_of(owner).get("resourceVersion"), node, turn)) in taken:
        turn += 1
    pod = pod_from_template(owner, spec_of(owner)["template"], name)
    generation = str(meta_of(owner).get("generation", 1))
    pod["metadata"]["labels"].update({REVISION_LABEL: digest, "pod-template-generation": generation})
    spec = pod["spec"]
    spec["nodeName"] = node
    present = [(one.get("key"), one.get("effect")) for one in spec.get("tolerations") or ()]
    more = [one for one in _tolerations() if (one["key"], one["effect"]) not in present]
    spec["tolerations"] = [*(spec.get("tolerations") or ()), *more]
    return pod


def _roll(owner: Obj, by_node: Mapping[str, list[Obj]], digest: str, available: set[str]) -> list[Action]:
    """Old pods that do not serve go at once; those that serve go within maxUnavailable, or after their successor."""
    if dig(owner, "spec", "updateStrategy", "type", default="RollingUpdate") != "RollingUpdate":
        return []
    rolling = dig(owner, "spec", "updateStrategy", "rollingUpdate", default={})
    surge = int_or_percent(rolling.get("maxSurge", 0), len(by_node), round_up=True)
    room = int_or_percent(rolling.get("maxUnavailable", 1), len(by_node), round_up=True)
    actions: list[Action] = []
    waiting: list[tuple[str, Obj, list[Obj]]] = []
    for node, here in by_node.items():
        alive = [pod for pod in here if not is_deleting(pod)]
        old = next((pod for pod in alive if labels_of(pod).get(REVISION_LABEL) != digest), None)
        new = next((pod for pod in alive if labels_of(pod).get(REVISION_LABEL) == digest), None)
        serves = any(uid_of(pod) in available for pod in alive)
        if not surge and not serves:
            room -= 1
        if surge and old is not None and new is not None and uid_of(old) in available and uid_of(new) not in available:
            surge -= 1
        if old is not None and (uid_of(old) not in available or (new is not None and uid_of(new) in available)):
            actions.append(_delete(old))
        elif old is not None and new is None:
            waiting.append((node, old, here))
    if dig(rolling, "maxSurge", default=0) in (0, "0%"):
        return [*actions, *(_delete(old) for _, old, _ in waiting[:max(room, 0)])]
    return [*actions, *(Create(_pod(owner, node, here, digest)) for node, _, here in waiting[:max(surge, 0)])]


def _delete(pod: Obj) -> Delete:
    return Delete(PODS, *key_of(pod), uid=uid_of(pod))


def _status(owner: Obj, by_node: Mapping[str, list[Obj]], nodes: set[str], digest: str, available: set[str],
            collisions: int) -> Obj:
    alive = {node: [pod for pod in here if not is_deleting(pod) and phase(pod) != "Failed"] for node, here in by_node.items()}
    wanted = {node: here for node, here in alive.items() if node in nodes}

    def having(found: list[bool]) -> int:
        return sum(found)

    ready = having([any(is_ready(pod) for pod in here) for here in wanted.values()])
    serving = having([any(uid_of(pod) in available for pod in here) for here in wanted.values()])
    return {
        "observedGeneration": meta_of(owner).get("generation", 0),
        "desiredNumberScheduled": len(nodes),
        "currentNumberScheduled": having([bool(here) for here in wanted.values()]),
        "numberMisscheduled": having([bool(here) for node, here in alive.items() if node not in nodes]),
        "updatedNumberScheduled": having([any(labels_of(pod).get(REVISION_LABEL) == digest for pod in here)
                                          for here in wanted.values()]),
        "numberReady": ready,
        "numberAvailable": serving or None,
        "numberUnavailable": len(nodes) - serving or None,
        "collisionCount": collisions or None,
    }
