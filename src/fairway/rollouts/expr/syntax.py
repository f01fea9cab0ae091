"""The syntax tree. `at` is the offset in the text where a node stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Constant:
    value: Any
    at: int


@dataclass(frozen=True, slots=True)
class Name:
    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Pointer:
    """`#`, `#index`, `#acc` inside a predicate."""

    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Unary:
    operator: str
    operand: Node
    at: int


@dataclass(frozen=True, slots=True)
class Binary:
    operator: str
    left: Node
    right: Node
    at: int


@dataclass(frozen=True, slots=True)
class Conditional:
    condition: Node
    then: Node
    otherwise: Node
    at: int


@dataclass(frozen=True, slots=True)
class Member:
    """`target.key`, `target[key]`, and both with `?.`."""

    target: Node
    key: Node
    optional: bool
    at: int


@dataclass(frozen=True, slots=True)
class Chain:
    """Where an optional access inside found nil, the whole chain is nil."""

    inner: Node
    at: int


@dataclass(frozen=True, slots=True)
class Slice:
    target: Node
    start: Node | None
    end: Node | None
    at: int


@dataclass(frozen=True, slots=True)
class Call:
    callee: Node
    arguments: tuple[Node, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Builtin:
    name: str
    arguments: tuple[Node, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Predicate:
    body: Node
    at: int


@dataclass(frozen=True, slots=True)
class ListOf:
    items: tuple[Node, ...]
    at: int


@dataclass(frozen=True, slots=True)
class MapOf:
    pairs: tuple[tuple[Node, Node], ...]
    at: int


@dataclass(frozen=True, slots=True)
class Let:
    name: str
    value: Node
    body: Node
    at: int


@dataclass(frozen=True, slots=True)
class Sequence:
    nodes: tuple[Node, ...]
    at: int


Node = (
    Constant | Name | Pointer | Unary | Binary | Conditional | Member | Chain | Slice | Call | Builtin | Predicate | ListOf
    | MapOf | Let | Sequence
)  # fmt: skip
