"""The metric loop of an AnalysisRun: which metrics are due, what their tallies mean, and when to look again.

A metric is measured once, so many times, or for ever at an interval, until a limit is exceeded. Failures and inconclusive
measurements are counted over the whole run, errors in a row. The run ends early as soon as one metric (that is not a dry
run) has failed, erred or stayed inconclusive; otherwise it is as bad as its worst metric.

Source: argo-rollouts `analysis/analysis.go`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from fairway.kube.decision import earliest
from fairway.kube.objects import Obj
from fairway.rollouts.analysis_spec import DEFAULT_CONSECUTIVE_ERRORS, DEFAULT_FAILURE_LIMIT, Metric
from fairway.rollouts.measurements import COMPLETED, Measurement, Tally, is_worse

ERROR_RETRY = timedelta(seconds=10)
"""After an error the next measurement comes after this, whatever the interval."""
_AT_ONCE = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Task:
    """Measure `index` (into the metrics) now; `unfinished` is the measurement to resume or, when terminating, to end."""

    index: int
    metric: Metric
    unfinished: Measurement | None = None


@dataclass(frozen=True, slots=True)
class Assessment:
    phase: str
    message: str
    tallies: tuple[Tally, ...]
    summary: Obj
    dry_summary: Obj


def find(tallies: Sequence[Tally], name: str) -> Tally | None:
    return next((tally for tally in tallies if tally.name == name), None)


def is_terminating(tallies: Sequence[Tally], *, asked: bool) -> bool:
    """Told to end, or a metric that counts has already decided the run."""
    return asked or any(t.phase in ("Failed", "Error", "Inconclusive") and not t.dry_run for t in tallies)


# --- what is due --------------------------------------------------------------------------------------------------


def due(metrics: Sequence[Metric], tallies: Sequence[Tally], started_at: datetime | None, now: datetime, *,
        terminating: bool) -> tuple[Task, ...]:
    found = []
    for index, metric in enumerate(metrics):
        tally = find(tallies, metric.name)
        if tally is not None and tally.phase in COMPLETED:
            continue
        last = tally.last if tally else None
        if last is not None and last.finished_at is None:
            if last.resume_at is None or last.resume_at <= now or terminating:
                found.append(Task(index, metric, last))
            continue
        if terminating:
            continue
        at = _next(metric, tally, started_at)
        if at is not None and at <= now:
            found.append(Task(index, metric))
    return tuple(found)


def _next(metric: Metric, tally: Tally | None, started_at: datetime | None) -> datetime | None:
    """When this metric is to be measured next; None: not again, or not known yet."""
    last = tally.last if tally else None
    if tally is None or last is None:
        if metric.initial_delay:
            return started_at + metric.delay if started_at is not None and metric.delay is not None else None
        return _AT_ONCE
    if metric.wanted is not None and tally.count >= metric.wanted:
        return None
    if last.finished_at is None:
        return None
    wait = ERROR_RETRY if last.phase == "Error" or not metric.interval else metric.every
    return last.finished_at + wait if wait is not None else None


def next_look(metrics: Sequence[Metric], tallies: Sequence[Tally], started_at: datetime | None,
              now: datetime) -> datetime | None:
    """When the first metric is due again; None where none will be."""
    times: list[datetime | None] = []
    for metric in metrics:
        tally = find(tallies, metric.name)
        if tally is not None and tally.phase in COMPLETED:
            continue
        last = tally.last if tally else None
        if last is not None and last.finished_at is None:
            times.append(last.resume_at)
        elif last is None:
            if metric.initial_delay and metric.delay is not None:
                times.append((started_at or now) + metric.delay)
        elif last.phase == "Error" or metric.interval:
            times.append(_next(metric, tally, started_at))
    return earliest(*times)


# --- what the tallies mean ----------------------------------------------------------------------------------------


def limit_exceeded(metric: Metric, tally: Tally) -> tuple[str, str]:
    """The phase that an exceeded limit means, and which; ("", "") where none is. Of several the last one counts."""
    phase, message = "", ""
    failures = DEFAULT_FAILURE_LIMIT if metric.failure_limit is None else metric.failure_limit
    if failures >= 0 and tally.failed > failures:
        phase, message = "Failed", f"failed ({tally.failed}) > failureLimit ({failures})"
    unclear = metric.inconclusive_limit or 0
    if tally.inconclusive > unclear:
        phase, message = "Inconclusive", f"inconclusive ({tally.inconclusive}) > inconclusiveLimit ({unclear})"
    errors = DEFAULT_CONSECUTIVE_ERRORS if metric.consecutive_error_limit is None else metric.consecutive_error_limit
    if tally.consecutive_error > errors:
        phase, message = "Error", f"consecutiveErrors ({tally.consecutive_error}) > consecutiveErrorLimit ({errors})"
    return phase, message


def assess_metric(metric: Metric, tally: Tally, *, terminating: bool) -> str:
    if tally.phase in COMPLETED:
        return tally.phase
    last = tally.last
    if last is None:
        return "Successful" if terminating else "Pending"
    if last.phase not in COMPLETED:
        return "Running"
    exceeded, _ = limit_exceeded(metric, tally)
    if exceeded:
        return exceeded
    successes = metric.consecutive_success_limit or 0
    if successes > 0 and tally.consecutive_success >= successes:
        return "Successful"
    if metric.wanted is not None and tally.count >= metric.wanted:
        if successes <= 0:
            return "Successful"
        return "Failed" if metric.failure_limit == -1 else "Inconclusive"
    return "Successful" if terminating else "Running"


def assess_run(metrics: Sequence[Metric], tallies: Sequence[Tally], dry_run: Mapping[str, object], *,
               asked_to_end: bool) -> Assessment:
    """The whole run: worst of the metrics that count, with the message that says why."""
    terminating = is_terminating(tallies, asked=asked_to_end)
    found = {tally.name: tally for tally in tallies}
    phase, message, all_done = "", "Run Terminated" if asked_to_end else "", True
    summary, dry_summary = _summary(), _summary()
    for metric in metrics:
        dry = metric.name in dry_run
        (dry_summary if dry else summary)["count"] += 1
        tally = found.get(metric.name)
        if tally is None:
            all_done = False
            continue
        verdict = assess_metric(metric, tally, terminating=terminating)
        if verdict != tally.phase:
            said = tally.last.message if tally.last else tally.message
            tally = found[metric.name] = replace(tally, phase=verdict, message=said)
        if verdict not in COMPLETED:
            all_done = False
            continue
        exceeded, why = limit_exceeded(metric, tally)
        (dry_summary if dry else summary)[(exceeded or "Successful").lower()] += 1
        if dry:
            phase = phase or "Successful"
            if why:
                found[metric.name] = replace(tally, message=f"Metric assessed {verdict} due to {why}")
        elif not phase or is_worse(phase, verdict):
            phase = verdict
            if why:
                message = f'Metric "{metric.name}" assessed {verdict} due to {why}'
                message += f': "Error Message: {tally.message}"' if tally.message else ""
    phase, message = _overall(phase, message, all_done=all_done, terminating=terminating)
    return Assessment(phase, message, tuple(found.values()), summary, dry_summary)


def _overall(phase: str, message: str, *, all_done: bool, terminating: bool) -> tuple[str, str]:
    if terminating:
        return phase or "Successful", message
    return (phase, message) if all_done and phase else ("Running", "")


def _summary() -> Obj:
    return {"count": 0, "successful": 0, "failed": 0, "inconclusive": 0, "error": 0}
