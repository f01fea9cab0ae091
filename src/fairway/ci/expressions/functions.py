"""The functions that exist in every expression."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fairway.ci.expressions.errors import ExpressionError
from fairway.ci.expressions.parser import Arity
from fairway.ci.expressions.values import Value, equal, is_primitive, number_text, to_text, upper


@dataclass(frozen=True, slots=True)
class Function:
    arity: Arity
    call: Callable[[Sequence[Value]], Value]


def _contains(args: Sequence[Value]) -> Value:
    haystack, needle = args
    if isinstance(haystack, list):
        return any(equal(item, needle) for item in haystack)
    if is_primitive(haystack) and is_primitive(needle):
        return upper(to_text(needle)) in upper(to_text(haystack))
    return False


def _starts_with(args: Sequence[Value]) -> Value:
    text, start = args
    if not (is_primitive(text) and is_primitive(start)):
        return False
    return upper(to_text(text)).startswith(upper(to_text(start)))


def _ends_with(args: Sequence[Value]) -> Value:
    text, end = args
    if not (is_primitive(text) and is_primitive(end)):
        return False
    return upper(to_text(text)).endswith(upper(to_text(end)))


def _format(args: Sequence[Value]) -> Value:
    template, arguments = to_text(args[0]), args[1:]
    parts: list[str] = []
    at = 0
    while at < len(template):
        char = template[at]
        if char not in "{}":
            parts.append(char)
            at += 1
        elif template[at + 1 : at + 2] == char:
            parts.append(char)
            at += 2
        else:
            close = template.find("}", at)
            number = template[at + 1 : close] if char == "{" and close > 0 else ""
            if not (number.isascii() and number.isdigit()):
                raise ExpressionError("evaluation", f"The following format string is invalid: {template}")
            if int(number) >= len(arguments):
                raise ExpressionError("evaluation", "The following format string references more arguments than were "
                                      f"supplied: {template}")
            parts.append(to_text(arguments[int(number)]))
            at = close + 1
    return "".join(parts)


def _join(args: Sequence[Value]) -> Value:
    separator = to_text(args[1]) if len(args) > 1 and is_primitive(args[1]) else ","
    if isinstance(args[0], list):
        return separator.join(to_text(item) for item in args[0])
    return to_text(args[0]) if is_primitive(args[0]) else ""


def to_json(value: Value) -> str:
    """Two blanks a level; numbers as expressions print them."""
    lines: list[str] = []
    _write_json(value, "", lines)
    return "".join(lines)


def _write_json(value: Value, indent: str, out: list[str]) -> None:
    if isinstance(value, str):
        out.append(json.dumps(value, ensure_ascii=False))
    elif value is None:
        out.append("null")
    elif isinstance(value, bool):
        out.append("true" if value else "false")
    elif isinstance(value, (int, float)):
        out.append(number_text(float(value)))
    elif not value:
        out.append("[]" if isinstance(value, list) else "{}")
    else:
        deeper = indent + "  "
        is_list = isinstance(value, list)
        items = [("", item) for item in value] if is_list else list(value.items())
        out.append("[" if is_list else "{")
        for number, (key, item) in enumerate(items):
            out.append(f"{',' if number else ''}\n{deeper}")
            if not is_list:
                out.append(f"{json.dumps(key, ensure_ascii=False)}: ")
            _write_json(item, deeper, out)
        out.append(f"\n{indent}{']' if is_list else '}'}")


def _to_json(args: Sequence[Value]) -> Value:
    return to_json(args[0])


def from_json(text: str) -> Value:
    def number(digits: str) -> float:
        return float(digits)

    def constant(word: str) -> Value:
        return {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}[word]

    try:
        return json.loads(text, parse_int=number, parse_float=number, parse_constant=constant, strict=False)
    except (ValueError, RecursionError) as error:
        shown = text if len(text) <= 80 else text[:77] + "..."
        raise ExpressionError("evaluation", f"Error parsing fromJson: {error}: {shown!r}") from None


def _from_json(args: Sequence[Value]) -> Value:
    return from_json(to_text(args[0]))


def _case(args: Sequence[Value]) -> Value:
    for predicate, result in zip(args[0:-1:2], args[1:-1:2], strict=True):
        if not isinstance(predicate, bool):
            raise ExpressionError("evaluation", "case predicate must evaluate to a boolean value")
        if predicate:
            return result
    return args[-1]


GLOBAL: dict[str, Function] = {
    "case": Function(Arity(3, 255, odd=True), _case),
    "contains": Function(Arity(2, 2), _contains),
    "endswith": Function(Arity(2, 2), _ends_with),
    "format": Function(Arity(1, 255), _format),
    "fromjson": Function(Arity(1, 1), _from_json),
    "join": Function(Arity(1, 2), _join),
    "startswith": Function(Arity(2, 2), _starts_with),
    "tojson": Function(Arity(1, 1), _to_json),
}
