"""Tokens to a tree.

Precedence, from tight to loose: `()`, `[]`, `.`; `!`; `< <= > >=`; `== !=`; `&&`; `||`. Names and functions that are not
given are refused here, so that an unknown context is an error before anything runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from fairway.ci.expressions.errors import ExpressionError
from fairway.ci.expressions.lexer import Token, tokenize, unexpected
from fairway.ci.expressions.values import Value, upper

MAX_LENGTH = 21_000
MAX_DEPTH = 50
_MAX_NESTING = 120  # groups are not nodes and do not count as depth, but each takes stack here

_PRECEDENCE = {"||": 1, "&&": 2, "==": 3, "!=": 3, "<": 4, "<=": 4, ">": 4, ">=": 4}


@dataclass(frozen=True, slots=True)
class Literal:
    value: Value


@dataclass(frozen=True, slots=True)
class Name:
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Index:
    target: Node
    index: Node


@dataclass(frozen=True, slots=True)
class Star:
    """`.*` or `[*]`."""

    target: Node


@dataclass(frozen=True, slots=True)
class Not:
    operand: Node


@dataclass(frozen=True, slots=True)
class Compare:
    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Chain:
    """`a && b && c` or `a || b || c`."""

    operator: str
    operands: tuple[Node, ...]


Node = Literal | Name | Call | Index | Star | Not | Compare | Chain


@dataclass(frozen=True, slots=True)
class Arity:
    """How many arguments a function takes."""

    least: int
    most: int
    odd: bool = False


class _Parser:
    def __init__(self, text: str, names: frozenset[str], functions: Mapping[str, Arity]) -> None:
        self.text = text
        self.names = names
        self.functions = functions
        self.tokens = tokenize(text)
        self.at = 0
        self.nesting = 0

    def run(self) -> Node:
        if self.tokens[0].kind == "end":
            return Literal(None)
        node = self._binary(1)
        if self._peek().kind != "end":
            raise self._unexpected(self._peek())
        return node

    def _peek(self) -> Token:
        return self.tokens[self.at]

    def _advance(self) -> Token:
        token = self.tokens[self.at]
        self.at += 1
        return token

    def _binary(self, loosest: int) -> Node:
        self.nesting += 1
        if self.nesting > _MAX_NESTING:
            raise ExpressionError("parsing", f"Exceeded max expression depth {MAX_DEPTH}")
        left = self._unary()
        while True:
            token = self._peek()
            precedence = _PRECEDENCE.get(token.text, 0) if token.kind == "operator" else 0
            if precedence < loosest:
                self.nesting -= 1
                return left
            self._advance()
            right = self._binary(precedence + 1)
            if precedence > 2:
                left = Compare(token.text, left, right)
            elif isinstance(left, Chain) and left.operator == token.text:
                left = Chain(token.text, (*left.operands, right))
            else:
                left = Chain(token.text, (left, right))

    def _unary(self) -> Node:
        bangs = 0
        while self._peek().kind == "operator" and self._peek().text == "!":
            self._advance()
            bangs += 1
        node = self._postfix(self._primary())
        for _ in range(bangs):
            node = Not(node)
        return node

    def _primary(self) -> Node:
        token = self._advance()
        if token.kind == "literal":
            return Literal(token.value)
        if token.kind == "(":
            inner = self._binary(1)
            self._expect(")")
            return inner
        if token.kind == "function":
            return self._call(token)
        if token.kind == "name":
            if token.text.upper() not in self.names:
                raise self._unknown("named-value", token)
            return Name(token.text)
        raise self._unexpected(token)

    def _call(self, token: Token) -> Node:
        arity = self.functions.get(token.text.lower())
        if arity is None:
            raise self._unknown("function", token)
        self._expect("(")
        arguments: list[Node] = []
        if self._peek().kind != ")":
            arguments.append(self._binary(1))
            while self._peek().kind == ",":
                self._advance()
                arguments.append(self._binary(1))
        self._expect(")")
        if len(arguments) < arity.least:
            raise self._located(f"Too few parameters supplied: '{token.text}'", token)
        if len(arguments) > arity.most:
            raise self._located(f"Too many parameters supplied: '{token.text}'", token)
        if arity.odd and len(arguments) % 2 == 0:
            raise self._located("Even number of parameters supplied, requires an odd number of parameters: "
                                f"'{token.text}'", token)
        return Call(token.text.lower(), tuple(arguments))

    def _postfix(self, node: Node) -> Node:
        while True:
            token = self._peek()
            if token.kind == ".":
                if isinstance(node, Literal):
                    raise self._unexpected(token)
                self._advance()
                following = self._advance()
                if following.kind == "property":
                    node = Index(node, Literal(following.text))
                elif following.kind == "*":
                    node = Star(node)
                else:
                    raise self._unexpected(following)
            elif token.kind == "[":
                if isinstance(node, Literal):
                    raise self._unexpected(token)
                self._advance()
                node = self._index(node)
                self._expect("]")
            else:
                return node

    def _index(self, node: Node) -> Node:
        if self._peek().kind == "*":
            self._advance()
            return Star(node)
        return Index(node, self._binary(1))

    def _expect(self, kind: str) -> None:
        token = self._advance()
        if token.kind != kind:
            raise self._unexpected(token)

    def _unexpected(self, token: Token) -> ExpressionError:
        if token.kind == "end":
            return self._located(f"Unexpected end of expression: '{token.text}'", token)
        return ExpressionError("parsing", unexpected(token.text, token.position, self.text), token.position)

    def _unknown(self, what: str, token: Token) -> ExpressionError:
        return self._located(f"Unrecognized {what}: '{token.text}'", token)

    def _located(self, message: str, token: Token) -> ExpressionError:
        where = f"Located at position {token.position} within expression: {self.text}"
        return ExpressionError("parsing", f"{message}. {where}", token.position)


def children_of(node: Node) -> tuple[Node, ...]:
    match node:
        case Literal() | Name():
            return ()
        case Call(_, arguments):
            return arguments
        case Index(target, index):
            return target, index
        case Star(target):
            return target, Literal("*")
        case Not(operand):
            return (operand,)
        case Compare(_, left, right):
            return left, right
        case Chain(_, operands):
            return operands


def _check_depth(root: Node) -> None:
    level: list[Node] = [root]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in children_of(node)]
        if not level:
            return
    raise ExpressionError("parsing", f"Exceeded max expression depth {MAX_DEPTH}")


@lru_cache(maxsize=4096)
def _parse(text: str, names: frozenset[str], functions: tuple[tuple[str, Arity], ...]) -> Node:
    if len(text) > MAX_LENGTH:
        raise ExpressionError("parsing", f"Exceeded max expression length {MAX_LENGTH}")
    root = _Parser(text, names, dict(functions)).run()
    _check_depth(root)
    return root


def parse(text: str, names: frozenset[str], functions: tuple[tuple[str, Arity], ...]) -> Node:
    """The tree of an expression (without `${{ }}`). Errors are of the stages lexing and parsing.

    `names` are the contexts that exist here, in upper case (see `names_of`); `functions` the functions by lower case
    name.
    """
    return _parse(text, names, functions)


def names_of(*names: str) -> frozenset[str]:
    return frozenset(upper(name) for name in names)


def calls_any(node: Node, functions: frozenset[str]) -> bool:
    """Whether one of these functions (lower case) is called anywhere in the tree."""
    if isinstance(node, Call) and node.function in functions:
        return True
    return any(calls_any(child, functions) for child in children_of(node))


def names_in(node: Node) -> frozenset[str]:
    """The contexts that the tree reads, in lower case."""
    own = frozenset({node.name.lower()}) if isinstance(node, Name) else frozenset()
    return own.union(*(names_in(child) for child in children_of(node)))
