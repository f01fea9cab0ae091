"""Which ReplicaSet the stable and the canary Service lead to.

A Service is adopted only once its ReplicaSet is fully available, so that taking it over costs nobody a request; later one
available pod is enough. After an abort the canary Service leads to stable, whatever is available: whatever still reaches it
must not reach the version that was stopped. Source: argo-rollouts `rollout/service.go`.
"""

from __future__ import annotations

from fairway.kube.api import MergePatch
from fairway.kube.decision import Action, Change, Reason
from fairway.kube.objects import Obj, annotations_of, meta_of
from fairway.kube.resources import SERVICES
from fairway.rollouts.keys import HASH_LABEL, MANAGED_BY
from fairway.rollouts.replicasets import ReplicaSet, fully_available, partly_available
from fairway.rollouts.seen import View, selector_hash
from fairway.rollouts.situation import Situation
from fairway.rollouts.weights import left_for_canary, rolling_back_dynamically


def switch_services(view: View, situation: Situation) -> tuple[tuple[Action, ...], tuple[Reason, ...]]:
    """Switches in the order in which they are safe, and why one waits."""
    canary = view.canary
    if situation is Situation.ABORTED:
        stays = canary.dynamic_stable_scale and left_for_canary(view) > 0
        wishes = [(canary.canary_service, None if stays else view.stable, True), (canary.stable_service, view.stable, False)]
    elif rolling_back_dynamically(view, situation):
        wishes = [(canary.stable_service, view.stable, False)]
    else:
        wishes = [(canary.stable_service, view.stable, False), (canary.canary_service, view.new, False)]
    if canary.ping_pong is not None:
        stable, turning = view.turning_services
        wishes.append((stable, view.stable, False))
        if not view.status.promoted and situation is not Situation.ABORTED:
            wishes.append((turning, view.new, False))
    actions: list[Action] = []
    reasons: list[Reason] = []
    for name, replica_set, at_once in wishes:
        action, reason = _switch(view, name, replica_set, at_once=at_once)
        actions += [action] if action else []
        reasons += [reason] if reason else []
    return tuple(actions), tuple(reasons)


def _switch(view: View, name: str, rs: ReplicaSet | None, *, at_once: bool) -> tuple[Action | None, Reason | None]:
    service = view.seen.services.get(name) if name else None
    if rs is None or service is None:
        return None, None
    adopted = MANAGED_BY in annotations_of(service)
    if adopted and selector_hash(service, HASH_LABEL) == rs.hash:
        return None, None
    ready = partly_available(rs) if adopted else fully_available(rs)
    if not at_once and not ready and selector_hash(service, HASH_LABEL) != rs.hash:
        need = "one of its pods is" if adopted else "all its pods are"
        have = f"{rs.available} of {rs.replicas} now"
        return None, Reason("ServiceWaits", f"Service {name} switches to {rs.name} when {need} available: {have}")
    patch: Obj = {"spec": {"selector": {HASH_LABEL: rs.hash}}}
    if not adopted:
        patch["metadata"] = {"annotations": {MANAGED_BY: view.name}}
    said = switched(name, selector_hash(service, HASH_LABEL), rs.hash)
    return Change(SERVICES, view.namespace, name, MergePatch(patch)), said


def switched(name: str, before: str, after: str) -> Reason:
    return Reason("SwitchService", f"Switched selector for service '{name}' from '{before}' to '{after}'")


def released(view: View) -> tuple[Action, ...]:
    """Services that this Rollout moved once and does not name any more: they are given back as they were."""
    return tuple(release(service) for service in view.seen.left_behind)


def release(service: Obj) -> Action:
    patch: Obj = {"metadata": {"annotations": {MANAGED_BY: None}}, "spec": {"selector": {HASH_LABEL: None}}}
    return Change(SERVICES, str(meta_of(service).get("namespace", "")), str(meta_of(service)["name"]), MergePatch(patch))


def select(view: View, name: str, pod_hash: str) -> tuple[str, Action | None]:
    """A blue-green Service switched to the pods of `pod_hash`: what it selects afterwards, and the change (None: no need)."""
    service = view.seen.services.get(name) if name else None
    now = selector_hash(service, HASH_LABEL)
    if service is None or not pod_hash or now == pod_hash:
        return now, None
    patch: Obj = {"spec": {"selector": {HASH_LABEL: pod_hash}}}
    if MANAGED_BY not in annotations_of(service):
        patch["metadata"] = {"annotations": {MANAGED_BY: view.name}}
    return pod_hash, Change(SERVICES, view.namespace, name, MergePatch(patch))
