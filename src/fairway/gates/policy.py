"""Policies of thresholds, as teams write them down beside their pipelines, turned into gates. Pure.

Two shapes are read. A `quality_gates:` document:

    quality_gates:
      code_coverage: {frontend_threshold: "80%", backend_threshold: "85%"}
      security_requirements: {vulnerability_threshold: "none (high/critical)", dependency_updates: weekly}
      performance_requirements: {build_time_max: 10 minutes, test_time_max: 15 minutes, image_size_max: 500MB}
      code_quality: {sonarqube_gate: passed, complexity_threshold: "10", duplication_threshold: "3%"}
      accessibility: {wcag_compliance: AA, lighthouse_score: "> 90"}

and the JSON of a checker: `{"coverage": {…}, "performance": {"lighthouse_threshold": 90}, "accessibility": {…}}`. Every
requirement becomes a gate over a report, so that what nothing measures blocks. `reports:` beside them says where reports lie.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import yaml

from fairway.gates.nodes import Mistake

_SECTIONS = ("code_coverage", "security_requirements", "performance_requirements", "code_quality", "accessibility")
_CHECKER = frozenset({"coverage", "performance", "accessibility", "security"})

DEFAULT_REPORTS: Mapping[str, str] = {
    "frontend": "coverage/coverage-summary.json", "backend": "coverage.xml", "integration": "coverage-integration.xml",
    "vulnerabilities": "security-reports/trivy-results.json", "dependency_updates": ".github/dependabot.yml",
    "image": "build/image.json", "tests": "junit.xml", "sonar": "sonar-quality-gate.json", "complexity": "radon-cc.json",
    "duplication": "jscpd-report.json", "axe": "axe-results.json", "lighthouse": "lighthouse-results.json",
}  # fmt: skip
"""Where a requirement's report lies unless `reports:` says otherwise."""

_INTERVALS = {"daily": 1, "weekly": 7, "monthly": 31, "quarterly": 92}
_TIME = re.compile(r"^(\d+(?:\.\d+)?)\s*(s|sec|seconds?|m|min|minutes?|h|hours?)$")


class _Unclear(ValueError):
    """A threshold that is not understood; the message says what is."""


def is_policy(keys: Collection[str]) -> bool:
    """Is a document with these top-level keys a policy, and not a file of gates?"""
    return "gates" not in keys and ("quality_gates" in keys or bool(keys and set(keys) <= {*_CHECKER, "reports"}))


def translated(node: yaml.MappingNode) -> tuple[str, tuple[Mistake, ...]]:
    """The policy as the text of a file of gates, and what in it is not understood."""
    lines = dict(_lines(node, ""))
    body = yaml.SafeLoader("").construct_document(node)
    mistakes: list[Mistake] = []
    places = {**DEFAULT_REPORTS, **(body.get("reports") or {})}
    gates: list[dict[str, Any]] = []
    source = body.get("quality_gates", body)
    root = "quality_gates." if "quality_gates" in body else ""
    for section, requirements in source.items() if isinstance(source, dict) else ():
        if section == "reports":
            continue
        for name, value in requirements.items() if isinstance(requirements, dict) else ():
            path = f"{root}{section}.{name}"
            try:
                made = _gate(section, name, value, places)
            except _Unclear as unclear:
                mistakes.append(Mistake(lines.get(path, 1), path, str(unclear)))
            else:
                gates += made
        if root and section not in _SECTIONS:
            mistakes.append(Mistake(lines.get(f"{root}{section}", 1), section, f"not known; known are {', '.join(_SECTIONS)}"))
    if not root:  # the checker always looks at the scan
        gates.append(_vulnerabilities(places))
    return yaml.safe_dump({"gates": gates}, sort_keys=False), tuple(mistakes)


def _gate(section: str, name: str, value: Any, places: Mapping[str, str]) -> list[dict[str, Any]]:
    if section in ("code_coverage", "coverage"):
        component = name.removesuffix("_threshold")
        if component == name:
            raise _Unclear("write NAME_threshold, where NAME is the component")
        return [{"name": f"coverage {component}", "component": component, "coverage": {"lines": _percent(value)},
                 "report": places.get(component, f"coverage-{component}.xml")}]
    make = _GATES.get((section, name))
    if make is None:
        known = ", ".join(sorted(other for part, other in _GATES if part == section)) or "nothing"
        raise _Unclear(f"not known; known here are {known}")
    return make(value, places)


def _vulnerabilities(places: Mapping[str, str]) -> dict[str, Any]:
    return {"name": "vulnerabilities", "report": places["vulnerabilities"], "trivy": {"critical": 0, "high": 0}}


