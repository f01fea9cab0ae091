"""How far the jobs of a run are: the rows of `PipelineRun.status.jobs` as values. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from fairway.kube.objects import parse_time, rfc3339_micro

Phase = Literal["Pending", "Waiting", "Running", "Succeeded", "Failed", "Cancelled", "Skipped"]
"""`Waiting` is for a person (an approval, a manual job); everything that waits by itself is Pending."""
FINISHED: frozenset[Phase] = frozenset({"Succeeded", "Failed", "Cancelled", "Skipped"})
MOST_ANNOTATIONS = 50
"""Of one job in the status, as GitHub shows them; the log has them all."""
RESULTS: Mapping[Phase, str] = {
    "Succeeded": "success", "Failed": "failure", "Cancelled": "cancelled", "Skipped": "skipped",
}
"""Phases in the words of the `needs` context."""


@dataclass(frozen=True, slots=True)
class StepRow:
    name: str
    phase: Phase
    started_at: datetime | None = None
    finished_at: datetime | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Annotation:
    """What a step pointed at: `::error file=…::`, or a problem matcher."""

    level: str
    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    title: str = ""


@dataclass(frozen=True)
class JobRow:
    """One leg of a job (its only one without a matrix), or a job that is not expanded yet.

    `id` is unique in the run and names its folder; `job` is the key in the workflow. `allowed` says that its failure
    does not count (continue-on-error, allow_failure). `not_before` is when a delayed leg may start; `failure` is the kind of
    its failure.
    """

    id: str
    job: str
    name: str
    phase: Phase = "Pending"
    matrix: Mapping[str, Any] | None = None
    expanded: bool = False
    index: int = 0
    total: int = 1
    attempt: int = 0
    allowed: bool = False
    group: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[StepRow, ...] = ()
    images: tuple[Mapping[str, str], ...] = ()
    started_at: datetime | None = None
    finished_at: datetime | None = None
    message: str = ""
    exit_code: int | None = None
    failure: str = ""
    not_before: datetime | None = None
    environment: str = ""
    url: str = ""
    coverage: float | None = None
    annotations: tuple[Annotation, ...] = ()

    @property
    def finished(self) -> bool:
        return self.phase in FINISHED


def result_of(rows: Iterable[JobRow]) -> str:
    """The result of a job from its legs; "" while one of them is not finished."""
    legs = list(rows)
    if any(not row.finished for row in legs):
        return ""
    counted = ["success" if row.phase == "Failed" and row.allowed else RESULTS[row.phase] for row in legs]
    for result in ("failure", "cancelled"):
        if result in counted:
            return result
    return "skipped" if counted and all(result == "skipped" for result in counted) else "success"


def outputs_of(rows: Iterable[JobRow]) -> dict[str, str]:
    """Outputs of all legs; of one name the last that is not empty."""
    found: dict[str, str] = {}
    for row in rows:
        for name, value in row.outputs.items():
            if value or name not in found:
                found[name] = value
    return found


def to_status(row: JobRow) -> dict[str, Any]:
    """The row as it stands in `status.jobs`; what is empty is left out."""
    entry: dict[str, Any] = {"name": row.name, "id": row.id, "job": row.job, "phase": row.phase}
    optional: dict[str, Any] = {
        "matrix": dict(row.matrix) if row.matrix is not None else None,
        "expanded": row.expanded or None,
        "index": row.index or None,
        "total": row.total if row.total != 1 else None,
        "attempt": row.attempt or None,
        "allowedToFail": row.allowed or None,
        "concurrencyGroup": row.group or None,
        "startedAt": _time(row.started_at),
        "finishedAt": _time(row.finished_at),
        "steps": [_step_status(step) for step in row.steps] or None,
        "outputs": dict(row.outputs) or None,
        "images": [dict(image) for image in row.images] or None,
        "message": row.message or None,
        "exitCode": row.exit_code,
        "failure": row.failure or None,
        "notBefore": _time(row.not_before),
        "environment": row.environment or None,
        "url": row.url or None,
        "coverage": row.coverage,
        "annotations": [_annotation_status(note) for note in row.annotations[:MOST_ANNOTATIONS]] or None,
    }
    return {**entry, **{key: value for key, value in optional.items() if value is not None}}


def from_status(entry: Mapping[str, Any]) -> JobRow:
    """The inverse of `to_status`."""
    return JobRow(
        id=entry["id"],
        job=entry.get("job", entry["id"]),
        name=entry["name"],
        phase=entry["phase"],
        matrix=entry.get("matrix"),
        expanded=bool(entry.get("expanded")),
        index=int(entry.get("index", 0)),
        total=int(entry.get("total", 1)),
        attempt=int(entry.get("attempt", 0)),
        allowed=bool(entry.get("allowedToFail")),
        group=entry.get("concurrencyGroup", ""),
        outputs=entry.get("outputs") or {},
        steps=tuple(_step(step) for step in entry.get("steps") or ()),
        images=tuple(entry.get("images") or ()),
        started_at=_parsed(entry.get("startedAt")),
        finished_at=_parsed(entry.get("finishedAt")),
        message=entry.get("message", ""),
        exit_code=entry.get("exitCode"),
        failure=entry.get("failure", ""),
        not_before=_parsed(entry.get("notBefore")),
        environment=entry.get("environment", ""),
        url=entry.get("url", ""),
        coverage=entry.get("coverage"),
        annotations=tuple(Annotation(**note) for note in entry.get("annotations") or ()),
    )


def _annotation_status(note: Annotation) -> dict[str, Any]:
    return {key: value for key, value in asdict(note).items() if value}


def _step_status(step: StepRow) -> dict[str, Any]:
    entry = {"name": step.name, "phase": step.phase, "startedAt": _time(step.started_at),
             "finishedAt": _time(step.finished_at), "message": step.message or None}
    return {key: value for key, value in entry.items() if value is not None}


def _step(entry: Mapping[str, Any]) -> StepRow:
    return StepRow(entry["name"], entry["phase"], _parsed(entry.get("startedAt")), _parsed(entry.get("finishedAt")),
                   entry.get("message", ""))


def _time(moment: datetime | None) -> str | None:
    return rfc3339_micro(moment) if moment is not None else None


def _parsed(text: str | None) -> datetime | None:
    return parse_time(text) if text else None
