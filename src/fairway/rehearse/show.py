"""A report as text for people and as data for programs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fairway.rehearse.curve import clock
from fairway.rehearse.many import Many
from fairway.rehearse.picture import picture
from fairway.rehearse.report import Advice, Report
from fairway.rehearse.run import Rehearsal

QUIET = frozenset(("WeightNotConfirmed", "WaitsForTick", "ServiceWaits", "OldKept", "AnalysisRunning", "StaysAborted"))
"""Said a moment before something better is."""


def as_text(report: Report, *, width: int = 92, every: bool = False) -> str:
    return "\n".join([*_timeline(report.run, every=every), "", picture(report.run, width), "", *_verdict(report),
                      *_advice(report.advice)])


def _timeline(run: Rehearsal, *, every: bool) -> Iterable[str]:
    """Without `every`, what waits for a moment only is left out."""
    for entry in run.timeline:
        if every or entry.code not in QUIET:
            yield f"{clock(entry.at):>8}  {entry.who:<9} {entry.code}: {entry.message}"


def _verdict(report: Report) -> Iterable[str]:
    run, scenario = report.run, report.scenario
    yield f"{run.outcome.upper()} after {clock(run.decided_at)}" + (f": {run.why}" if run.why else "")
    users = report.users(run.requests)
    yield (f"  exposed   {run.requests:,} of {run.all_requests:,} requests, about {users:,} of {scenario.users:,} users"
           f" ({users / max(scenario.users, 1):.0%})")
    yield f"  failed    {run.errors:,} requests to the new version, about {report.users(run.errors):,} users saw an error"
    if run.promoted_at is not None:
        asked, bad = run.after_promotion
        yield (f"  promoted  at {clock(run.promoted_at)}; from then on {asked:,} requests, {bad:,} of them failed, about "
               f"{report.users(bad):,} users saw it")
        if run.outcome == "rolled back":
            yield f"  taken back {_span(run.clear_at - run.promoted_at)} after its promotion"
    elif run.outcome == "aborted" and run.first_request_at is not None:
        yield f"  stopped   {_span(run.clear_at - run.first_request_at)} after its first request"
    if run.nobody:
        yield f"  lost      {run.nobody:,} requests found no pod at all"
    for what in run.broken:
        yield f"  BROKEN    {what}"
    for note in run.notes:
        yield f"  note      {note}"
    if run.empty:
        yield (f"  no data   {', '.join(run.empty)}: no measurement had any. Do the query's labels exist? Are there enough "
               "requests in its window?")
    if scenario.expect is not None:
        yield f"  expected  {scenario.expect}: {'yes' if run.outcome == scenario.expect else 'NO'}"
    if report.many is not None:
        yield from _many(report.many, "with this scenario")
    if report.healthy is not None and report.healthy is not report.many:
        yield from _many(report.healthy, "with a new version as good as the old one")
    if report.healthy is not None:
        low, high = report.healthy.interval(report.healthy.stopped)
        how = "aborted or rolled back" if report.subject.policies else "aborted"
        yield (f"  a good version is {how} in {report.healthy.stopped / report.healthy.runs:.1%} of the rollouts "
               f"(95 % confidence: {low:.1%} to {high:.1%})")


def _many(many: Many, what: str) -> Iterable[str]:
    back = f", {many.rolled_back} rolled back" if many.rolled_back else ""
    yield f"  {many.runs} runs {what}: {many.promoted} promoted, {many.aborted} aborted, {many.held} held{back}"
    if many.stopped:
        how = "stopped" if many.rolled_back else "aborted"
        yield (f"      {how} after {_span(many.clear_at[0])} (95th percentile {_span(many.clear_at[1])}), "
               f"{many.requests[0]:,.0f} requests exposed ({many.requests[1]:,.0f}), {many.errors[0]:,.0f} failed "
               f"({many.errors[1]:,.0f})")
    for broken in many.broken:
        yield f"      BROKEN {broken}"


def _advice(advice: Iterable[Advice]) -> Iterable[str]:
    for one in advice:
        finding = one.finding
        yield ""
        where = f"{finding.metric.template}, metric {finding.metric.name}: " if finding.metric else (
            f"{finding.where}: " if finding.where else "")
        yield f"! {where}`{finding.setting}`"
        yield f"  {finding.says}"
        if finding.proposal:
            yield f"  try `{finding.proposal}`" + (f": {_became(one.tried)}" if one.tried else "")


def _became(run: Rehearsal) -> str:
    """What the same scenario came to."""
    return (f"the same scenario is then {run.outcome} after {clock(run.decided_at)}, "
            f"{run.requests:,} requests exposed, {run.errors:,} failed")


def _span(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 90 else clock(seconds)


def as_data(report: Report) -> dict[str, Any]:
    run = report.run
    found: dict[str, Any] = {
        "rollout": f"{report.subject.namespace}/{report.subject.name}", "seed": report.seed, "asExpected": report.as_expected,
        **_run_data(run), "why": run.why,
        "users": {"exposed": report.users(run.requests), "sawErrors": report.users(run.errors), "all": report.scenario.users},
        "broken": list(run.broken), "notes": list(run.notes), "withoutData": list(run.empty),
        "timeline": [{"at": round(e.at, 3), "who": e.who, "code": e.code, "message": e.message} for e in run.timeline],
        "findings": [{
            "code": one.finding.code, "setting": one.finding.setting, "says": one.finding.says,
            "template": one.finding.metric.template if one.finding.metric else None,
            "metric": one.finding.metric.name if one.finding.metric else None, "where": one.finding.where or None,
            "proposal": dict(one.finding.changes),
            "tried": _run_data(one.tried) if one.tried else None,
        } for one in report.advice],
    }  # fmt: skip
    if report.many is not None:
        found["many"] = _many_data(report.many)
    if report.healthy is not None:
        low, high = report.healthy.interval(report.healthy.stopped)
        found["falseAbort"] = {"probability": report.healthy.stopped / report.healthy.runs, "low": round(low, 5),
                               "high": round(high, 5), **_many_data(report.healthy)}
    return found


def _run_data(run: Rehearsal) -> dict[str, Any]:
    after = {} if run.promoted_at is None else {
        "promotedAt": round(run.promoted_at, 3),
        "afterPromotion": dict(zip(("exposed", "failed"), run.after_promotion, strict=True)),
    }
    return {"outcome": run.outcome, "decidedAt": round(run.decided_at, 3), "clearAt": round(run.clear_at, 3), **after,
            "requests": {"exposed": run.requests, "failed": run.errors, "all": run.all_requests, "lost": run.nobody}}


def _many_data(many: Many) -> dict[str, Any]:
    return {"runs": many.runs, "promoted": many.promoted, "aborted": many.aborted, "held": many.held,
            "rolledBack": many.rolled_back,
            "clearAt": list(many.clear_at), "exposed": list(many.requests), "failed": list(many.errors)}
