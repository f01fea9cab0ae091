"""Whether a workload has finished rolling out, in upstream's words; and whether waiting any longer makes sense."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from fairway.kube.objects import Obj, condition, meta_of, parse_time, spec_of, status_of
from fairway.rollouts.flagger.spec import CanarySpec


@dataclass(frozen=True, slots=True)
class Readiness:
    """`waits` is "" for one that is ready. `hopeless`: past its deadline."""

    waits: str = ""
    hopeless: bool = False


READY = Readiness()
_GENERATION = "waiting for rollout to finish: observed {kind} generation less than desired generation"


def readiness(workload: Obj, spec: CanarySpec, threshold: int, since: datetime | None, now: datetime) -> Readiness:
    """`threshold` in percent of the pods; `since` the Canary's last change, from which a DaemonSet's deadline counts."""
    kind = workload["kind"]
    if kind == "Service":
        return READY
    if int(meta_of(workload).get("generation") or 0) > int(status_of(workload).get("observedGeneration") or 0):
        return Readiness(_GENERATION.format(kind=kind.lower()))
    if kind == "DaemonSet":
        return _daemon_set(workload, spec, threshold, since, now)
    return _deployment(workload, spec.progress_deadline, threshold, now)


def _deployment(workload: Obj, deadline: timedelta, threshold: int, now: datetime) -> Readiness:
    at = status_of(workload)
    progressing, available = condition(workload, "Progressing"), condition(workload, "Available")
    if progressing is not None and progressing.get("reason") == "ProgressDeadlineExceeded":
        return Readiness(f'deployment "{meta_of(workload)["name"]}" exceeded its progress deadline', hopeless=True)
    late = False
    if progressing is not None and available is not None and (
            available.get("status"), available.get("reason")) == ("False", "MinimumReplicasUnavailable"):
        began = available.get("lastUpdateTime") or available.get("lastTransitionTime")
        late = began is not None and parse_time(began) + deadline < now
    wished = spec_of(workload).get("replicas")
    updated, replicas, ready = (int(at.get(n) or 0) for n in ("updatedReplicas", "replicas", "availableReplicas"))
    if wished is not None and updated < int(wished):
        return Readiness(f"waiting for rollout to finish: {updated} out of {wished} new replicas have been updated", late)
    if replicas > updated:
        return Readiness(f"waiting for rollout to finish: {replicas - updated} old replicas are pending termination", late)
    enough = updated * threshold // 100
    if ready < enough:
        return Readiness(f"waiting for rollout to finish: {ready} of {enough} (readyThreshold {threshold}%) updated replicas "
                         "are available", late)
    return READY


def _daemon_set(workload: Obj, spec: CanarySpec, threshold: int, since: datetime | None, now: datetime) -> Readiness:
    at = status_of(workload)
    wished, updated, ready = (int(at.get(n) or 0) for n in ("desiredNumberScheduled", "updatedNumberScheduled",
                                                             "numberAvailable"))
    enough = wished * threshold // 100
    late = since is not None and since + spec.progress_deadline < now
    if late and (updated < wished or ready < enough):
        return Readiness(f"exceeded its progressDeadlineSeconds: {spec.progress_deadline.total_seconds():.0f}", hopeless=True)
    if updated < wished:
        return Readiness(f"waiting for rollout to finish: {updated} out of {wished} new pods have been updated")
    if ready < enough:
        return Readiness(f"waiting for rollout to finish: {ready} of {enough} updated pods are available")
    return READY
