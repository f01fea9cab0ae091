"""A Rollout's ReplicaSets as the decision sees them: counts, revision, and when one is due to be scaled down."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fairway.kube.objects import Obj, annotations_of, dig, is_deleting, labels_of, meta_of, parse_time, uid_of
from fairway.rollouts.keys import DESIRED_REPLICAS, HASH_LABEL, REVISION, SCALE_DOWN_DEADLINE


@dataclass(frozen=True, slots=True)
class ReplicaSet:
    """`replicas` is what is asked for; `created`, `ready`, `available` what there is. `desired`: the Rollout's replicas when
    it was last scaled. `deadline` is None where there is none or it cannot be read (`has_deadline` tells)."""

    name: str
    hash: str
    uid: str = ""
    replicas: int = 0
    created: int = 0
    ready: int = 0
    available: int = 0
    revision: int = 0
    desired: int | None = None
    has_deadline: bool = False
    deadline: datetime | None = None
    created_at: datetime | None = None
    settled: bool = True
    deleting: bool = False
    template: Any = None
    annotations: Any = None
    min_ready_seconds: int = 0
    failure: Any = None


def read_replica_set(obj: Obj) -> ReplicaSet:
    notes = annotations_of(obj)
    status = obj.get("status") or {}
    deadline, desired = notes.get(SCALE_DOWN_DEADLINE), notes.get(DESIRED_REPLICAS, "")
    failures = [c for c in status.get("conditions") or () if c.get("type") == "ReplicaFailure"]
    born = meta_of(obj).get("creationTimestamp")
    return ReplicaSet(
        name=str(meta_of(obj).get("name", "")),
        hash=labels_of(obj).get(HASH_LABEL, ""),
        uid=uid_of(obj),
        replicas=dig(obj, "spec", "replicas", default=1),
        created=status.get("replicas", 0),
        ready=status.get("readyReplicas", 0),
        available=status.get("availableReplicas", 0),
        revision=_number(notes.get(REVISION)) or 0,
        desired=_number(desired),
        has_deadline=bool(deadline),
        deadline=_moment(deadline),
        created_at=parse_time(born) if born else None,
        settled=status.get("observedGeneration", 0) >= meta_of(obj).get("generation", 0),
        deleting=is_deleting(obj),
        template=dig(obj, "spec", "template", default={}),
        annotations=notes,
        min_ready_seconds=dig(obj, "spec", "minReadySeconds", default=0),
        failure=failures[0] if failures else None,
    )


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _moment(text: str | None) -> datetime | None:
    try:
        return parse_time(text) if text else None
    except ValueError:
        return None


def asked_for(sets: Iterable[ReplicaSet | None]) -> int:
    return sum(rs.replicas for rs in sets if rs)


def available_in(sets: Iterable[ReplicaSet | None]) -> int:
    return sum(rs.available for rs in sets if rs)


def fully_available(rs: ReplicaSet | None) -> bool:
    return rs is not None and rs.replicas > 0 and rs.available == rs.replicas


def partly_available(rs: ReplicaSet | None) -> bool:
    return rs is not None and rs.replicas > 0 and rs.available > 0
