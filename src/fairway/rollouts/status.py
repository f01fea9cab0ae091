"""Where a Rollout stands, as its status says it: everything that a restarted controller needs to go on is in here.

`read_status` gives the typed view; `write_status` the merge patch that makes the object say the same (a field that is not in
the view any more is removed).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from fairway.kube.objects import Obj, parse_time, rfc3339, rfc3339_micro

PauseReason = Literal["CanaryPauseStep", "InconclusiveAnalysisRun", "InconclusiveExperiment", "BlueGreenPause"]
CANARY_PAUSE: PauseReason = "CanaryPauseStep"
INCONCLUSIVE: PauseReason = "InconclusiveAnalysisRun"
INCONCLUSIVE_EXPERIMENT: PauseReason = "InconclusiveExperiment"
BLUE_GREEN_PAUSE: PauseReason = "BlueGreenPause"


@dataclass(frozen=True, slots=True)
class PauseCondition:
    reason: str
    started: datetime


@dataclass(frozen=True, slots=True)
class Share:
    """Traffic that one side gets. `service` and `hash` may be ""."""

    weight: int
    hash: str = ""
    service: str = ""


@dataclass(frozen=True, slots=True)
class Weights:
    """`verified`: None where nobody can confirm the weight. `additional`: what running experiments get."""

    canary: Share
    stable: Share
    verified: bool | None = None
    additional: tuple[Share, ...] = ()


@dataclass(frozen=True, slots=True)
class RunStatus:
    name: str
    phase: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class BlueGreenStatus:
    """Hashes that the two Services select. `checkpoint`: the preview has passed, so it may grow to full size."""

    active: str = ""
    preview: str = ""
    checkpoint: bool = False
    before: RunStatus | None = None
    after: RunStatus | None = None


@dataclass(frozen=True, slots=True)
class Status:
    current_hash: str = ""
    stable_hash: str = ""
    step_hash: str = ""
    step_index: int | None = None
    collisions: int = 0
    abort: bool = False
    aborted_at: datetime | None = None
    pauses: tuple[PauseCondition, ...] = ()
    controller_pause: bool = False
    promote_full: bool = False
    restarted_at: datetime | None = None
    weights: Weights | None = None
    step_run: RunStatus | None = None
    background_run: RunStatus | None = None
    experiment: str = ""
    stable_ping_pong: str = ""
    blue_green: BlueGreenStatus = BlueGreenStatus()
    workload_generation: str = ""
    hpa_replicas: int | None = None
    replicas: int = 0
    updated: int = 0
    ready: int = 0
    available: int = 0
    selector: str = ""
    observed_generation: str = ""
    conditions: tuple[Obj, ...] = ()
    phase: str = ""
    message: str = ""

    def pause(self, reason: str) -> PauseCondition | None:
        return next((p for p in self.pauses if p.reason == reason), None)

    def condition(self, kind: str) -> Obj | None:
        return next((c for c in self.conditions if c.get("type") == kind), None)

    @property
    def promoted(self) -> bool:
        """The wished-for template is the stable one: no update is under way."""
        return self.stable_hash == self.current_hash


def read_status(rollout: Mapping[str, Any]) -> Status:
    at: Mapping[str, Any] = rollout.get("status") or {}
    canary: Mapping[str, Any] = at.get("canary") or {}
    green: Mapping[str, Any] = at.get("blueGreen") or {}
    return Status(
        current_hash=at.get("currentPodHash") or "",
        stable_hash=at.get("stableRS") or "",
        step_hash=at.get("currentStepHash") or "",
        step_index=at.get("currentStepIndex"),
        collisions=at.get("collisionCount") or 0,
        abort=bool(at.get("abort")),
        aborted_at=_moment(at.get("abortedAt")),
        pauses=tuple(PauseCondition(p["reason"], parse_time(p["startTime"])) for p in at.get("pauseConditions") or ()),
        controller_pause=bool(at.get("controllerPause")),
        promote_full=bool(at.get("promoteFull")),
        restarted_at=_moment(at.get("restartedAt")),
        weights=read_weights(canary.get("weights")),
        step_run=_run(canary.get("currentStepAnalysisRunStatus")),
        background_run=_run(canary.get("currentBackgroundAnalysisRunStatus")),
        experiment=canary.get("currentExperiment") or "",
        stable_ping_pong=canary.get("stablePingPong") or "",
        blue_green=BlueGreenStatus(
            green.get("activeSelector") or "", green.get("previewSelector") or "", bool(green.get("scaleUpPreviewCheckPoint")),
            _run(green.get("prePromotionAnalysisRunStatus")), _run(green.get("postPromotionAnalysisRunStatus"))),
        workload_generation=str(at.get("workloadObservedGeneration") or ""),
        hpa_replicas=at.get("HPAReplicas"),
        replicas=at.get("replicas") or 0,
        updated=at.get("updatedReplicas") or 0,
        ready=at.get("readyReplicas") or 0,
        available=at.get("availableReplicas") or 0,
        selector=at.get("selector") or "",
        observed_generation=str(at.get("observedGeneration") or ""),
        conditions=tuple(at.get("conditions") or ()),
        phase=at.get("phase") or "",
        message=at.get("message") or "",
    )


def write_status(status: Status) -> Obj:
    """The whole status as a merge patch: a key that is None is removed from the object."""
    green = status.blue_green
    return {
        "currentPodHash": status.current_hash or None,
        "stableRS": status.stable_hash or None,
        "currentStepHash": status.step_hash or None,
        "currentStepIndex": status.step_index,
        "collisionCount": status.collisions or None,
        "abort": status.abort or None,
        "abortedAt": rfc3339(status.aborted_at) if status.aborted_at else None,
        "pauseConditions": [{"reason": p.reason, "startTime": rfc3339_micro(p.started)} for p in status.pauses] or None,
        "controllerPause": status.controller_pause or None,
        "promoteFull": status.promote_full or None,
        "restartedAt": rfc3339(status.restarted_at) if status.restarted_at else None,
        "canary": {
            "weights": _write_weights(status.weights),
            "currentStepAnalysisRunStatus": _write_run(status.step_run),
            "currentBackgroundAnalysisRunStatus": _write_run(status.background_run),
            "currentExperiment": status.experiment or None,
            "stablePingPong": status.stable_ping_pong or None,
        },
        "blueGreen": {
            "activeSelector": green.active or None,
            "previewSelector": green.preview or None,
            "scaleUpPreviewCheckPoint": green.checkpoint or None,
            "prePromotionAnalysisRunStatus": _write_run(green.before),
            "postPromotionAnalysisRunStatus": _write_run(green.after),
        },
        "workloadObservedGeneration": status.workload_generation or None,
        "replicas": status.replicas,
        "HPAReplicas": status.replicas if status.hpa_replicas is None else status.hpa_replicas,
        "updatedReplicas": status.updated,
        "readyReplicas": status.ready,
        "availableReplicas": status.available,
        "selector": status.selector or None,
        "observedGeneration": status.observed_generation or None,
        "conditions": list(status.conditions),
        "phase": status.phase or None,
        "message": status.message or None,
    }


def read_weights(at: Mapping[str, Any] | None) -> Weights | None:
    if not at:
        return None
    additional = tuple(_share(extra) for extra in at.get("additional") or ())
    return Weights(_share(at.get("canary") or {}), _share(at.get("stable") or {}), at.get("verified"), additional)


def _share(at: Mapping[str, Any]) -> Share:
    return Share(at.get("weight") or 0, at.get("podTemplateHash") or "", at.get("serviceName") or "")


def _write_weights(weights: Weights | None) -> Obj | None:
    if weights is None:
        return None
    return {"canary": _write_share(weights.canary), "stable": _write_share(weights.stable), "verified": weights.verified,
            "additional": [_write_share(extra) for extra in weights.additional] or None}


def _write_share(share: Share) -> Obj:
    return {"weight": share.weight, "podTemplateHash": share.hash or None, "serviceName": share.service or None}


def _run(at: Mapping[str, Any] | None) -> RunStatus | None:
    return RunStatus(at.get("name") or "", at.get("status") or "", at.get("message") or "") if at else None


def _write_run(run: RunStatus | None) -> Obj | None:
    return {"name": run.name, "status": run.phase, "message": run.message or None} if run else None


def _moment(text: str | None) -> datetime | None:
    return parse_time(text) if text else None
