"""How many pods each ReplicaSet of a Deployment may have now: the arithmetic of rolling updates and of scaling.

A rolling update holds two bounds at every moment: at most `replicas + maxSurge` pods exist, and at least
`replicas - maxUnavailable` are available. Each function answers one step as {ReplicaSet name: replicas}; nothing in
it means that this step is done. Source: kubernetes `pkg/controller/deployment/rolling.go`, `sync.go`, `util`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fairway.kube.objects import Obj, annotations_of, meta_of, spec_of, status_of
from fairway.workloads.deployment_spec import DeploymentSpec

MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"

Sizes = dict[str, int]


@dataclass(frozen=True, slots=True)
class Size:
    """One ReplicaSet as the arithmetic sees it."""

    name: str
    replicas: int
    available: int
    created: str
    max_replicas: int | None = None
    desired_replicas: int | None = None


def size_of(replica_set: Obj) -> Size:
    notes = annotations_of(replica_set)

    def number(name: str) -> int | None:
        return int(notes[name]) if notes.get(name, "").isdigit() else None

    return Size(
        name=meta_of(replica_set)["name"],
        replicas=int(spec_of(replica_set).get("replicas", 1)),
        available=int(status_of(replica_set).get("availableReplicas") or 0),
        created=str(meta_of(replica_set).get("creationTimestamp") or ""),
        max_replicas=number(MAX_REPLICAS),
        desired_replicas=number(DESIRED_REPLICAS),
    )


def new_replicas(spec: DeploymentSpec, others: int, now: int) -> int:
    """Size of the new ReplicaSet that has `now` pods, beside `others` pods of old ones."""
    if spec.recreate:
        return spec.replicas
    room = spec.replicas + spec.max_surge - others - now
    return now if room <= 0 else now + min(room, spec.replicas - now)


def grow_new(spec: DeploymentSpec, new: Size, old: Sequence[Size]) -> Sizes:
    if new.replicas == spec.replicas:
        return {}
    if new.replicas > spec.replicas:
        return {new.name: spec.replicas}
    wanted = new_replicas(spec, sum(one.replicas for one in old), new.replicas)
    return {new.name: wanted} if wanted != new.replicas else {}


def shrink_old(spec: DeploymentSpec, new: Size, old: Sequence[Size]) -> Sizes:
    """Unhealthy old pods go first, because nobody misses them; then as many healthy ones as availability allows."""
    total = sum(one.replicas for one in old)
    least = spec.replicas - spec.max_unavailable
    spare = total + new.replicas - least - (new.replicas - new.available)
    if total == 0 or spare <= 0:
        return {}
    by_age = sorted(old, key=lambda one: (one.created, one.name))
    sizes = {one.name: one.replicas for one in by_age}
    for one in by_age:
        unhealthy = min(spare, max(one.replicas - one.available, 0))
        sizes[one.name] -= unhealthy
        spare -= unhealthy
    may_go = sum(one.available for one in old) + new.available - least
    for one in by_age:
        gone = min(max(may_go, 0), sizes[one.name])
        sizes[one.name] -= gone
        may_go -= gone
    return {one.name: sizes[one.name] for one in by_age if sizes[one.name] != one.replicas}


def is_scaling(spec: DeploymentSpec, sets: Sequence[Size]) -> bool:
    """The Deployment was resized since its active ReplicaSets were last sized."""
    return any(one.replicas > 0 and one.desired_replicas is not None and one.desired_replicas != spec.replicas
               for one in sets)


def rescale(spec: DeploymentSpec, new: Size | None, old: Sequence[Size]) -> Sizes:
    """A resize, or a resize while paused: one ReplicaSet takes it all, several share it in proportion."""
    active = [one for one in [*old, *([new] if new else [])] if one.replicas > 0]
    if len(active) <= 1:
        only = active[0] if active else (new or (max(old, key=lambda o: (o.created, o.name)) if old else None))
        return {only.name: spec.replicas} if only is not None and only.replicas != spec.replicas else {}
    if new is not None and new.replicas == spec.replicas and new.available == spec.replicas:
        return {one.name: 0 for one in old if one.replicas > 0}
    return {} if spec.recreate else _in_proportion(spec, active)


def _in_proportion(spec: DeploymentSpec, active: Sequence[Size]) -> Sizes:
    allowed = spec.replicas + spec.max_surge if spec.replicas > 0 else 0
    to_add = allowed - sum(one.replicas for one in active)
    newest_first = to_add > 0
    ordered = sorted(active, key=lambda one: (one.replicas, one.created if newest_first else _older(one.created)),
                     reverse=True)
    sizes: Sizes = {}
    added = 0
    for one in ordered:
        share = _share(spec, one, to_add, added) if to_add else 0
        sizes[one.name] = one.replicas + share
        added += share
    if ordered and to_add != added:
        first = ordered[0].name
        sizes[first] = max(sizes[first] + to_add - added, 0)
    return {one.name: sizes[one.name] for one in active
            if sizes[one.name] != one.replicas or one.desired_replicas != spec.replicas}


def _share(spec: DeploymentSpec, one: Size, to_add: int, added: int) -> int:
    """This ReplicaSet's part of the change, in proportion to its part of the size before it."""
    allowed = to_add - added
    if one.replicas == 0 or allowed == 0:
        return 0
    if spec.replicas == 0:
        fraction = -one.replicas
    else:
        before = one.max_replicas or spec.replicas
        fraction = _round_half_up(one.replicas * (spec.replicas + spec.max_surge) / before) - one.replicas
    return min(fraction, allowed) if to_add > 0 else max(fraction, allowed)


def _round_half_up(value: float) -> int:
    return int(value + 0.5)


def _older(created: str) -> str:
    """Sorts the other way round than `created` does: digits are mirrored."""
    return "".join(chr(105 - ord(ch)) if ch.isdigit() else ch for ch in created)
