"""Text to tokens. Source: expr-lang `parser/lexer`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from fairway.rollouts.expr.errors import ExprError

Kind = Literal["name", "number", "string", "bytes", "operator", "bracket", "end"]

_WORDS = frozenset({"in", "or", "and", "not", "matches", "contains", "startsWith", "endsWith", "let", "if", "else"})
_SKIP = re.compile(r"(?:\s+|//[^\n]*|/\*.*?\*/)+", re.DOTALL)
_NUMBER = re.compile(
    r"0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+"
    r"|(?:\d[\d_]*(?:\.(?!\.)(?:\d[\d_]*)?)?|\.\d[\d_]*)(?:[eE][+-]?\d[\d_]*)?"
)
_NAME = re.compile(r"[^\W\d][\w]*|\$\w*", re.UNICODE)
_OPERATORS = ("||", "&&", "==", "!=", ">=", "<=", "**", "..", "??", "?.", "::", "#", "+", "-", "*", "/", "%", "^", "<", ">",
              "!", "?", ":", ",", ".", ";", "=", "|")  # fmt: skip
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"',
            "`": "`", "?": "?"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Token:
    kind: Kind
    text: str
    at: int

    def __str__(self) -> str:
        names = {"name": "Identifier", "number": "Number", "string": "String", "bytes": "Bytes", "operator": "Operator",
                 "bracket": "Bracket", "end": "EOF"}
        return names[self.kind] if self.kind == "end" else f'{names[self.kind]}("{self.text}")'


def tokens(text: str) -> list[Token]:
    found, at = [], 0
    while True:
        if skipped := _SKIP.match(text, at):
            at = skipped.end()
        if at >= len(text):
            found.append(Token("end", "", at))
            return found
        token, at = _token(text, at)
        found.append(token)


def _token(text: str, at: int) -> tuple[Token, int]:
    ch = text[at]
    if ch.isdigit() or (ch == "." and text[at + 1 : at + 2].isdigit()):
        return _number(text, at)
    if ch in "'\"":
        value, end = _quoted(text, at)
        return Token("string", value, at), end
    if ch == "b" and text[at + 1 : at + 2] in ("'", '"'):
        value, end = _quoted(text, at + 1, bytewise=True)
        return Token("bytes", value, at), end
    if ch == "`":
        return _raw(text, at)
    if name := _NAME.match(text, at):
        return Token("operator" if name[0] in _WORDS else "name", name[0], at), name.end()
    if ch in "()[]{}":
        return Token("bracket", ch, at), at + 1
    if text.startswith("?.", at) and text[at + 2 : at + 3].isdigit():
        return Token("operator", "?", at), at + 1
    for operator in _OPERATORS:
        if text.startswith(operator, at):
            return Token("operator", operator, at), at + len(operator)
    if text.startswith("/*", at):
        raise ExprError("unclosed comment", at)
    raise ExprError(f"unrecognized character: U+{ord(ch):04X} '{ch}'", at)


def _number(text: str, at: int) -> tuple[Token, int]:
    match = _NUMBER.match(text, at)
    if match is None:
        raise ExprError("bad number syntax", at)
    end = match.end()
    if end < len(text) and (text[end].isalnum() or text[end] == "_"):
        raise ExprError(f'bad number syntax: "{text[at : end + 1]}"', at)
    return Token("number", match[0], at), end


def _raw(text: str, at: int) -> tuple[Token, int]:
    """A backquoted string; two backquotes inside stand for one."""
    parts, start = [], at + 1
    while True:
        end = text.find("`", start)
        if end < 0:
            raise ExprError("literal not terminated", at)
        parts.append(text[start:end])
        if text[end + 1 : end + 2] != "`":
            return Token("string", "`".join(parts), at), end + 1
        start = end + 2


def _quoted(text: str, at: int, *, bytewise: bool = False) -> tuple[str, int]:
    """`bytewise`: an escape is one byte, and those above 7F stand as surrogates until they are encoded again."""
    quote, i = text[at], at + 1
    out: list[str] = []
    while True:
        if i >= len(text) or text[i] == "\n":
            raise ExprError("literal not terminated", at)
        ch = text[i]
        if ch == quote:
            return "".join(out), i + 1
        if ch != "\\":
            out.append(ch)
            i += 1
            continue
        if bytewise and text[i + 1 : i + 2] in ("u", "U"):
            raise ExprError("unable to unescape string", i)
        piece, i = _escape(text, i)
        out.append(chr(0xDC00 + ord(piece)) if bytewise and "\x7f" < piece <= "\xff" else piece)


def _escape(text: str, at: int) -> tuple[str, int]:
    ch = text[at + 1 : at + 2]
    if ch in ("x", "u", "U"):
        if ch == "u" and text[at + 2 : at + 3] == "{":
            end = text.find("}", at)
            digits, after = text[at + 3 : end], end + 1
        else:
            width = {"x": 2, "u": 4, "U": 8}[ch]
            digits, after = text[at + 2 : at + 2 + width], at + 2 + width
        try:
            return chr(int(digits, 16)), after
        except (ValueError, OverflowError):
            raise ExprError("unable to unescape string", at) from None
    if ch in ("0", "1", "2", "3"):
        try:
            return chr(int(text[at + 1 : at + 4], 8)), at + 4
        except ValueError:
            raise ExprError("unable to unescape string", at) from None
    if ch not in _ESCAPES or not ch:
        raise ExprError(f"unable to unescape string: unknown escape \\{ch}", at)
    return _ESCAPES[ch], at + 2
