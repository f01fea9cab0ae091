"""Regular expressions of RE2, as GitLab has them, for Python's `re`. Pure.

RE2 has no backreferences and no look-around: a pattern with them is refused, because it would be there. What RE2 has and
Python has not is rewritten: POSIX classes, `\\z`, `\\Q…\\E`, flags in the middle of a pattern.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

_POSIX = {
    "alnum": "a-zA-Z0-9", "alpha": "a-zA-Z", "ascii": r"\x00-\x7f", "blank": r" \t", "cntrl": r"\x00-\x1f\x7f", "digit": "0-9",
    "graph": "!-~", "lower": "a-z", "print": " -~", "punct": r"!-/:-@\[-`{-~", "space": r" \t\n\r\f\v", "upper": "A-Z",
    "word": r"\w", "xdigit": "0-9A-Fa-f",
}
_FLAGS_HERE = re.compile(r"\(\?([imsU]+)(-[imsU]+)?\)")
_FOREIGN = re.compile(r"(?<!\\)(?:\\\\)*\(\?(?:=|!|<=|<!|>|\()|(?<!\\)(?:\\\\)*\\[1-9kG]")
LONGEST = 4096


class RegexpError(Exception):
    """A pattern that RE2 would not take."""


@lru_cache(maxsize=1024)
def compile_re2(pattern: str, flags: str = "") -> re.Pattern[str]:
    """`flags` are letters of `ismU`. Raises `RegexpError`."""
    if len(pattern) > LONGEST:
        raise RegexpError(f"a pattern may have at most {LONGEST} characters")
    if _FOREIGN.search(pattern):
        raise RegexpError(f"{pattern!r}: look-around, backreferences and atomic groups do not exist in RE2")
    chosen = sum(flag for letter, flag in (("i", re.I), ("s", re.S), ("m", re.M)) if letter in flags)
    try:
        return re.compile(_translated(pattern), chosen)
    except (re.error, RecursionError, OverflowError) as error:
        raise RegexpError(f"{pattern!r}: {error}") from None


def _translated(pattern: str) -> str:
    text = re.sub(r"\[:(\^?)(\w+):\]", lambda m: _POSIX.get(m[2], m[0]) if not m[1] else m[0], pattern)
    text = re.sub(r"\\Q(.*?)(?:\\E|\Z)", lambda m: re.escape(m[1]), text, flags=re.DOTALL)
    text = re.sub(r"(?<!\\)((?:\\\\)*)\\z", r"\1\\Z", text)
    text = re.sub(r"(?<!\\)((?:\\\\)*)\\h", r"\1[ \\t]", text)
    text = text.replace(r"\pL", "[^\\W\\d_]").replace(r"\pN", r"\d")
    closing = 0
    while found := _FLAGS_HERE.search(text, 0):
        on = "".join(dict.fromkeys(found[1].replace("U", "")))
        opened = f"(?{on}:" if on else "(?:"
        text = text[: found.start()] + opened + _group_end(text[found.end() :])
        closing += 1
        if closing > 16:
            raise RegexpError(f"{pattern!r}: too many flags")
    return text


def _group_end(rest: str) -> str:
    """`rest` with a `)` where the group that holds it ends: flags hold up to there."""
    end = next((at for at, char, depth in outside_classes(rest) if char == ")" and depth < 0), len(rest))
    return rest[:end] + ")" + rest[end:]


def outside_classes(pattern: str) -> Iterator[tuple[int, str, int]]:
    """Characters of a pattern that are neither escaped nor in a class, each with its place and how deep in groups it
    stands; a closing parenthesis stands outside its group, so one without an opening stands at -1."""
    depth, at, in_class = 0, 0, False
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            at += 1
        elif in_class:
            in_class = char != "]"
        elif char == "[":
            in_class = True
        else:
            depth += {"(": 1, ")": -1}.get(char, 0)
            yield at, char, depth
        at += 1
