"""Branch, tag and path filters, pure.

Dialect: `*` any but `/`, `**` any, `?` none or one of the character before, `+` one or more of it, `[]` one of the
characters or ranges, `!` at the start negates, `\\` escapes. A whole name or path is matched and letter case counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

_ESCAPABLE = "[?+*\\!"
_NOT_IN_REFS = " \t~^:[?*"


@lru_cache(maxsize=1024)
def _compile(pattern: str) -> re.Pattern[str]:
    out: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\" and at + 1 < len(pattern):
            out.append(re.escape(pattern[at + 1]))
            at += 2
        elif char == "*":
            at, piece = _star(pattern, at)
            out.append(piece)
        elif char in "?+":
            out.append(char if out else re.escape(char))
            at += 1
        elif char == "[" and (end := pattern.find("]", at + 1)) > 0:
            inside = pattern[at + 1 : end].replace("\\", "\\\\").replace("^", "\\^").replace("[", "\\[")
            out.append(f"[{inside}]" if inside else "(?!)")
            at = end + 1
        else:
            out.append(re.escape(char))
            at += 1
    try:
        return re.compile("".join(out), re.DOTALL)
    except re.error:
        return re.compile("(?!)")  # a pattern that is not valid matches nothing; `mistakes` says what is wrong


def _star(pattern: str, at: int) -> tuple[int, str]:
    """`**/` may also stand for no folder at all; a run of more than two stars is `**`."""
    end = at
    while end < len(pattern) and pattern[end] == "*":
        end += 1
    if end - at == 1:
        return end, "[^/]*"
    starts_folder = at == 0 or pattern[at - 1] == "/"
    if starts_folder and pattern[end : end + 1] == "/":
        return end + 1, "(?:.*/)?"
    return end, ".*"


def matches(pattern: str, text: str) -> bool:
    """Whether the pattern, without its `!`, matches the whole text."""
    return _compile(pattern).fullmatch(text) is not None


def is_selected(patterns: Sequence[str], text: str) -> bool:
    """The last pattern that matches decides; `!` deselects."""
    selected = False
    for pattern in patterns:
        if pattern.startswith("!"):
            if selected and matches(pattern[1:], text):
                selected = False
        elif not selected and matches(pattern, text):
            selected = True
    return selected


def selects(patterns: Sequence[str], inputs: Iterable[str]) -> bool:
    """For `branches`, `tags` and `paths`: some input is selected. No patterns are no filter."""
    return not patterns or any(is_selected(patterns, text) for text in inputs)


def ignores_all(patterns: Sequence[str], inputs: Iterable[str]) -> bool:
    """For the `-ignore` lists: every input is matched. No patterns ignore nothing."""
    return bool(patterns) and all(any(matches(pattern, text) for pattern in patterns) for text in inputs)


@dataclass(frozen=True, slots=True)
class GlobMistake:
    """`column` is 1-based within the pattern; 0 means the pattern as a whole."""

    message: str
    column: int


def mistakes(pattern: str, kind: Literal["ref", "path"]) -> tuple[GlobMistake, ...]:
    """What is wrong with one pattern of a filter."""
    return _Validator(pattern, kind == "ref").run()


class _Validator:
    def __init__(self, pattern: str, is_ref: bool) -> None:
        self.text = pattern
        self.is_ref = is_ref
        self.at = 0
        self.found: list[GlobMistake] = []
        self.repeatable = False

    def run(self) -> tuple[GlobMistake, ...]:
        text = self.text
        if not text:
            return (GlobMistake("glob pattern cannot be empty", 0),)
        if text == "!":
            return (GlobMistake("at least one character must follow !", 1),)
        if text.startswith("!"):
            self.at = 1
        self._edges()
        while self.at < len(text):
            self._step()
        return tuple(self.found)

    def _refuse(self, message: str, column: int) -> None:
        self.found.append(GlobMistake(message, column))

    def _edges(self) -> None:
        body = self.text[self.at :]
        if self.is_ref:
            if body.startswith("/"):
                self._refuse("ref name must not start with /", self.at + 1)
            if body.endswith(("/", ".")):
                self._refuse("ref name must not end with / and .", len(self.text))
            return
        if body != body.strip():
            self._refuse("leading and trailing spaces are not allowed in glob path", 0)
        elif body in (".", "..") or body.startswith(("./", "../")):
            self._refuse("'.' and '..' are not allowed in glob path", 0)

    def _step(self) -> None:
        char = self.text[self.at]
        column = self.at + 1
        if char in "?+":
            if not self.repeatable:
                self._refuse(f"unexpected {char!r}: the preceding character must not be special character", column)
            self.repeatable = False
        elif char == "*":
            self.repeatable = False
        elif char == "[":
            self._set()
            return
        elif char == "\\":
            self._escape()
            return
        elif char in "\r\n":
            if self.is_ref or self.text == self.text.strip():
                name = "newline cannot be contained" if char == "\n" else "'\\r' cannot be contained"
                self._refuse(name, 0)
            self.repeatable = True
        else:
            if self.is_ref and char in _NOT_IN_REFS:
                self._refuse("ref name cannot contain spaces, ~, ^, :, [, ?, *", column)
            self.repeatable = True
        self.at += 1

    def _escape(self) -> None:
        following = self.text[self.at + 1 : self.at + 2]
        if following and following in _ESCAPABLE:
            if self.is_ref and following in "[?*":
                self._refuse("ref name cannot contain spaces, ~, ^, :, [, ?, *", self.at + 2)
        else:
            self._refuse("only special characters [, ?, +, *, \\, ! can be escaped with \\", self.at + 1)
        self.repeatable = True
        self.at += 2 if following else 1

    def _set(self) -> None:
        """From `[` to `]`."""
        end = self.text.find("]", self.at + 1)
        if end < 0:
            self._refuse("missing ]", len(self.text))
            self.at = len(self.text)
            return
        inside = self.text[self.at + 1 : end]
        if not inside:
            self._refuse("character match must not be empty", end + 1)
        elif len(inside) == 1:
            self._refuse("character match with single character is useless", end + 1)
        else:
            self._ranges(inside)
        self.at = end + 1
        self.repeatable = True

    def _ranges(self, inside: str) -> None:
        at = 0
        while at < len(inside):
            if inside[at + 1 : at + 2] != "-":
                at += 1
                continue
            first, last = inside[at], inside[at + 2 : at + 3]
            if not last:
                self._refuse("end of range is missing", self.at + at + 3)
            elif first > last:
                self._refuse(f"start of range {first!r} ({ord(first)}) is larger than end of range {last!r} "
                             f"({ord(last)})", self.at + at + 4)
            at += 3
