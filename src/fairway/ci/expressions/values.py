"""Values of the expression language and their coercions.

A value is None, bool, float, str, a list or a dict, as JSON has them. Numbers are always doubles. Property names are
compared without case, except in a `CaseSensitive` object (the `env` context on Linux).
"""

from __future__ import annotations

import math
import re
from typing import Any

Value = Any
"""None | bool | float | str | list[Value] | dict[str, Value]: recursive, so mypy takes it as Any."""

_DECIMAL = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_OCTAL = re.compile(r"0o[0-7]+")
_WORDS = {"infinity": math.inf, "+infinity": math.inf, "-infinity": -math.inf, "nan": math.nan}
_KEEPS_CASE = frozenset("ıſ")
"""Letters whose upper case is an ASCII letter: an ordinal comparison leaves them alone."""


class CaseSensitive(dict[str, Value]):
    """An object whose property names are matched exactly."""


class Filtered(list[Value]):
    """The result of `.*` or `[*]`: what follows is applied to each element."""


def kind_of(value: Value) -> str:
    """Null, Boolean, Number, String, Array or Object."""
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return "Boolean"
    if isinstance(value, (int, float)):
        return "Number"
    if isinstance(value, str):
        return "String"
    return "Array" if isinstance(value, list) else "Object"


def is_primitive(value: Value) -> bool:
    return not isinstance(value, (list, dict))


def truthy(value: Value) -> bool:
    """False, 0, -0, NaN, '' and null are falsy; arrays and objects are truthy, even empty ones."""
    if isinstance(value, (list, dict)):
        return True
    if isinstance(value, float):
        return value != 0 and not math.isnan(value)
    return bool(value)


def upper(text: str) -> str:
    """Upper case letter by letter, without changing the length: what the ordinal comparison compares."""
    if text.isascii():
        return text.upper()
    return "".join(c if c in _KEEPS_CASE or len(c.upper()) != 1 else c.upper() for c in text)


def parse_number(text: str) -> float:
    """A string as a number: '' is 0, what is no number is NaN."""
    text = text.strip()
    if not text:
        return 0.0
    if _DECIMAL.fullmatch(text):
        return float(text)
    if _HEX.fullmatch(text):
        return float(int(text[2:], 16))
    if _OCTAL.fullmatch(text):
        return float(int(text[2:], 8))
    return _WORDS.get(text.lower(), math.nan)


def to_number(value: Value) -> float:
    if value is None:
        return 0.0
    if isinstance(value, (bool, int, float)):
        return float(value)
    if isinstance(value, str):
        return parse_number(value)
    return math.nan


def number_text(value: float) -> str:
    """The shortest form of up to 15 digits, as .NET's G15 prints it; -0 is 0."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    text = f"{value:.15G}"
    return "0" if text == "-0" else text


def to_text(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return number_text(float(value))
    if isinstance(value, str):
        return value
    return "Array" if isinstance(value, list) else "Object"


def equal(left: Value, right: Value) -> bool:
    """GitHub's loose equality: other kinds meet as numbers, strings ignore case, containers are equal to themselves."""
    left_kind, right_kind = kind_of(left), kind_of(right)
    if left_kind != right_kind:
        return to_number(left) == to_number(right)
    if left_kind == "String":
        return upper(left) == upper(right)
    if left_kind in ("Array", "Object"):
        return left is right
    return bool(left == right)


def less(left: Value, right: Value) -> bool:
    left_kind, right_kind = kind_of(left), kind_of(right)
    if left_kind != right_kind:
        return to_number(left) < to_number(right)
    if left_kind == "String":
        return upper(left) < upper(right)
    if left_kind in ("Number", "Boolean"):
        return bool(left < right)
    return False


def property_of(obj: dict[str, Value], name: str) -> Value:
    """The property of that name, or None; the first wins where several differ only by case."""
    if name in obj:
        return obj[name]
    if isinstance(obj, CaseSensitive):
        return None
    wanted = upper(name)
    return next((value for key, value in obj.items() if upper(key) == wanted), None)


def has_property(obj: dict[str, Value], name: str) -> bool:
    if name in obj:
        return True
    if isinstance(obj, CaseSensitive):
        return False
    wanted = upper(name)
    return any(upper(key) == wanted for key in obj)


def size_of(value: Value) -> int:
    """A rough number of bytes, for the limit on memory."""
    if isinstance(value, str):
        return 26 + 2 * len(value)
    if isinstance(value, list):
        return 24 + sum(map(size_of, value))
    if isinstance(value, dict):
        return 24 + sum(26 + 2 * len(key) + size_of(item) for key, item in value.items())
    return 24
