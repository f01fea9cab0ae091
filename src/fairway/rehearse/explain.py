"""Which setting makes a rollout late, or blind, and which value would not: read from the files, without running anything.

A metric fails its run at its (failureLimit + 1)th bad measurement: `failureLimit` × `interval` after its first look. Where that
is after the last step, the analysis cannot stop anything. The same arithmetic says when missing data stops being harmless.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from fairway.kube.durations import format_duration
from fairway.rehearse.subject import Metric, Subject, length_of
from fairway.rehearse.windows import longest_window
from fairway.rollouts import judge
from fairway.rollouts.analysis_spec import decode_metric
from fairway.rollouts.expr.values import Floats
from fairway.rollouts.fields import SpecError

ERROR_RETRY_S = 10
NICE = tuple(timedelta(seconds=s) for s in (600, 300, 120, 60, 30, 15, 10, 5, 2, 1))
DEFAULT_ERRORS = 4
EARLY = 4
"""A proposal ends within a quarter of the rollout: then three quarters of the exposure are saved."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`setting` is what is written, `says` what follows, `changes` what to write instead (empty: no single value mends it)."""

    code: str
    setting: str
    says: str
    metric: Metric | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    where: str = ""
    """Where it is no metric of an analysis."""

    @property
    def proposal(self) -> str:
        return ", ".join(f"{name}: {value}" for name, value in self.changes.items())


@dataclass(frozen=True, slots=True)
class Schedule:
    """When each step begins, pods and proxies taking no time; `end` is None where a pause waits for a person."""

    starts: tuple[timedelta, ...]
    end: timedelta | None

    def of_step(self, index: int) -> timedelta:
        return self.starts[min(index, len(self.starts) - 1)] if self.starts else timedelta(0)


def schedule_of(steps: Sequence[Mapping[str, Any]]) -> Schedule:
    starts, at, forever = [], timedelta(0), False
    for step in steps:
        starts.append(at)
        if "pause" in step:
            raw = (step["pause"] or {}).get("duration")
            length = timedelta(seconds=raw) if isinstance(raw, int) else length_of(_unit(raw))
            forever = forever or length is None
            at += length or timedelta(0)
    return Schedule(tuple(starts), None if forever else at)


def _unit(raw: object) -> str:
    text = str(raw or "")
    return f"{text}s" if text.isdigit() else text


def findings(subject: Subject) -> tuple[Finding, ...]:
    schedule = schedule_of(subject.steps)
    found: list[Finding] = []
    for metric in subject.metrics():
        if metric.where == "background":
            found += _late(metric, schedule)
        found += _blind(metric, schedule)
    if subject.steps and not subject.metrics():
        found.append(Finding("NoAnalysis", "no analysis", "nothing but a person can stop this rollout: every version that "
                             "becomes ready is promoted"))
    return tuple(found)


def _limit(metric: Metric, name: str, default: int) -> int:
    try:
        return int(metric.raw.get(name, default))
    except (TypeError, ValueError):
        return default


def _late(metric: Metric, schedule: Schedule) -> Iterable[Finding]:
    if schedule.end is None or "fairway" in (metric.raw.get("provider") or {}):
        return
    interval = length_of(metric.raw.get("interval"))
    delay = length_of(metric.raw.get("initialDelay"), timedelta(0)) or timedelta(0)
    failures, begins = _limit(metric, "failureLimit", 0), schedule.of_step(metric.starting_step)
    if failures < 0 or (interval is None and failures == 0):
        return
    if interval is None:
        yield Finding("CannotFail", f"failureLimit: {failures}", f"{metric.name} is measured once (no interval): it can "
                      f"never fail more than {failures} times", metric, {"failureLimit": 0})
        return
    stops = begins + delay + failures * interval
    room = schedule.end - begins - delay
    if stops < schedule.end:
        return
    setting = f"failureLimit: {failures} × interval: {written(interval)}"
    when = f"{written(stops)} after the start" + (f" (it begins at step {metric.starting_step + 1}, {written(begins)} in)"
                                                   if begins else "")
    better = next((nice for nice in NICE if nice < interval and nice * max(failures, 1) * EARLY <= room), None)
    changes: dict[str, Any] = {"interval": written(better)} if better is not None else {"failureLimit": 0}
    yield Finding("EndsTooLate", setting, f"ends after the last step: {metric.name} can fail {when} at the earliest, and the "
                  f"last step is over at {written(schedule.end)}: it cannot stop anything", metric, changes)


