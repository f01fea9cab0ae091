"""Expression text to tokens.

A number or a name runs to the next boundary; what does not spell one is an `Unexpected symbol` of the lexing stage.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from fairway.ci.expressions.errors import ExpressionError
from fairway.ci.expressions.values import Value, parse_number

Kind = Literal["literal", "name", "function", "property", "operator", "(", ")", "[", "]", ",", ".", "*", "end"]

_BOUNDARY = frozenset("()[],.!><=&|")
_KEYWORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_LITERALS: dict[str, Value] = {"null": None, "true": True, "false": False, "NaN": math.nan, "Infinity": math.inf}
_BEFORE_OPERAND = frozenset({"operator", "(", "[", ","})


@dataclass(frozen=True, slots=True)
class Token:
    kind: Kind
    text: str
    position: int
    value: Value = None


def unexpected(text: str, position: int, expression: str) -> str:
    return f"Unexpected symbol: '{text}'. Located at position {position} within expression: {expression}"


class _Lexer:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.tokens: list[Token] = []

    def run(self) -> tuple[Token, ...]:
        while True:
            self._skip_blanks()
            if self.at >= len(self.text):
                last = self.tokens[-1] if self.tokens else None
                self.tokens.append(Token("end", last.text if last else "", last.position if last else 1))
                return tuple(self.tokens)
            self.tokens.append(self._next())

    def _skip_blanks(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def _next(self) -> Token:
        char = self.text[self.at]
        if char in "()[],*":
            return self._take(char, 1)  # type: ignore[arg-type]
        if char == "'":
            return self._string()
        if char in "!><=&|":
            return self._operator(char)
        if char == ".":
            previous = self.tokens[-1].kind if self.tokens else "operator"
            return self._number() if previous in _BEFORE_OPERAND else self._take(".", 1)
        if char in "+-" or "0" <= char <= "9":
            return self._number()
        return self._word()

    def _take(self, kind: Kind, length: int) -> Token:
        start, self.at = self.at, self.at + length
        return Token(kind, self.text[start:self.at], start + 1)

    def _operator(self, char: str) -> Token:
        following = self.text[self.at + 1 : self.at + 2]
        if char in "!><":
            return self._take("operator", 2 if following == "=" else 1)
        if following == char:
            return self._take("operator", 2)
        raise self._refuse(self.at, dots=False)

    def _string(self) -> Token:
        start, end, parts = self.at, self.at + 1, []
        while True:
            quote = self.text.find("'", end)
            if quote < 0:
                raise ExpressionError("lexing", unexpected(self.text[start:], start + 1, self.text), start + 1)
            parts.append(self.text[end:quote])
            if self.text[quote + 1 : quote + 2] != "'":
                break
            parts.append("'")
            end = quote + 2
        self.at = quote + 1
        return Token("literal", self.text[start:self.at], start + 1, "".join(parts))

    def _number(self) -> Token:
        start = self.at
        text = self._to_boundary(start, dots=True)
        value = parse_number(text)
        if math.isnan(value):
            raise ExpressionError("lexing", unexpected(text, start + 1, self.text), start + 1)
        self.at = start + len(text)
        return Token("literal", text, start + 1, value)

    def _word(self) -> Token:
        start = self.at
        text = self._to_boundary(start, dots=False)
        if not _KEYWORD.fullmatch(text):
            raise ExpressionError("lexing", unexpected(text, start + 1, self.text), start + 1)
        self.at = start + len(text)
        if self.tokens and self.tokens[-1].kind == ".":
            return Token("property", text, start + 1)
        if text in _LITERALS:
            return Token("literal", text, start + 1, _LITERALS[text])
        is_call = self.text[self.at :].lstrip()[:1] == "("
        return Token("function" if is_call else "name", text, start + 1)

    def _to_boundary(self, start: int, *, dots: bool) -> str:
        end = start + 1
        while end < len(self.text):
            char = self.text[end]
            if char.isspace() or (char in _BOUNDARY and not (dots and char == ".")):
                break
            end += 1
        return self.text[start:end]

    def _refuse(self, start: int, *, dots: bool) -> ExpressionError:
        text = self._to_boundary(start, dots=dots)
        return ExpressionError("lexing", unexpected(text, start + 1, self.text), start + 1)


def tokenize(text: str) -> tuple[Token, ...]:
    """The tokens, with an `end` token last that stands at the last one's place."""
    return _Lexer(text).run()
