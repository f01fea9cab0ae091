"""Gates: what passes, what fails, and what is unknown and therefore blocks."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fairway.cli.gate import command
from fairway.gates.decide import Seen, Verdict, judge
from fairway.gates.forms.report import Report
from fairway.gates.spec import ConfigMistakes, Coverage, Gate, JUnit, Rule, Scan, decode

NOW = datetime(2030, 1, 1, tzinfo=UTC)

COBERTURA = ('<?xml version="1.0" ?><!DOCTYPE coverage SYSTEM "http://x/coverage-04.dtd">'
             '<coverage lines-valid="200" lines-covered="161" branches-valid="50" branches-covered="30" '
             'timestamp="{at}"/>')  # fmt: skip
COBERTURA_LINES = """<coverage line-rate="0.5"><packages><package><classes><class><lines>
  <line number="1" hits="1"/><line number="2" hits="0" branch="true" condition-coverage="50% (1/2)"/>
  <line number="3" hits="3"/><line number="4" hits="4"/></lines></class></classes></package></packages></coverage>"""
COVERAGE_PY = json.dumps({"totals": {"covered_lines": 9, "num_statements": 10, "covered_branches": 1, "num_branches": 4}})
LCOV = "TN:\nSF:a.js\nDA:1,1\nDA:2,0\nLF:2\nLH:1\nBRF:4\nBRH:3\nend_of_record\nSF:b.js\nLF:8\nLH:8\nend_of_record\n"
LCOV_BARE = "SF:a.js\nDA:1,5\nDA:2,0\nDA:3,1\nDA:4,1\nend_of_record\n"
ISTANBUL = json.dumps({"total": {kind: {"total": 10, "covered": 7, "pct": 70} for kind in ("lines", "functions")}})

JUNIT = """<testsuites><testsuite name="unit" tests="4" failures="0">
  <testcase classname="a" name="one"/><testcase classname="a" name="two"><skipped/></testcase>
  <testcase classname="b" name="three"/><testcase classname="b" name="four"/></testsuite></testsuites>"""
JUNIT_RED = JUNIT.replace('name="three"/>', 'name="three"><failure message="no"/></testcase>')
JUNIT_BROKEN = '<testsuite name="collection"><error message="import failed"/></testsuite>'


def sarif(*levels: str, **run: Any) -> str:
    rules = [{"id": "CVE-1", "properties": {"security-severity": "9.8"}, "defaultConfiguration": {"level": "error"}}]
    place = [{"physicalLocation": {"artifactLocation": {"uri": "Dockerfile"}, "region": {"startLine": 3}}}]
    results = [{"ruleId": "CVE-1" if level == "error" else "R2", **({} if level == "error" else {"level": level}),
                "locations": place} for level in levels]  # fmt: skip
    one = {"tool": {"driver": {"name": "scan", "rules": rules}}, "results": results, **run}
    return json.dumps({"version": "2.1.0", "runs": [one]})


def verdict(rule: Rule, *texts: str | None, age: timedelta = timedelta(minutes=1)) -> Verdict:
    reports = [Report(f"r{i}", text, NOW - age, "" if text is not None else "there is no such file")
               for i, text in enumerate(texts)]  # fmt: skip
    return judge(Gate("gate", rule, ("r*",), timedelta(hours=1)), Seen(reports), NOW)


def lines(least: float) -> Rule:
    return Coverage((("lines", least),))


@pytest.mark.parametrize(
    ("rule", "texts", "state", "message"),
    [
        (lines(80), [COBERTURA], "passed", "lines 80.50 %, 80 % needed"),
        (lines(80.5), [COBERTURA], "passed", "lines 80.50 %, 80.5 % needed"),
        (lines(80.6), [COBERTURA], "failed", "lines 80.50 %, 80.6 % needed (161 of 200)"),
        (Coverage((("branches", 60),)), [COBERTURA], "passed", "branches 60.00 %, 60 % needed"),
        (Coverage((("lines", 75), ("branches", 50))), [COBERTURA_LINES], "passed",
         "lines 75.00 %, 75 % needed; branches 50.00 %, 50 % needed"),
        (lines(90), [COVERAGE_PY], "passed", "lines 90.00 %, 90 % needed"),
        (lines(90), [LCOV], "passed", "lines 90.00 %, 90 % needed"),
        (lines(75), [LCOV_BARE], "passed", "lines 75.00 %, 75 % needed"),
        (lines(71), [ISTANBUL], "failed", "lines 70.00 %, 71 % needed (7 of 10)"),
        (lines(80), [COVERAGE_PY, ISTANBUL], "passed", "lines 80.00 %, 80 % needed"),
        (Coverage((("branches", 1),)), [ISTANBUL], "unknown",
         "the report says nothing about branches; it measures functions, lines"),
        (lines(0), [COBERTURA.replace("200", "0").replace("161", "0").replace('"50"', '"0"')], "unknown",
         "r0: no lines were measured"),
        (lines(0), [""], "unknown", "r0: the file is empty"),
        (lines(0), ["<html></html>"], "unknown", "r0: not a Cobertura report: its root is <html>, not <coverage>"),
        (lines(0), ["<coverage"], "unknown", "r0: not XML: unclosed token: line 1, column 0"),
        (lines(0), ["{"], "unknown", None),
        (lines(0), ['{"a": 1}'], "unknown", 'r0: neither coverage.py\'s JSON ("totals") nor an Istanbul summary ("total")'),
        (lines(0), ["hello"], "unknown", None),
        (lines(0), [None], "unknown", "r0: there is no such file"),
        (lines(0), [COVERAGE_PY, None], "unknown", "r1: there is no such file"),
        (lines(0), [], "unknown", "no report: nothing is at r*"),
        (JUnit(), [JUNIT], "passed", "failures 0, at most 0 needed; tests 4, at least 1 needed"),
        (JUnit(), [JUNIT, JUNIT_RED], "failed", "failures 1, at most 0 needed (b.three)"),
        (JUnit(), [JUNIT, JUNIT_BROKEN], "failed", "failures 1, at most 0 needed (collection)"),
        (JUnit(tests=5), [JUNIT], "failed", "tests 4, at least 5 needed"),
        (JUnit(skipped=0), [JUNIT], "failed", "skipped 1, at most 0 needed"),
        (JUnit(), ["<testsuites/>"], "unknown", "no test has run: the report has no test case"),
        (JUnit(), ["<testsuite><testcase name='a'><skipped/></testcase></testsuite>"], "unknown",
         "no test has run: all 1 were skipped"),
        (JUnit(), ["<coverage/>"], "unknown",
         "r0: not a JUnit report: its root is <coverage>, not <testsuites> or <testsuite>"),
        (Scan("sarif", (("error", 0),)), [sarif()], "passed", "error findings 0, at most 0 needed"),
        (Scan("sarif", (("error", 0),)), [sarif("error", "note")], "failed",
         "error findings 1, at most 0 needed (CVE-1 at Dockerfile:3)"),
        (Scan("sarif", (("critical", 0),)), [sarif("error")], "failed",
         "critical findings 1, at most 0 needed (CVE-1 at Dockerfile:3)"),
        (Scan("sarif", (("warning", 2), ("high", 0))), [sarif("warning", "warning")], "passed",
         "warning findings 2, at most 2 needed; high findings 0, at most 0 needed"),
        (Scan("sarif", (("error", 0),)), ['{"runs": []}'], "unknown", "r0: no tool has run: `runs` is empty"),
        (Scan("sarif", (("error", 0),)), [sarif(results=None)], "unknown",
         "r0: scan gives no results, not even an empty list: it did not finish"),
        (Scan("sarif", (("error", 0),)), [sarif(invocations=[{"executionSuccessful": False}])], "unknown",
         "r0: scan says that it failed (executionSuccessful: false)"),
        (Scan("sarif", (("error", 0),)), ["[]"], "unknown", "r0: not a SARIF report: `runs` is missing"),
        (Scan("sarif", (("error", 0),)), ['{"runs": [7]}'], "unknown", None),
    ],
)  # fmt: skip
def test_verdicts(rule: Rule, texts: list[str | None], state: str, message: str | None) -> None:
    filled = [text.replace("{at}", str(int(NOW.timestamp() * 1000))) if text else text for text in texts]
    found = verdict(rule, *filled)
    assert found.state == state, found.message
    assert found.blocks == (state != "passed")
    if message is not None:
        assert found.message == message


def test_a_report_of_an_earlier_run_is_unknown() -> None:
    assert verdict(lines(0), COVERAGE_PY, age=timedelta(hours=2)).message == (
        "r0: it is 2h0m0s old, at most 1h0m0s is allowed: it was not made by this run"
    )
    # a checkout makes an old file look new; the report itself knows better
    yesterday = COBERTURA.replace("{at}", str(int((NOW - timedelta(days=1)).timestamp())))
    assert verdict(lines(0), yesterday).state == "unknown"


def test_a_miss_is_never_shown_as_a_hit() -> None:
    almost = json.dumps({"totals": {"covered_lines": 79_999, "num_statements": 100_000}})
    assert verdict(lines(80), almost).message == "lines 79.99 %, 80 % needed (79999 of 100000)"


@pytest.mark.parametrize(
    ("text", "mistakes"),
    [
        ("gates: []", ["line 1: gates: at least one gate is needed; no gate would mean no check"]),
        ("", ["line 1: a mapping with `gates:` is needed"]),
        ("gates: [", ["line 1: not YAML: expected the node content, but found '<stream end>'"]),
        ("gates:\n- name: a\n  report: x\n  coverage:\n    lines: 120\n    linez: 5\n",
         ["line 5: gates[0].coverage.lines: a number from 0 to 100 is needed, got '120'",
          "line 6: gates[0].coverage.linez: unknown field; known are branches, drop, functions, lines, new_lines, statements"]),
        ("gates:\n- report: x\n",
         ["line 2: gates[0]: exactly one of coverage, junit, sarif, trivy, pip-audit, bandit, eslint, axe, "
          "lighthouse, k6, locust, radon, jscpd, sonar, image, dependabot, custom is needed, found none"]),
        ("gates:\n- junit: {}\n", ["line 2: gates[0]: `report: PATH` or `reports: [PATH, …]` is needed (one of them)"]),
        ("gates:\n- report: x\n  sarif: {}\n",
         ["line 3: gates[0].sarif: no threshold: give one of error, warning, note, critical, high, medium, low"]),
        ("max_age: soon\ngates:\n- {report: x, junit: {}}\n",
         ["line 1: max_age: a duration such as 30m or 24h is needed, got 'soon'"]),
        ("gates:\n- {report: x, junit: {}}\n- {report: y, junit: {}}\n", ["line 2: gates: two gates are called 'junit'"]),
        ("gates:\n- {report: x, junit: {failures: -1}}\n",
         ["line 2: gates[0].junit.failures: a number from 0 on is needed, got '-1'"]),
        ("gates:\n- {report: x, report: y, junit: {}}\n", ["line 2: gates[0].report: given twice"]),
    ],
)  # fmt: skip
def test_mistakes_of_the_file_are_named_with_their_line(text: str, mistakes: list[str]) -> None:
    with pytest.raises(ConfigMistakes) as caught:
        decode(text)
    assert [str(mistake) for mistake in caught.value.mistakes] == mistakes


# --- the command ------------------------------------------------------------------------------------------------------


def project(folder: Path) -> Path:
    """A project whose three reports meet the documented example."""
    example = resources.files("fairway.gates").joinpath("example.yaml").read_text("utf-8")
    (folder / "fairway-gates.yaml").write_text(example)
    (folder / "coverage.xml").write_text(COBERTURA.replace("{at}", "0"))
    (folder / "reports").mkdir()
    (folder / "reports" / "junit-unit.xml").write_text(JUNIT)
    (folder / "scan.sarif").write_text(sarif("warning"))
    return folder / "fairway-gates.yaml"


def run(*arguments: str, **environment: str) -> tuple[int, str]:
    result = CliRunner(env={"GITHUB_STEP_SUMMARY": None, **environment}).invoke(command, list(arguments))
    return result.exit_code, result.output


def test_the_documented_example_works_as_it_stands(tmp_path: Path) -> None:
    code, output = run(str(project(tmp_path)))
    assert code == 0, output
    assert output.splitlines()[-1] == "all 3 gates passed"
    assert run("--example")[1] == (tmp_path / "fairway-gates.yaml").read_text()


def test_a_missing_report_blocks_and_names_itself(tmp_path: Path) -> None:
    config = project(tmp_path)
    (tmp_path / "scan.sarif").unlink()
    code, output = run(str(config))
    assert code == 1
    assert "? security  unknown  scan.sarif: there is no such file" in output
    assert output.splitlines()[-1] == "blocked by security"


def test_json_says_everything(tmp_path: Path) -> None:
    config = project(tmp_path)
    (tmp_path / "reports" / "junit-more.xml").write_text(JUNIT_RED)
    code, output = run(str(tmp_path), "-o", "json")
    body = json.loads(output)
    assert (code, body["blocked"]) == (1, True)
    tests = body["gates"][1]
    assert tests["reports"] == ["reports/junit-more.xml", "reports/junit-unit.xml"]
    assert tests["checks"][0] == {
        "what": "failures", "found": "1", "wanted": "at most 0", "met": False, "detail": "b.three"
    }  # fmt: skip
    assert config.exists()


def test_a_github_job_gets_a_summary(tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    run(str(project(tmp_path)), GITHUB_STEP_SUMMARY=str(summary))
    text = summary.read_text()
    assert text.startswith("before\n### Quality gates\n")
    assert "| coverage | ✅ passed | lines 80.50 %, 80 % needed; branches 60.00 %, 60 % needed | `coverage.xml` |" in text


def test_a_stale_file_blocks(tmp_path: Path) -> None:
    config = project(tmp_path)
    two_hours_ago = datetime.now(UTC).timestamp() - 7200
    os.utime(tmp_path / "scan.sarif", (two_hours_ago, two_hours_ago))
    code, output = run(str(config))
    assert code == 1
    assert "it was not made by this run" in output


def test_a_file_that_cannot_be_used_is_wrong_usage(tmp_path: Path) -> None:
    path = tmp_path / "gates.yaml"
    path.write_text("gates:\n- {report: x, junit: {failures: many}}\n")
    code, output = run(str(path))
    assert code == 2
    assert f"{path}:2: gates[0].junit.failures: a number from 0 on is needed, got 'many'" in output
    code, output = run(str(tmp_path / "none.yaml"))
    assert code == 2
    assert "No such file" in output
    assert "fairway gate --example" in output
