"""The legs of a matrix: cross product, less `exclude`, extended by `include`. Pure; expressions are already evaluated."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from fairway.ci.expressions import Value, kind_of, to_text

MAX_LEGS = 256

Leg = dict[str, Any]


class MatrixError(Exception):
    """A matrix that cannot be expanded; the message names the key."""


def expand(matrix: Value) -> list[Leg]:
    """The legs in order. Raises `MatrixError`."""
    if not isinstance(matrix, Mapping):
        raise MatrixError(f"a matrix must be a mapping, not {kind_of(matrix)}")
    vectors: dict[str, list[Value]] = {}
    for key, values in matrix.items():
        if key in ("include", "exclude"):
            continue
        if not isinstance(values, list):
            raise MatrixError(f"matrix '{key}' must be an array, not {kind_of(values)}")
        if not values:
            raise MatrixError(f"Matrix vector '{key}' does not contain any values")
        vectors[key] = values
    product = [dict(zip(vectors, values, strict=True)) for values in itertools.product(*vectors.values())] \
        if vectors else []
    excluded = _rows(matrix.get("exclude"), "exclude")
    legs = [leg for leg in product if not any(_within(row, leg) for row in excluded)]
    legs = _include(legs, _rows(matrix.get("include"), "include"), vectors)
    if len(legs) > MAX_LEGS:
        raise MatrixError(f"a matrix may have at most {MAX_LEGS} legs, this one has {len(legs)}")
    return legs


def _rows(value: Value, key: str) -> list[Leg]:
    if value is None or value == "":
        return []
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise MatrixError(f"matrix '{key}' must be an array of mappings")
    return value


def _same(left: Value, right: Value) -> bool:
    """Deep equality; scalars are compared as text, as a matrix value is used."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, (dict, list)) or isinstance(right, (dict, list)):
        return False
    return to_text(left) == to_text(right)


def _within(row: Leg, leg: Leg) -> bool:
    """Whether everything that the row says is so in the leg."""
    return all(key in leg and _same(value, leg[key]) for key, value in row.items())


def _include(product: list[Leg], rows: list[Leg], vectors: Mapping[str, Any]) -> list[Leg]:
    """A row extends every leg of the product whose own values it does not change; else it is a leg of its own."""
    legs = [dict(leg) for leg in product]
    added: list[Leg] = []
    for row in rows:
        own = {key: value for key, value in row.items() if key in vectors}
        matched = False
        for leg, original in zip(legs, product, strict=True):
            if _within(own, original):
                leg.update(row)
                matched = True
        if not matched:
            added.append(dict(row))
    return [*legs, *added]


def display(leg: Leg) -> str:
    """`(3.11, ubuntu)` as the job's name shows it; "" without values. Objects show what they hold."""
    texts = list(_scalars(leg))
    return f"({', '.join(texts)})" if texts else ""


def _scalars(value: Value) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in _scalars(item)]
    if isinstance(value, list):
        return [text for item in value for text in _scalars(item)]
    text = to_text(value)
    return [text] if text else []
