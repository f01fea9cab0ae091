"""Values as Go sees them: kinds, equality across number types, and how they are printed."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from fairway.rollouts.expr.errors import ExprError

_MIN, _SPAN = -(2**63), 2**64


class Floats(list[float]):
    """A list of which is known that it holds floats only, also when it is empty: what a Prometheus vector is."""


class NoList(list[Any]):
    """A list that is not there: empty, and nil to `??`, to optional chaining and to a comparison with nil."""


class Groups(dict[Any, list[Any]]):
    """What groupBy gives: keys of any plain kind, and no list for a key that is not there."""


def is_nil(value: Any) -> bool:
    return value is None or isinstance(value, NoList)


def is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def wrapped(value: int) -> int:
    """As a 64-bit integer overflows."""
    return (value - _MIN) % _SPAN + _MIN


def kind(value: Any) -> str:
    """As Go names the type of a value of this kind."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float64"
        case str():
            return "string"
        case bytes():
            return "[]uint8"
        case list():
            return "[]interface {}"
        case dict():
            return "map[string]interface {}"
        case timedelta():
            return "time.Duration"
        case datetime():
            return "time.Time"
    return "func"


def equal(left: Any, right: Any) -> bool:
    """Numbers by value whatever their type, everything else by kind and content. NaN equals nothing."""
    if is_number(left) and is_number(right):
        return bool(left == right)
    if left is None or right is None:
        return is_nil(left) and is_nil(right)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(equal(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal(value, right[name]) for name, value in left.items())
    return type(left) is type(right) and bool(left == right)


def number_text(value: float) -> str:
    """A float as Go's %v: shortest digits, an exponent below 1e-4 and from 1e21 on."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    if not isinstance(exponent, int):
        raise ExprError(f"cannot print {value}")
    text, power = "".join(map(str, digits)), len(digits) + exponent - 1
    mark = "-" if sign else ""
    if power < -4 or power >= 21:
        tail = f".{text[1:]}" if len(text) > 1 else ""
        return f"{mark}{text[0]}{tail}e{'-' if power < 0 else '+'}{abs(power):02d}"
    return mark + format(Decimal("".join(("0.", text))).scaleb(power + 1), "f")


def printed(value: Any) -> str:
    """As Go's %v."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case float():
            return number_text(value)
        case list():
            return "[" + " ".join(printed(item) for item in value) + "]"
        case dict():
            return "map[" + " ".join(f"{name}:{printed(value[name])}" for name in sorted(value)) + "]"
        case bytes():
            return "[" + " ".join(str(byte) for byte in value) + "]"
        case timedelta():
            return duration_text(value)
    return str(value)


def duration_text(value: timedelta) -> str:
    """As Go prints a duration: "1h0m0s", "1.5s", "20ms"."""
    micro = round(value.total_seconds() * 1_000_000)
    sign, micro = ("-", -micro) if micro < 0 else ("", micro)
    if micro == 0:
        return "0s"
    if micro < 1_000_000:
        return f"{sign}{number_text(micro / 1000)}ms" if micro >= 1000 else f"{sign}{micro}µs"
    hours, rest = divmod(micro, 3_600_000_000)
    minutes, rest = divmod(rest, 60_000_000)
    seconds = number_text(rest / 1_000_000)
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}s"
    return f"{sign}{minutes}m{seconds}s" if minutes else f"{sign}{seconds}s"
