"""Functions of a range vector: each maps a window to one number per series, and says which series have one.

Source: Prometheus `promql/functions.go` (behaviour). All series of a block are computed together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fairway.metrics.labels import Index
from fairway.metrics.promql.compensated import row_means, row_sums
from fairway.metrics.promql.quantile import row_quantiles
from fairway.metrics.promql.values import QueryError
from fairway.metrics.promql.window import Window
from fairway.metrics.series import Bools, Floats

Answer = tuple[Floats, Bools]
RangeFunction = Callable[..., Answer]

_EXTRAPOLATION_THRESHOLD = 1.1  # times the average spacing: a wider gap to the window's edge means the series starts there


# --- counters and gauges --------------------------------------------------------------------------------------------


def _fallen(window: Window) -> Floats:
    """What counter resets took away: the sum of the values from which each series fell."""
    before, after = window.filled[:, :-1], window.filled[:, 1:]
    return np.asarray(np.where(after < before, before, 0.0).sum(axis=1))


def _extrapolated(window: Window, *, counter: bool, per_second: bool) -> Answer:
    """The change over the window, extended to its edges.

    A series is taken to go on to an edge that is nearer than 1.1 average spacings, else half a spacing further; a
    counter never to before the time at which it would have been 0.
    """
    enough = window.counts >= 2
    first, last = window.first, window.last
    begin = window.value_at(first)
    change = window.value_at(last) - begin
    if counter:
        change = change + _fallen(window)
    covered = (window.times[last] - window.times[first]) / 1000
    spacing = covered / np.maximum(window.counts - 1, 1)
    to_start = (window.times[first] - window.start) / 1000
    to_end = (window.end - window.times[last]) / 1000
    to_start = np.where(to_start >= spacing * _EXTRAPOLATION_THRESHOLD, spacing / 2, to_start)
    if counter:
        to_zero = np.where((change > 0) & (begin >= 0), covered * (begin / change), np.inf)
        to_start = np.minimum(to_start, to_zero)
    to_end = np.where(to_end >= spacing * _EXTRAPOLATION_THRESHOLD, spacing / 2, to_end)
    factor = (covered + to_start + to_end) / covered
    if per_second:
        factor = factor / ((window.end - window.start) / 1000)
    return change * factor, enough


def rate(window: Window) -> Answer:
    return _extrapolated(window, counter=True, per_second=True)


def increase(window: Window) -> Answer:
    return _extrapolated(window, counter=True, per_second=False)


def delta(window: Window) -> Answer:
    return _extrapolated(window, counter=False, per_second=False)


def _last_two(window: Window) -> tuple[Floats, Floats, Floats]:
    """(last value but one, last value, seconds between them)."""
    before, last = window.before_last(), window.last
    return window.value_at(before), window.value_at(last), (window.times[last] - window.times[before]) / 1000


def irate(window: Window) -> Answer:
    before, after, seconds = _last_two(window)
    return np.where(after < before, after, after - before) / seconds, window.counts >= 2


def idelta(window: Window) -> Answer:
    before, after, _ = _last_two(window)
    return after - before, window.counts >= 2


def resets(window: Window) -> Answer:
    return (window.filled[:, 1:] < window.filled[:, :-1]).sum(axis=1).astype(np.float64), window.any


def changes(window: Window) -> Answer:
    before, after = window.filled[:, :-1], window.filled[:, 1:]
    differ = (before != after) & ~(np.isnan(before) & np.isnan(after))
    return differ.sum(axis=1).astype(np.float64), window.any


# --- trends ---------------------------------------------------------------------------------------------------------


def _line(window: Window, origins: Floats) -> tuple[Floats, Floats]:
    """(slope per second, value at `origins`) of the least-squares line through each series."""
    x = np.where(window.valid, (window.times - origins[:, np.newaxis]) / 1000, 0.0)
    y = window.or_else(0.0)
    n = window.counts.astype(np.float64)
    sum_x, sum_y = row_sums(x), row_sums(y)
    covariance = row_sums(x * y) - sum_x * sum_y / n
    variance = row_sums(x * x) - sum_x * sum_x / n
    slope = covariance / variance
    flat = (window.filled == window.filled[:, :1]).all(axis=1)
    level = window.filled[:, 0]
    slope = np.where(flat, np.where(np.isfinite(level), 0.0, np.nan), slope)
    intercept = np.where(flat, np.where(np.isfinite(level), level, np.nan), sum_y / n - slope * sum_x / n)
    return slope, intercept


def deriv(window: Window) -> Answer:
    slope, _ = _line(window, window.times[window.first].astype(np.float64))
    return slope, window.counts >= 2


def predict_linear(window: Window, seconds: float) -> Answer:
    slope, intercept = _line(window, np.full(len(window.valid), float(window.now)))
    return slope * seconds + intercept, window.counts >= 2


def double_exponential_smoothing(window: Window, smoothing: float, trend: float) -> Answer:
    for name, factor in (("smoothing", smoothing), ("trend", trend)):
        if not 0 <= factor <= 1:
            raise QueryError(f"invalid {name} factor. Expected: 0 <= {name[0]}f <= 1, got: {factor:f}")
    rows = len(window.valid)
    level, slope, before = np.zeros(rows), np.zeros(rows), np.zeros(rows)
    seen = np.zeros(rows, np.intp)
    for value, valid in zip(window.values.T, window.valid.T, strict=True):
        slope = np.where(seen == 1, value - level, np.where(seen > 1, trend * (level - before) + (1 - trend) * slope, slope))
        smoothed = np.where(seen == 0, value, smoothing * value + (1 - smoothing) * (level + slope))
        before, level = np.where(valid, level, before), np.where(valid, smoothed, level)
        seen = seen + valid
    return level, seen >= 2


# --- over time ------------------------------------------------------------------------------------------------------


def sum_over_time(window: Window) -> Answer:
    return row_sums(window.or_else(0.0)), window.any


def avg_over_time(window: Window) -> Answer:
    return row_means(window.or_else(0.0), window.counts.astype(np.float64)), window.any


def min_over_time(window: Window) -> Answer:
    return np.fmin.reduce(window.or_else(np.nan), axis=1), window.any


def max_over_time(window: Window) -> Answer:
    return np.fmax.reduce(window.or_else(np.nan), axis=1), window.any


def count_over_time(window: Window) -> Answer:
    return window.counts.astype(np.float64), window.any


def present_over_time(window: Window) -> Answer:
    return np.ones(len(window.valid)), window.any


def first_over_time(window: Window) -> Answer:
    return window.value_at(window.first), window.any


def last_over_time(window: Window) -> Answer:
    return window.value_at(window.last), window.any


def stdvar_over_time(window: Window) -> Answer:
    """Values are taken from each series' first one, so that equal values vary by exactly 0."""
    counts = window.counts.astype(np.float64)
    shifted = np.where(window.valid, window.values - window.filled[:, :1], 0.0)
    means = row_means(shifted, counts)
    distance = np.where(window.valid, shifted - means[:, np.newaxis], 0.0)
    return row_means(distance * distance, counts), window.any


