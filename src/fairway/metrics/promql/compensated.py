"""Sums that keep what plain floating-point addition loses.

The error of each addition is computed exactly (Knuth's two-sum) and added back at the end, as Prometheus does with
Kahan-Neumaier summation, so that 1e100 + 1 - 1e100 is 1. Short rows are summed in Prometheus' own order; long ones as a
tree, which costs log2(n) numpy calls and is at least as exact.
"""

from __future__ import annotations

import numpy as np

from fairway.metrics.labels import Index
from fairway.metrics.series import Floats

_IN_ORDER = 32


def _two_sum(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """(a + b rounded, what rounding lost). Nothing is lost where the sum is not finite."""
    total = a + b
    part = total - a
    lost = (a - (total - part)) + (b - part)
    return total, np.where(np.isfinite(total), lost, 0.0)


def row_sums(values: Floats) -> Floats:
    """The sum of each row."""
    rows, columns = values.shape
    total, lost = np.zeros(rows), np.zeros(rows)
    with np.errstate(all="ignore"):
        if columns <= _IN_ORDER:
            for column in values.T:
                total, error = _two_sum(total, column)
                lost = np.where(np.isfinite(total), lost + error, 0.0)
            return total + lost
        return np.asarray(group_sums(values.T, np.zeros(columns, np.intp), 1)[0])


def row_means(values: Floats, counts: Floats) -> Floats:
    """The mean of each row of `counts` values (the rest being 0); an overflowing sum is no reason for an infinite
    mean.
    """
    with np.errstate(all="ignore"):
        means = row_sums(values) / counts
        overflowed = ~np.isfinite(means) & np.isfinite(values).all(axis=1)
        if overflowed.any():
            means[overflowed] = row_sums(values[overflowed] / counts[overflowed, np.newaxis])
    return means


def group_sums(values: Floats, groups: Index, count: int) -> Floats:
    """Sums of rows by group: rows × steps and the group of each row to `count` × steps."""
    if count == 1:
        return _all_summed(values)
    order = np.argsort(groups, kind="stable")
    total, groups = values[order], groups[order]
    lost = np.zeros_like(total)
    with np.errstate(all="ignore"):
        while True:
            starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]]) if len(groups) else np.zeros(0, np.intp)
            if len(starts) == len(groups):
                break
            sizes = np.diff(np.r_[starts, len(groups)])
            rank = np.arange(len(groups)) - np.repeat(starts, sizes)
            left = np.flatnonzero(rank % 2 == 0)
            paired = np.flatnonzero(left + 1 < len(groups))
            paired = paired[groups[left[paired] + 1] == groups[left[paired]]]
            right = left[paired] + 1
            sums, errors = total[left], lost[left]
            sums[paired], error = _two_sum(sums[paired], total[right])
            errors[paired] = np.where(np.isfinite(sums[paired]), errors[paired] + lost[right] + error, 0.0)
            total, lost, groups = sums, errors, groups[left]
        result = np.zeros((count, values.shape[1]))
        result[groups] = total + lost
    return result


def _all_summed(values: Floats) -> Floats:
    """`group_sums` of one group: the same pairs in the same order."""
    total, lost = values, np.zeros_like(values)
    with np.errstate(all="ignore"):
        while len(total) > 1:
            pairs = len(total) // 2
            sums, errors = total[::2].copy(), lost[::2].copy()
            sums[:pairs], error = _two_sum(sums[:pairs], total[1::2])
            errors[:pairs] = np.where(np.isfinite(sums[:pairs]), errors[:pairs] + lost[1::2] + error, 0.0)
            total, lost = sums, errors
        return total + lost if len(total) else np.zeros((1, values.shape[1]))


def group_means(values: Floats, groups: Index, counts: Floats) -> Floats:
    """Means of rows by group, `counts` (groups × steps) values each (the rest being 0)."""
    with np.errstate(all="ignore"):
        means = group_sums(values, groups, len(counts)) / counts
        finite = np.ones(counts.shape, np.bool_)
        np.logical_and.at(finite, groups, np.isfinite(values))
        overflowed = ~np.isfinite(means) & finite & (counts > 0)
        if overflowed.any():
            scaled = group_sums(values / counts[groups], groups, len(counts))
            means[overflowed] = scaled[overflowed]
    return means
