"""Policies of thresholds as teams have them, the commit status, and SARIF."""

from __future__ import annotations

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fairway.cli.gate import command
from fairway.gates.spec import ConfigMistakes, Limit, Numbers, Scan, decode

POLICY = """\
quality_gates:
  code_coverage:
    frontend_threshold: "80%"
    backend_threshold: "85%"
  security_requirements:
    vulnerability_threshold: "none (high/critical)"
    dependency_updates: "weekly"
    security_scan_required: true
  performance_requirements:
    build_time_max: "10 minutes"
    test_time_max: "15 minutes"
    image_size_max: "500MB"
  code_quality:
    sonarqube_gate: "passed"
    complexity_threshold: "10"
    duplication_threshold: "3%"
  accessibility:
    wcag_compliance: "AA"
    lighthouse_score: "> 90"
"""
CHECKER = {"coverage": {"frontend_threshold": 80, "backend_threshold": 85}, "performance": {"lighthouse_threshold": 90},
           "accessibility": {"lighthouse_threshold": 95}}


def run(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    clean: dict[str, str | None] = {name: None for name in os.environ if name.startswith(("GITHUB_", "CI_", "GITLAB_"))}
    result = CliRunner(env={**clean, **environment}).invoke(command, [str(folder), *arguments])
    return result.exit_code, result.output


def test_every_requirement_of_a_policy_becomes_a_gate() -> None:
    gates = {gate.name: gate for gate in decode(POLICY).gates}
    assert list(gates) == ["coverage frontend", "coverage backend", "vulnerabilities", "dependency updates", "build time",
        "test time",
                           "image size", "sonar", "complexity", "duplication", "WCAG", "lighthouse accessibility"]
    assert gates["vulnerabilities"].rule == Scan("trivy", (("high", 0), ("critical", 0)))
    assert gates["lighthouse accessibility"].rule == Numbers("lighthouse", (Limit("accessibility", 90.01, True, "score"),))
    assert gates["image size"].rule == Numbers("image", (Limit("size", 5e8, False, "bytes"),))
    assert gates["coverage backend"].component == "backend" and gates["coverage backend"].reports == ("coverage.xml",)


def test_what_a_policy_asks_for_and_nothing_measures_blocks(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "coverage.xml").write_text('<coverage lines-valid="100" lines-covered="86"/>')
    code, output = run(tmp_path / "policy.yaml")
    assert code == 1
    assert "✓ coverage backend" in output and "? vulnerabilities" in output


def test_a_checkers_json_is_read_and_its_reports_may_lie_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "quality-gate-config.json").write_text(json.dumps({**CHECKER, "reports": {"backend": "back.xml"}}))
    (tmp_path / "coverage").mkdir()
    (tmp_path / "coverage" / "coverage-summary.json").write_text(json.dumps({"total": {"lines": {"total": 10, "covered": 8}}}))
    (tmp_path / "back.xml").write_text('<coverage lines-valid="100" lines-covered="85"/>')
    (tmp_path / "security-reports").mkdir()
    (tmp_path / "security-reports" / "trivy-results.json").write_text('{"Results": [{"Target": "a"}]}')
    (tmp_path / "lighthouse-results.json").write_text(
        json.dumps({"lhr": {"categories": {"performance": {"score": 0.9}, "accessibility": {"score": 0.94}}}}))
    code, output = run(tmp_path / "quality-gate-config.json")
    assert code == 1 and output.splitlines()[-1] == "blocked by lighthouse accessibility"


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("code_quality: {sonarqube_gate: failed}",
         "line 2: quality_gates.code_quality.sonarqube_gate: 'failed': only `passed` makes sense"),
        ("accessibility: {wcag_compliance: B}", "line 2: quality_gates.accessibility.wcag_compliance: 'B': write A, AA or AAA"),
        ("performance_requirements: {build_time_max: soon}",
         "line 2: quality_gates.performance_requirements.build_time_max: 'soon' is not a time; write e.g. 10 minutes"),
        ("code_quality: {lint: x}", "line 2: quality_gates.code_quality.lint: not known; known here are complexity_threshold, "
                                    "duplication_threshold, sonarqube_gate"),
    ],
)  # fmt: skip
def test_a_threshold_that_is_not_understood_is_named_with_its_line(line: str, mistake: str) -> None:
    with pytest.raises(ConfigMistakes) as caught:
        decode(f"quality_gates:\n  {line}\n")
    assert [str(one) for one in caught.value.mistakes] == [mistake]


def test_the_verdict_is_told_to_the_forge_and_as_sarif(tmp_path: Path) -> None:
    (tmp_path / "fairway-gates.yaml").write_text("gates: [{report: bandit.json, bandit: {high: 0}}]")
    (tmp_path / "bandit.json").write_text(json.dumps(
        {"errors": [], "results": [{"test_id": "B602", "issue_severity": "HIGH", "filename": "a.py", "line_number": 7}]}))
    heard: list[tuple[str, str, dict[str, Any]]] = []

    class Forge(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            heard.append((self.path, self.headers["Authorization"], body))
            self.send_response(201)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Forge) as forge:
        thread = threading.Thread(target=forge.handle_request)
        thread.start()
        code, output = run(tmp_path, "-o", "sarif", "--commit-status", GITHUB_REPOSITORY="shop/app", GITHUB_SHA="c" * 40,
                           GITHUB_TOKEN="secret", GITHUB_API_URL=f"http://127.0.0.1:{forge.server_port}")
        thread.join(10)
    assert code == 1 and "secret" not in output
    assert heard == [(f"/repos/shop/app/statuses/{'c' * 40}", "Bearer secret", {
        "state": "failure", "context": "fairway/gates",
        "description": "bandit: high findings 1, at most 0 needed (B602 at a.py:7)"})]  # fmt: skip
    results = json.loads(output)["runs"][0]["results"]
    assert [(r["ruleId"], r["level"]) for r in results] == [("gate/bandit", "error"), ("B602", "warning")]
    assert results[1]["locations"][0]["physicalLocation"] == {"artifactLocation": {"uri": "a.py"}, "region": {"startLine": 7}}


def test_without_a_forge_the_commit_status_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "fairway-gates.yaml").write_text("gates: [{report: j.xml, junit: {}}]")
    (tmp_path / "j.xml").write_text("<testsuite><testcase name='a'/></testsuite>")
    code, output = run(tmp_path, "--commit-status")
    assert code == 2 and "no job of a forge" in output
