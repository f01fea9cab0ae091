"""A Deployment's own numbers, decoded once: replicas, strategy, surge, deadline, history."""

from __future__ import annotations

from dataclasses import dataclass

from fairway.kube.objects import Obj, dig, spec_of
from fairway.kube.template import int_or_percent

FOREVER_S = 2**31 - 1
"""progressDeadlineSeconds and revisionHistoryLimit that upstream reads as "no limit"."""


@dataclass(frozen=True, slots=True)
class DeploymentSpec:
    replicas: int
    recreate: bool
    paused: bool
    max_surge: int
    max_unavailable: int
    min_ready_s: int
    progress_deadline_s: int | None
    history_limit: int | None


def decode(deployment: Obj) -> DeploymentSpec:
    spec = spec_of(deployment)
    replicas = int(spec.get("replicas", 1))
    recreate = dig(spec, "strategy", "type", default="RollingUpdate") == "Recreate"
    surge, unavailable = _bounds(spec, replicas) if not recreate else (0, 0)
    deadline = spec.get("progressDeadlineSeconds", 600)
    limit = spec.get("revisionHistoryLimit", 10)
    return DeploymentSpec(
        replicas=replicas,
        recreate=recreate,
        paused=bool(spec.get("paused")),
        max_surge=surge,
        max_unavailable=unavailable,
        min_ready_s=int(spec.get("minReadySeconds") or 0),
        progress_deadline_s=None if deadline is None or deadline == FOREVER_S else int(deadline),
        history_limit=None if limit is None or limit == FOREVER_S else int(limit),
    )


def _bounds(spec: Obj, replicas: int) -> tuple[int, int]:
    """Surge rounds up, unavailable rounds down; if both come to 0, one may be unavailable, else nothing could move."""
    rolling = dig(spec, "strategy", "rollingUpdate", default={})
    surge = int_or_percent(rolling.get("maxSurge", "25%"), replicas, round_up=True)
    unavailable = int_or_percent(rolling.get("maxUnavailable", "25%"), replicas, round_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, min(unavailable, replicas)
