"""Tokens to a syntax tree, by precedence climbing. Source: expr-lang `parser/parser.go`, `parser/operator`."""

from __future__ import annotations

from collections.abc import Callable

from fairway.rollouts.expr.errors import ExprError
from fairway.rollouts.expr.lex import Kind, Token, tokens
from fairway.rollouts.expr.syntax import (
    Binary,
    Builtin,
    Call,
    Chain,
    Conditional,
    Constant,
    Let,
    ListOf,
    MapOf,
    Member,
    Name,
    Node,
    Pointer,
    Predicate,
    Sequence,
    Slice,
    Unary,
)

_UNARY = {"not": 50, "!": 50, "-": 90, "+": 90}
_BINARY = {
    "|": 0, "or": 10, "||": 10, "and": 15, "&&": 15, "==": 20, "!=": 20, "<": 20, ">": 20, ">=": 20, "<=": 20, "in": 20,
    "matches": 20, "contains": 20, "startsWith": 20, "endsWith": 20, "..": 25, "+": 30, "-": 30, "*": 60, "/": 60, "%": 60,
    "**": 100, "^": 100, "??": 500,
}  # fmt: skip
_RIGHT = frozenset({"**", "^"})
_COMPARE = frozenset({"<", ">", ">=", "<="})
_NEGATABLE = frozenset({"in", "matches", "contains", "startsWith", "endsWith"})

PREDICATES: dict[str, str] = {
    "all": "ep", "none": "ep", "any": "ep", "one": "ep", "filter": "ep", "map": "ep", "count": "eP", "sum": "eP",
    "find": "ep", "findIndex": "ep", "findLast": "ep", "findLastIndex": "ep", "groupBy": "ep", "sortBy": "epE",
    "reduce": "epE",
}  # fmt: skip
"""What each takes: e an expression, p a predicate; capitals are optional."""

FUNCTIONS = frozenset({
    "len", "type", "abs", "ceil", "floor", "round", "int", "float", "string", "trim", "trimPrefix", "trimSuffix",
    "upper", "lower", "split", "splitAfter", "replace", "repeat", "join", "indexOf", "lastIndexOf", "hasPrefix",
    "hasSuffix", "max", "min", "mean", "median", "toJSON", "fromJSON", "toBase64", "fromBase64", "now", "duration",
    "date", "timezone", "first", "last", "get", "take", "keys", "values", "toPairs", "fromPairs", "reverse", "uniq",
    "concat", "flatten", "sort", "bitand", "bitor", "bitxor", "bitnand", "bitnot", "bitshl", "bitshr", "bitushr",
})  # fmt: skip


def parse(text: str, overridden: frozenset[str] = frozenset()) -> Node:
    """`overridden` are names of the environment that hide built-in functions."""
    return _Parser(tokens(text), overridden).whole()


