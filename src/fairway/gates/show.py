"""Verdicts for people, for programs, for code scanning, and for the summary of a CI job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fairway.gates.decide import Verdict
from fairway.gates.forms.report import Finding

_MARKS = {"passed": "✓", "failed": "✗", "unknown": "?"}
_WORDS = {"passed": "✅ passed", "failed": "❌ failed", "unknown": "❓ unknown"}


def as_text(verdicts: Sequence[Verdict]) -> str:
    width = max((len(verdict.gate) for verdict in verdicts), default=0)
    lines: list[str] = []
    for v in verdicts:
        lines.append(f"{_MARKS[v.state]} {v.gate.ljust(width)}  {v.state:<7}  {v.message}")
        lines += [f"  {' ' * width}  {note}" for note in v.notes]
    blocking = [verdict.gate for verdict in verdicts if verdict.blocks]
    lines.append(f"blocked by {', '.join(blocking)}" if blocking else f"all {len(verdicts)} gates passed")
    return "\n".join(lines)


def as_data(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    return {
        "blocked": any(verdict.blocks for verdict in verdicts),
        "gates": [{
            "name": verdict.gate, "component": verdict.component, "verdict": verdict.state, "message": verdict.message,
            "reports": list(verdict.reports), "notes": list(verdict.notes),
            "checks": [{"what": c.what, "found": c.found, "wanted": c.wanted, "met": c.met, "detail": c.detail}
                       for c in verdict.checks],
        } for verdict in verdicts],
    }  # fmt: skip


def as_markdown(verdicts: Sequence[Verdict]) -> str:
    """For a GitHub step summary."""
    lines = ["### Quality gates", "", "| Gate | Verdict | Evidence | Report |", "|---|---|---|---|"]
    for verdict in verdicts:
        evidence = "; ".join((verdict.message, *verdict.notes))
        cells = (verdict.gate, _WORDS[verdict.state], evidence, ", ".join(f"`{path}`" for path in verdict.reports))
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join([*lines, "", ""])


def as_sarif(verdicts: Sequence[Verdict], config: str) -> dict[str, Any]:
    """One result for each gate that blocks, at the gates' file; and the findings behind it, where they lie."""
    results = []
    for verdict in verdicts:
        if verdict.blocks:
            results.append(_result(f"gate/{verdict.gate}", "error", verdict.message, config))
            results += [_result(one.rule, "warning", f"{verdict.gate}: {one}", _file(one, config), _line(one))
                        for one in verdict.findings]
    rules = [{"id": name} for name in dict.fromkeys(str(result["ruleId"]) for result in results)]
    return {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0",
            "runs": [{"tool": {"driver": {"name": "fairway gate", "rules": rules}}, "results": results}]}


def summed(verdicts: Sequence[Verdict]) -> tuple[str, str]:
    """(success, failure or error; one line of at most 140 characters): a commit status. Unknown is an error, not a failure."""
    blocking = [verdict for verdict in verdicts if verdict.blocks]
    if not blocking:
        return "success", f"all {len(verdicts)} gates passed"
    state = "failure" if any(verdict.state == "failed" for verdict in blocking) else "error"
    return state, f"{', '.join(v.gate for v in blocking)}: {blocking[0].message}"[:140]


def _result(rule: str, level: str, text: str, file: str, line: int = 1) -> dict[str, Any]:
    place = {"physicalLocation": {"artifactLocation": {"uri": file}, "region": {"startLine": line}}}
    return {"ruleId": rule, "level": level, "message": {"text": text}, "locations": [place]}


def _file(finding: Finding, config: str) -> str:
    """A package is no file: such findings are shown at the gates' file."""
    return finding.place.partition(":")[0] if finding.place and " " not in finding.place else config


def _line(finding: Finding) -> int:
    line = finding.place.rpartition(":")[2]
    return max(int(line), 1) if line.isdecimal() else 1
