"""Quantiles of samples, and of classic histograms.

Source: Prometheus `promql/quantile.go` (behaviour). A NaN counts as the smallest value. In a histogram the answer is
linear inside its bucket; a rank above the last finite bound answers that bound; without a +Inf bucket there is no
answer.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from fairway.metrics.labels import NAME, Index
from fairway.metrics.promql.values import Vector
from fairway.metrics.series import Bools, Floats

_SMALL_DELTA = 1e-12  # relative difference between neighbouring buckets that is taken as rounding


def row_quantiles(q: Floats, values: Floats, valid: Bools) -> Floats:
    """The q-quantile of the valid values of each row, `q` one for each row. NaN where a row has none."""
    counts = valid.sum(axis=1)
    numbers = np.sort(np.where(valid, values, np.nan), axis=1)  # NaNs, real and filled in, come last
    nans = (valid & np.isnan(values)).sum(axis=1)
    with np.errstate(all="ignore"):
        rank = np.where((q >= 0) & (q <= 1), q, 0.0) * (counts - 1)
        lower = np.floor(np.maximum(rank, 0.0))
        weight = rank - lower
        below = _nth(numbers, lower.astype(np.intp), nans)
        above = _nth(numbers, np.minimum(lower + 1, counts - 1).astype(np.intp), nans)
        answer = below * (1 - weight) + above * weight
    answer = np.where(q < 0, -np.inf, np.where(q > 1, np.inf, answer))
    return np.where(np.isnan(q) | (counts == 0), np.nan, answer)


def _nth(numbers: Floats, place: Index, nans: Index) -> Floats:
    """Value at `place` in the order that begins with each row's NaNs."""
    if numbers.shape[1] == 0:
        return np.full(len(numbers), np.nan)
    index = np.clip(place - nans, 0, numbers.shape[1] - 1)
    found = np.take_along_axis(numbers, index[:, np.newaxis], axis=1)[:, 0]
    return np.where(place < nans, np.nan, found)


