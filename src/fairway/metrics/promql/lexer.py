"""From text to tokens. Keywords are names here; the parser knows where a name is a keyword."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import reduce
from typing import Literal

from fairway.metrics.promql.values import BadQuery

Kind = Literal["name", "number", "duration", "string", "symbol", "end"]

_TOKEN = re.compile(
    r"(?P<skip>\s+|#[^\n]*)"
    r"|(?P<duration>(?:\d+(?:ms|[ywdhms]))+(?![\w.]))"
    r"|(?P<number>0[xX][0-9a-fA-F_]+|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?)(?![\w.])"
    r"|(?P<name>[A-Za-z_:][\w:]*)"
    r"|(?P<string>`[^`]*`|\"(?:\\[\s\S]|[^\"\\\n])*\"|'(?:\\[\s\S]|[^'\\\n])*')"
    r"|(?P<symbol></|>/|==|!=|=~|!~|<=|>=|[-+*/%^=<>(){}\[\],:@])",
    re.ASCII,
)
_IN_BRACKETS = re.compile(r"(?P<symbol>:)|(?P<name>\w+)", re.ASCII)
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}
_DURATION = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|[abfnrtv\\'\"])|\\")
_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"'}
_LONGEST_S = 2**63 / 1e9  # what Prometheus can hold: 292 years in nanoseconds


@dataclass(frozen=True, slots=True)
class Token:
    """`text` as written; `value` of a number, of a duration in seconds."""

    kind: Kind
    text: str
    at: int
    value: float = 0.0

    def __str__(self) -> str:
        return "end of input" if self.kind == "end" else f"{self.text!r}"


def mistake(text: str, at: int, message: str) -> BadQuery:
    """A parse error with line and column, as Prometheus writes them."""
    line = text.count("\n", 0, at) + 1
    return BadQuery(f"{line}:{at - text.rfind(chr(10), 0, at)}: parse error: {message}")


def tokens(text: str) -> list[Token]:
    found: list[Token] = []
    position, brackets = 0, 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise mistake(text, position, _unexpected(text, position))
        kind, piece = match.lastgroup, match[0]
        if kind == "name" and ":" in piece and brackets:  # a colon in brackets sets the step apart
            match = _IN_BRACKETS.match(text, position)
            assert match is not None
            kind, piece = match.lastgroup, match[0]
        brackets += (piece == "[") - (piece == "]")
        if kind == "duration":
            found.append(Token("duration", piece, position, _duration(text, position, piece)))
        elif kind == "number":
            found.append(Token("number", piece, position, number(piece)))
        elif kind in ("name", "string", "symbol"):
            found.append(Token(kind, piece, position))  # type: ignore[arg-type]
        position = match.end()
    return [*found, Token("end", "", len(text))]


def _unexpected(text: str, at: int) -> str:
    if text[at] in "\"'`":
        return "unterminated quoted string"
    if text[at].isdigit() or text[at] == ".":
        word = re.match(r"[\w.]+", text[at:])
        return f'bad number or duration syntax: "{word[0] if word else text[at]}"'
    return f"unexpected character: {text[at]!r}"


def number(text: str) -> float:
    """As Go reads it: a leading 0 makes an octal number, "_" may stand between digits."""
    plain = text.replace("_", "")
    if plain[:2] in ("0x", "0X"):
        return float(int(plain, 16))
    if re.fullmatch(r"0[0-7]+", plain):
        return float(int(plain, 8))
    return float(plain)


def duration_seconds(text: str) -> float | None:
    """`1h30m` in seconds; None where it is no duration. Units go from large to small, each once."""
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        return None
    parts = zip(match.groups(), ("y", "w", "d", "h", "m", "s", "ms"), strict=True)
    return reduce(lambda total, part: total + int(part[0] or 0) * UNITS[part[1]], parts, 0.0)


def _duration(text: str, at: int, piece: str) -> float:
    found = duration_seconds(piece)
    if found is None:
        raise mistake(text, at, f'not a valid duration string: "{piece}"')
    if found > _LONGEST_S:
        raise mistake(text, at, "duration out of range")
    return found


def unquoted(text: str, token: Token) -> str:
    """What a string token says. Bytes that are no UTF-8 stay apart as lone surrogates."""
    inner = token.text[1:-1]
    if token.text[0] == "`" or "\\" not in inner:
        return inner
    out = bytearray()
    position = 0
    for escape in _ESCAPE.finditer(inner):
        out += inner[position : escape.start()].encode("utf-8", "surrogateescape")
        position = escape.end()
        code = escape[1]
        if code is None:
            raise mistake(text, token.at, f"unknown escape sequence in {token.text}")
        if code in _LETTERS:
            out += _LETTERS[code].encode()
        elif code[0] == "x":
            out.append(int(code[1:], 16))
        elif code[0] in "uU":
            out += chr(int(code[1:], 16)).encode("utf-8", "replace")
        else:
            out.append(int(code, 8) & 0xFF)
    out += inner[position:].encode("utf-8", "surrogateescape")
    return out.decode("utf-8", "surrogateescape")
