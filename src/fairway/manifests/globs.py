"""Patterns of `directory.include` and `exclude`: `*` also matches `/`, as in Argo CD; `{a,b}`, `[a-z]` and `?` are read."""

from __future__ import annotations

import re
from functools import lru_cache


@lru_cache(maxsize=256)
def pattern(glob: str) -> re.Pattern[str]:
    found, depth, n = "", 0, 0
    while n < len(glob):
        char = glob[n]
        end = glob.find("]", n + 2) if char == "[" else -1
        if char == "*":
            found += ".*"
        elif char == "?":
            found += "."
        elif char == "{":
            found, depth = found + "(?:", depth + 1
        elif char == "}" and depth:
            found, depth = found + ")", depth - 1
        elif char == "," and depth:
            found += "|"
        elif end > 0:
            inner = glob[n + 1 : end]
            found += f"[{'^' if inner[0] in '!^' else ''}{inner.lstrip('!^')}]"
            n = end
        elif char == "\\" and n + 1 < len(glob):
            n += 1
            found += re.escape(glob[n])
        else:
            found += re.escape(char)
        n += 1
    return re.compile(found + ")" * depth + r"\Z", re.DOTALL)


def matches(glob: str, path: str) -> bool:
    return pattern(glob).match(path) is not None
