"""What operators do to values. `/` and `**` always give a float; integers are 64 bits wide."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from fairway.kube.re2 import BadPattern, Pattern, compiled
from fairway.rollouts.expr.errors import ExprError
from fairway.rollouts.expr.values import equal, is_int, is_number, kind, wrapped

MOST_ITEMS = 1_000_000
"""Longest range or list that an expression may build: expr's own memory budget."""


def binary(operator: str, left: Any, right: Any) -> Any:
    """`ExprError` without a position where the operands do not fit."""
    return _TABLE[operator](left, right)


def _refuse(operator: str, left: Any, right: Any) -> ExprError:
    return ExprError(f"invalid operation: {kind(left)} {operator} {kind(right)}")


def _add(left: Any, right: Any) -> Any:
    if is_int(left) and is_int(right):
        return wrapped(left + right)
    if is_number(left) and is_number(right):
        return float(left) + float(right)
    if isinstance(left, str) and isinstance(right, str):
        return left + right
    if isinstance(left, timedelta) and isinstance(right, (datetime, timedelta)):
        return right + left
    if isinstance(left, datetime) and isinstance(right, timedelta):
        return left + right
    raise _refuse("+", left, right)


def _subtract(left: Any, right: Any) -> Any:
    if is_int(left) and is_int(right):
        return wrapped(left - right)
    if is_number(left) and is_number(right):
        return float(left) - float(right)
    if isinstance(left, datetime) and isinstance(right, (datetime, timedelta)):
        return left - right
    if isinstance(left, timedelta) and isinstance(right, timedelta):
        return left - right
    raise _refuse("-", left, right)


def _multiply(left: Any, right: Any) -> Any:
    if is_int(left) and is_int(right):
        return wrapped(left * right)
    if is_number(left) and is_number(right):
        return float(left) * float(right)
    if isinstance(left, timedelta) and is_number(right):
        return left * right if is_int(right) else left / timedelta(microseconds=1) * 1000 * right  # nanoseconds, as Go
    if is_number(left) and isinstance(right, timedelta):
        return _multiply(right, left)
    raise _refuse("*", left, right)


def _divide(left: Any, right: Any) -> float:
    if not (is_number(left) and is_number(right)):
        raise _refuse("/", left, right)
    top, bottom = float(left), float(right)
    if bottom != 0:
        return top / bottom
    if top == 0 or math.isnan(top):
        return math.nan
    return math.copysign(math.inf, top) * math.copysign(1, bottom)


def _remainder(left: Any, right: Any) -> int:
    if not (is_int(left) and is_int(right)):
        raise _refuse("%", left, right)
    if right == 0:
        raise ExprError("integer divide by zero")
    return int(math.copysign(1, left)) * (abs(left) % abs(right)) if left else 0


def _power(left: Any, right: Any) -> float:
    if not (is_number(left) and is_number(right)):
        raise _refuse("**", left, right)
    try:
        return math.pow(float(left), float(right))
    except OverflowError:
        odd = float(right).is_integer() and int(right) % 2 == 1
        return -math.inf if left < 0 and odd else math.inf
    except ValueError:
        return math.inf if left == 0 else math.nan


def _ordered(operator: str, compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def ordered(left: Any, right: Any) -> bool:
        same = is_number(left) and is_number(right)
        for plain in (str, datetime, timedelta):
            same = same or (isinstance(left, plain) and isinstance(right, plain))
        if not same:
            raise _refuse(operator, left, right)
        return compare(left, right)

    return ordered


def _in(left: Any, right: Any) -> bool:
    if right is None:
        return False
    if isinstance(right, list):
        return any(equal(left, item) for item in right)
    if isinstance(right, dict):
        if left is None:
            return False
        if not isinstance(left, str):
            raise ExprError(f'cannot use {kind(left)} as type string in map key')
        return left in right
    raise ExprError(f'operator "in" not defined on {kind(right)}')


def _text(operator: str, answer: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    def over_text(left: Any, right: Any) -> bool:
        if left is None or right is None:
            return False
        if not (isinstance(left, str) and isinstance(right, str)):
            raise _refuse(operator, left, right)
        return answer(left, right)

    return over_text


def regex(pattern: str) -> Pattern:
    try:
        return compiled(pattern)
    except BadPattern as error:
        raise ExprError(str(error)) from None


def _range(left: Any, right: Any) -> list[int]:
    if not (is_number(left) and is_number(right)):
        raise _refuse("..", left, right)
    left, right = int(left), int(right)
    if right - left >= MOST_ITEMS:
        raise ExprError("memory budget exceeded")
    return list(range(left, right + 1))


def negated(value: Any) -> Any:
    if is_number(value):
        return wrapped(-value) if isinstance(value, int) else -value
    raise ExprError(f"invalid operation: - {kind(value)}")


def inverted(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ExprError(f"invalid operation: ! {kind(value)}")
    return not value


_TABLE: dict[str, Callable[[Any, Any], Any]] = {
    "+": _add, "-": _subtract, "*": _multiply, "/": _divide, "%": _remainder, "**": _power, "^": _power,
    "==": equal, "!=": lambda left, right: not equal(left, right),
    "<": _ordered("<", lambda a, b: a < b), "<=": _ordered("<=", lambda a, b: a <= b),
    ">": _ordered(">", lambda a, b: a > b), ">=": _ordered(">=", lambda a, b: a >= b),
    "in": _in, "..": _range,
    "contains": _text("contains", lambda text, part: part in text),
    "startsWith": _text("startsWith", lambda text, part: text.startswith(part)),
    "endsWith": _text("endsWith", lambda text, part: text.endswith(part)),
    "matches": _text("matches", lambda text, pattern: regex(pattern).found_in(text)),
}  # fmt: skip

