"""Patterns of AppProjects, sync windows and RBAC policies, compiled once. Pure.

`*` matches anything but the separator, `**` anything at all, `?` one character, `[a-z]` and `[!a-z]` one of a set, `{a,b}`
alternatives, and a backslash the next character itself. Without a separator `*` and `**` are the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache


@lru_cache(maxsize=4096)
def compiled(pattern: str, separators: str = "") -> re.Pattern[str] | None:
    """None where the pattern cannot be read: it matches nothing."""
    try:
        return re.compile(_translated(pattern, separators) + r"\Z", re.DOTALL)
    except (re.error, ValueError):
        return None


def matches(pattern: str, text: str, separators: str = "") -> bool:
    found = compiled(pattern, separators)
    return found is not None and found.match(text) is not None


def matches_any(patterns: Iterable[str], text: str, separators: str = "") -> bool:
    return any(matches(pattern, text, separators) for pattern in patterns)


def _translated(pattern: str, separators: str) -> str:
    single = f"[^{re.escape(separators)}]" if separators else "."
    out, n, depth = "", 0, 0
    while n < len(pattern):
        c = pattern[n]
        n += 1
        if c == "*":
            double = n < len(pattern) and pattern[n] == "*"
            while n < len(pattern) and pattern[n] == "*":
                n += 1
            out += ".*" if double else f"{single}*"
        elif c == "?":
            out += single
        elif c == "[":
            end = pattern.index("]", n + 1)
            inner = pattern[n:end].replace("\\", "\\\\")
            out += f"[^{inner[1:]}]" if inner[:1] in ("!", "^") else f"[{inner}]"
            n = end + 1
        elif c == "{":
            out, depth = out + "(?:", depth + 1
        elif c == "}" and depth:
            out, depth = out + ")", depth - 1
        elif c == "," and depth:
            out += "|"
        elif c == "\\" and n < len(pattern):
            out += re.escape(pattern[n])
            n += 1
        else:
            out += re.escape(c)
    if depth:
        raise ValueError("unclosed {")
    return out
