"""The parser: PromQL as Prometheus 3 reads it, with its experimental syntax.

Binary operators are read by precedence climbing; everything else is recursive descent. Names are keywords only where a
keyword may stand, so that metrics and labels may be called `by` or `offset`. Every mistake names line and column.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from fairway.metrics.labels import NAME
from fairway.metrics.matchers import BadPattern, Matcher, MatchOp
from fairway.metrics.promql.check import checked
from fairway.metrics.promql.durations import DurationParser
from fairway.metrics.promql.lexer import Token, mistake, tokens, unquoted
from fairway.metrics.promql.tree import (
    Aggregation,
    Binary,
    Call,
    Matching,
    Mode,
    Moment,
    Node,
    Number,
    Paren,
    Range,
    Selector,
    Sign,
    String,
    Subquery,
    unwrapped,
)

__all__ = ["Node", "parse", "unwrapped"]

AGGREGATIONS = frozenset({
    "sum", "avg", "count", "min", "max", "group", "stddev", "stdvar", "topk", "bottomk", "count_values", "quantile",
    "limitk", "limit_ratio",
})  # fmt: skip
_PARAMETER = frozenset({"topk", "bottomk", "count_values", "quantile", "limitk", "limit_ratio"})
_PRECEDENCE = {
    "or": 1, "and": 2, "unless": 2, "==": 3, "!=": 3, "<": 3, ">": 3, "<=": 3, ">=": 3, "</": 3, ">/": 3,
    "+": 4, "-": 4, "*": 5, "/": 5, "%": 5, "atan2": 5, "^": 6,
}  # fmt: skip
_COMPARISONS = frozenset({"==", "!=", "<", ">", "<=", ">="})
_SET = frozenset({"and", "or", "unless"})
_DEEPEST, _LONGEST_CHAIN = 85, 300
"""Expressions in expressions (80, and the operands of the innermost), and operators in all: what Python's stack carries."""
_SIGN_PRECEDENCE = 6  # a sign binds weaker than ^ and stronger than *


@lru_cache(maxsize=1024)
def parse(text: str) -> Node:
    """The syntax tree; `BadQuery` says what is wrong and at which line and column."""
    parser = _Parser(text)
    node = parser.expression()
    parser.expect_end()
    return checked(node, text)