class _Parser:
    def __init__(self, found: list[Token], overridden: frozenset[str]) -> None:
        self._tokens, self._i, self._depth, self._overridden = found, 0, 0, overridden

    def whole(self) -> Node:
        node = self._sequence()
        if self._now.kind != "end":
            raise self._unexpected()
        return node

    # --- moving over tokens ---------------------------------------------------------------------------------------

    @property
    def _now(self) -> Token:
        return self._tokens[self._i]

    def _is(self, kind: Kind, *texts: str) -> bool:
        return self._now.kind == kind and (not texts or self._now.text in texts)

    def _take(self) -> Token:
        token = self._now
        if token.kind != "end":
            self._i += 1
        return token

    def _expect(self, kind: Kind, *texts: str) -> Token:
        if not self._is(kind, *texts):
            raise self._unexpected()
        return self._take()

    def _unexpected(self, token: Token | None = None) -> ExprError:
        token = token or self._now
        return ExprError(f"unexpected token {token}", token.at)

    # --- statements -----------------------------------------------------------------------------------------------

    def _sequence(self) -> Node:
        at, nodes = self._now.at, [self._expression(0)]
        while self._is("operator", ";"):
            self._take()
            if self._is("end"):
                break
            nodes.append(self._expression(0))
        return nodes[0] if len(nodes) == 1 else Sequence(tuple(nodes), at)

    def _let(self) -> Node:
        at = self._take().at
        name = self._expect("name").text
        self._expect("operator", "=")
        value = self._expression(0)
        self._expect("operator", ";")
        return Let(name, value, self._sequence(), at)

    def _if(self) -> Node:
        at = self._take().at
        condition, then = self._expression(0), self._block()
        self._expect("operator", "else")
        return Conditional(condition, then, self._if() if self._is("operator", "if") else self._block(), at)

    def _block(self) -> Node:
        self._expect("bracket", "{")
        node = self._sequence()
        self._expect("bracket", "}")
        return node

    # --- operators ------------------------------------------------------------------------------------------------

    def _expression(self, precedence: int) -> Node:
        if precedence == 0 and self._is("operator", "let"):
            return self._let()
        if precedence == 0 and self._is("operator", "if"):
            return self._if()
        left, before = self._primary(), ""
        while self._now.kind == "operator":
            negated = self._now.text == "not"
            if negated and self._tokens[self._i + 1].text not in _NEGATABLE:
                break
            operator = self._tokens[self._i + 1] if negated else self._now
            rank = _BINARY.get(operator.text)
            if rank is None or rank < precedence:
                break
            self._i += 2 if negated else 1
            left = self._infix(left, operator, rank, before)
            left = Unary("not", left, operator.at) if negated else left
            before = operator.text
        return self._ternary(left) if precedence == 0 else left

    def _infix(self, left: Node, operator: Token, rank: int, before: str) -> Node:
        if operator.text == "|":
            return self._call(self._expect("name"), (left,))
        if before == "??" and operator.text != "??":
            raise ExprError(f"Operator ({operator.text}) and coalesce expressions (??) cannot be mixed. "
                            "Wrap either by parentheses.", operator.at)
        if operator.text in _COMPARE:
            return self._comparison(left, operator, rank)
        right = self._expression(rank if operator.text in _RIGHT else rank + 1)
        return Binary(operator.text, left, right, operator.at)

    def _comparison(self, left: Node, operator: Token, rank: int) -> Node:
        """`1 < x < 3` is `1 < x && x < 3`."""
        root: Node | None = None
        while True:
            right = self._expression(rank + 1)
            pair = Binary(operator.text, left, right, operator.at)
            root = pair if root is None else Binary("&&", root, pair, operator.at)
            if not self._is("operator", *_COMPARE):
                return root
            left, operator = right, self._take()

    def _ternary(self, node: Node) -> Node:
        while self._is("operator", "?"):
            at = self._take().at
            if self._is("operator", ":"):
                self._take()
                node = Conditional(node, node, self._expression(0), at)
                continue
            then = self._expression(0)
            self._expect("operator", ":")
            node = Conditional(node, then, self._expression(0), at)
        return node

    # --- operands -------------------------------------------------------------------------------------------------

    def _primary(self) -> Node:
        token = self._now
        if token.kind == "operator" and token.text in _UNARY:
            self._take()
            return self._postfix(Unary(token.text, self._expression(_UNARY[token.text]), token.at))
        if self._is("bracket", "("):
            self._take()
            node = self._sequence()
            self._expect("bracket", ")")
            return self._postfix(node)
        if self._depth and self._is("operator", "#", "."):
            name = ""
            if self._is("operator", "#"):
                self._take()
                name = self._take().text if self._is("name") else ""
            return self._postfix(Pointer(name, token.at))
        if self._is("operator", "::"):
            self._take()
            return self._call(self._expect("name"), (), overridable=False)
        return self._secondary()

    def _secondary(self) -> Node:
        token = self._now
        if token.kind == "name":
            self._take()
            if token.text in ("true", "false"):
                return self._postfix(Constant(token.text == "true", token.at))
            if token.text == "nil":
                return self._postfix(Constant(None, token.at))
            if self._is("bracket", "("):
                return self._call(token, ())
            return self._postfix(Name(token.text, token.at))
        if token.kind == "number":
            self._take()
            return self._postfix(Constant(_number(token), token.at))
        if token.kind == "string":
            self._take()
            return self._postfix(Constant(token.text, token.at))
        if token.kind == "bytes":
            self._take()
            return self._postfix(Constant(token.text.encode("utf-8", "surrogateescape"), token.at))
        if self._is("bracket", "["):
            return self._postfix(self._list())
        if self._is("bracket", "{"):
            return self._postfix(self._map())
        raise self._unexpected()

    def _list(self) -> Node:
        at = self._take().at
        items = self._separated("]", lambda: self._expression(0))
        return ListOf(tuple(items), at)

    def _map(self) -> Node:
        at = self._take().at
        pairs: list[tuple[Node, Node]] = []
        while not self._is("bracket", "}"):
            if pairs:
                self._expect("operator", ",")
                if self._is("bracket", "}"):
                    break
            pairs.append((self._key(), self._value()))
        self._take()
        return MapOf(tuple(pairs), at)

    def _key(self) -> Node:
        token = self._now
        if token.kind in ("name", "number", "string"):
            self._take()
            return Constant(token.text, token.at)
        if self._is("bracket", "("):
            return self._expression(0)
        raise ExprError(f"a map key must be a quoted string, a number, a identifier, or an expression enclosed in parentheses "
                        f"(unexpected token {token})", token.at)

    def _value(self) -> Node:
        self._expect("operator", ":")
        return self._expression(0)

    def _separated(self, close: str, item: Callable[[], Node]) -> list[Node]:
        found: list[Node] = []
        while not self._is("bracket", close):
            if found:
                self._expect("operator", ",")
                if self._is("bracket", close):
                    break
            found.append(item())
        self._take()
        return found

    # --- calls ----------------------------------------------------------------------------------------------------

    def _call(self, name: Token, given: tuple[Node, ...], *, overridable: bool = True) -> Node:
        """`given` is what a pipe puts first."""
        built_in = not (overridable and name.text in self._overridden)
        if built_in and name.text in PREDICATES:
            return self._postfix(Builtin(name.text, self._predicate_arguments(name, given), name.at))
        self._expect("bracket", "(")
        arguments = (*given, *self._separated(")", lambda: self._expression(0)))
        if built_in and name.text in FUNCTIONS:
            return self._postfix(Builtin(name.text, arguments, name.at))
        return self._postfix(Call(Name(name.text, name.at), arguments, name.at))

    def _predicate_arguments(self, name: Token, given: tuple[Node, ...]) -> tuple[Node, ...]:
        self._expect("bracket", "(")
        arguments = list(given)
        for i, kind in enumerate(PREDICATES[name.text][len(given) :]):
            if self._is("bracket", ")"):
                if kind.isupper():
                    break
                raise ExprError(f"expected at least {len(PREDICATES[name.text][len(given):])} arguments", self._now.at)
            if i > 0:
                self._expect("operator", ",")
                if self._is("bracket", ")") and kind.isupper():
                    break
            arguments.append(self._expression(0) if kind in "eE" else self._predicate())
        if self._is("operator", ","):
            self._take()
        self._expect("bracket", ")")
        return tuple(arguments)

    def _predicate(self) -> Node:
        at, braced = self._now.at, self._is("bracket", "{")
        if braced:
            self._take()
        self._depth += 1
        body = self._sequence() if braced else self._expression(0)
        if not braced and self._is("operator", ";"):
            raise ExprError("wrap predicate with brackets { and }", self._now.at)
        self._depth -= 1
        if braced:
            self._expect("bracket", "}")
        return Predicate(body, at)

    # --- what follows an operand ----------------------------------------------------------------------------------

    def _postfix(self, node: Node) -> Node:
        while True:
            if self._is("operator", ".", "?."):
                optional = self._take().text == "?."
                indexed = optional and self._is("bracket", "[")
                node = self._index(node, optional=True) if indexed else self._field(node, optional)
            elif self._is("bracket", "["):
                node = self._index(node, optional=False)
            else:
                return node

    def _field(self, node: Node, optional: bool) -> Node:
        token = self._take()
        if token.kind != "name" and not (token.kind == "operator" and token.text.isidentifier()):
            raise ExprError("expected name", token.at)
        chained = isinstance(node, Chain)
        target = node.inner if isinstance(node, Chain) else node
        found: Node = Member(target, Constant(token.text, token.at), optional, token.at)
        if self._is("bracket", "("):
            self._take()
            found = Call(found, tuple(self._separated(")", lambda: self._expression(0))), token.at)
        return Chain(found, token.at) if chained or optional else found

    def _index(self, node: Node, *, optional: bool) -> Node:
        at = self._expect("bracket", "[").at
        if self._is("operator", ":"):
            self._take()
            end = None if self._is("bracket", "]") else self._expression(0)
            self._expect("bracket", "]")
            return Slice(node, None, end, at)
        start = self._expression(0)
        if self._is("operator", ":"):
            self._take()
            end = None if self._is("bracket", "]") else self._expression(0)
            self._expect("bracket", "]")
            return Slice(node, start, end, at)
        self._expect("bracket", "]")
        chained = isinstance(node, Chain)
        target = node.inner if isinstance(node, Chain) else node
        found = Member(target, start, optional, at)
        return Chain(found, at) if chained or optional else found


def _number(token: Token) -> int | float:
    text = token.text.replace("_", "")
    lower = text.lower()
    try:
        if lower.startswith(("0x", "0b", "0o")):
            value = int(lower, 0)
        elif any(mark in lower for mark in ".e"):
            return float(text)
        else:
            value = int(text)
    except ValueError:
        raise ExprError(f"invalid number literal: {token.text}", token.at) from None
    if value > 2**63 - 1:
        raise ExprError(f'invalid integer literal: strconv.ParseInt: parsing "{text}": value out of range', token.at)
    return value
