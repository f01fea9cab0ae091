"""SARIF 2.1.0: findings by level, and by security severity where the tool gives scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fairway.gates.forms.report import NOT_AS_EXPECTED, Finding, Findings, Unreadable, loaded

_SEVERITIES = ((9.0, "critical"), (7.0, "high"), (4.0, "medium"), (0.1, "low"))
"""Bounds of CVSS 3.1 qualitative ratings, as code scanning reads `security-severity`."""


def read_sarif(text: str) -> Findings:
    body = loaded(text)
    runs = body.get("runs") if isinstance(body, dict) else None
    if not isinstance(runs, list):
        raise Unreadable("not a SARIF report: `runs` is missing")
    if not runs:
        raise Unreadable("no tool has run: `runs` is empty")
    try:
        return Findings(tuple(finding for run in runs for finding in _findings(run)))
    except NOT_AS_EXPECTED as error:
        raise Unreadable(f"a SARIF report that is not understood: {type(error).__name__}: {error}") from None


def _findings(run: Mapping[str, Any]) -> Iterator[Finding]:
    tool = run["tool"]["driver"]
    name = tool.get("name", "the tool")
    for invocation in run.get("invocations") or ():
        if invocation.get("executionSuccessful") is False:
            raise Unreadable(f"{name} says that it failed (executionSuccessful: false)")
    if run.get("results") is None:
        raise Unreadable(f"{name} gives no results, not even an empty list: it did not finish")
    rules = {rule["id"]: rule for rule in tool.get("rules") or ()}
    for result in run["results"]:
        if any(s.get("status", "accepted") == "accepted" for s in result.get("suppressions") or ()):
            continue
        rule = _rule_of(result, tool.get("rules") or (), rules)
        level = result.get("level") or (rule.get("defaultConfiguration") or {}).get("level") or "warning"
        words = [level]
        score = (rule.get("properties") or {}).get("security-severity")
        if score is not None:
            words += [word for bound, word in _SEVERITIES if float(score) >= bound][:1]
        identity = result.get("ruleId") or rule.get("id") or "a finding"
        yield Finding(str(identity), frozenset(words), _place(result), bool(result.get("fixes")))


def _rule_of(result: Mapping[str, Any], listed: Sequence[Any], by_id: Mapping[str, Any]) -> Mapping[str, Any]:
    """By id, else by index, as SARIF allows both; {} for a rule that the tool does not describe."""
    index = result.get("ruleIndex", -1)
    rule: Mapping[str, Any] = by_id.get(result.get("ruleId", "")) or (listed[index] if 0 <= index < len(listed) else {})
    return rule


def _place(result: Mapping[str, Any]) -> str:
    places = result.get("locations") or ()
    physical = places[0].get("physicalLocation") if places else None
    if not physical:
        return ""
    line = (physical.get("region") or {}).get("startLine")
    where = (physical.get("artifactLocation") or {}).get("uri", "")
    return f"{where}:{line}" if line else str(where)
