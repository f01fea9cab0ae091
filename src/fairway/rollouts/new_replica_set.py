"""The ReplicaSet of the wished-for template: making it, and keeping its revision and the Rollout's in step."""

from __future__ import annotations

from fairway.kube.api import MergePatch
from fairway.kube.decision import Action, Change, Create
from fairway.kube.objects import Obj, annotations_of, copy_of, meta_of, owner_reference
from fairway.kube.resources import REPLICA_SETS, ROLLOUTS
from fairway.rollouts.anti_affinity import with_anti_affinity
from fairway.rollouts.ephemeral import injected, role_metadata
from fairway.rollouts.keys import (
    DESIRED_REPLICAS,
    EPHEMERAL_METADATA,
    HASH_LABEL,
    REVISION,
    REVISION_HISTORY,
    TEMPLATE_SHA,
)
from fairway.rollouts.seen import View
from fairway.rollouts.templates import template_sha


def collides(view: View) -> bool:
    """The name that the new ReplicaSet would get is taken by one with another template."""
    name = f"{view.name}-{view.hash}"
    return view.new is None and any(meta_of(rs).get("name") == name for rs in view.seen.replica_sets)


def replica_set_actions(view: View) -> tuple[Action, ...]:
    """Create it (with no pods yet), or make its revision the newest; and write the revision on the Rollout."""
    actions: list[Action] = []
    if view.new is None:
        actions.append(Create(_replica_set(view)))
    else:
        actions += _synced(view)
    if annotations_of(view.rollout).get(REVISION) != str(view.revision):
        patch = MergePatch({"metadata": {"annotations": {REVISION: str(view.revision)}}})
        actions.append(Change(ROLLOUTS, view.namespace, view.name, patch))
    return tuple(actions)


def _replica_set(view: View) -> Obj:
    written = view.spec.template or {}
    wish = view.blue_green.anti_affinity if view.blue_green else view.canary.anti_affinity
    template = copy_of(with_anti_affinity(written, wish, view.status.stable_hash))
    role = role_metadata(view)
    meta = template.setdefault("metadata", {})
    meta["labels"] = {**(meta.get("labels") or {}), HASH_LABEL: view.hash}
    labels = dict(meta["labels"])
    meta["labels"] |= role.labels
    if role.annotations:
        meta["annotations"] = {**(meta.get("annotations") or {}), **role.annotations}
    selector = copy_of(view.spec.selector or {})
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: view.hash}
    return {
        "apiVersion": REPLICA_SETS.api_version,
        "kind": REPLICA_SETS.kind,
        "metadata": {
            "name": f"{view.name}-{view.hash}",
            "namespace": view.namespace,
            "labels": labels,
            "annotations": {
                REVISION: str(view.revision),
                DESIRED_REPLICAS: str(view.spec.replicas),
                TEMPLATE_SHA: template_sha(written),
                **({EPHEMERAL_METADATA: injected(role)} if injected(role) else {}),
            },
            "ownerReferences": [owner_reference(view.rollout)],
        },
        "spec": {
            "replicas": 0,
            "minReadySeconds": view.spec.min_ready_seconds,
            "selector": selector,
            "template": template,
        },
    }


def _synced(view: View) -> list[Action]:
    new = view.new
    if new is None:
        return []
    patch: Obj = {}
    if new.revision != view.revision:
        notes = {REVISION: str(view.revision)}
        if new.revision:
            past = [p for p in str((new.annotations or {}).get(REVISION_HISTORY, "")).split(",") if p]
            notes[REVISION_HISTORY] = ",".join([*past, str(new.revision)])
        patch["metadata"] = {"annotations": notes}
    if new.min_ready_seconds != view.spec.min_ready_seconds:
        patch["spec"] = {"minReadySeconds": view.spec.min_ready_seconds}
    return [Change(REPLICA_SETS, view.namespace, new.name, MergePatch(patch))] if patch else []
