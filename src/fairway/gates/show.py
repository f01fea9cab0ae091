"""Verdicts for people, for programs, and for the summary of a CI job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fairway.gates.decide import Verdict

_MARKS = {"passed": "✓", "failed": "✗", "unknown": "?"}
_WORDS = {"passed": "✅ passed", "failed": "❌ failed", "unknown": "❓ unknown"}


def as_text(verdicts: Sequence[Verdict]) -> str:
    width = max((len(verdict.gate) for verdict in verdicts), default=0)
    lines = [f"{_MARKS[v.state]} {v.gate.ljust(width)}  {v.state:<7}  {v.message}" for v in verdicts]
    blocking = [verdict.gate for verdict in verdicts if verdict.blocks]
    lines.append(f"blocked by {', '.join(blocking)}" if blocking else f"all {len(verdicts)} gates passed")
    return "\n".join(lines)


def as_data(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    return {
        "blocked": any(verdict.blocks for verdict in verdicts),
        "gates": [{
            "name": verdict.gate, "verdict": verdict.state, "message": verdict.message, "reports": list(verdict.reports),
            "checks": [{"what": c.what, "found": c.found, "wanted": c.wanted, "met": c.met, "detail": c.detail}
                       for c in verdict.checks],
        } for verdict in verdicts],
    }  # fmt: skip


def as_markdown(verdicts: Sequence[Verdict]) -> str:
    """For a GitHub step summary."""
    lines = ["### Quality gates", "", "| Gate | Verdict | Evidence | Report |", "|---|---|---|---|"]
    for verdict in verdicts:
        cells = (verdict.gate, _WORDS[verdict.state], verdict.message, ", ".join(f"`{path}`" for path in verdict.reports))
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join([*lines, "", ""])
