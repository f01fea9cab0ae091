"""Aggregation operators: many series to one per group, or the chosen ones of each group."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fairway.metrics.labels import METADATA, Index, code_of
from fairway.metrics.promql.compensated import group_means, group_sums
from fairway.metrics.promql.numbers import escaped, format_float
from fairway.metrics.promql.quantile import row_quantiles
from fairway.metrics.promql.values import QueryError, Vector, joined
from fairway.metrics.series import Floats


class Groups:
    """The series of a vector, put together by what `by` keeps or `without` leaves."""

    def __init__(self, vector: Vector, by: tuple[str, ...] | None, without: tuple[str, ...] | None) -> None:
        if without is not None:
            table = vector.labels.drop((*without, *METADATA))
        else:
            table = vector.labels.keep(by or ())
        self.vector = vector
        self.ids, first = table.identities()
        self.labels = table.take(first)
        self.counts = np.zeros((len(first), vector.steps))
        np.add.at(self.counts, self.ids, vector.present)
        drop_name = np.zeros(len(first), np.bool_)
        np.logical_or.at(drop_name, self.ids, vector.drop_name)
        self._empty = Vector(self.labels, self.counts, self.counts > 0, drop_name)

    def __len__(self) -> int:
        return len(self.labels)

    def or_else(self, value: float) -> Floats:
        return np.where(self.vector.present, self.vector.values, value)

    def answer(self, values: Floats) -> Vector:
        one = self._empty
        return Vector(one.labels, values, one.present, one.drop_name)

    def members(self) -> list[Index]:
        """Rows of each group, in the vector's order."""
        order = np.argsort(self.ids, kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.ids, minlength=len(self)))[:-1]) if len(self) else []


def _sum(groups: Groups) -> Floats:
    return group_sums(groups.or_else(0.0), groups.ids, len(groups))


def _avg(groups: Groups) -> Floats:
    return group_means(groups.or_else(0.0), groups.ids, groups.counts)


def _count(groups: Groups) -> Floats:
    return groups.counts


def _group(groups: Groups) -> Floats:
    return np.ones_like(groups.counts)


def _extreme(groups: Groups, choose: np.ufunc) -> Floats:
    result = np.full(groups.counts.shape, np.nan)
    choose.at(result, groups.ids, groups.or_else(np.nan))
    return result


def _min(groups: Groups) -> Floats:
    return _extreme(groups, np.fmin)


def _max(groups: Groups) -> Floats:
    return _extreme(groups, np.fmax)


def _stdvar(groups: Groups) -> Floats:
    """Values are taken from each group's smallest one first, so that equal values vary by exactly 0."""
    shifted = np.where(groups.vector.present, groups.vector.values - _min(groups)[groups.ids], 0.0)
    means = group_means(shifted, groups.ids, groups.counts)
    distance = np.where(groups.vector.present, shifted - means[groups.ids], 0.0)
    return group_means(distance * distance, groups.ids, groups.counts)


def _stddev(groups: Groups) -> Floats:
    return np.sqrt(_stdvar(groups))


REDUCTIONS: dict[str, Callable[[Groups], Floats]] = {
    "sum": _sum, "avg": _avg, "count": _count, "group": _group, "min": _min, "max": _max,
    "stdvar": _stdvar, "stddev": _stddev,
}  # fmt: skip


def quantile(groups: Groups, q: Floats) -> Vector:
    values = np.full(groups.counts.shape, np.nan)
    for group, rows in enumerate(groups.members()):
        values[group] = row_quantiles(q, groups.vector.values[rows].T, groups.vector.present[rows].T)
    return groups.answer(values)


def extremes(groups: Groups, k: Floats, *, largest: bool) -> Vector:
    """`topk` and `bottomk`: the chosen series themselves; NaN comes last. In an instant query they are ordered."""
    if np.isnan(k).any():
        raise QueryError("Parameter value is NaN")
    vector = groups.vector
    chosen = np.zeros_like(vector.present)
    order: list[Index] = []
    for rows in groups.members():
        values, present = vector.values[rows], vector.present[rows]
        key = np.where(present, -values if largest else values, np.nan)
        # absent after NaN after numbers, and equal values in the order in which they came
        ranked = np.lexsort((key, np.isnan(key), ~present), axis=0)
        place = np.empty_like(ranked)
        np.put_along_axis(place, ranked, np.arange(len(rows))[:, np.newaxis], axis=0)
        chosen[rows] = present & (place < np.floor(k))
        order.append(rows[ranked[:, 0]] if vector.steps == 1 else rows)
    result = vector.masked(chosen)
    return result.take(np.concatenate(order)).trimmed() if order else result


def count_values(vector: Vector, by: tuple[str, ...] | None, without: tuple[str, ...] | None, label: str) -> Vector:
    """How many series of each group have each value; the value becomes label `label`."""
    if not label or escaped(label) != label:
        raise QueryError(f'invalid label name "{escaped(label)}"')
    if without is not None:
        kept = vector.labels.drop((*without, *METADATA, label))
    else:
        kept = vector.labels.keep(set(by or ()) - {label})
    counted: list[Vector] = []
    for step in range(vector.steps):
        rows = np.flatnonzero(vector.present[:, step])
        values = np.array([code_of(_written(vector, row, step)) for row in rows.tolist()], np.int32)
        one = Vector(
            kept.take(rows).with_column(label, values),
            np.ones((len(rows), vector.steps)),
            np.zeros((len(rows), vector.steps), np.bool_),
            np.zeros(len(rows), np.bool_),
        )
        one.present[:, step] = True
        counted.append(one)
    if not counted:
        return Vector.empty(vector.steps)
    every = joined(counted, vector.steps)
    groups = Groups(every, tuple(every.labels.names), None)
    return groups.answer(groups.counts)


def _written(vector: Vector, row: int, step: int) -> str:
    native = None if vector.histograms is None else vector.histograms[row, step]
    return format_float(float(vector.values[row, step])) if native is None else str(native)


def check_k(k: Floats) -> None:
    if (np.abs(k[np.isfinite(k)]) >= 2.0**63).any() or np.isinf(k).any():
        worst = k[np.isinf(k) | (np.abs(k) >= 2.0**63)][0]
        raise QueryError(f"Scalar value {format_float(float(worst))} overflows int64")
