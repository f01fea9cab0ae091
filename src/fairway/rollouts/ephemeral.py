"""Metadata that pods carry while they have a role: canary, stable, preview, active.

It is put into the ReplicaSet's template and onto the pods that are there, and taken away again when the role ends; what was
put in stands in an annotation, so that nothing else is ever taken. Source: argo-rollouts `rollout/ephemeralmetadata.go`,
`utils/replicaset/replicaset.go` SyncEphemeralPodMetadata.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from fairway.kube.api import MergePatch
from fairway.kube.decision import Action, Change
from fairway.kube.objects import Obj, dig, is_deleting, labels_of, meta_of
from fairway.kube.resources import PODS, REPLICA_SETS
from fairway.rollouts.keys import EPHEMERAL_METADATA, HASH_LABEL
from fairway.rollouts.replicasets import ReplicaSet
from fairway.rollouts.seen import View
from fairway.rollouts.spec import Metadata, RolloutSpec

_NONE = Metadata({}, {})


def has_role_metadata(spec: RolloutSpec) -> bool:
    canary, green = spec.canary, spec.blue_green
    roles = (canary and canary.canary_metadata, canary and canary.stable_metadata,
             green and green.active_metadata, green and green.preview_metadata)
    return any(roles)


def role_metadata(view: View) -> Metadata:
    """What the pods of the new ReplicaSet carry now."""
    fresh, settled = _roles(view)
    return (settled if not view.status.stable_hash or view.status.stable_hash == view.hash else fresh) or _NONE


def _roles(view: View) -> tuple[Metadata | None, Metadata | None]:
    if view.blue_green is not None:
        return view.blue_green.preview_metadata, view.blue_green.active_metadata
    return view.canary.canary_metadata, view.canary.stable_metadata


def plan_metadata(view: View) -> tuple[Action, ...]:
    _, settled = _roles(view)
    actions: list[Action] = []
    if view.new is not None:
        actions += _sync(view, view.new, role_metadata(view))
    if view.stable is not None and view.stable is not view.new:
        actions += _sync(view, view.stable, settled or _NONE)
    for rs in view.others:
        if rs.replicas > 0:
            actions += _sync(view, rs, _NONE)
    return tuple(actions)


def injected(metadata: Metadata) -> str:
    """As the annotation on a ReplicaSet says it; "" for nothing."""
    found = {name: dict(part) for name, part in (("labels", metadata.labels), ("annotations", metadata.annotations)) if part}
    return msgspec.json.encode(found, order="sorted").decode() if found else ""


def _sync(view: View, rs: ReplicaSet, wished: Metadata) -> Iterator[Action]:
    noted = str((rs.annotations or {}).get(EPHEMERAL_METADATA, ""))
    before: Obj = msgspec.json.decode(noted) if noted else {}
    if noted != injected(wished):
        patch = {"metadata": {"annotations": {EPHEMERAL_METADATA: injected(wished) or None}},
                 "spec": {"template": {"metadata": _difference(dig(rs.template, "metadata", default={}), before, wished)}}}
        yield Change(REPLICA_SETS, view.namespace, rs.name, MergePatch(patch))
    for pod in view.seen.pods:
        if labels_of(pod).get(HASH_LABEL) != rs.hash or is_deleting(pod):
            continue
        change = _difference(meta_of(pod), before, wished)
        if any(change.values()):
            yield Change(PODS, view.namespace, str(meta_of(pod)["name"]), MergePatch({"metadata": change}))


def _difference(have: Obj, before: Obj, wished: Metadata) -> Obj:
    """A merge patch for metadata: what was put in before and is not wished any more goes, what is wished comes."""
    found: Obj = {}
    for kind, wish in (("labels", wished.labels), ("annotations", wished.annotations)):
        present = have.get(kind) or {}
        change: Obj = {key: value for key, value in wish.items() if present.get(key) != value}
        change |= {key: None for key in before.get(kind) or {} if key not in wish and key in present}
        found[kind] = change
    return found
