"""Problem matchers: patterns in a step's output that become annotations, as compilers and linters print them. Pure.

A matcher has one pattern a line. The lines of a problem follow each other; the last pattern may `loop`, and then gives one
problem for each line that it matches, until one does not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fairway.ci.states import Annotation

_FIELDS = ("file", "fromPath", "line", "column", "severity", "code", "message")
_LONGEST = 4096  # a longer line is no message of a compiler, and could keep a pattern busy


class MatcherError(Exception):
    """A file of matchers that cannot be read."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """`groups` gives the number of the group of each field."""

    regexp: re.Pattern[str]
    groups: Mapping[str, int]
    loop: bool = False


@dataclass
class Matcher:
    owner: str
    severity: str
    patterns: tuple[Pattern, ...]
    _found: dict[str, str] = field(default_factory=dict)
    _at: int = 0

    def hear(self, line: str) -> Annotation | None:
        """One more line of output; the problem that it completes."""
        if len(line) > _LONGEST:
            return None
        for _ in range(2):  # a line that ends a problem may begin the next one
            pattern = self.patterns[self._at]
            match = pattern.regexp.search(line)
            if match is not None:
                return self._matched(pattern, match)
            if self._at == 0:
                return None
            self._at, self._found = 0, {}
        return None

    def _matched(self, pattern: Pattern, match: re.Match[str]) -> Annotation | None:
        mine = {name: match[group] or "" for name, group in pattern.groups.items() if group <= (match.re.groups or 0)}
        found = {**self._found, **mine}
        if self._at < len(self.patterns) - 1:
            self._at, self._found = self._at + 1, found
            return None
        if not pattern.loop:
            self._at, self._found = 0, {}
        return self._annotation(found)

    def _annotation(self, found: Mapping[str, str]) -> Annotation | None:
        if not found.get("message"):
            return None
        word = (found.get("severity") or self.severity or "error").lower()
        level = "error" if word.startswith(("err", "fatal")) else "warning" if word.startswith("warn") else "notice"
        return Annotation(level, found["message"], found.get("file", ""), _number(found.get("line")),
                          _number(found.get("column")), found.get("code", ""))


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0


def decode_matchers(text: str) -> list[Matcher]:
    """Those of a file that `::add-matcher::` names. Raises `MatcherError`."""
    try:
        entries = json.loads(text)["problemMatcher"]
        return [_matcher(entry) for entry in entries]
    except (ValueError, KeyError, TypeError, AttributeError, re.error) as error:
        raise MatcherError(f"not a file of problem matchers: {error}") from None


def _matcher(entry: Mapping[str, Any]) -> Matcher:
    rows = entry["pattern"]
    patterns = tuple(
        Pattern(re.compile(row["regexp"]), {name: int(row[name]) for name in _FIELDS if name in row}, bool(row.get("loop")))
        for row in (rows if isinstance(rows, list) else [rows]))
    if not patterns:
        raise ValueError(f"matcher {entry['owner']!r} has no pattern")
    if any(pattern.loop for pattern in patterns[:-1]):
        raise ValueError(f"matcher {entry['owner']!r}: only the last pattern may loop")
    return Matcher(str(entry["owner"]), str(entry.get("severity") or ""), patterns)
