"""The syntax tree of a query: what the parser gives and the evaluation walks.

`at` of a node is the character at which it begins, for messages. Durations are kept as they are written, because
`step()` and `range()` inside them are only known when the query runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from fairway.metrics.matchers import Matcher
from fairway.metrics.promql.values import BadQuery

# --- durations --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seconds:
    value: float


@dataclass(frozen=True, slots=True)
class DurationCall:
    """`step()`, `range()`, `min_of(a, b)` or `max_of(a, b)`."""

    name: str
    arguments: tuple[Duration, ...] = ()


@dataclass(frozen=True, slots=True)
class DurationSum:
    """Two durations with an operator between them; a sign in front is `0 - x`."""

    op: str
    left: Duration
    right: Duration


Duration = Seconds | DurationCall | DurationSum

_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b,
    "%": math.fmod, "^": math.pow,
}  # fmt: skip


def seconds(duration: Duration, step_ms: int, range_ms: int) -> float:
    """Its length, in a query with this step and this range."""
    match duration:
        case Seconds(value):
            return value
        case DurationCall("step"):
            return step_ms / 1000
        case DurationCall("range"):
            return range_ms / 1000
        case DurationCall(name, arguments):
            found = [seconds(argument, step_ms, range_ms) for argument in arguments]
            return min(found) if name.startswith("min") else max(found)
        case DurationSum(op, left, right):
            a, b = seconds(left, step_ms, range_ms), seconds(right, step_ms, range_ms)
            if op in "/%" and b == 0:
                raise BadQuery("division by zero in a duration" if op == "/" else "modulo by zero in a duration")
            try:
                return _ARITHMETIC[op](a, b)
            except (OverflowError, ValueError):
                raise BadQuery("duration is out of range") from None


# --- expressions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Number:
    value: float
    at: int = 0


@dataclass(frozen=True, slots=True)
class String:
    value: str
    at: int = 0


@dataclass(frozen=True, slots=True)
class Moment:
    """`@`: seconds since 1970, or an edge of the query."""

    edge: Literal["", "start", "end"] = ""
    seconds: float = 0.0


Mode = Literal["", "anchored", "smoothed"]


@dataclass(frozen=True, slots=True)
class Selector:
    """An instant selector. `matchers` hold the metric's name too."""

    matchers: tuple[Matcher, ...]
    at: int = 0
    offset: Duration | None = None
    moment: Moment | None = None
    mode: Mode = ""


@dataclass(frozen=True, slots=True)
class Range:
    """`selector[width]`; offset, `@` and mode stand on the selector."""

    selector: Selector
    width: Duration
    at: int = 0


@dataclass(frozen=True, slots=True)
class Subquery:
    """`step` None: the default resolution."""

    inner: Node
    width: Duration
    step: Duration | None = None
    at: int = 0
    offset: Duration | None = None
    moment: Moment | None = None


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    arguments: tuple[Node, ...]
    at: int = 0


@dataclass(frozen=True, slots=True)
class Aggregation:
    """`by` and `without`: one of them is None, or both."""

    op: str
    inner: Node
    parameter: Node | None = None
    by: tuple[str, ...] | None = None
    without: tuple[str, ...] | None = None
    at: int = 0


@dataclass(frozen=True, slots=True)
class Matching:
    """`labels` are those of on() where `on`, of ignoring() otherwise. `include` are those of group_left/group_right."""

    card: Literal["one-to-one", "many-to-one", "one-to-many"] = "one-to-one"
    on: bool = False
    labels: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    fill_left: float | None = None
    fill_right: float | None = None


@dataclass(frozen=True, slots=True)
class Binary:
    op: str
    left: Node
    right: Node
    as_bool: bool = False
    matching: Matching = field(default_factory=Matching)
    at: int = 0


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign in front."""

    op: Literal["+", "-"]
    inner: Node
    at: int = 0


@dataclass(frozen=True, slots=True)
class Paren:
    inner: Node
    at: int = 0


Node = Number | String | Selector | Range | Subquery | Call | Aggregation | Binary | Sign | Paren


def unwrapped(node: Node) -> Node:
    """Without the parentheses around it."""
    while isinstance(node, Paren):
        node = node.inner
    return node


def children(node: Node) -> tuple[Node, ...]:
    match node:
        case Range(selector):
            return (selector,)
        case Subquery(inner) | Sign(inner=inner) | Paren(inner):
            return (inner,)
        case Call(arguments=arguments):
            return arguments
        case Aggregation(inner=inner, parameter=parameter):
            return (inner,) if parameter is None else (parameter, inner)
        case Binary(left=left, right=right):
            return (left, right)
        case _:
            return ()


def walk(node: Node) -> Iterator[Node]:
    """The node and everything below it."""
    yield node
    for child in children(node):
        yield from walk(child)
