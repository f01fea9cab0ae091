"""Everything that a rehearsal has to say, put together: one run, many runs, what is late and what would be better."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from fairway.rehearse.canary_findings import Promoted, canary_findings, why_promoted
from fairway.rehearse.explain import Finding, findings, of_the_old_version, outage, quicker, schedule_of, unvisited
from fairway.rehearse.many import STOPPED, Many, rehearse_many
from fairway.rehearse.run import Rehearsal, rehearse
from fairway.rehearse.spec import Scenario
from fairway.rehearse.subject import BEFORE, NOT_KNOWN, Subject
from fairway.rehearse.watch_findings import watch_findings

BAD = 3.0
"""A version that fails three times as often as stable is one that should be stopped."""
TRIES = 4


@dataclass(frozen=True, slots=True)
class Advice:
    """A finding, and what became of the same scenario with the proposed setting (None: it was not tried)."""

    finding: Finding
    tried: Rehearsal | None = None


@dataclass(frozen=True, slots=True)
class Report:
    subject: Subject
    scenario: Scenario
    seed: int
    run: Rehearsal
    advice: tuple[Advice, ...]
    many: Many | None = None
    healthy: Many | None = None

    @property
    def as_expected(self) -> bool:
        return self.scenario.expect in (None, self.run.outcome) and not self.run.broken

    def users(self, requests: int) -> int:
        """How many different people sent so many requests."""
        n = self.scenario.users
        return round(n * (1.0 - (1.0 - 1.0 / n) ** requests)) if n else 0


def report_on(subject: Subject, scenario: Scenario, seed: int, runs: int) -> Report:
    run = rehearse(subject, scenario, seed)
    many = healthy = None
    if runs > 1:
        many = rehearse_many(subject, scenario, seed, runs)
        healthy = many if scenario.canary_is_healthy and not scenario.people else (
            rehearse_many(subject, scenario.healthy(), seed, runs))
    return Report(subject, scenario, seed, run, _advice(subject, scenario, seed, run), many, healthy)


def is_bad(scenario: Scenario) -> bool:
    """Whether the new version, at its worst, fails clearly more than stable does."""
    stable = max(behaviour.errors for behaviour in scenario.stable.behaviours)
    return max(behaviour.errors for behaviour in scenario.canary.behaviours) > max(stable * BAD, 0.01)


def _advice(subject: Subject, scenario: Scenario, seed: int, run: Rehearsal) -> tuple[Advice, ...]:
    if subject.is_canary:
        return _canary_advice(subject, scenario, seed, run)
    return (*_analysis_advice(subject, scenario, seed, run), *_watch_advice(subject, scenario, seed, run))


def _watch_advice(subject: Subject, scenario: Scenario, seed: int, run: Rehearsal) -> tuple[Advice, ...]:
    advice = []
    for finding in watch_findings(subject, taken_back=run.outcome == "rolled back"):
        worth = finding.changes and is_bad(scenario) and run.outcome in ("promoted", "rolled back")
        tried = rehearse(subject.with_policies(finding.changes), scenario, seed) if worth else None
        if finding.code != "Slow" or not finding.changes or (tried is not None and _sooner(tried, run)):
            advice.append(Advice(finding, tried))
    return tuple(advice)


def _analysis_advice(subject: Subject, scenario: Scenario, seed: int, run: Rehearsal) -> tuple[Advice, ...]:
    found = list(findings(subject))
    wanted = [finding for finding in found if finding.code == "EndsTooLate" and finding.metric is not None]
    if is_bad(scenario) and run.outcome == "aborted" and run.requests and not wanted:
        found += [f for metric in subject.metrics() if (f := quicker(metric, schedule_of(subject.steps)))]
    if any(entry.code == "AnalysisError" for entry in run.timeline) and any(f.kind == "monitoring" for f in scenario.faults):
        found += [outage(metric) for metric in subject.metrics() if _erred(run, metric.name)]
    for metric in subject.metrics():
        if metric.where == BEFORE and metric.name in run.empty:
            found.append(unvisited(metric))
        elif metric.where == BEFORE and metric.query and NOT_KNOWN not in metric.query:
            found.append(of_the_old_version(metric))
    advice, tries = [], 0
    for finding in found:
        tried = None
        if finding.metric is not None and finding.changes and tries < TRIES and _worth_trying(finding, scenario):
            tries += 1
            tried = rehearse(subject.with_metric(finding.metric, finding.changes), scenario, seed)
        if finding.code == "Slow" and (tried is None or not _sooner(tried, run)):
            continue  # it would not have helped: nothing is proposed
        advice.append(Advice(finding, tried))
    return tuple(advice)


def _canary_advice(subject: Subject, scenario: Scenario, seed: int, run: Rehearsal) -> tuple[Advice, ...]:
    advice = []
    for finding in canary_findings(subject, stopped=is_bad(scenario) and run.outcome == "aborted"):
        tried = rehearse(subject.with_analysis(finding.changes), scenario, seed) if finding.code == "Slow" else None
        if tried is None or _sooner(tried, run):
            advice.append(Advice(finding, tried))
    for finding in why_promoted(subject, _promoted(scenario, run)) if is_bad(scenario) and run.outcome == "promoted" else ():
        changed = subject.with_success_rate(finding.changes["min"]) if "min" in finding.changes else (
            subject.with_analysis(finding.changes))
        advice.append(Advice(finding, rehearse(changed, scenario, seed) if finding.changes else None))
    return tuple(advice)


def _promoted(scenario: Scenario, run: Rehearsal) -> Promoted:
    stable = max(behaviour.errors for behaviour in scenario.stable.behaviours)
    bad = [behaviour for behaviour in scenario.canary.behaviours if behaviour.errors > max(stable * BAD, 0.01)]
    return Promoted(stable, max(behaviour.errors for behaviour in bad), min(behaviour.at for behaviour in bad),
                    timedelta(seconds=run.decided_at))


def _worth_trying(finding: Finding, scenario: Scenario) -> bool:
    return finding.code == "OutageAborts" or (finding.code in ("EndsTooLate", "Slow", "CannotFail") and is_bad(scenario))


def _sooner(tried: Rehearsal, run: Rehearsal) -> bool:
    saved = timedelta(seconds=run.clear_at - tried.clear_at)
    return tried.outcome in STOPPED and saved > timedelta(seconds=0.1 * run.clear_at) and tried.errors < run.errors


def _erred(run: Rehearsal, metric: str) -> bool:
    return any(entry.code == "MeasuredError" and entry.message.startswith(f"{metric}:") for entry in run.timeline)
