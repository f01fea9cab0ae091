"""Each tool's report: what it measures or finds, and when it says nothing."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from fairway.gates.decide import Seen, Verdict, judge
from fairway.gates.forms.report import Report
from fairway.gates.new_code import added_lines, covered_of
from fairway.gates.spec import Waiver, decode

NOW = datetime(2030, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def verdict(rule: str, text: Any, *, base: Any = None, waivers: tuple[Waiver, ...] = (), diff: str | None = None) -> Verdict:
    """Of one gate, written as in the file: `rule` is e.g. `trivy: {critical: 0}`."""
    more = ", base: old" if base is not None else ""
    (gate,) = decode(f"gates: [{{report: new{more}, {rule}}}]").gates
    return judge(gate, Seen(_reports("new", text), _reports("old", base), added_lines(diff) if diff is not None else None,
        waivers),
                 NOW)


def _reports(name: str, content: Any) -> list[Report]:
    if content is None:
        return []
    return [Report(name, content if isinstance(content, str) else json.dumps(content), NOW - MINUTE)]


def trivy(*found: tuple[str, str, str]) -> dict[str, Any]:
    return {"SchemaVersion": 2, "Results": [{"Target": "app", "Vulnerabilities": [
        {"VulnerabilityID": name, "PkgName": "flask", "InstalledVersion": "3.0", "FixedVersion": fixed, "Severity": severity}
        for name, severity, fixed in found]}]}  # fmt: skip


PIP_AUDIT = {"dependencies": [{"name": "flask", "version": "3.0", "vulns": [
    {"id": "PYSEC-1", "fix_versions": ["3.0.1"], "aliases": ["CVE-1"]}]}, {"name": "ok", "version": "1", "vulns": []}]}
BANDIT = {"errors": [], "results": [{"test_id": "B602", "issue_severity": "HIGH", "filename": "a.py", "line_number": 7}]}
ESLINT = [{"filePath": "a.js", "messages": [{"ruleId": "no-eval", "severity": 2, "line": 3},
                                            {"ruleId": "semi", "severity": 1, "line": 4}]}]
AXE = {"url": "http://127.0.0.1/", "violations": [{"id": "color-contrast", "impact": "serious", "tags": ["wcag2aa",
    "wcag143"]}]}
LIGHTHOUSE = {"categories": {"performance": {"score": 0.91}, "accessibility": {"score": None}}}
K6_EXPORT = {"metrics": {"http_req_duration": {"avg": 100.0, "med": 90.0, "p(95)": 480.0, "max": 900.0,
                                               "thresholds": {"p(95)<400": True}},
                         "http_req_failed": {"value": 0.005, "passes": 5, "fails": 995},
                         "http_reqs": {"count": 1000, "rate": 50.0}}}
K6_SUMMARY = {"metrics": {"http_req_duration": {"type": "trend", "values": {"p(95)": 480.0},
                                                "thresholds": {"p(95)<500": {"ok": True}}},
                          "http_req_failed": {"values": {"rate": 0.02}}, "http_reqs": {"values": {"count": 10, "rate": 1.0}}}}
LOCUST = ("Type,Name,Request Count,Failure Count,Median Response Time,Average Response Time,Requests/s,50%,95%,100%\n"
          "GET,/a,90,0,10,12,9,10,40,60\nGET,/b,10,3,10,12,1,10,70,80\n,Aggregated,100,3,10,12,10,10,50,80\n")
RADON = {"a.py": [{"type": "function", "name": "f", "complexity": 12, "lineno": 3},
                  {"type": "class", "name": "C", "complexity": 40, "lineno": 9, "methods": []},
                  {"type": "method", "name": "m", "complexity": 2, "lineno": 10}]}
JSCPD = {"statistics": {"total": {"lines": 100, "percentage": 4.2}},
         "duplicates": [{"firstFile": {"name": "a.py", "start": 5}}]}
SONAR = {"projectStatus": {"status": "ERROR", "conditions": [{"status": "ERROR", "metricKey": "new_coverage"},
    {"status": "OK"}]}}
IMAGE = {"containerimage.digest": "sha256:" + "a" * 64, "fairway.image.size": 499_000_000, "fairway.build.seconds": 61.0}
DEPENDABOT = "version: 2\nupdates:\n- {package-ecosystem: pip, schedule: {interval: monthly}}\n"


@pytest.mark.parametrize(
    ("rule", "text", "state", "message"),
    [
        ("trivy: {critical: 0}", trivy(("CVE-1", "HIGH", "")), "passed", "critical findings 0, at most 0 needed"),
        ("trivy: {high: 0}", trivy(("CVE-1", "HIGH", "")), "failed", "high findings 1, at most 0 needed (CVE-1 at flask 3.0)"),
        ("trivy: {high: 0, fixable_only: true}", trivy(("CVE-1", "HIGH", "")), "passed", None),
        ("trivy: {any: 1}", trivy(("CVE-1", "HIGH", ""), ("CVE-2", "LOW", "")), "failed",
         "findings 2, at most 1 needed (CVE-1 at flask 3.0)"),
        ("trivy: {high: 0}", {"SchemaVersion": 2}, "unknown",
         "new: `Results` is missing: Trivy looked at nothing, or this is not its JSON (--format json)"),
        ("pip-audit: {any: 0}", PIP_AUDIT, "failed", "findings 1, at most 0 needed (PYSEC-1 at flask 3.0)"),
        ("pip-audit: {any: 5}", {"dependencies": [*PIP_AUDIT["dependencies"], {"name": "x", "skip_reason": "no network"}]},
         "unknown",
         "the tool could not check 1 of what it was given; what was not checked is not clean"),
        ("pip-audit: {any: 5, unchecked: 1}", {"dependencies": [{"name": "x", "skip_reason": "mine"}]}, "passed", None),
        ("pip-audit: {any: 0}", {"dependencies": []}, "unknown", "new: no dependency was audited"),
        ("bandit: {high: 0}", BANDIT, "failed", "high findings 1, at most 0 needed (B602 at a.py:7)"),
        ("bandit: {high: 9}", {**BANDIT, "errors": [{"filename": "b.py"}]}, "unknown", None),
        ("eslint: {error: 0}", ESLINT, "failed", "error findings 1, at most 0 needed (no-eval at a.js:3)"),
        ("eslint: {warning: 1}", ESLINT, "passed", "warning findings 1, at most 1 needed"),
        ("eslint: {error: 0}", [], "unknown", "new: no file was linted"),
        ("axe: {aa: 0}", AXE, "failed", "aa findings 1, at most 0 needed (color-contrast at http://127.0.0.1/)"),
        ("axe: {a: 0, critical: 0}", [AXE, AXE], "passed", None),
        ("lighthouse: {performance: 91}", LIGHTHOUSE, "passed", "performance 91, at least 91 needed"),
        ("lighthouse: {performance: 92}", {"lhr": LIGHTHOUSE}, "failed", "performance 91, at least 92 needed"),
        ("lighthouse: {accessibility: 1}", LIGHTHOUSE, "unknown", "accessibility was not measured; the report has performance"),
        ("lighthouse: {performance: 1}", {**LIGHTHOUSE, "runtimeError": {"code": "NO_FCP"}}, "unknown",
         "new: Lighthouse says that it failed: NO_FCP"),
        ("k6: {p95: 500ms, error_rate: 1%}", K6_EXPORT, "passed",
         "p95 480 ms, at most 500 ms needed; error_rate 0.50 %, at most 1.00 % needed"),
        ("k6: {thresholds: 0}", K6_EXPORT, "failed", "thresholds 1, at most 0 needed (http_req_duration: p(95)<400)"),
        ("k6: {thresholds: 0, error_rate: 1%}", K6_SUMMARY, "failed", "error_rate 2.00 %, at most 1.00 % needed"),
        ("k6: {p99: 1s}", K6_EXPORT, "unknown", None),
        ("k6: {p95: 1s}", {"metrics": {}}, "unknown", "new: no request was made"),
        ("locust: {error_rate: 1%, p95: 50ms}", LOCUST, "failed", "error_rate 3.00 %, at most 1.00 % needed (most at GET /b)"),
        ("locust: {rps: 10}", LOCUST, "passed", "rps 10, at least 10 needed"),
        ("locust: {rps: 10}", "Type,Name\n", "unknown", None),
        ("radon: {complexity: 10}", RADON, "failed", "complexity 12, at most 10 needed (f at a.py:3)"),
        ("radon: {average: 7}", RADON, "passed", "average 7, at most 7 needed"),
        ("radon: {complexity: 10}", {"a.py": {"error": "invalid syntax"}}, "unknown", "new: radon could not read a.py"),
        ("radon: {maintainability: 50}", {"a.py": {"mi": 60.5, "rank": "A"}}, "passed", None),
        ("jscpd: {duplication: 3%}", JSCPD, "failed", "duplication 4.20 %, at most 3.00 % needed (first a.py:5)"),
        ("sonar: {failed_conditions: 0}", SONAR, "failed", "failed_conditions 1, at most 0 needed (new_coverage)"),
        ("sonar: {failed_conditions: 0}", {"projectStatus": {"status": "NONE"}}, "unknown", None),
        ("image: {size: 500MB, build: 10m}", IMAGE, "passed",
         "size 499.0 MB, at most 500.0 MB needed; build 61 s, at most 10.0 min needed"),
        ("image: {size: 1kB}", {"layers": [{"size": 600}, {"size": 500}]}, "failed", None),
        ("image: {build: 1m}", {"layers": []}, "unknown", "build was not measured; the report has size"),
        ("dependabot: {days: 7}", DEPENDABOT, "failed", "days 31, at most 7 needed (pip)"),
        ("custom: {jq: '.a | length', most: 2}", {"a": [1, 2, 3]}, "failed", "value 3, at most 2 needed"),
        ("custom: {jq: .a, least: 2}", {"a": "many"}, "unknown", "new: `.a` gives many; one number is needed"),
        ("custom: {jq: .a.b, least: 2}", {"a": "many"}, "unknown", None),
        ("junit: {time: 10s}", "<testsuite><testcase name='a' time='11.5'/></testsuite>", "failed",
         "time 12 s, at most 10 s needed"),
    ],
)  # fmt: skip
def test_verdicts(rule: str, text: Any, state: str, message: str | None) -> None:
    found = verdict(rule, text)
    assert found.state == state, found.message
    if message is not None:
        assert found.message == message


# --- against the base -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "text", "base", "state", "message"),
    [
        ("trivy: {new: {any: 0}}", trivy(("CVE-1", "HIGH", "")), trivy(("CVE-1", "HIGH", "")), "passed", None),
        ("trivy: {new: {any: 0}}", trivy(("CVE-1", "HIGH", ""), ("CVE-2", "LOW", "")), trivy(("CVE-1", "HIGH", "")), "failed",
         "new findings 1, at most 0 needed (CVE-2 at flask 3.0)"),
        ("eslint: {new: {error: 0}}", [{"filePath": "a.js", "messages": [{"ruleId": "no-eval", "severity": 2,
         "line": n} for n in (9, 30)]}],
         ESLINT, "failed", "new error findings 1, at most 0 needed (no-eval at a.js:30)"),
        ("k6: {p95: 1s, worse: 10}", K6_EXPORT, {"metrics": {"http_req_duration": {"p(95)": 400}, "http_reqs": {"count": 1}}},
         "failed",
         "p95 against the base 20.0 % worse, at most 10 % needed (400 ms before, 480 ms now)"),
        ("lighthouse: {performance: 1, worse: 5}", LIGHTHOUSE, {"categories": {"performance": {"score": 0.9}}}, "passed", None),
        ("trivy: {new: {any: 0}}", trivy(), "", "unknown", "old: the file is empty"),
    ],
)  # fmt: skip
def test_against_the_base(rule: str, text: Any, base: Any, state: str, message: str | None) -> None:
    found = verdict(rule, text, base=base)
    assert found.state == state, found.message
    if message is not None:
        assert found.message == message


COVERED = ('<coverage><packages><package><classes><class filename="app/a.py"><lines><line number="1" hits="1"/>'
           '<line number="2" hits="0"/><line number="3" hits="1"/></lines></class></classes></package></packages></coverage>')
DIFF = "diff --git a/src/app/a.py b/src/app/a.py\n--- a/src/app/a.py\n+++ b/src/app/a.py\n@@ -1,0 +2,2 @@\n+x\n+y\n"


def test_new_code_is_judged_by_the_lines_that_the_change_adds() -> None:
    assert verdict("coverage: {new_lines: 50}", COVERED, diff=DIFF).state == "passed"
    failed = verdict("coverage: {new_lines: 51}", COVERED, diff=DIFF)
    assert failed.message == "new lines 50.00 %, 51 % needed (1 of 2, first src/app/a.py:2)"
    assert verdict("coverage: {new_lines: 90}", COVERED, diff="").state == "passed"
    assert verdict("coverage: {new_lines: 90}", COVERED).state == "unknown"
    assert verdict("coverage: {new_lines: 90}", {"total": {"lines": {"covered": 1, "total": 1}}}, diff=DIFF).state == "unknown"


def test_coverage_may_not_drop_below_the_base() -> None:
    base = COVERED.replace('hits="0"', 'hits="1"')
    assert verdict("coverage: {drop: 34}", COVERED, base=base).state == "passed"
    assert verdict("coverage: {drop: 33}", COVERED, base=base).message == (
        "lines below the base 33.33 points, at most 33 needed (100.00 % before, 66.67 % now)")


def test_a_file_whose_name_fits_two_is_not_guessed() -> None:
    added = added_lines(DIFF + DIFF.replace("src/app", "other/app"))
    assert covered_of(added, [{"app/a.py": {2: True}}]) == (0, 0, "")
    assert covered_of(added, [{"./src/app/a.py": {2: True}}]) == (1, 1, "")


# --- waivers ----------------------------------------------------------------------------------------------------------


def test_a_waiver_counts_until_its_day_is_over_and_is_always_shown() -> None:
    report = trivy(("CVE-1", "HIGH", ""))
    today = Waiver("CVE-1", "never given foreign input", date(2030, 1, 1))
    held = verdict("trivy: {high: 0}", report, waivers=(today,))
    assert (held.state, held.notes) == ("passed", ("CVE-1 (1): waived until 2030-01-01: never given foreign input",))
    ended = verdict("trivy: {high: 0}", report, waivers=(Waiver("CVE-1", "then", date(2029, 12, 31)),))
    assert (ended.state, ended.notes) == ("failed", ("CVE-1 (1): the waiver ended on 2029-12-31: then",))
    elsewhere = Waiver("CVE-1", "x", date(2031, 1, 1), gate="another")
    assert verdict("trivy: {high: 0}", report, waivers=(elsewhere,)).state == "failed"


def test_a_waiver_may_name_an_alias_and_a_path() -> None:
    assert verdict("pip-audit: {any: 0}", PIP_AUDIT, waivers=(Waiver("CVE-1", "x", date(2031, 1, 1)),)).state == "passed"
    assert verdict("bandit: {high: 0}", BANDIT, waivers=(Waiver("B602", "x", date(2031, 1, 1), path="a.*"),)).state == "passed"
    assert verdict("bandit: {high: 0}", BANDIT, waivers=(Waiver("B602", "x", date(2031, 1, 1), path="b.*"),)).state == "failed"
