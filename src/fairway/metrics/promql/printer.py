"""A tree as text again, in Prometheus' spelling: one line where it fits, else one argument a line."""

from __future__ import annotations

import json

from fairway.metrics.labels import NAME
from fairway.metrics.promql.lexer import UNITS
from fairway.metrics.promql.numbers import format_float
from fairway.metrics.promql.tree import (
    Aggregation,
    Binary,
    Call,
    Duration,
    DurationCall,
    DurationSum,
    Matching,
    Moment,
    Node,
    Number,
    Paren,
    Range,
    Seconds,
    Selector,
    Sign,
    String,
    Subquery,
)

_WIDTH = 100


def pretty(node: Node, depth: int = 0) -> str:
    """What `format_query` answers."""
    indent, line = "  " * depth, text_of(node)
    if len(indent) + len(line) <= _WIDTH:
        return indent + line
    match node:
        case Binary(op, left, right, as_bool, matching):
            return f"{pretty(left, depth + 1)}\n{indent}{_operator(op, as_bool, matching)}\n{pretty(right, depth + 1)}"
        case Aggregation(inner=inner, parameter=parameter):
            parts = [inner] if parameter is None else [parameter, inner]
            return f"{indent}{node.op}{_grouping(node)}(\n{_arguments(parts, depth)}\n{indent})"
        case Call(name, arguments) if arguments:
            return f"{indent}{name}(\n{_arguments(list(arguments), depth)}\n{indent})"
        case Paren(inner):
            return f"{indent}(\n{pretty(inner, depth + 1)}\n{indent})"
        case Subquery(inner):
            return f"{pretty(inner, depth)}{_brackets(node)}"
        case Sign(op, inner):
            return f"{indent}{op}{pretty(inner, depth).lstrip()}"
        case _:
            return indent + line


def _arguments(nodes: list[Node], depth: int) -> str:
    return ",\n".join(pretty(node, depth + 1) for node in nodes)


def text_of(node: Node) -> str:
    """On one line."""
    match node:
        case Number(value):
            return format_float(value)
        case String(value):
            return json.dumps(value, ensure_ascii=False)
        case Selector():
            return _selector(node) + _placed(node)
        case Range(selector, width):
            return f"{_selector(selector)}[{_duration(width)}]{_placed(selector)}"
        case Subquery(inner):
            return f"{text_of(inner)}{_brackets(node)}"
        case Call(name, arguments):
            return f"{name}({', '.join(map(text_of, arguments))})"
        case Aggregation(op, inner, parameter):
            parts = [text_of(inner)] if parameter is None else [text_of(parameter), text_of(inner)]
            return f"{op}{_grouping(node)}({', '.join(parts)})"
        case Binary(op, left, right, as_bool, matching):
            return f"{text_of(left)} {_operator(op, as_bool, matching)} {text_of(right)}"
        case Sign(op, inner):
            return f"{op}{text_of(inner)}"
        case Paren(inner):
            return f"({text_of(inner)})"


def _selector(node: Selector) -> str:
    name = next((m.value for m in node.matchers if m.name == NAME and m.op == "="), "")
    plain = name.replace("_", "a").replace(":", "a").isalnum() and not name[0].isdigit() if name else False
    shown = [json.dumps(name, ensure_ascii=False)] if name and not plain else []
    shown += [f"{_label(m.name)}{m.op}{json.dumps(m.value, ensure_ascii=False)}" for m in node.matchers
              if m.name != NAME or m.op != "="]  # fmt: skip
    return f"{name if plain else ''}{{{','.join(shown)}}}" if shown or not plain else name


def _label(name: str) -> str:
    return name if name.isidentifier() and name.isascii() else json.dumps(name, ensure_ascii=False)


def _placed(node: Selector | Subquery) -> str:
    text = f" {node.mode}" if isinstance(node, Selector) and node.mode else ""
    if node.moment is not None:
        text += f" @ {_moment(node.moment)}"
    if node.offset is not None:
        text += f" offset {_duration(node.offset)}"
    return text


def _moment(moment: Moment) -> str:
    return f"{moment.edge}()" if moment.edge else f"{moment.seconds:.3f}"


def _brackets(node: Subquery) -> str:
    return f"[{_duration(node.width)}:{_duration(node.step) if node.step is not None else ''}]{_placed(node)}"


def _duration(duration: Duration) -> str:
    match duration:
        case Seconds(value):
            return _seconds(value)
        case DurationCall(name, arguments):
            return f"{name}({', '.join(map(_duration, arguments))})"
        case DurationSum("-", Seconds(0), right):
            return f"-{_duration(right)}"
        case DurationSum(op, left, right):
            return f"({_duration(left)} {op} {_duration(right)})"


def _seconds(value: float) -> str:
    """`5m`, `1h30m`: days and longer only where nothing is left over, as Prometheus writes them."""
    left, text = round(value * 1000), ""
    if left == 0:
        return "0s"
    for unit in ("y", "w", "d", "h", "m", "s", "ms"):
        size = round(UNITS[unit] * 1000)
        if left >= size and (unit not in "ywd" or left % size == 0):
            text, left = f"{text}{left // size}{unit}", left % size
    return text


def _grouping(node: Aggregation) -> str:
    if node.by is not None:
        return f" by ({', '.join(map(_label, node.by))}) "
    return f" without ({', '.join(map(_label, node.without))}) " if node.without is not None else ""


def _operator(op: str, as_bool: bool, matching: Matching) -> str:
    text = f"{op} bool" if as_bool else op
    if matching.on or matching.labels:
        text += f" {'on' if matching.on else 'ignoring'} ({', '.join(map(_label, matching.labels))})"
    if matching.card != "one-to-one":
        side = "left" if matching.card == "many-to-one" else "right"
        text += f" group_{side} ({', '.join(map(_label, matching.include))})"
    for name, value in (("fill_left", matching.fill_left), ("fill_right", matching.fill_right)):
        if value is not None and matching.fill_left != matching.fill_right:
            text += f" {name} ({format_float(value)})"
    if matching.fill_left is not None and matching.fill_left == matching.fill_right:
        text += f" fill ({format_float(matching.fill_left)})"
    return text