def _blind(metric: Metric, schedule: Schedule) -> Iterable[Finding]:
    """What no data means to this metric."""
    if not metric.query:
        return
    try:
        outcome = judge.judge(decode_metric(metric.raw), Floats()).phase
    except SpecError:
        return
    interval = length_of(metric.raw.get("interval"))
    if outcome == "Successful":
        yield Finding("EmptyIsSuccess", f"successCondition: {metric.raw.get('successCondition') or 'none'}",
                      f"no data counts as success: {metric.name} lets a version pass that nobody measured", metric)
    elif outcome == "Inconclusive" and 0 < (count := _limit(metric, "count", 0)) <= _limit(metric, "inconclusiveLimit", 0):
        yield Finding("UndecidedIsSuccess", f"inconclusiveLimit: {_limit(metric, 'inconclusiveLimit', 0)}, count: {count}",
                      f"without data every measurement of {metric.name} is undecided, and {count} of them are within the "
                      "limit: a version then passes that nobody measured", metric, {"inconclusiveLimit": count - 1})
    elif outcome == "Inconclusive" and interval and schedule.end is not None and metric.where == "background":
        unclear = _limit(metric, "inconclusiveLimit", 0)
        lasts = unclear * interval
        room = schedule.end - schedule.of_step(metric.starting_step)
        if lasts >= room:
            fits = int(room / interval / 2)
            yield Finding("OutlastsTheSteps", f"inconclusiveLimit: {unclear} × interval: {written(interval)}",
                          f"without data {metric.name} stays undecided for {written(lasts)}, longer than the steps "
                          f"({written(room)}): a version is then promoted that nobody measured", metric,
                          {"inconclusiveLimit": max(fits, 1)})


def unvisited(metric: Metric) -> Finding:
    """A metric of the analysis before the switch that had no data."""
    return Finding("NobodyAtThePreview", f"prePromotionAnalysis: {metric.template}",
                   f"users meet the new version only after the switch: {metric.name} has nothing to measure before it, unless "
                   "somebody sends requests to the preview Service (a metric with a job, a smoke test); what users do is for "
                   "postPromotionAnalysis", metric)


def of_the_old_version(metric: Metric) -> Finding:
    """A metric of the analysis before the switch that had data all the same."""
    back = longest_window(metric.query)
    return Finding("MeasuresTheOldVersion", f"prePromotionAnalysis: {metric.template}",
                   f"users meet the new version only after the switch: what {metric.name} found is the old version's, which "
                   f"the preview Service showed until the update; its query still sees that for {written(back)}, and passes "
                   "a bad version on it. Select the new one: an argument with valueFrom.podTemplateHashValue: Latest, and the "
                   "label rollouts_pod_template_hash", metric)


def outage(metric: Metric) -> Finding:
    """The metric whose errors ended the rollout."""
    limit = _limit(metric, "consecutiveErrorLimit", DEFAULT_ERRORS)
    return Finding("OutageAborts", f"consecutiveErrorLimit: {limit} × {ERROR_RETRY_S}s",
                   f"a monitoring outage of {(limit) * ERROR_RETRY_S} s ends {metric.name} in error and aborts every rollout "
                   "under way, whatever the version is like", metric, {"consecutiveErrorLimit": 30})


def quicker(metric: Metric, schedule: Schedule) -> Finding | None:
    """For a version that was stopped late: how it would be stopped sooner. To be tried before it is proposed."""
    interval, failures = length_of(metric.raw.get("interval")), _limit(metric, "failureLimit", 0)
    if interval is None or failures < 0:
        return None
    better = next((nice for nice in NICE if nice * 2 <= interval), None)
    if better is None:
        return None
    return Finding("Slow", f"failureLimit: {failures} × interval: {written(interval)}",
                   f"{metric.name} needs {failures + 1} bad measurements, {written(interval)} apart", metric,
                   {"interval": written(better)})


def written(length: timedelta) -> str:
    """As people write it: 5m, not 5m0s."""
    text = format_duration(length)
    text = text.removesuffix("0s") if text.endswith("m0s") else text
    return text.removesuffix("0m") if text.endswith("h0m") else text
