"""Relabelling, as ServiceMonitors and scrape configs write it: a list of rules over a target's (or a sample's)
labels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairway.metrics.matchers import pattern

_REFERENCE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")

ACTIONS = frozenset({
    "replace", "keep", "drop", "labelmap", "labeldrop", "labelkeep", "lowercase", "uppercase", "keepequal", "dropequal",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    action: str = "replace"
    sources: tuple[str, ...] = ()
    target: str = ""
    regex: str = "(.*)"
    replacement: str = "$1"
    separator: str = ";"


def rules(written: Sequence[Mapping[str, Any]] | None) -> tuple[Rule, ...]:
    """Rules as a ServiceMonitor spells them. ValueError names an action or a pattern that is not understood."""
    found = []
    for one in written or ():
        action = str(one.get("action") or "replace").lower()
        if action not in ACTIONS:
            raise ValueError(f"relabeling action {action!r} is not supported; known are {', '.join(sorted(ACTIONS))}")
        rule = Rule(
            action,
            tuple(one.get("sourceLabels") or ()),
            str(one.get("targetLabel") or ""),
            str(one.get("regex", "(.*)")),
            str(one.get("replacement", "$1")),
            str(one.get("separator", ";")),
        )
        pattern(rule.regex)
        found.append(rule)
    return tuple(found)


def relabelled(labels: Mapping[str, str], rules: Sequence[Rule]) -> dict[str, str] | None:
    """The labels after every rule, without empty ones; None where a rule drops the target."""
    now = dict(labels)
    for rule in rules:
        result = _applied(now, rule)
        if result is None:
            return None
        now = result
    return {name: value for name, value in now.items() if value}


def _applied(labels: dict[str, str], rule: Rule) -> dict[str, str] | None:
    value = rule.separator.join(labels.get(name, "") for name in rule.sources)
    full = pattern(rule.regex).fullmatch
    match rule.action:
        case "keep":
            return labels if full(value) else None
        case "drop":
            return None if full(value) else labels
        case "keepequal":
            return labels if labels.get(rule.target, "") == value else None
        case "dropequal":
            return None if labels.get(rule.target, "") == value else labels
        case "labelmap":
            named = ((full(name), text) for name, text in labels.items())
            return {**labels, **{_expanded(rule.replacement, m): text for m, text in named if m}}
        case "labeldrop":
            return {name: text for name, text in labels.items() if not full(name)}
        case "labelkeep":
            return {name: text for name, text in labels.items() if full(name)}
        case "lowercase":
            return {**labels, rule.target: value.lower()}
        case "uppercase":
            return {**labels, rule.target: value.upper()}
        case _:
            found = full(value)
            return {**labels, _expanded(rule.target, found): _expanded(rule.replacement, found)} if found else labels


def _expanded(template: str, match: re.Match[str]) -> str:
    def group(reference: re.Match[str]) -> str:
        name = reference[1] or reference[2]
        try:
            return match[int(name) if name.isdigit() else name] or ""
        except IndexError:
            return ""

    return _REFERENCE.sub(group, template)