def stddev_over_time(window: Window) -> Answer:
    variance, present = stdvar_over_time(window)
    return np.sqrt(variance), present


def quantile_over_time(window: Window, q: float) -> Answer:
    return row_quantiles(np.full(len(window.valid), q), window.values, window.valid), window.any


def mad_over_time(window: Window) -> Answer:
    """Median of the distances from the median."""
    half = np.full(len(window.valid), 0.5)
    median = row_quantiles(half, window.values, window.valid)
    spread = row_quantiles(half, np.abs(window.values - median[:, np.newaxis]), window.valid)
    return np.where((window.valid & np.isnan(window.values)).any(axis=1), np.nan, spread), window.any


def _times_of(window: Window, columns: Index) -> Answer:
    return window.times[columns] / 1000, window.any


def ts_of_first_over_time(window: Window) -> Answer:
    return _times_of(window, window.first)


def ts_of_last_over_time(window: Window) -> Answer:
    return _times_of(window, window.last)


def _last_column_of(window: Window, extremes: Floats) -> Index:
    hit = window.valid & ((window.values == extremes[:, np.newaxis]) | np.isnan(extremes)[:, np.newaxis])
    return np.asarray(hit.shape[1] - 1 - np.argmax(hit[:, ::-1], axis=1))


def ts_of_min_over_time(window: Window) -> Answer:
    return _times_of(window, _last_column_of(window, min_over_time(window)[0]))


def ts_of_max_over_time(window: Window) -> Answer:
    return _times_of(window, _last_column_of(window, max_over_time(window)[0]))


@dataclass(frozen=True, slots=True)
class Spec:
    """`keeps_name`: the answer is still a sample of the metric."""

    function: RangeFunction
    keeps_name: bool = False


RANGE_FUNCTIONS: dict[str, Spec] = {
    function.__name__: Spec(function, keeps_name=function in (first_over_time, last_over_time))
    for function in (
        rate, increase, delta, irate, idelta, resets, changes, deriv, predict_linear, double_exponential_smoothing,
        sum_over_time, avg_over_time, min_over_time, max_over_time, count_over_time, present_over_time, first_over_time,
        last_over_time, stdvar_over_time, stddev_over_time, quantile_over_time, mad_over_time, ts_of_first_over_time,
        ts_of_last_over_time, ts_of_min_over_time, ts_of_max_over_time,
    )
}  # fmt: skip
