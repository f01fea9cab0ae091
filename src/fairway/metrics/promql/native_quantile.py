"""Quantiles, fractions, spread and trimming of native histograms.

Inside an exponential bucket observations are taken to lie evenly on a logarithmic scale, inside a custom bucket or the
zero bucket on a linear one. Observations that are no number are counted, and are in no bucket.

Source: Prometheus `promql/quantile.go` and `functions.go` (behaviour).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from fairway.metrics.histogram import Bucket, Histogram
from fairway.metrics.promql.notes import Notes


def _from_zero(histogram: Histogram, bucket: Bucket) -> Bucket:
    """The zero bucket of a histogram with one side only ends at 0; the first custom bucket begins there if it can."""
    if histogram.is_custom:
        return replace(bucket, lower=0.0) if math.isinf(bucket.lower) and bucket.upper > 0 else bucket
    if bucket.lower <= 0 <= bucket.upper:
        if histogram.positive and not histogram.negative:
            return replace(bucket, lower=0.0)
        if histogram.negative and not histogram.positive:
            return replace(bucket, upper=0.0)
    return bucket


def _linear(histogram: Histogram, bucket: Bucket) -> bool:
    return histogram.is_custom or bucket.lower <= 0 <= bucket.upper


def quantile(q: float, histogram: Histogram, name: str, notes: Notes) -> float:
    if q < 0 or q > 1:
        return math.copysign(math.inf, q)
    if histogram.count == 0 or math.isnan(q):
        return math.nan
    # with NaNs among the observations only counting from below finds the rank
    upward = math.isnan(histogram.sum) or q < 0.5
    rank = (q if upward else 1 - q) * histogram.count
    buckets = histogram.buckets()
    counted, bucket = 0.0, Bucket(0.0, 0.0, 0.0)
    for bucket in buckets if upward else reversed(buckets):
        counted += bucket.count
        if counted >= rank:
            break
    bucket = _from_zero(histogram, bucket)
    if math.isnan(histogram.sum):
        beyond = counted < rank or not buckets
        notes.inform(f"input to histogram_quantile has NaN observations, result is {'NaN' if beyond else 'skewed higher'} "
                     f'for metric name "{name}"')  # fmt: skip
        if beyond:
            return math.nan
    if histogram.is_custom and math.isinf(bucket.lower):
        return bucket.upper
    if histogram.is_custom and math.isinf(bucket.upper):
        return bucket.lower
    counted = min(counted, histogram.count)
    if counted < rank:
        return bucket.upper if upward else bucket.lower
    inside = rank - (counted - bucket.count) if upward else counted - rank
    fraction = inside / bucket.count
    if _linear(histogram, bucket):
        return bucket.lower + (bucket.upper - bucket.lower) * fraction
    low, high = math.log2(abs(bucket.lower)), math.log2(abs(bucket.upper))
    if bucket.lower > 0:
        return float(2 ** (low + (high - low) * fraction))
    return -float(2 ** (high + (low - high) * (1 - fraction)))


def fraction(lower: float, upper: float, histogram: Histogram, name: str, notes: Notes) -> float:
    """The share of observations in [lower, upper]."""
    if histogram.count == 0 or math.isnan(lower) or math.isnan(upper):
        return math.nan
    if math.isnan(histogram.sum):
        notes.inform("input to histogram_fraction has NaN observations, which are excluded from all fractions "
                     f'for metric name "{name}"')  # fmt: skip
    if lower >= upper:
        return 0.0
    return (_below(upper, histogram) - _below(lower, histogram)) / histogram.count


def _below(value: float, histogram: Histogram) -> float:
    """How many observations lie below."""
    rank = 0.0
    for found in histogram.buckets():
        bucket = _from_zero(histogram, found)
        if bucket.lower >= value:
            return rank
        if bucket.upper > value:
            if math.isinf(bucket.lower):
                return rank + bucket.count
            return rank + bucket.count * _share_below(value, bucket, linear=_linear(histogram, bucket))
        rank += bucket.count
    return rank


def _share_below(value: float, bucket: Bucket, *, linear: bool) -> float:
    """Which part of a bucket lies below a value inside it; of an endless one, none."""
    if linear:
        return (value - bucket.lower) / (bucket.upper - bucket.lower)
    low, high, at = (math.log2(abs(edge)) for edge in (bucket.lower, bucket.upper, value))
    return (at - low) / (high - low) if value > 0 else 1 - (at - high) / (low - high)


def variance(histogram: Histogram) -> float:
    """Of the observations, each taken to lie in the middle of its bucket."""
    if histogram.count == 0:
        return math.nan
    mean = histogram.sum / histogram.count
    parts = []
    for bucket in histogram.buckets():
        if histogram.is_custom:
            middle = (bucket.upper + bucket.lower) / 2
        elif bucket.lower <= 0 <= bucket.upper:
            middle = 0.0
        else:
            middle = math.copysign(math.sqrt(bucket.upper * bucket.lower), bucket.upper)
        parts.append(bucket.count * (middle - mean) ** 2)
    return sum(parts) / histogram.count


# --- trimming ---------------------------------------------------------------------------------------------------------


def trimmed(histogram: Histogram, cut: float, *, keep_below: bool) -> Histogram:
    """Only what lies below (`</`) or above (`>/`) `cut`. The sum of what is left is reckoned from the buckets' middles."""
    if math.isnan(cut):
        return replace(histogram, zero_count=0.0, count=math.nan, sum=math.nan, positive={}, negative={})
    sums: list[tuple[float, float]] = []  # (count kept, middle)
    changed = False

    def keep(lower: float, upper: float, count: float) -> float:
        nonlocal changed
        bucket = Bucket(lower, upper, count)
        if not histogram.is_custom or (cut >= 0 and math.isfinite(upper)):
            bucket = _from_zero(histogram, bucket)
        kept, middle = _kept_part(bucket, histogram, cut, keep_below=keep_below)
        changed = changed or kept != count
        sums.append((kept, middle))
        return kept

    bound = histogram.bound
    negative = {i: keep(-bound(i), -bound(i - 1), n) for i, n in histogram.negative.items()}
    threshold = histogram.zero_threshold
    zero = keep(-threshold, threshold, histogram.zero_count) if histogram.zero_count else 0.0
    positive = {i: keep(bound(i - 1), bound(i), n) for i, n in histogram.positive.items()}
    if not changed:
        return histogram
    return replace(
        histogram, zero_count=zero, count=sum(count for count, _ in sums),
        sum=sum(count * middle for count, middle in sums if count),
        positive={i: n for i, n in positive.items() if n}, negative={i: n for i, n in negative.items() if n},
    )  # fmt: skip


