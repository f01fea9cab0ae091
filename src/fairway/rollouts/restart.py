"""`restartAt`: pods that are older than it go, stable's first, no more at a time than may be unavailable.

Source: argo-rollouts `rollout/restart.go`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from fairway.kube.decision import Action, Delete, Reason
from fairway.kube.objects import Obj, is_deleting, labels_of, meta_of, parse_time, uid_of
from fairway.kube.resources import PODS
from fairway.rollouts.keys import HASH_LABEL
from fairway.rollouts.replicas import max_unavailable, share_of
from fairway.rollouts.replicasets import available_in
from fairway.rollouts.seen import View

LOOK_AGAIN = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class RestartPlan:
    """`done`: every pod is younger than the wish. `busy`: pods are being replaced, nothing else should move."""

    actions: tuple[Action, ...] = ()
    done: bool = False
    wake_at: datetime | None = None
    reasons: tuple[Reason, ...] = ()


def plan_restart(view: View) -> RestartPlan:
    asked = view.spec.restart_at
    if asked is None or asked == view.status.restarted_at:
        return RestartPlan()
    if asked > view.now:
        return RestartPlan(wake_at=asked)
    if view.new is not None and view.new.created_at is not None and view.new.created_at > asked and view.stable is None:
        return RestartPlan(done=True)
    old = [pod for pod in _in_order(view) if _born(pod) < asked]
    if not old:
        return RestartPlan(done=True)
    left = f"{len(old)} pods are older than restartAt"
    if any(is_deleting(pod) for pod in view.seen.pods):
        return RestartPlan(wake_at=view.now + LOOK_AGAIN, reasons=(Reason("Restarting", left),))
    green = view.blue_green
    may = max_unavailable(view.spec, view.canary)
    room = max(share_of(green.max_unavailable, view.spec.replicas, round_up=False) if green else may, 1)
    missing = max(0, sum(rs.replicas for rs in view.all) - available_in(view.all))
    go = old[: max(0, room - missing)]
    return RestartPlan(tuple(Delete(PODS, view.namespace, str(meta_of(pod)["name"]), uid_of(pod)) for pod in go), False,
                       view.now + LOOK_AGAIN, (Reason("Restarting", left),))


def _in_order(view: View) -> list[Obj]:
    first = view.stable.hash if view.stable else ""
    return sorted(view.seen.pods, key=lambda pod: (labels_of(pod).get(HASH_LABEL) != first, _born(pod)))


def _born(pod: Obj) -> datetime:
    return parse_time(str(meta_of(pod)["creationTimestamp"]))
