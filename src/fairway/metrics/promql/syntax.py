"""From text to a syntax tree: `promql-parser`, with its known defects kept away from users.

The parser rejects backslashes in backtick strings and `1_000`, accepts `{a="b" or c="d"}`, which Prometheus does not,
and says "invalid promql query" for most mistakes. So strings are read here first: raw ones become quoted ones, and
brackets and known but unsupported syntax are found with their position.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

import promql_parser as ast

from fairway.metrics.promql.values import BadQuery

Node = Any
"""A node of `promql_parser`, which has no types of its own."""

_PIECE = re.compile(r'`(?P<raw>[^`]*)`|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|(?P<comment>#[^\n]*)|(?P<open>[`"\'])')
_DIGITS = re.compile(r"(?<![\w.:])(\d[\d_]*\d|\d)(?![\w:])")
_BYTES = re.compile(r"(?:\\x[89a-fA-F][0-9a-fA-F])+")
_CLOSERS = {")": "(", "]": "[", "}": "{"}
_OPERATOR = re.compile(r"[-+*/%^]|[=!<>]=?|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)
_DEEPEST, _LONGEST_CHAIN = 80, 300
"""Brackets in brackets, and operators in all. The parser recurses without a limit: at some ten thousand the process dies."""
_NAMES = {"(": "parenthesis", "[": "bracket", "{": "brace"}
_EXPERIMENTAL = (
    (re.compile(r"\b(anchored|smoothed)\b"), "the {0!r} modifier"),
    (re.compile(r"(</|>/)"), "the trim operator {0!r}"),
    (re.compile(r"(@\s*-)"), "a negative time after @"),
)

_MODIFIED_RANGE = re.compile(r"\b(\w+)\s*\([^()]*\[[^\]]*\]\s*(anchored|smoothed)\b")
_MODIFIABLE = {
    "anchored": ("changes", "delta", "increase", "rate", "resets"),
    "smoothed": ("delta", "increase", "rate"),
}


@lru_cache(maxsize=1024)
def parse(text: str) -> Node:
    """The syntax tree; `BadQuery` says what is wrong and, where it can be known, at which character."""
    prepared, bare = _prepare(text)
    _check_brackets(bare)
    if len(_OPERATOR.findall(bare)) > _LONGEST_CHAIN:
        raise BadQuery(f"unsupported: more than {_LONGEST_CHAIN} operators in one query")
    for call in _MODIFIED_RANGE.finditer(bare):
        function, modifier = call[1].lower(), call[2]
        if function not in _MODIFIABLE[modifier]:
            raise BadQuery(
                f"{modifier} modifier can only be used with: {', '.join(_MODIFIABLE[modifier])} - not with {function}"
            )
    for found, name in _EXPERIMENTAL:
        if match := found.search(bare):
            raise BadQuery(f"1:{match.start() + 1}: unsupported: {name.format(match[1])}")
    try:
        return ast.parse(prepared)
    except (ValueError, OverflowError) as error:
        message = str(error)
        if re.search(r"\[[^\]]*[-+*/%^(][^\]]*\]", bare) or re.search(r"offset\s*-?\s*\(", bare):
            message = "unsupported: arithmetic in durations"
        raise BadQuery(f'invalid parameter "query": parse error: {message}') from None


def _prepare(text: str) -> tuple[str, str]:
    """(text for the parser, the same length of text with strings and comments blanked)."""
    out: list[str] = []
    bare: list[str] = []
    position = 0

    def plain(part: str) -> None:
        out.append(_DIGITS.sub(lambda m: m[0].replace("_", "") if "_" in m[0] else m[0], part))
        bare.append(part)

    for piece in _PIECE.finditer(text):
        plain(text[position : piece.start()])
        position = piece.end()
        bare.append(" " * len(piece[0]))
        if piece["open"]:
            raise BadQuery(f"1:{piece.start() + 1}: parse error: unterminated quoted string")
        if piece["raw"] is not None:
            out.append(json.dumps(piece["raw"], ensure_ascii=False))
        elif not piece["comment"]:
            out.append(_BYTES.sub(_as_text, piece[0]))
    plain(text[position:])
    return "".join(out), "".join(bare)


def _as_text(escapes: re.Match[str]) -> str:
    """A run of `\\xHH` as the UTF-8 text that it is; the parser would take each byte for a character."""
    return bytes.fromhex(escapes[0].replace("\\x", "")).decode("utf-8", "replace")


def _check_brackets(bare: str) -> None:
    opened: list[tuple[str, int]] = []
    for position, ch in enumerate(bare):
        if ch in "([{":
            opened.append((ch, position))
            if len(opened) > _DEEPEST:
                raise BadQuery(f"1:{position + 1}: unsupported: more than {_DEEPEST} brackets inside one another")
        elif ch in ")]}":
            if not opened or opened[-1][0] != _CLOSERS[ch]:
                raise BadQuery(f"1:{position + 1}: parse error: unexpected right {_NAMES[_CLOSERS[ch]]} {ch!r}")
            opened.pop()
    if opened:
        ch, position = opened[-1]
        raise BadQuery(f"1:{position + 1}: parse error: unclosed left {_NAMES[ch]}")


def unwrapped(node: Node) -> Node:
    """Without the parentheses around it."""
    while isinstance(node, ast.ParenExpr):
        node = node.expr
    return node
