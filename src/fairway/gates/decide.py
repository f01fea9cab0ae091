"""The verdict of each gate over the reports that were found: passed, failed, or unknown, which blocks as failed does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Literal, TypeVar

from fairway.gates.forms.axe import read_axe
from fairway.gates.forms.bandit import read_bandit
from fairway.gates.forms.coverage import Covered, added, read_coverage
from fairway.gates.forms.custom import reader
from fairway.gates.forms.dependabot import read_dependabot
from fairway.gates.forms.eslint import read_eslint
from fairway.gates.forms.image import read_image
from fairway.gates.forms.jscpd import read_jscpd
from fairway.gates.forms.junit import Tests, read_junit
from fairway.gates.forms.k6 import read_k6
from fairway.gates.forms.lighthouse import read_lighthouse
from fairway.gates.forms.locust import read_locust
from fairway.gates.forms.pip_audit import read_pip_audit
from fairway.gates.forms.radon import read_radon
from fairway.gates.forms.report import Finding, Findings, Measured, Report, Unreadable
from fairway.gates.forms.sarif import read_sarif
from fairway.gates.forms.sonar import read_sonar
from fairway.gates.forms.trivy import read_trivy
from fairway.gates.new_code import Lines, covered_of
from fairway.gates.spec import Coverage, Gate, JUnit, Limit, Numbers, Scan, Waiver
from fairway.gates.units import shown
from fairway.kube.durations import format_duration

_ROUNDING = 1e-9  # differences of two floats that should be equal
State = Literal["passed", "failed", "unknown"]
T = TypeVar("T")

_SCANNERS: Mapping[str, Callable[[str], Findings]] = {
    "sarif": read_sarif, "trivy": read_trivy, "pip-audit": read_pip_audit, "bandit": read_bandit, "eslint": read_eslint,
    "axe": read_axe,
}  # fmt: skip
_METERS: Mapping[str, Callable[[str], Measured]] = {
    "lighthouse": read_lighthouse, "k6": read_k6, "locust": read_locust, "radon": read_radon, "jscpd": read_jscpd,
    "sonar": read_sonar, "image": read_image, "dependabot": read_dependabot,
}  # fmt: skip


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
    """`message` is one line for people. `notes` say what was waived, and which waivers have ended."""

    gate: str
    state: State
    message: str
    reports: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()
    component: str = ""
    findings: tuple[Finding, ...] = ()
    """Those that were counted, for code scanning."""

    @property
    def blocks(self) -> bool:
        return self.state != "passed"


@dataclass(frozen=True, slots=True)
class Seen:
    """What `gather` found: the gate's reports, those of the base, and the lines that the change adds (None: no git to ask)."""

    reports: Sequence[Report]
    base: Sequence[Report] = ()
    added: Lines | None = None
    waivers: Sequence[Waiver] = ()


class _Unknown(Exception):
    """The gate cannot be judged; the message says why."""


@dataclass(slots=True)
class _Evidence:
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def judge(gate: Gate, seen: Seen, now: datetime) -> Verdict:
    """The verdict over what the gate's paths matched."""
    paths = tuple(report.path for report in seen.reports)
    evidence = _Evidence()
    try:
        _weigh(gate, seen, now, evidence)
    except _Unknown as unknown:
        return Verdict(gate.name, "unknown", str(unknown), paths, notes=tuple(evidence.notes), component=gate.component)
    checks = tuple(evidence.checks)
    missed = [check for check in checks if not check.met]
    message = "; ".join(_line(check) for check in missed or checks)
    return Verdict(gate.name, "failed" if missed else "passed", message, paths, checks, tuple(evidence.notes), gate.component,
                   tuple(evidence.findings))


def _line(check: Check) -> str:
    detail = f" ({check.detail})" if check.detail and not check.met else ""
    return f"{check.what} {check.found}, {check.wanted} needed{detail}"


def _weigh(gate: Gate, seen: Seen, now: datetime, evidence: _Evidence) -> None:
    if not seen.reports:
        raise _Unknown(f"no report: nothing is at {', '.join(gate.reports)}")
    match gate.rule:
        case Coverage() as rule:
            evidence.checks += _coverage(rule, gate, seen, now)
        case JUnit() as rule:
            evidence.checks += _junit(rule, sum(_read(seen.reports, gate.max_age, now, read_junit), Tests()))
        case Scan() as rule:
            _scan(rule, gate, seen, now, evidence)
        case Numbers() as rule:
            evidence.checks += _numbers(rule, gate, seen, now)


