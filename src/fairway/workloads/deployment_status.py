"""A Deployment's status: counts, and the conditions that `kubectl rollout status` and health checks read.

Reasons and messages are upstream's, because tools match on them. Source: kubernetes
`pkg/controller/deployment/progress.go`, `util/deployment_util.go`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fairway.kube.decision import Reason
from fairway.kube.objects import Obj, condition, is_deleting, meta_of, parse_time, rfc3339, spec_of, status_of
from fairway.workloads.deployment_spec import DeploymentSpec


@dataclass(frozen=True, slots=True)
class Progress:
    """What this pass did about the new ReplicaSet. `collisions`: the collisionCount, where it grew."""

    created: str = ""
    found: str = ""
    collisions: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    status: Obj
    complete: bool
    wake_at: datetime | None
    reasons: tuple[Reason, ...] = ()


def rollout_status(deployment: Obj, spec: DeploymentSpec, new: Obj | None, old: Sequence[Obj], now: datetime,
                   progress: Progress) -> Result:
    every = [*old, *([new] if new else [])]
    counts = _counts(deployment, new, every)
    if progress.collisions is not None:
        counts["collisionCount"] = progress.collisions
    complete = _is_complete(deployment, spec, counts)
    conditions = [dict(entry) for entry in status_of(deployment).get("conditions") or ()]
    if not is_deleting(deployment):
        conditions = _available(conditions, spec, counts, now)
        conditions = _progressing(conditions, deployment, spec, new, counts, now, progress, complete=complete)
        conditions = _replica_failure(conditions, every)
    status: Obj = {**counts, "conditions": conditions}
    wake_at = _deadline(conditions, spec)
    if complete or wake_at is None or wake_at <= now:
        wake_at = None
    return Result(status, complete, wake_at, _waiting(spec, counts) if not complete else ())


def _counts(deployment: Obj, new: Obj | None, every: Sequence[Obj]) -> Obj:
    def total(name: str) -> int:
        return sum(int(status_of(rs).get(name) or 0) for rs in every)

    available = total("availableReplicas")
    asked = sum(int(spec_of(rs).get("replicas", 1)) for rs in every)
    return {
        "observedGeneration": meta_of(deployment).get("generation", 0),
        "replicas": total("replicas"),
        "updatedReplicas": int(status_of(new).get("replicas") or 0) if new else 0,
        "readyReplicas": total("readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(asked - available, 0),
    }


def _is_complete(deployment: Obj, spec: DeploymentSpec, counts: Obj) -> bool:
    return bool(counts["updatedReplicas"] == counts["replicas"] == counts["availableReplicas"] == spec.replicas)


def _put(conditions: list[Obj], now: datetime, kind: str, status: str, reason: str, message: str, *,
         refresh: bool = False) -> list[Obj]:
    """Unchanged status and reason leave the entry and its times alone; `refresh` asks for a new update time."""
    current = next((entry for entry in conditions if entry["type"] == kind), None)
    if current and current["status"] == status and current.get("reason") == reason and not refresh:
        return conditions
    stamp = rfc3339(now)
    moved = stamp if current is None or current["status"] != status else current.get("lastTransitionTime", stamp)
    entry: Obj = {"type": kind, "status": status, "reason": reason, "message": message,
                  "lastUpdateTime": stamp, "lastTransitionTime": moved}
    if current is None:
        return [*conditions, entry]
    return [entry if old is current else old for old in conditions]


def _available(conditions: list[Obj], spec: DeploymentSpec, counts: Obj, now: datetime) -> list[Obj]:
    if counts["availableReplicas"] >= spec.replicas - spec.max_unavailable:
        return _put(conditions, now, "Available", "True", "MinimumReplicasAvailable",
                    "Deployment has minimum availability.")
    return _put(conditions, now, "Available", "False", "MinimumReplicasUnavailable",
                "Deployment does not have minimum availability.")


def _progressing(conditions: list[Obj], deployment: Obj, spec: DeploymentSpec, new: Obj | None, counts: Obj,
                 now: datetime, progress: Progress, *, complete: bool) -> list[Obj]:
    if spec.progress_deadline_s is None:
        return [entry for entry in conditions if entry["type"] != "Progressing"]
    current = condition({"status": {"conditions": conditions}}, "Progressing")
    reason = current.get("reason") if current else None
    if spec.paused:
        if reason == "DeploymentPaused":
            return conditions
        return _put(conditions, now, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused")
    if reason == "DeploymentPaused":
        return _put(conditions, now, "Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed")
    if progress.created:
        return _put(conditions, now, "Progressing", "True", "NewReplicaSetCreated",
                    f'Created new replica set "{progress.created}"')
    who = f'ReplicaSet "{meta_of(new)["name"]}"' if new else f'Deployment "{meta_of(deployment)["name"]}"'
    if complete:
        return _put(conditions, now, "Progressing", "True", "NewReplicaSetAvailable",
                    f"{who} has successfully progressed.")
    if reason == "NewReplicaSetAvailable" and counts["replicas"] == counts["updatedReplicas"]:
        return conditions
    if _moved(status_of(deployment), counts):
        return _put(conditions, now, "Progressing", "True", "ReplicaSetUpdated", f"{who} is progressing.", refresh=True)
    deadline = _deadline(conditions, spec)
    if deadline is not None and now >= deadline:
        return _put(conditions, now, "Progressing", "False", "ProgressDeadlineExceeded",
                    f"{who} has timed out progressing.")
    if current is None and progress.found:
        return _put(conditions, now, "Progressing", "True", "FoundNewReplicaSet",
                    f'Found new replica set "{progress.found}"')
    return conditions


def _moved(before: Obj, after: Obj) -> bool:
    def old_pods(counts: Obj) -> int:
        return int(counts.get("replicas") or 0) - int(counts.get("updatedReplicas") or 0)

    grew = any(after[name] > int(before.get(name) or 0)
               for name in ("updatedReplicas", "readyReplicas", "availableReplicas"))
    return grew or old_pods(after) < old_pods(before)


def _deadline(conditions: Sequence[Obj], spec: DeploymentSpec) -> datetime | None:
    """When the rollout counts as stuck; None where nothing is under way."""
    current = next((entry for entry in conditions if entry["type"] == "Progressing"), None)
    if spec.progress_deadline_s is None or current is None or spec.paused:
        return None
    if current.get("reason") in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded"):
        return None
    return parse_time(current["lastUpdateTime"]) + timedelta(seconds=spec.progress_deadline_s)


def _replica_failure(conditions: list[Obj], every: Sequence[Obj]) -> list[Obj]:
    failure = next((entry for rs in reversed(every) if (entry := condition(rs, "ReplicaFailure"))), None)
    kept = [entry for entry in conditions if entry["type"] != "ReplicaFailure"]
    if failure is None:
        return kept
    return [*kept, {**failure, "lastUpdateTime": failure.get("lastTransitionTime")}]


def _waiting(spec: DeploymentSpec, counts: Obj) -> tuple[Reason, ...]:
    if counts["updatedReplicas"] < spec.replicas:
        return (Reason("WaitingForUpdate", f"{counts['updatedReplicas']} of {spec.replicas} pods are updated"),)
    if counts["replicas"] > counts["updatedReplicas"]:
        left = counts["replicas"] - counts["updatedReplicas"]
        return (Reason("WaitingForOldPods", f"{left} pods of the old template remain"),)
    return (Reason("WaitingForAvailability", f"{counts['availableReplicas']} of {spec.replicas} pods are available"),)