def _severities(value: Any, places: Mapping[str, str]) -> list[dict[str, Any]]:
    m = re.match(r"^none\s*\(([a-z/, ]+)\)$", str(value).lower())
    words = re.split(r"[/, ]+", m[1]) if m else []
    if not words or not set(words) <= {"critical", "high", "medium", "low"}:
        raise _Unclear(f"{value!r}: write e.g. `none (high/critical)`")
    return [{"name": "vulnerabilities", "report": places["vulnerabilities"], "trivy": dict.fromkeys(words, 0)}]


def _updates(value: Any, places: Mapping[str, str]) -> list[dict[str, Any]]:
    if value not in _INTERVALS:
        raise _Unclear(f"{value!r}: write one of {', '.join(_INTERVALS)}")
    return [{"name": "dependency updates", "report": places["dependency_updates"], "dependabot": {"days": _INTERVALS[value]},
             "max_age": "876000h"}]  # a file of the repository may be as old as it likes


def _build_time(value: Any, places: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"name": "build time", "report": places["image"], "image": {"build": _time(value)}}]


def _test_time(value: Any, places: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"name": "test time", "report": places["tests"], "junit": {"time": _time(value)}}]


def _image_size(value: Any, places: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"name": "image size", "report": places["image"], "image": {"size": str(value)}}]


def _sonar(value: Any, places: Mapping[str, str]) -> list[dict[str, Any]]:
    if value != "passed":
        raise _Unclear(f"{value!r}: only `passed` makes sense")
    return [{"name": "sonar", "report": places["sonar"], "sonar": {"failed_conditions": 0}}]


def _complexity(value: Any, places: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"name": "complexity", "report": places["complexity"], "radon": {"complexity": _number(value)}}]


def _duplication(value: Any, places: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"name": "duplication", "report": places["duplication"], "jscpd": {"duplication": _percent(value)}}]


def _wcag(value: Any, places: Mapping[str, str]) -> list[dict[str, Any]]:
    levels = {"A": ("a",), "AA": ("a", "aa"), "AAA": ("a", "aa", "aaa")}.get(str(value).upper().strip())
    if levels is None:
        raise _Unclear(f"{value!r}: write A, AA or AAA")
    return [{"name": "WCAG", "report": places["axe"], "axe": dict.fromkeys(levels, 0)}]


def _lighthouse(category: str) -> Callable[[Any, Mapping[str, str]], list[dict[str, Any]]]:
    def make(value: Any, places: Mapping[str, str]) -> list[dict[str, Any]]:
        return [{"name": f"lighthouse {category}", "report": places["lighthouse"], "lighthouse": {category: _least(value)}}]

    return make


def _implied(value: Any, places: Mapping[str, str]) -> list[dict[str, Any]]:
    """A gate whose report is missing blocks: that something is measured need not be asked for."""
    if value is not True:
        raise _Unclear("a report that is missing always blocks; write true, or leave the line out")
    return []


_GATES: Mapping[tuple[str, str], Callable[[Any, Mapping[str, str]], list[dict[str, Any]]]] = {
    ("security_requirements", "vulnerability_threshold"): _severities,
    ("security_requirements", "dependency_updates"): _updates,
    ("security_requirements", "security_scan_required"): _implied,
    ("performance_requirements", "build_time_max"): _build_time,
    ("performance_requirements", "test_time_max"): _test_time,
    ("performance_requirements", "image_size_max"): _image_size,
    ("code_quality", "sonarqube_gate"): _sonar,
    ("code_quality", "complexity_threshold"): _complexity,
    ("code_quality", "duplication_threshold"): _duplication,
    ("accessibility", "wcag_compliance"): _wcag,
    ("accessibility", "lighthouse_score"): _lighthouse("accessibility"),
    ("accessibility", "lighthouse_threshold"): _lighthouse("accessibility"),
    ("accessibility", "automated_testing"): _implied,
    ("performance", "lighthouse_threshold"): _lighthouse("performance"),
}


def _number(value: Any) -> float:
    try:
        return float(str(value).strip().removesuffix("%"))
    except ValueError:
        raise _Unclear(f"{value!r} is not a number") from None


def _percent(value: Any) -> float:
    number = _number(value)
    if not 0 <= number <= 100:
        raise _Unclear(f"{value!r} is not between 0 and 100 %")
    return number


def _least(value: Any) -> float:
    """`> 90` is more than 90; scores have two decimals."""
    text = str(value).strip()
    if text.startswith(">") and not text.startswith(">="):
        return min(_percent(text[1:]) + 0.01, 100.0)
    return _percent(text.removeprefix(">="))


def _time(value: Any) -> str:
    m = _TIME.match(str(value).strip().lower())
    if m is None:
        raise _Unclear(f"{value!r} is not a time; write e.g. 10 minutes")
    return f"{m[1]}{m[2][0]}"


def _lines(node: yaml.Node, path: str) -> Iterator[tuple[str, int]]:
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        name = f"{path}.{key.value}".lstrip(".")
        yield name, key.start_mark.line + 1
        yield from _lines(value, name)