def _read(reports: Sequence[Report], max_age: timedelta | None, now: datetime, read: Callable[[str], T],
          made_at: Callable[[T], datetime | None] = lambda _: None) -> list[T]:
    """Every report, read; one that cannot be trusted makes the whole gate unknown. A base's report may have any age."""
    found = []
    for report in reports:
        if report.text is None:
            raise _Unknown(f"{report.path}: {report.problem}")
        try:
            content = read(report.text)
        except Unreadable as error:
            raise _Unknown(f"{report.path}: {error}") from None
        times = [moment for moment in (report.modified_at, made_at(content)) if moment is not None]
        if max_age is not None and times and now - min(times) > max_age:
            age = format_duration(timedelta(seconds=round((now - min(times)).total_seconds())))
            raise _Unknown(f"{report.path}: it is {age} old, at most {format_duration(max_age)} is allowed: "
                           "it was not made by this run")
        found.append(content)
    return found


def _base(gate: Gate, seen: Seen, now: datetime, read: Callable[[str], T]) -> list[T]:
    if not seen.base:
        raise _Unknown(f"no report of the base: nothing is at {', '.join(gate.base)}")
    return _read(seen.base, None, now, read)


# --- coverage ---------------------------------------------------------------------------------------------------------


def _coverage(rule: Coverage, gate: Gate, seen: Seen, now: datetime) -> list[Check]:
    reports = _read(seen.reports, gate.max_age, now, read_coverage, lambda covered: covered.made_at)
    counts = added(reports)
    checks = [_share(metric, *counts.get(metric, (0, 0)), least, counts) for metric, least in rule.minimum]
    if rule.new_lines is not None:
        checks.append(_new_lines(rule.new_lines, reports, seen.added))
    if rule.drop is not None:
        covered, total = counts.get("lines", (0, 0))
        before, all_before = added(_base(gate, seen, now, read_coverage)).get("lines", (0, 0))
        if not total or not all_before:
            raise _Unknown("the report or the base's says nothing about lines: they cannot be compared")
        was, now_is = before * 100 / all_before, covered * 100 / total
        fell = was - now_is
        checks.append(Check("lines below the base", f"{max(fell, 0.0):.2f} points", f"at most {rule.drop:g}",
                            fell <= rule.drop + _ROUNDING, f"{was:.2f} % before, {now_is:.2f} % now"))
    return checks


def _share(metric: str, covered: int, total: int, least: float, counts: Mapping[str, tuple[int, int]]) -> Check:
    if total == 0:
        raise _Unknown(f"the report says nothing about {metric}; it measures {', '.join(sorted(counts))}")
    share = covered * 10_000 // total / 100  # rounded down: 79.999 % is shown as 79.99, which is not 80
    return Check(metric, f"{share:.2f} %", f"{least:g} %", covered * 100 >= least * total, f"{covered} of {total}")


def _new_lines(least: float, reports: Sequence[Covered], lines: Lines | None) -> Check:
    if lines is None:
        raise _Unknown("what the change adds is not known: there is no git history to compare with; say --base REF")
    if not any(report.lines for report in reports):
        raise _Unknown("the report has sums only, no lines: new code cannot be judged by it")
    covered, total, first = covered_of(lines, (report.lines for report in reports))
    if total == 0:
        return Check("new lines", "none measured", f"{least:g} %", met=True)
    share = covered * 10_000 // total / 100
    detail = f"{covered} of {total}" + (f", first {first}" if first else "")
    return Check("new lines", f"{share:.2f} %", f"{least:g} %", covered * 100 >= least * total, detail)


# --- tests ------------------------------------------------------------------------------------------------------------


def _junit(rule: JUnit, tests: Tests) -> list[Check]:
    if tests.total == 0 and tests.failures == 0:
        raise _Unknown("no test has run: the report has no test case")
    few_failures = tests.failures <= rule.failures
    checks = [
        Check("failures", str(tests.failures), f"at most {rule.failures}", few_failures, ", ".join(tests.failing)),
        Check("tests", str(tests.total), f"at least {rule.tests}", tests.total >= rule.tests),
    ]  # fmt: skip
    if rule.skipped is not None:
        checks.append(Check("skipped", str(tests.skipped), f"at most {rule.skipped}", tests.skipped <= rule.skipped))
    if rule.seconds is not None:
        within = tests.seconds <= rule.seconds
        checks.append(Check("time", shown(tests.seconds, "s"), f"at most {shown(rule.seconds, 's')}", within))
    if tests.total == tests.skipped and tests.failures == 0:
        raise _Unknown(f"no test has run: all {tests.total} were skipped")
    return checks


