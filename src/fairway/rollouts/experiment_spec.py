"""What users write in an Experiment, and how far it has come, as frozen values.

Source: argo-rollouts `pkg/apis/rollouts/v1alpha1/experiment_types.go`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fairway.kube.durations import parse_duration
from fairway.kube.objects import Obj, parse_time, rfc3339, spec_of
from fairway.rollouts.analysis_ask import TemplateRef
from fairway.rollouts.fields import FieldError, Fields, SpecError

DEFAULT_DELAY_S = 30
DEFAULT_DEADLINE_S = 600


@dataclass(frozen=True, slots=True)
class ExperimentTemplate:
    """`service`: None where it has no Service, "" where it has one of its ReplicaSet's name."""

    name: str
    template: Obj
    selector: Obj
    replicas: int = 1
    min_ready_seconds: int = 0
    service: str | None = None


@dataclass(frozen=True, slots=True)
class ExperimentAnalysis:
    name: str
    template: TemplateRef
    args: tuple[Obj, ...] = ()
    required: bool = False


@dataclass(frozen=True, slots=True)
class ExperimentSpec:
    """`duration` None: until somebody, or an analysis, ends it."""

    templates: tuple[ExperimentTemplate, ...] = ()
    analyses: tuple[ExperimentAnalysis, ...] = ()
    duration: timedelta | None = None
    progress_deadline_s: int = DEFAULT_DEADLINE_S
    scale_down_delay_s: int = DEFAULT_DELAY_S
    terminate: bool = False
    dry_run: tuple[Obj, ...] = ()
    retention: tuple[Obj, ...] = ()
    labels: Mapping[str, str] | None = None
    annotations: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class TemplateStatus:
    """`phase` is one of Progressing, Running, Successful, Failed, Error; "" before the first look."""

    name: str
    phase: str = ""
    message: str = ""
    replicas: int = 0
    ready: int = 0
    available: int = 0
    moved_at: datetime | None = None
    service: str = ""
    hash: str = ""


@dataclass(frozen=True, slots=True)
class AnalysisStatus:
    name: str
    run: str = ""
    phase: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class ExperimentStatus:
    phase: str = ""
    message: str = ""
    available_at: datetime | None = None
    templates: tuple[TemplateStatus, ...] = ()
    analyses: tuple[AnalysisStatus, ...] = ()
    conditions: tuple[Obj, ...] = ()


def decode_experiment(experiment: Mapping[str, Any]) -> ExperimentSpec:
    """`SpecError` with the path of the mistake."""
    at = Fields(spec_of(experiment), "spec")
    meta, length = at.fields("analysisRunMetadata"), at.text("duration")
    templates = tuple(_template(each) for each in at.each("templates"))
    names = [template.name for template in templates]
    if len(set(names)) < len(names):
        raise SpecError(FieldError("spec.templates", "two templates have the same name", names, "Duplicate value"))
    if not templates:
        raise SpecError(FieldError("spec.templates", "an Experiment needs at least one template", None, "Required value"))
    return ExperimentSpec(
        templates=templates,
        analyses=tuple(ExperimentAnalysis(
            a.text("name"), TemplateRef(a.text("templateName"), a.flag("clusterScope")),
            tuple(dict(arg.raw) for arg in a.each("args")), a.flag("requiredForCompletion")) for a in at.each("analyses")),
        duration=_duration(at, length) if length else None,
        progress_deadline_s=at.number_or("progressDeadlineSeconds", DEFAULT_DEADLINE_S),
        scale_down_delay_s=at.number_or("scaleDownDelaySeconds", DEFAULT_DELAY_S),
        terminate=at.flag("terminate"),
        dry_run=tuple(dict(rule.raw) for rule in at.each("dryRun")),
        retention=tuple(dict(rule.raw) for rule in at.each("measurementRetention")),
        labels=meta.text_map("labels") if meta else None,
        annotations=meta.text_map("annotations") if meta else None,
    )


def _duration(at: Fields, text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError:
        raise at.wrong("duration", 'a duration such as "20m"') from None


def _template(at: Fields) -> ExperimentTemplate:
    service = at.fields("service")
    return ExperimentTemplate(
        name=at.text("name"),
        template=at.object("template") or {},
        selector=at.object("selector") or {},
        replicas=at.number_or("replicas", 1),
        min_ready_seconds=at.number_or("minReadySeconds", 0),
        service=service.text("name") if service else None,
    )


def read_experiment_status(experiment: Mapping[str, Any]) -> ExperimentStatus:
    at: Mapping[str, Any] = experiment.get("status") or {}
    return ExperimentStatus(
        phase=at.get("phase") or "",
        message=at.get("message") or "",
        available_at=_moment(at.get("availableAt")),
        templates=tuple(TemplateStatus(
            t.get("name") or "", t.get("status") or "", t.get("message") or "", t.get("replicas") or 0,
            t.get("readyReplicas") or 0, t.get("availableReplicas") or 0, _moment(t.get("lastTransitionTime")),
            t.get("serviceName") or "", t.get("podTemplateHash") or "") for t in at.get("templateStatuses") or ()),
        analyses=tuple(AnalysisStatus(a.get("name") or "", a.get("analysisRun") or "", a.get("phase") or "",
                                      a.get("message") or "") for a in at.get("analysisRuns") or ()),
        conditions=tuple(at.get("conditions") or ()),
    )


def write_experiment_status(status: ExperimentStatus) -> Obj:
    """The whole status as a merge patch."""
    return {
        "phase": status.phase or None,
        "message": status.message or None,
        "availableAt": rfc3339(status.available_at) if status.available_at else None,
        "templateStatuses": [_filled({
            "name": t.name, "status": t.phase, "message": t.message, "replicas": t.replicas, "updatedReplicas": t.replicas,
            "readyReplicas": t.ready, "availableReplicas": t.available,
            "lastTransitionTime": rfc3339(t.moved_at) if t.moved_at else None, "serviceName": t.service,
            "podTemplateHash": t.hash}) for t in status.templates],
        "analysisRuns": [_filled({"name": a.name, "analysisRun": a.run, "phase": a.phase, "message": a.message})
                         for a in status.analyses] or None,
        "conditions": list(status.conditions) or None,
    }


def _filled(written: Obj) -> Obj:
    return {name: value for name, value in written.items() if value not in (None, "")}


def _moment(text: str | None) -> datetime | None:
    return parse_time(text) if text else None
