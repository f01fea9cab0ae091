"""The verdict of each gate over the reports that were found: passed, failed, or unknown, which blocks as failed does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeVar

from fairway.gates.coverage import Covered, added, read_coverage
from fairway.gates.junit import Tests, read_junit
from fairway.gates.report import Report, Unreadable
from fairway.gates.sarif import read_sarif
from fairway.gates.spec import Coverage, Gate, JUnit, Sarif
from fairway.kube.durations import format_duration

State = Literal["passed", "failed", "unknown"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Check:
    """One number against its threshold: the evidence. `detail` helps to find the cause."""

    what: str
    found: str
    wanted: str
    met: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`message` is one line for people."""

    gate: str
    state: State
    message: str
    reports: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()

    @property
    def blocks(self) -> bool:
        return self.state != "passed"


class _Unknown(Exception):
    """The gate cannot be judged; the message says why."""


def judge(gate: Gate, reports: Sequence[Report], now: datetime) -> Verdict:
    """The verdict over the reports that the gate's paths matched."""
    paths = tuple(report.path for report in reports)
    try:
        checks = _checks(gate, reports, now)
    except _Unknown as unknown:
        return Verdict(gate.name, "unknown", str(unknown), paths)
    missed = [check for check in checks if not check.met]
    shown = missed or checks
    message = "; ".join(_line(check) for check in shown)
    return Verdict(gate.name, "failed" if missed else "passed", message, paths, checks)


def _line(check: Check) -> str:
    detail = f" ({check.detail})" if check.detail and not check.met else ""
    return f"{check.what} {check.found}, {check.wanted} needed{detail}"


def _checks(gate: Gate, reports: Sequence[Report], now: datetime) -> tuple[Check, ...]:
    if not reports:
        raise _Unknown(f"no report: nothing is at {', '.join(gate.reports)}")
    match gate.rule:
        case Coverage() as rule:
            return _coverage(rule, _read(gate, reports, now, read_coverage, lambda covered: covered.made_at))
        case JUnit() as rule:
            return _junit(rule, sum(_read(gate, reports, now, read_junit), Tests()))
        case Sarif() as rule:
            findings = _read(gate, reports, now, read_sarif)
            checks = []
            for level, highest in rule.maximum:
                count = sum(found.counts.get(level, 0) for found in findings)
                first = next((found.first[level] for found in findings if level in found.first), "")
                checks.append(Check(f"{level} findings", str(count), f"at most {highest}", count <= highest, first))
            return tuple(checks)


def _read(gate: Gate, reports: Sequence[Report], now: datetime, read: Callable[[str], T],
          made_at: Callable[[T], datetime | None] = lambda _: None) -> list[T]:
    """Every report, read; one that cannot be trusted makes the whole gate unknown."""
    found = []
    for report in reports:
        if report.text is None:
            raise _Unknown(f"{report.path}: {report.problem}")
        try:
            content = read(report.text)
        except Unreadable as error:
            raise _Unknown(f"{report.path}: {error}") from None
        times = [moment for moment in (report.modified_at, made_at(content)) if moment is not None]
        if times and now - min(times) > gate.max_age:
            age = format_duration(timedelta(seconds=round((now - min(times)).total_seconds())))
            raise _Unknown(f"{report.path}: it is {age} old, at most {format_duration(gate.max_age)} is allowed: "
                           "it was not made by this run")
        found.append(content)
    return found


def _coverage(rule: Coverage, reports: list[Covered]) -> tuple[Check, ...]:
    counts = added(reports)
    checks = []
    for metric, least in rule.minimum:
        covered, total = counts.get(metric, (0, 0))
        if total == 0:
            raise _Unknown(f"the report says nothing about {metric}; it measures {', '.join(sorted(counts))}")
        share = covered * 10_000 // total / 100  # rounded down: 79.999 % is shown as 79.99, which is not 80
        met = covered * 100 >= least * total
        checks.append(Check(metric, f"{share:.2f} %", f"{least:g} %", met, f"{covered} of {total}"))
    return tuple(checks)


def _junit(rule: JUnit, tests: Tests) -> tuple[Check, ...]:
    if tests.total == 0 and tests.failures == 0:
        raise _Unknown("no test has run: the report has no test case")
    few_failures = tests.failures <= rule.failures
    checks = [
        Check("failures", str(tests.failures), f"at most {rule.failures}", few_failures, ", ".join(tests.failing)),
        Check("tests", str(tests.total), f"at least {rule.tests}", tests.total >= rule.tests),
    ]  # fmt: skip
    if rule.skipped is not None:
        checks.append(Check("skipped", str(tests.skipped), f"at most {rule.skipped}", tests.skipped <= rule.skipped))
    if tests.total == tests.skipped and tests.failures == 0:
        raise _Unknown(f"no test has run: all {tests.total} were skipped")
    return tuple(checks)
