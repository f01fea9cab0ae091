"""Label matchers: `=`, `!=`, `=~`, `!~`, with RE2 patterns read by Python's `re`.

Patterns are anchored at both ends and `.` matches newlines, as in Prometheus. What RE2 has and `re` has not is
translated where it means the same (`(?i)` in the middle, `\\z`, `\\Q…\\E`, `[[:alpha:]]`, `\\pL`); the rest is
refused by name. Python's matcher backtracks: a pattern such as `(a+)+b` can take long, which RE2 rules out. Patterns
come from a team's own files, and each is asked once per distinct label value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

MatchOp = Literal["=", "!=", "=~", "!~"]

_POSIX = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": "\\x00-\\x7F", "blank": "\\t ", "cntrl": "\\x00-\\x1F\\x7F",
    "digit": "0-9", "graph": "!-~", "lower": "a-z", "print": " -~", "punct": "!-/:-@\\[-`{-~",
    "space": "\\t\\n\\v\\f\\r ",
    "upper": "A-Z", "word": "0-9A-Za-z_", "xdigit": "0-9A-Fa-f",
}  # fmt: skip
_UNICODE = {"L": "[^\\W\\d_]", "N": "\\d", "Lu": "[A-Z]", "Ll": "[a-z]", "Nd": "\\d"}
_TOKEN = re.compile(
    r"\\Q(?P<quoted>.*?)(?:\\E|$)"
    r"|\\(?P<end>z)"
    r"|\\p(?P<class>[A-Z]|\{\w+\})"
    r"|\\(?P<unknown>[CPXR])"
    r"|\\."
    r"|(?P<flags>\(\?[imsU-]+\))"
    r"|\(\?<(?P<group>[A-Za-z_]\w*)>"
    r"|(?P<open>\()|(?P<close>\))"
    r"|(?P<set>\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\])",
    re.DOTALL,
)
_LITERAL = re.compile(r"[\w\- /:@,]*\Z", re.ASCII)


class BadPattern(ValueError):
    """A regular expression that cannot be read."""


@lru_cache(maxsize=2048)
def pattern(text: str) -> re.Pattern[str]:
    """An RE2 pattern as one of Python's, to be used with `fullmatch`."""
    try:
        return re.compile(_translated(text), re.DOTALL)
    except (re.error, RecursionError) as error:
        raise BadPattern(f"error parsing regexp: {error}: `{text}`") from None


def _translated(text: str) -> str:
    out: list[str] = []
    opened: list[int] = [0]  # flag groups opened so far, per nesting level of the pattern
    position = 0
    for token in _TOKEN.finditer(text):
        out.append(text[position : token.start()])
        position = token.end()
        if token["quoted"] is not None:
            out.append(re.escape(token["quoted"]))
        elif token["end"]:
            out.append(r"\Z")
        elif token["class"]:
            name = token["class"].strip("{}")
            if name not in _UNICODE:
                raise BadPattern(f"error parsing regexp: character class \\p{{{name}}} is not supported: `{text}`")
            out.append(_UNICODE[name])
        elif token["unknown"]:
            raise BadPattern(f"error parsing regexp: \\{token['unknown']} is not supported: `{text}`")
        elif token["flags"]:
            # (?i) holds to the end of the group it stands in: the same as a group of its own around the rest
            flags = token["flags"][2:-1].replace("U", "").rstrip("-")
            out.append(f"(?{flags}:" if flags else "(?:")
            opened[-1] += 1
        elif token["group"]:
            out.append(f"(?P<{token['group']}>")
            opened.append(0)
        elif token["open"]:
            out.append("(")
            opened.append(0)
        elif token["close"]:
            out.append(")" * (1 + (opened.pop() if len(opened) > 1 else 0)))
        elif token["set"]:
            out.append(_set(token["set"], text))
        else:
            out.append(token[0])
    return "".join([*out, text[position:], ")" * opened[0]])


def _set(text: str, whole: str) -> str:
    """A character set; a bracket inside it is a plain character for RE2 and a warning for `re`."""

    def inner(match: re.Match[str]) -> str:
        if match[1] is None:
            return "\\["
        if match[1] not in _POSIX:
            raise BadPattern(f"error parsing regexp: invalid character class range: `{match[0]}` in `{whole}`")
        return _POSIX[match[1]]

    return "[" + re.sub(r"\[:(\w+):\]|\[", inner, text[1:])


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label. An absent label has the value ""."""

    name: str
    op: MatchOp
    value: str

    def test(self) -> Callable[[str], bool]:
        """The predicate on a label's value. `BadPattern` where the pattern cannot be read."""
        wanted = self.value
        match self.op:
            case "=":
                return lambda text: text == wanted
            case "!=":
                return lambda text: text != wanted
            case "=~":
                return _full_match(wanted)
            case "!~":
                positive = _full_match(wanted)
                return lambda text: not positive(text)

    def __str__(self) -> str:
        return f'{self.name}{self.op}"{self.value}"'


def _full_match(text: str) -> Callable[[str], bool]:
    if text == ".*":
        return lambda _: True
    if text == ".+":
        return bool
    choices = text.split("|")
    if all(_LITERAL.match(choice) for choice in choices):
        return frozenset(choices).__contains__
    full = pattern(text).fullmatch
    return lambda value: full(value) is not None
