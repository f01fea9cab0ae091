"""`.dockerignore`: which files of the context a build may see. Pure. Source: moby/patternmatcher."""

from __future__ import annotations

import re
from collections.abc import Iterable


class Ignore:
    """Patterns in order; the last one that matches decides, `!` lets a file back in."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._rules: list[tuple[bool, re.Pattern[str]]] = []
        for line in lines:
            pattern = line.strip()
            if not pattern or pattern.startswith("#"):
                continue
            keep = pattern.startswith("!")
            cleaned = pattern.removeprefix("!").strip().strip("/").removeprefix("./")
            if cleaned:
                self._rules.append((keep, _compiled(cleaned)))

    def excludes(self, path: str) -> bool:
        """`path` is relative to the context. A rule for a folder holds for everything in it."""
        verdict = False
        for keep, pattern in self._rules:
            if pattern.match(path):
                verdict = not keep
        return verdict


def _compiled(pattern: str) -> re.Pattern[str]:
    out, i = "", 0
    while i < len(pattern):
        if pattern.startswith("**/", i):
            out, i = out + "(?:.*/)?", i + 3
        elif pattern.startswith("**", i):
            out, i = out + ".*", i + 2
        elif pattern[i] == "*":
            out, i = out + "[^/]*", i + 1
        elif pattern[i] == "?":
            out, i = out + "[^/]", i + 1
        elif pattern[i] == "[" and "]" in pattern[i:]:
            end = pattern.index("]", i)
            out, i = out + "[" + pattern[i + 1:end].replace("!", "^", 1) + "]", end + 1
        else:
            out, i = out + re.escape(pattern[i]), i + 1
    return re.compile(out + r"(?:/.*)?\Z")