def _bound(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


class ClassicHistograms:
    """The `…_bucket` series of a vector, put together by their other labels."""

    def __init__(self, vector: Vector) -> None:
        bounds = vector.labels.map_column("le", _bound)
        usable = ~np.isnan(bounds)
        bad = vector.labels.keep(("le", NAME)).take(~usable).rows()
        self.unreadable = sorted({(row.get("le", ""), row.get(NAME, "")) for row in bad})
        """("le", metric name) of series that are no buckets."""
        self.forced: set[str] = set()
        """Names of metrics whose counts fell from one bucket to the next, once `quantiles` was asked."""
        vector, bounds = vector.take(usable), bounds[usable]
        self.groups, first = vector.labels.drop(("le",)).identities()
        order = np.lexsort((bounds, self.groups))
        self.groups, self.bounds = self.groups[order], bounds[order]
        self.values, self.present = vector.values[order], vector.present[order]
        self.owner = vector.take(first).with_labels(vector.labels.drop(("le",)).take(first))

    def owner_present(self, place: int) -> Bools:
        """At which steps a histogram has any bucket."""
        return np.asarray(self.present[self.groups == place].any(axis=0))

    def drop(self, place: int, steps: Bools) -> None:
        """Take a histogram out at these steps."""
        self.present = self.present & ~((self.groups == place)[:, np.newaxis] & steps)

    def quantiles(self, q: Floats) -> Vector:
        def ask(bounds: Floats, raw: Floats, step: int, groups: Index) -> Floats:
            counts, forced = _monotonic(raw)
            self.forced.update(self.owner.labels.row(int(group)).get(NAME, "") for group in groups[forced])
            return _quantile(float(q[step]), bounds, counts)

        return self._answer(ask)

    def fractions(self, lower: Floats, upper: Floats) -> Vector:
        return self._answer(lambda bounds, counts, step, _: _fraction(float(lower[step]), float(upper[step]), bounds, counts))

    def _answer(self, ask: _Ask) -> Vector:
        shape = (len(self.owner), self.values.shape[1])
        values, present = np.zeros(shape), np.zeros(shape, np.bool_)
        for step in range(shape[1]):
            here = self.present[:, step]
            groups, bounds, counts = _coalesced(self.groups[here], self.bounds[here], self.values[here, step])
            sizes = np.bincount(groups, minlength=shape[0])
            present[:, step] = sizes > 0
            starts = np.cumsum(sizes) - sizes
            for size in np.unique(sizes[sizes > 0]):  # histograms with equally many buckets are asked together
                alike = np.flatnonzero(sizes == size)
                index = starts[alike][:, np.newaxis] + np.arange(size)
                values[alike, step] = ask(bounds[index], counts[index], step, alike)
        return self.owner.mapped(values, present)


class _Ask(Protocol):
    """(bounds, cumulative counts) of histograms × buckets, ascending, to one number per histogram."""

    def __call__(self, bounds: Floats, counts: Floats, step: int, groups: Index, /) -> Floats: ...


def _coalesced(groups: Index, bounds: Floats, counts: Floats) -> tuple[Index, Floats, Floats]:
    """Buckets with the same bound ("1" and "1.0") as one, their counts added."""
    if len(groups) == 0:
        return groups, bounds, counts
    new = np.r_[True, (groups[1:] != groups[:-1]) | (bounds[1:] != bounds[:-1])]
    if new.all():
        return groups, bounds, counts
    return groups[new], bounds[new], np.add.reduceat(counts, np.flatnonzero(new))


def _monotonic(counts: Floats) -> tuple[Floats, Bools]:
    """(counts that never fall, which histograms had to be forced); tiny differences are taken out unforced."""
    result = counts.copy()
    forced = np.zeros(len(counts), np.bool_)
    for i in range(1, counts.shape[1]):
        before, here = result[:, i - 1], result[:, i]
        close = np.abs(here - before) < _SMALL_DELTA * (np.abs(here) + np.abs(before))
        falls = ~close & (here < before)
        result[:, i] = np.where(close | falls, before, here)
        forced |= falls
    return result, forced


def _quantile(q: float, bounds: Floats, counts: Floats) -> Floats:
    rows, buckets = bounds.shape
    if np.isnan(q):
        return np.full(rows, np.nan)
    if q < 0 or q > 1:
        return np.full(rows, np.copysign(np.inf, q))
    if buckets < 2:
        return np.full(rows, np.nan)
    every = np.arange(rows)
    with np.errstate(all="ignore"):
        total = counts[:, -1]
        rank = q * total
        at = np.argmax(np.c_[counts[:, :-1] >= rank[:, np.newaxis], np.ones(rows, np.bool_)], axis=1)
        inside = np.minimum(at, buckets - 2)
        below = np.where(inside > 0, counts[every, inside - 1], 0.0)
        start = np.where(inside > 0, bounds[every, inside - 1], 0.0)
        end = bounds[every, inside]
        answer = start + (end - start) * ((rank - below) / (counts[every, inside] - below))
        answer = np.where((inside == 0) & (end <= 0), end, answer)
        answer = np.where(at == buckets - 1, bounds[:, -2], answer)
    return np.where(np.isposinf(bounds[:, -1]) & (total != 0) & ~np.isnan(total), answer, np.nan)


def _fraction(lower: float, upper: float, bounds: Floats, counts: Floats) -> Floats:
    rows = len(bounds)
    total = counts[:, -1]
    known = np.isposinf(bounds[:, -1]) & (total != 0) & ~np.isnan(total)
    if np.isnan(lower) or np.isnan(upper):
        return np.full(rows, np.nan)
    if lower >= upper:
        return np.where(known, 0.0, np.nan)
    with np.errstate(all="ignore"):
        share = (_rank_at(upper, bounds, counts) - _rank_at(lower, bounds, counts)) / total
    return np.where(known, share, np.nan)


def _rank_at(value: float, bounds: Floats, counts: Floats) -> Floats:
    """How many observations lie below `value`, linear inside a bucket; an infinite bucket gives all or nothing."""
    rows = len(bounds)
    every = np.arange(rows)
    first_floor = np.where(bounds[:, 0] > 0, 0.0, -np.inf)
    floors = np.c_[first_floor, bounds[:, :-1]]
    floor_counts = np.c_[np.zeros(rows), counts[:, :-1]]
    at = np.argmax(np.c_[bounds > value, np.ones(rows, np.bool_)], axis=1)  # the first bucket that ends above `value`
    beyond = at == bounds.shape[1]
    at = np.minimum(at, bounds.shape[1] - 1)
    floor, ceiling = floors[every, at], bounds[every, at]
    before, through = floor_counts[every, at], counts[every, at]
    with np.errstate(all="ignore"):
        linear = before + (through - before) * (value - floor) / (ceiling - floor)
    rank = np.where(floor >= value, before, np.where(np.isneginf(floor), through, linear))
    return np.minimum(np.where(beyond, counts[:, -1], rank), counts[:, -1])
