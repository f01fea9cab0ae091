"""Durations in brackets and after `offset`: numbers, `5m`, and arithmetic over them."""

from __future__ import annotations

from fairway.metrics.promql.lexer import Token, mistake
from fairway.metrics.promql.tree import Duration, DurationCall, DurationSum, Seconds, seconds
from fairway.metrics.promql.values import BadQuery

_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "%": 2, "^": 3}
_BRACKETS = {"(": "parenthesis", "[": "bracket", "{": "brace", ")": "parenthesis", "]": "bracket", "}": "brace"}
_EDGES = frozenset({"step", "range"})
_CHOICES = frozenset({"min", "max", "min_of", "max_of"})


class DurationParser:
    """The tokens of a query with a place in them, and the part of the grammar that reads durations."""

    def __init__(self, text: str, found: list[Token]) -> None:
        self.text = text
        self._tokens = found
        self._place = 0

    @property
    def next(self) -> Token:
        return self._tokens[self._place]

    def peek(self) -> Token:
        """The token after the next one."""
        return self._tokens[min(self._place + 1, len(self._tokens) - 1)]

    def take(self) -> Token:
        token = self.next
        self._place = min(self._place + 1, len(self._tokens) - 1)
        return token

    def expect(self, symbol: str) -> Token:
        if self.next.text != symbol or self.next.kind != "symbol":
            raise self._unexpected(symbol)
        return self.take()

    def _unexpected(self, wanted: str = "") -> BadQuery:
        token = self.next
        if token.kind == "end" and (unclosed := self._unclosed()):
            return mistake(self.text, token.at, f"unclosed left {_BRACKETS[unclosed]}")
        if token.text in (")", "]", "}") and token.kind == "symbol":
            return mistake(self.text, token.at, f"unexpected right {_BRACKETS[token.text]} {token}")
        return mistake(self.text, token.at, f"unexpected {token}" + (f", expected {wanted!r}" if wanted else ""))

    def _unclosed(self) -> str:
        """The innermost bracket that is never closed; "" where there is none."""
        opened: list[str] = []
        for token in self._tokens:
            if token.kind == "symbol" and token.text in ("(", "[", "{"):
                opened.append(token.text)
            elif token.kind == "symbol" and token.text in (")", "]", "}") and opened:
                opened.pop()
        return opened[-1] if opened else ""

    def _symbol(self, text: str) -> bool:
        """Take this symbol where it is next."""
        if self.next.kind == "symbol" and self.next.text == text:
            self.take()
            return True
        return False

    def _keyword(self, word: str) -> bool:
        if self.next.kind == "name" and self.next.text.lower() == word:
            self.take()
            return True
        return False

    # --- durations --------------------------------------------------------------------------------------------------

    def duration(self) -> Duration:
        """A whole expression; where it needs no query to be known, it must be longer than 0."""
        token = self.next
        found = self._sum(1)
        if _known(found) and seconds(found, 0, 0) <= 0:
            raise mistake(self.text, token.at, "duration must be greater than 0")
        return found

    def offset(self) -> Duration:
        """One duration, perhaps with a sign; arithmetic only in parentheses, since an operator may follow."""
        return self._one()

    def _sum(self, least: int) -> Duration:
        left = self._one()
        while self.next.kind == "symbol" and (precedence := _PRECEDENCE.get(self.next.text, 0)) >= least:
            op = self.take().text
            left = DurationSum(op, left, self._sum(precedence if op == "^" else precedence + 1))
        return left

    def _one(self) -> Duration:
        token = self.take()
        word = token.text.lower()
        if token.kind in ("number", "duration"):
            return Seconds(token.value)
        if token.text == "-":
            return DurationSum("-", Seconds(0), self._power())
        if token.text == "+":
            return self._power()
        if token.text == "(":
            inner = self._sum(1)
            self.expect(")")
            return inner
        if word in _EDGES | _CHOICES:
            self.expect("(")
            arguments: list[Duration] = []
            while word in _CHOICES:
                arguments.append(self._sum(1))
                if not self._symbol(","):
                    break
            self.expect(")")
            return DurationCall(word, tuple(arguments))
        raise mistake(self.text, token.at, f"unexpected {token}, expected a duration")

    def _power(self) -> Duration:
        left = self._one()
        if self.next.text == "^":
            self.take()
            return DurationSum("^", left, self._power())
        return left


def _known(duration: Duration) -> bool:
    match duration:
        case Seconds():
            return True
        case DurationCall(name, arguments):
            return name not in _EDGES and all(map(_known, arguments))
        case DurationSum(_, left, right):
            return _known(left) and _known(right)