class _Parser(DurationParser):
    def __init__(self, text: str) -> None:
        super().__init__(text, tokens(text))
        self._depth = 0
        self._operators = 0

    def expect_end(self) -> None:
        if self.next.kind != "end":
            raise self._unexpected()

    # --- operators --------------------------------------------------------------------------------------------------

    def expression(self, least: int = 1) -> Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise mistake(self.text, self.next.at, "more than 80 expressions inside one another")
        left = self._signed()
        while (precedence := _PRECEDENCE.get(op := self._word(), 0)) >= least:
            self._operators += 1
            if self._operators > _LONGEST_CHAIN:
                raise mistake(self.text, self.next.at, f"more than {_LONGEST_CHAIN} operators in one query")
            at = self.take().at
            as_bool, matching = self._modifiers(op)
            right = self.expression(precedence if op == "^" else precedence + 1)
            left = Binary(op, left, right, as_bool, matching, at)
        self._depth -= 1
        return left

    def _signed(self) -> Node:
        if self.next.text in ("+", "-") and self.next.kind == "symbol":
            token = self.take()
            inner = self.expression(_SIGN_PRECEDENCE)
            if isinstance(inner, Number):
                return Number(-inner.value if token.text == "-" else inner.value, token.at)
            return Sign("-" if token.text == "-" else "+", inner, token.at)
        return self._postfix(self._primary())

    def _word(self) -> str:
        return self.next.text if self.next.kind == "symbol" else self.next.text.lower() if self.next.kind == "name" else ""

    def _modifiers(self, op: str) -> tuple[bool, Matching]:
        as_bool = self._keyword("bool")
        if as_bool and op not in _COMPARISONS:
            raise mistake(self.text, self.next.at, "bool modifier can only be used on comparison operators")
        matching = Matching()
        if self._word() in ("on", "ignoring"):
            on = self.take().text.lower() == "on"
            matching = Matching(on=on, labels=self._labels())
        if self._word() in ("group_left", "group_right"):
            token = self.take()
            include = self._labels() if self.next.text == "(" else ()
            card = "many-to-one" if token.text.lower() == "group_left" else "one-to-many"
            matching = replace(matching, card=card, include=include)  # type: ignore[arg-type]
            if op in _SET:
                raise mistake(self.text, token.at, f'no grouping allowed for "{op}" operation')
            if matching.on and (both := sorted(set(include) & set(matching.labels))):
                raise mistake(self.text, token.at, f'label "{both[0]}" must not occur in ON and GROUP clause at once')
        return as_bool, self._fills(op, matching)

    def _fills(self, op: str, matching: Matching) -> Matching:
        while (word := self._word()) in ("fill", "fill_left", "fill_right") and self.peek().text == "(":
            token = self.take()
            if op in _SET:
                raise mistake(self.text, token.at, f"filling in missing series not allowed for set operator {op!r}")
            self.expect("(")
            negative = self._symbol("-")
            if not negative:
                self._symbol("+")
            value = self._number()
            self.expect(")")
            value = -value if negative else value
            if word in ("fill", "fill_left"):
                matching = replace(matching, fill_left=value)
            if word in ("fill", "fill_right"):
                matching = replace(matching, fill_right=value)
        return matching

    def _number(self) -> float:
        token = self.take()
        if token.kind == "number":
            return token.value
        if token.kind == "name" and token.text.lower() in ("inf", "nan"):
            return float(token.text)
        raise mistake(self.text, token.at, f"unexpected {token}, expected a number")

    # --- what stands between operators ------------------------------------------------------------------------------

    def _primary(self) -> Node:
        token = self.next
        match token.kind:
            case "number" | "duration":
                self.take()
                return Number(token.value, token.at)
            case "string":
                self.take()
                return String(unquoted(self.text, token), token.at)
            case "name":
                return self._named()
            case _ if token.text == "(":
                self.take()
                inner = self.expression()
                self.expect(")")
                return Paren(inner, token.at)
            case _ if token.text == "{":
                return self._selector(None, token.at)
            case _:
                raise self._unexpected()

    def _named(self) -> Node:
        token = self.take()
        word, then = token.text.lower(), self.next.text
        if word in AGGREGATIONS and (then == "(" or self._word() in ("by", "without")):
            return self._aggregation(word, token.at)
        if then == "(":
            return Call(token.text, tuple(self._arguments()), token.at)
        if word in ("inf", "nan"):
            return Number(float(word), token.at)
        return self._selector(token.text, token.at)

    def _arguments(self) -> list[Node]:
        self.expect("(")
        found: list[Node] = []
        while self.next.text != ")":
            found.append(self.expression())
            if not self._symbol(","):
                break
            if self.next.text == ")":
                raise mistake(self.text, self.next.at, "trailing commas not allowed in function call args")
        self.expect(")")
        return found

    def _aggregation(self, op: str, at: int) -> Node:
        by, without = self._grouping()
        arguments = self._arguments()
        if by is None and without is None:
            by, without = self._grouping()
        wanted = 2 if op in _PARAMETER else 1
        if not arguments:
            raise mistake(self.text, at, "no arguments for aggregate expression provided")
        if len(arguments) != wanted:
            raise mistake(self.text, at, "wrong number of arguments for aggregate expression provided, "
                                         f"expected {wanted}, got {len(arguments)}")  # fmt: skip
        return Aggregation(op, arguments[-1], arguments[0] if wanted == 2 else None, by, without, at)

    def _grouping(self) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
        if self._keyword("by"):
            return self._labels(), None
        if self._keyword("without"):
            return None, self._labels()
        return None, None

    def _labels(self) -> tuple[str, ...]:
        """`(a, "b.c")`; a comma may end it."""
        self.expect("(")
        found: list[str] = []
        while self.next.text != ")":
            token = self.take()
            if token.kind == "string":
                name = unquoted(self.text, token)
            elif token.kind == "name" and ":" not in token.text:
                name = token.text
            else:
                raise mistake(self.text, token.at, f"unexpected {token} in grouping opts, expected label")
            found.append(name)
            if not self._symbol(","):
                break
        self.expect(")")
        return tuple(found)

    # --- selectors --------------------------------------------------------------------------------------------------

    def _selector(self, name: str | None, at: int) -> Node:
        matchers = [Matcher(NAME, "=", name)] if name is not None else []
        if self.next.text == "{":
            matchers += self._matchers(name, at)
        return Selector(tuple(matchers), at)

    def _matchers(self, name: str | None, at: int) -> list[Matcher]:
        self.expect("{")
        found: list[Matcher] = []
        while self.next.text != "}":
            token = self.take()
            if token.kind not in ("name", "string") or ":" in (token.text if token.kind == "name" else ""):
                raise mistake(self.text, token.at, f"unexpected {token} in label matching, expected identifier or \"}}\"")
            label = unquoted(self.text, token) if token.kind == "string" else token.text
            if token.kind == "string" and self.next.text in (",", "}"):
                if name is not None:
                    raise mistake(self.text, at, f'metric name must not be set twice: "{name}" or "{label}"')
                name, matcher = label, Matcher(NAME, "=", label)
            else:
                matcher = self._matcher(label)
                if label == NAME and found and name is not None and matcher.op == "=":
                    raise mistake(self.text, at, f'metric name must not be set twice: "{name}" or "{matcher.value}"')
                if label == NAME and name is not None and not found and matcher.op == "=":
                    raise mistake(self.text, at, f'metric name must not be set twice: "{name}" or "{matcher.value}"')
            found.append(matcher)
            if not self._symbol(","):
                break
        self.expect("}")
        return found

    def _matcher(self, label: str) -> Matcher:
        op = self.take()
        if op.text not in ("=", "!=", "=~", "!~"):
            raise mistake(self.text, op.at, f"unexpected {op} in label matching, expected label matching operator")
        value = self.take()
        if value.kind != "string":
            raise mistake(self.text, value.at, f"unexpected {value} in label matching, expected string")
        kind: MatchOp = op.text  # type: ignore[assignment]
        matcher = Matcher(label, kind, unquoted(self.text, value))
        try:
            matcher.test()
        except BadPattern as error:
            raise mistake(self.text, value.at, str(error)) from None
        return matcher

    def _postfix(self, node: Node) -> Node:
        while True:
            token = self.next
            if token.text == "[" and token.kind == "symbol":
                node = self._brackets(node)
            elif token.text == "@":
                self.take()
                node = self._placed(node, token, moment=self._moment())
            elif self._keyword("offset"):
                node = self._placed(node, token, offset=self.offset())
            elif self._keyword("anchored"):
                node = self._moded(node, token, "anchored")
            elif self._keyword("smoothed"):
                node = self._moded(node, token, "smoothed")
            else:
                return node

    def _brackets(self, node: Node) -> Node:
        opened = self.take()
        width = self.duration()
        if self._symbol(":"):
            step = None if self.next.text == "]" else self.duration()
            self.expect("]")
            return Subquery(node, width, step, node.at)
        self.expect("]")
        if not isinstance(node, Selector):
            raise mistake(self.text, opened.at, "ranges only allowed for vector selectors")
        if node.offset is not None or node.moment is not None:
            what = "offset" if node.offset is not None else "@"
            raise mistake(self.text, opened.at, f"no {what} modifiers allowed before range")
        return Range(node, width, node.at)

    def _placed(self, node: Node, token: Token, **change: object) -> Node:
        """With `offset` or `@`, which may stand once."""
        (field,) = change
        match node:
            case Range(selector):
                return replace(node, selector=self._placed(selector, token, **change))  # type: ignore[arg-type]
            case Selector() | Subquery():
                if getattr(node, field) is not None:
                    raise mistake(self.text, token.at, "offset may not be set multiple times" if field == "offset"
                                  else "@ <timestamp> may not be set multiple times")  # fmt: skip
                return replace(node, **change)  # type: ignore[arg-type]
            case _:
                what = "offset modifier" if field == "offset" else "@ modifier"
                raise mistake(self.text, token.at, f"{what} must be preceded by an instant vector selector or range "
                                                   "vector selector or a subquery")  # fmt: skip

    def _moded(self, node: Node, token: Token, mode: Mode) -> Node:
        match node:
            case Range(selector):
                return replace(node, selector=self._moded(selector, token, mode))  # type: ignore[arg-type]
            case Selector(mode=""):
                return replace(node, mode=mode)
            case Selector():
                raise mistake(self.text, token.at, "anchored and smoothed modifiers cannot be used together")
            case _:
                raise mistake(self.text, token.at, f"{mode} modifier must be preceded by a vector selector or range "
                                                   "vector selector")  # fmt: skip

    def _moment(self) -> Moment:
        if self._word() in ("start", "end") and self.peek().text == "(":
            edge = self.take().text.lower()
            self.expect("(")
            self.expect(")")
            return Moment("start" if edge == "start" else "end")
        token = self.next
        negative = self._symbol("-")
        if not negative:
            self._symbol("+")
        value = self.take().value if self.next.kind == "duration" else self._number()
        if not abs(value) < 2**63 / 1000:
            raise mistake(self.text, token.at, f"timestamp out of bounds for @ modifier: {value:f}")
        return Moment(seconds=-value if negative else value)
