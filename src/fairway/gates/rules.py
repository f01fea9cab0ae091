"""What each form of report can be asked for: names, units, and which way is better. A table, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Unit = Literal["%", "ms", "s", "bytes", "score", ""]


@dataclass(frozen=True, slots=True)
class Number:
    """`least`: the threshold is the least that passes; else the most."""

    least: bool
    unit: Unit = ""


_LEAST, _MOST = Number(least=True), Number(least=False)
_TIME = Number(least=False, unit="ms")
_SCORE = Number(least=True, unit="score")
_UNDER_LOAD: Mapping[str, Number] = {
    "error_rate": Number(least=False, unit="%"), **dict.fromkeys(("avg", "p50", "p90", "p95", "p99", "max"), _TIME),
    "rps": _LEAST, "requests": _LEAST,
}  # fmt: skip

NUMBERS: Mapping[str, Mapping[str, Number]] = {
    "lighthouse": dict.fromkeys(("performance", "accessibility", "best-practices", "seo", "pwa"), _SCORE),
    "k6": {**_UNDER_LOAD, "checks": Number(least=True, unit="%"), "thresholds": _MOST},
    "locust": _UNDER_LOAD,
    "radon": {"complexity": _MOST, "average": _MOST, "maintainability": _LEAST},
    "jscpd": {"duplication": Number(least=False, unit="%")},
    "sonar": {"failed_conditions": _MOST},
    "image": {"size": Number(least=False, unit="bytes"), "build": Number(least=False, unit="s")},
    "dependabot": {"days": _MOST},
}

_SEVERITIES = ("critical", "high", "medium", "low", "unknown")
FINDINGS: Mapping[str, tuple[str, ...]] = {
    "sarif": ("error", "warning", "note", "critical", "high", "medium", "low"),
    "trivy": _SEVERITIES,
    "pip-audit": ("unknown",),
    "bandit": ("high", "medium", "low", "undefined"),
    "eslint": ("error", "warning"),
    "axe": ("critical", "serious", "moderate", "minor", "unknown", "a", "aa", "aaa"),
}
"""The words that findings count under, beside `any`."""

COVERAGE = ("lines", "branches", "functions", "statements")
