"""The decision about an AnalysisRun, in two halves, because measuring lies between them.

`begin` says which measurements are to be taken now (or why the run cannot be); `conclude` says what the run's status is once
they have been.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fairway.kube.objects import Obj, parse_time, rfc3339, status_of
from fairway.rollouts.analysis import Task, assess_run, due, find, is_terminating, next_look
from fairway.rollouts.analysis_spec import (
    DEFAULT_RETENTION,
    Metric,
    RunSpec,
    decode_metric,
    decode_run,
    matched,
    metrics_error,
)
from fairway.rollouts.args import ArgError, substitute
from fairway.rollouts.fields import SpecError
from fairway.rollouts.measurements import (
    COMPLETED,
    Measurement,
    Tally,
    counted,
    read_tallies,
    trimmed,
    write_tallies,
)
from fairway.rollouts.remembered import by_content


@dataclass(frozen=True, slots=True)
class Refused:
    """The run cannot be measured: the status says why."""

    status: Obj


@dataclass(frozen=True, slots=True)
class Finished:
    """Nothing is to be done, until `delete_at`."""

    delete_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """One look at a run: what is to be measured, with all that `conclude` needs."""

    spec: RunSpec
    metrics: tuple[Metric, ...]
    tallies: tuple[Tally, ...]
    dry_run: Mapping[str, int]
    retention: Mapping[str, int]
    started_at: datetime
    terminating: bool
    tasks: tuple[Task, ...]


@dataclass(frozen=True, slots=True)
class Conclusion:
    status: Obj
    phase: str
    message: str
    wake_at: datetime | None


def begin(run: Obj, now: datetime) -> Refused | Finished | Round:
    status = status_of(run)
    try:
        if status.get("phase") in COMPLETED:
            return Finished(_delete_at(decode_run(run), status))
        read = _read({"spec": run.get("spec")})
    except ArgError as error:
        return _refuse(f"Unable to resolve metric arguments: {error}", now)
    except SpecError as error:
        return _refuse(f"Analysis spec invalid: {error}", now)
    if read.mistake:
        return _refuse(f"Analysis spec invalid: {read.mistake}", now)
    spec, metrics = read.spec, read.metrics
    tallies = read_tallies(status)
    started = parse_time(status["startedAt"]) if status.get("startedAt") else now
    terminating = is_terminating(tallies, asked=spec.terminate)
    return Round(spec, metrics, tallies, read.dry_run, read.retention, started, terminating,
                 due(metrics, tallies, started, now, terminating=terminating))


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a run's spec says, and the first thing that is wrong with it."""

    spec: RunSpec
    metrics: tuple[Metric, ...]
    dry_run: Mapping[str, int]
    retention: Mapping[str, int]
    mistake: str


@by_content
def _read(run: Obj) -> _Reading:
    spec = decode_run(run)
    metrics = tuple(decode_metric(substitute(raw, _shown(spec.args)), f"spec.metrics[{i}]")
                    for i, raw in enumerate(spec.metrics))
    dry_run, unmatched = matched(spec.dry_run, metrics, "dryRun")
    rules, unused = matched([name for name, _ in spec.retention], metrics, "measurementRetention")
    retention = {name: spec.retention[rule][1] for name, rule in rules.items()}
    return _Reading(spec, metrics, dry_run, retention, metrics_error(metrics) or unmatched or unused)


def _shown(args: Sequence[Obj]) -> dict[str, str]:
    """Values to validate with; a secret is read only when it is measured."""
    return {str(arg.get("name")): "temp-for-secret" if arg.get("valueFrom") else str(arg.get("value"))
            for arg in args if arg.get("valueFrom") or arg.get("value") is not None}


def conclude(run: Obj, this: Round, taken: Sequence[tuple[Task, Measurement, Mapping[str, str]]], now: datetime) -> Conclusion:
    """`taken` pairs each task with its measurement and the provider's metadata."""
    tallies = {tally.name: tally for tally in this.tallies}
    for task, measurement, about in taken:
        name = task.metric.name
        fresh = Tally(name, "Running", dry_run=name in this.dry_run, metadata=about)
        if measurement.phase in COMPLETED and measurement.finished_at is None:
            measurement = replace(measurement, finished_at=now)
        tallies[name] = counted(tallies.get(name, fresh), measurement)
    verdict = assess_run(this.metrics, tuple(tallies.values()), this.dry_run, asked_to_end=this.spec.terminate)
    kept = tuple(trimmed(t, this.retention.get(t.name) or DEFAULT_RETENTION) for t in verdict.tallies)
    status: Obj = {
        "phase": verdict.phase,
        "message": verdict.message or None,
        "metricResults": write_tallies(kept),
        "startedAt": rfc3339(this.started_at) if not status_of(run).get("startedAt") else status_of(run)["startedAt"],
        "runSummary": verdict.summary,
        "dryRunSummary": verdict.dry_summary,
    }
    if verdict.phase in COMPLETED:
        status["completedAt"] = rfc3339(now)
        return Conclusion(status, verdict.phase, verdict.message, _delete_at(this.spec, status))
    wake = next_look(this.metrics, kept, this.started_at, now)
    if is_terminating(kept, asked=this.spec.terminate) and _unfinished(this.metrics, kept):
        wake = now
    return Conclusion(status, verdict.phase, verdict.message, wake)


def _unfinished(metrics: Sequence[Metric], tallies: Sequence[Tally]) -> bool:
    """A measurement is still in flight and has to be ended."""
    return any((tally := find(tallies, metric.name)) is not None and tally.last is not None
               and tally.last.phase not in COMPLETED for metric in metrics)


def _refuse(message: str, now: datetime) -> Refused:
    return Refused({"phase": "Error", "message": message, "completedAt": rfc3339(now), "metricResults": []})


def _delete_at(spec: RunSpec, status: Obj) -> datetime | None:
    """When a completed run is to be deleted, by its ttlStrategy."""
    if not status.get("completedAt") or not spec.ttl:
        return None
    after = "secondsAfterSuccess" if status.get("phase") == "Successful" else "secondsAfterFailure"
    seconds = spec.ttl.get(after, spec.ttl.get("secondsAfterCompletion"))
    return None if seconds is None else parse_time(status["completedAt"]) + timedelta(seconds=seconds)
