"""Arithmetic and comparison, element by element."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fairway.metrics.series import Bools, Floats

ARITHMETIC: dict[str, Callable[[Floats, Floats], Floats]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "%": np.fmod, "^": np.power, "atan2": np.arctan2,
}  # fmt: skip
COMPARISON: dict[str, Callable[[Floats, Floats], Bools]] = {
    "==": np.equal, "!=": np.not_equal, ">": np.greater, "<": np.less, ">=": np.greater_equal, "<=": np.less_equal,
}  # fmt: skip
SET = frozenset({"and", "or", "unless"})


def applied(op: str, left: Floats, right: Floats, kept: Floats, *, as_bool: bool) -> tuple[Floats, Bools | None]:
    """(values, where the comparison held or None). A filtering comparison answers `kept`, the vector's values."""
    with np.errstate(all="ignore"):
        if op in ARITHMETIC:
            return ARITHMETIC[op](left, right), None
        held = COMPARISON[op](left, right)
        return (held.astype(np.float64), None) if as_bool else (kept, held)
