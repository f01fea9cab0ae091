"""Quantities: "500m", "1Gi", "1e3". Parsed exactly, and written the one way in which Kubernetes stores them.

Source: apimachinery `resource.Quantity`.
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache

_SHAPE = re.compile(r"^([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$")
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_NANO = Decimal(1).scaleb(-9)
REFUSAL = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


def parse_quantity(text: str | int | float) -> Decimal:
    """The exact value. ValueError with the server's words."""
    return _parse(str(text))[0]


@lru_cache(maxsize=4096)
def canonical(text: str | int | float) -> str:
    """No fraction, the largest suffix of its family: "1000m" is "1", "1024Mi" is "1Gi", "0.5" is "500m"."""
    value, family, exponent = _parse(str(text))
    if value == 0:
        return "0"
    if family == "binary" and abs(value) >= 1024 and value == value.to_integral_value():
        return _binary(int(value))
    value = value.quantize(_NANO, rounding=ROUND_CEILING) if value.as_tuple().exponent < -9 else value  # type: ignore[operator]
    return _decimal(value, scientific=exponent)


def _parse(text: str) -> tuple[Decimal, str, bool]:
    match = _SHAPE.match(text)
    if match is None:
        raise ValueError(REFUSAL)
    number, suffix = Decimal(match[1]), match[2] or ""
    if suffix in _BINARY:
        return number * 1024 ** _BINARY[suffix], "binary", False
    if suffix in _DECIMAL:
        return number.scaleb(_DECIMAL[suffix]), "decimal", False
    return number.scaleb(int(suffix[1:])), "decimal", True


def _binary(value: int) -> str:
    power = 0
    while power < 6 and value % 1024 == 0:
        value, power = value // 1024, power + 1
    suffixes = ["", *_BINARY]
    return f"{value}{suffixes[power]}"


def _decimal(value: Decimal, *, scientific: bool) -> str:
    power = -9
    units = int(value.scaleb(9))
    while power < 18 and units % 1000 == 0:
        units, power = units // 1000, power + 3
    if scientific:
        return f"{units}e{power}" if power else str(units)
    return f"{units}{next(suffix for suffix, p in _DECIMAL.items() if p == power)}"
