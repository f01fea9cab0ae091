"""Old ReplicaSets that revisionHistoryLimit no longer keeps. Only what runs nothing and is settled is deleted."""

from __future__ import annotations

from datetime import UTC, datetime

from fairway.kube.decision import Action, Delete
from fairway.kube.resources import REPLICA_SETS
from fairway.rollouts.scaling import referenced
from fairway.rollouts.seen import View

_BEGINNING = datetime.min.replace(tzinfo=UTC)


def forgotten(view: View) -> tuple[Action, ...]:
    old = sorted((rs for rs in view.others if not rs.deleting), key=lambda rs: (rs.created_at or _BEGINNING, rs.name))
    excess = max(0, len(old) - view.spec.revision_history_limit)
    return tuple(
        Delete(REPLICA_SETS, view.namespace, rs.name, rs.uid)
        for rs in old[:excess]
        if rs.replicas == 0 and rs.created == 0 and rs.settled and not referenced(view, rs)
    )
