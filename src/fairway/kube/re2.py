"""Regular expressions as RE2 reads them, in linear time: what a user writes can take no longer than its text is long.

Go, and with it Prometheus, Argo and Kubernetes, know no others. Python's own engine backtracks: `(a+)+$` on thirty letters
takes a minute. The engine that JSON schemas are checked with here is Rust's, of RE2's kind; what the two spell differently is
translated.
"""

from __future__ import annotations

import re
from functools import lru_cache

import jsonschema_rs

_MOST_REPEATED = 1000
"""RE2's limit: a repetition is written out."""
_CLASSES = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": r"\x00-\x7F", "blank": r"\t ", "cntrl": r"\x00-\x1F\x7F", "digit": "0-9",
    "graph": "!-~", "lower": "a-z", "print": " -~", "punct": r"!-\/:-@\[-`{-~", "space": r"\t\n\v\f\r ", "upper": "A-Z",
    "word": "0-9A-Za-z_", "xdigit": "0-9A-Fa-f",
}  # fmt: skip
_SPACE = r"\t\n\f\r "
_ANYTHING = r"[\x00-\x{10FFFF}]"
_ESCAPE = r"\\(?:x\{[0-9A-Fa-f]+\}|[pP]\{[^}]*\}|.)"
_TOKEN = re.compile(
    rf"""\\Q(?P<quoted>.*?)(?:\\E|\Z) | (?P<escape>{_ESCAPE}) | \[(?P<not>\^?)(?P<set>\]?(?:\[:\^?[a-z]+:\]|\\.|[^\]\\])*)\]
      | (?P<repeat>\{{(?P<least>\d+)(?:,(?P<most>\d*))?\}})
      | \(\?(?P<flags>[imsU]*(?:-[imsU]+)?)(?P<scope>[:)]) | .""", re.DOTALL | re.VERBOSE)
_IN_SET = re.compile(rf"\[:(?P<not>\^?)(?P<posix>[a-z]+):\] | (?P<escape>{_ESCAPE}) | .", re.DOTALL | re.VERBOSE)
_TWICE = re.compile(r"(?<!\\)(?:\\\\)*(?:[*+?]|\{\d+(?:,\d*)?\})\??(?:[*+]|\{\d+(?:,\d*)?\})")


class BadPattern(ValueError):
    """RE2 would refuse it; the text says so in its words."""


class Pattern:
    """`found_in` looks for it anywhere in a text."""

    def __init__(self, text: str) -> None:
        try:
            schema = {"type": "string", "pattern": _translated(text)}
            self._validator = jsonschema_rs.Draft202012Validator(schema, pattern_options=jsonschema_rs.RegexOptions())
        except jsonschema_rs.ValidationError:
            raise BadPattern(f"error parsing regexp: {_mistake(text)}: `{text}`") from None

    def found_in(self, text: str) -> bool:
        return bool(self._validator.is_valid(text))


@lru_cache(maxsize=256)
def compiled(text: str) -> Pattern:
    return Pattern(text)


def _translated(text: str) -> str:
    if _TWICE.search(text):
        raise BadPattern(f"error parsing regexp: invalid nested repetition operator: `{text}`")
    parts, dot_all = [], [False]  # of every group that is open: whether the dot takes a newline in it
    for token in _TOKEN.finditer(text):
        if token["scope"] is not None:
            on, _, off = token["flags"].partition("-")
            whole = (dot_all[-1] or "s" in on) and "s" not in off
            dot_all = [*dot_all, whole] if token["scope"] == ":" else [*dot_all[:-1], whole]
        elif token[0] == "(":
            dot_all.append(dot_all[-1])
        elif token[0] == ")" and len(dot_all) > 1:
            dot_all.pop()
        parts.append(_part(token) if token[0] != "." else _ANYTHING if dot_all[-1] else r"[^\n]")
    return "".join(parts)


def _part(token: re.Match[str]) -> str:
    if token["quoted"] is not None:
        return re.sub(r"([^\w\s])", r"\\\1", token["quoted"], flags=re.ASCII)
    if token["set"] is not None:
        return f"[{token['not']}{_IN_SET.sub(_member, token['set'])}]"
    if token["repeat"] and max(int(token["least"]), int(token["most"] or 0)) > _MOST_REPEATED:
        raise BadPattern(f"error parsing regexp: invalid repeat count: `{token['repeat']}`")
    return {r"\s": f"[{_SPACE}]", r"\S": f"[^{_SPACE}]"}.get(token[0], token[0])


def _member(token: re.Match[str]) -> str:
    """Of a set. Rust knows sets in sets, and what they have in common: `[`, `&` and `~` are letters here."""
    if token["posix"] is None:
        return _SPACE if token[0] == r"\s" else rf"\{token[0]}" if token[0] in "[]&~" else token[0]
    if token["posix"] not in _CLASSES:
        raise BadPattern(f"error parsing regexp: invalid character class range: `{token[0]}`")
    return f"[^{_CLASSES[token['posix']]}]" if token["not"] else _CLASSES[token["posix"]]


def _mistake(text: str) -> str:
    if re.search(r"\(\?(?:[=!]|<[=!])", text):
        return "invalid or unsupported Perl syntax"
    if re.search(r"(?<!\\)(?:\\\\)*\\[1-9]", text):
        return "invalid escape sequence"
    try:
        re.compile(text)
    except re.error as error:
        return {"unterminated character set": "missing closing ]", "missing ), unterminated subpattern": "missing closing )",
                "unbalanced parenthesis": "unexpected )", "nothing to repeat": "missing argument to repetition operator",
                }.get(error.msg, error.msg)  # fmt: skip
    return "invalid escape sequence"
