"""Patterns of `directory.include` and `exclude`: `*` also matches `/`, as in Argo CD; `{a,b}`, `[a-z]` and `?` are read.

A pattern comes from whoever writes an Application, so it must not be able to keep a processor busy: no backtracking over more
than one `*`, and at most so many alternatives.
"""

from __future__ import annotations

import re
from functools import lru_cache

MAX_ALTERNATIVES = 512
"""Of all `{a,b}` of a pattern multiplied: what comes after is not looked at."""


@lru_cache(maxsize=256)
def patterns(glob: str) -> tuple[re.Pattern[str], ...]:
    return tuple(_compiled(one) for one in _alternatives(glob))


def matches(glob: str, path: str) -> bool:
    return any(pattern.match(path) for pattern in patterns(glob))


def _alternatives(glob: str) -> list[str]:
    """`a{b,c}d` as `abd` and `acd`."""
    found, done = [glob], list[str]()
    while found and len(found) + len(done) <= MAX_ALTERNATIVES:
        one = found.pop()
        braces = _innermost(one)
        if braces is None:
            done.append(one)
        else:
            begin, end = braces
            found += [one[:begin] + choice + one[end + 1 :] for choice in one[begin + 1 : end].split(",")]
    return done


def _innermost(glob: str) -> tuple[int, int] | None:
    begin, n = -1, 0
    while n < len(glob):
        if glob[n] == "\\":
            n += 1
        elif glob[n] == "{":
            begin = n
        elif glob[n] == "}" and begin >= 0:
            return begin, n
        n += 1
    return None


def _compiled(glob: str) -> re.Pattern[str]:
    """Between two `*` the shortest match is taken and kept (an atomic group): where that fails, a longer one does, too."""
    parts, n = [""], 0
    while n < len(glob):
        char = glob[n]
        end = glob.find("]", n + 2) if char == "[" else -1
        if char == "*":
            parts.append("")
        elif char == "?":
            parts[-1] += "."
        elif end > 0:
            inner = glob[n + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            parts[-1] += f"[{'^' if inner[0] in '!^' else ''}{inner.lstrip('!^') or '^'}]"
            n = end
        elif char == "\\" and n + 1 < len(glob):
            n += 1
            parts[-1] += re.escape(glob[n])
        else:
            parts[-1] += re.escape(char)
        n += 1
    first, *middle = parts
    last = f".*{middle.pop()}" if middle else ""
    try:
        return re.compile(first + "".join(f"(?>.*?{part})" for part in middle) + last + r"\Z", re.DOTALL)
    except re.error:
        return re.compile(re.escape(glob) + r"\Z")