def _kept_part(bucket: Bucket, histogram: Histogram, cut: float, *, keep_below: bool) -> tuple[float, float]:
    """(how much of a bucket stays, where its middle is then).

    A bucket without an end on one side cannot be cut: it stays if it is bounded on the side that stays, and is taken to
    lie at its bound, or at the cut.
    """
    lower, upper, count = bucket.lower, bucket.upper, bucket.count
    if math.isinf(lower) or math.isinf(upper):
        if math.isinf(cut) and (cut > 0) == keep_below:
            return count, 0.0
        if math.isinf(lower) and math.isinf(upper):
            return 0.0, 0.0
        if math.isinf(lower):
            if upper > 0 and keep_below:  # what lies below a negative cut is nothing, if observations begin at 0
                return 0.0, 0.0
            return (count, min(upper, cut)) if keep_below and not math.isinf(cut) else (0.0, 0.0)
        return (count, max(lower, cut)) if not keep_below and not math.isinf(cut) else (0.0, 0.0)
    linear = _linear(histogram, bucket)
    middle = _middle_of(linear)
    if cut <= lower:
        return (0.0, 0.0) if keep_below else (count, middle(lower, upper))
    if cut >= upper:
        return (count, middle(lower, upper)) if keep_below else (0.0, 0.0)
    below = _share_below(cut, bucket, linear=linear)
    return (count * below, middle(lower, cut)) if keep_below else (count * (1 - below), middle(cut, upper))


def _middle_of(linear: bool) -> Callable[[float, float], float]:
    if linear:
        return lambda low, high: (low + high) / 2
    return lambda low, high: math.copysign(math.sqrt(low * high), high if high else low)