# --- findings ---------------------------------------------------------------------------------------------------------


def _scan(rule: Scan, gate: Gate, seen: Seen, now: datetime, evidence: _Evidence) -> None:
    read = _SCANNERS[rule.form]
    reports = _read(seen.reports, gate.max_age, now, read)
    unchecked = sum(report.unchecked for report in reports)
    if unchecked > rule.unchecked:
        raise _Unknown(f"the tool could not check {unchecked} of what it was given; what was not checked is not clean")
    counted = _not_waived([one for report in reports for one in report.listed], gate, seen.waivers, now, evidence)
    if rule.fixable_only:
        counted = [one for one in counted if one.fixable]
    evidence.checks += [_few(word, counted, highest) for word, highest in rule.maximum]
    if rule.new:
        known = Counter(one.identity for report in _base(gate, seen, now, read) for one in report.listed)
        fresh = []
        for one in counted:
            if known[one.identity] > 0:
                known[one.identity] -= 1
            else:
                fresh.append(one)
        evidence.checks += [_few(word, fresh, highest, "new ") for word, highest in rule.new]
    evidence.findings += counted


def _few(word: str, findings: Sequence[Finding], highest: int, what: str = "") -> Check:
    hits = [one for one in findings if word == "any" or word in one.words]
    name = f"{what}findings" if word == "any" else f"{what}{word} findings"
    return Check(name, str(len(hits)), f"at most {highest}", len(hits) <= highest, str(hits[0]) if hits else "")


def _not_waived(findings: Sequence[Finding], gate: Gate, waivers: Sequence[Waiver], now: datetime,
                evidence: _Evidence) -> list[Finding]:
    here = [waiver for waiver in waivers if waiver.gate in ("", gate.name)]
    used: Counter[Waiver] = Counter()
    kept = []
    for finding in findings:
        waiver = next((one for one in here if _covers(one, finding)), None)
        if waiver is None or waiver.expires < now.date():
            kept.append(finding)
        if waiver is not None:
            used[waiver] += 1
    for waiver, count in used.items():
        ended = waiver.expires < now.date()
        state = f"the waiver ended on {waiver.expires}" if ended else f"waived until {waiver.expires}"
        evidence.notes.append(f"{waiver.id} ({count}): {state}: {waiver.reason}")
    return kept


def _covers(waiver: Waiver, finding: Finding) -> bool:
    named = waiver.id in (finding.rule, *finding.aliases)
    return named and (not waiver.path or fnmatchcase(finding.place.rpartition(":")[0] or finding.place, waiver.path))


# --- numbers ----------------------------------------------------------------------------------------------------------


def _numbers(rule: Numbers, gate: Gate, seen: Seen, now: datetime) -> list[Check]:
    read = _METERS.get(rule.form) or reader(rule.expression)
    reports = _read(seen.reports, gate.max_age, now, read)
    before = _base(gate, seen, now, read) if rule.worse is not None else []
    checks = []
    for limit in rule.limits:
        value, detail = _worst(limit, reports)
        met = value >= limit.bound if limit.least else value <= limit.bound
        wanted = f"{'at least' if limit.least else 'at most'} {shown(limit.bound, limit.unit)}"
        checks.append(Check(limit.name, shown(value, limit.unit), wanted, met, detail))
        if rule.worse is not None:
            checks.append(_compared(limit, value, _worst(limit, before)[0], rule.worse))
    return checks


def _worst(limit: Limit, reports: Sequence[Measured]) -> tuple[float, str]:
    for report in reports:
        if limit.name not in report.values:
            raise _Unknown(f"{limit.name} was not measured; the report has {', '.join(sorted(report.values)) or 'nothing'}")
    choose = min if limit.least else max
    report = choose(reports, key=lambda one: one.values[limit.name])
    return report.values[limit.name], report.details.get(limit.name, "")


def _compared(limit: Limit, now: float, before: float, allowed: float) -> Check:
    change = before - now if limit.least else now - before
    worse = change * 100 / abs(before) if before else (float("inf") if change > 0 else 0.0)
    return Check(f"{limit.name} against the base", f"{max(worse, 0.0):.1f} % worse", f"at most {allowed:g} %",
                 worse <= allowed + _ROUNDING, f"{shown(before, limit.unit)} before, {shown(now, limit.unit)} now")
