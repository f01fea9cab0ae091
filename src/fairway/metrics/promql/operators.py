"""Arithmetic and comparison, element by element: numbers as whole arrays, native histograms one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from fairway.metrics.histogram import Histogram, IncompatibleHistograms, added, subtracted
from fairway.metrics.promql.native_quantile import trimmed
from fairway.metrics.promql.notes import Notes
from fairway.metrics.promql.values import no_histograms
from fairway.metrics.series import Bools, Floats, Histograms, are_there

ARITHMETIC: dict[str, Callable[[Floats, Floats], Floats]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "%": np.fmod, "^": np.power, "atan2": np.arctan2,
}  # fmt: skip
COMPARISON: dict[str, Callable[[Floats, Floats], Bools]] = {
    "==": np.equal, "!=": np.not_equal, ">": np.greater, "<": np.less, ">=": np.greater_equal, "<=": np.less_equal,
}  # fmt: skip
TRIM = frozenset({"</", ">/"})
"""Operators that cut a native histogram at a number."""
SET = frozenset({"and", "or", "unless"})


@dataclass(frozen=True, slots=True, eq=False)
class Elements:
    """Numbers, and the native histograms among them."""

    values: Floats
    histograms: Histograms | None = None

    def at(self, where: tuple[int, ...]) -> Histogram | float:
        found = None if self.histograms is None else self.histograms[where]
        return float(self.values[where]) if found is None else found


@dataclass(frozen=True, slots=True, eq=False)
class Applied:
    """`present`: where there is a result."""

    values: Floats
    present: Bools
    histograms: Histograms | None = None


def applied(
    op: str, left: Elements, right: Elements, kept: Elements, present: Bools, notes: Notes, *, as_bool: bool
) -> Applied:
    """A comparison that filters answers `kept`, the vector's own elements. `present`: where both sides are."""
    numbers = _of_numbers(op, left.values, right.values, kept, present, as_bool=as_bool)
    if left.histograms is None and right.histograms is None:
        if op in TRIM and present.any():
            notes.inform(_incompatible(op, 0.0, 0.0))
        return numbers
    values, held = numbers.values.copy(), numbers.present.copy()
    histograms = no_histograms(values.shape)
    native = np.zeros(values.shape, np.bool_)
    for side in (left, right):
        if side.histograms is not None:
            native |= are_there(side.histograms)
    for where in zip(*np.nonzero(native & present), strict=True):
        result = _combined(op, left.at(where), right.at(where), kept.at(where), notes, as_bool=as_bool)
        held[where] = result is not None
        if isinstance(result, Histogram):
            histograms[where] = result
        elif result is not None:
            values[where] = result
    return Applied(values, held, histograms)


def _of_numbers(op: str, left: Floats, right: Floats, kept: Elements, present: Bools, *, as_bool: bool) -> Applied:
    with np.errstate(all="ignore"):
        if op in ARITHMETIC:
            return Applied(ARITHMETIC[op](left, right), present)
        if op in TRIM:
            return Applied(kept.values, np.zeros(present.shape, np.bool_))
        held = COMPARISON[op](left, right)
        return Applied(held.astype(np.float64), present) if as_bool else Applied(kept.values, present & held)


def _combined(
    op: str, left: Histogram | float, right: Histogram | float, kept: Histogram | float, notes: Notes, *, as_bool: bool
) -> Histogram | float | None:
    match op, left, right:
        case ("+" | "-"), Histogram(), Histogram():
            return _added(op, left, right, notes)
        case ("==" | "!="), Histogram(), Histogram():
            held = left.same(right) == (op == "==")
            return float(held) if as_bool else kept if held else None
        case "*", Histogram(), float():
            return left.scaled(right)
        case "*", float(), Histogram():
            return right.scaled(left)
        case "/", Histogram(), float():
            return left.divided(right)
        case ("</" | ">/"), Histogram(), float():
            return trimmed(left, right, keep_below=op == "</")
        case _:
            notes.inform(_incompatible(op, left, right))
            return None


def _added(op: str, left: Histogram, right: Histogram, notes: Notes) -> Histogram | None:
    doing = "addition" if op == "+" else "subtraction"
    try:
        total = added(left, right) if op == "+" else subtracted(left, right)
    except IncompatibleHistograms:
        notes.warn(f"incompatible bucket layout encountered for binary operator {op}")
        return None
    if total.reconciled:
        notes.reconciled(doing)
    if total.collided:
        notes.collided(doing)
    return total.histogram if op == "+" else replace(total.histogram, reset="gauge")


def _incompatible(op: str, left: Histogram | float, right: Histogram | float) -> str:
    kinds = " ".join("histogram" if isinstance(side, Histogram) else "float" for side in (left, right))
    return f'incompatible sample types encountered for binary operator "{op}": {kinds}'
