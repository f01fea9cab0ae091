"""Native histograms: counts in buckets whose bounds follow from a schema, or are given.

Schema n from -4 to 8 has 2**n buckets for each power of two: bucket i holds (2**((i-1)/2**n), 2**(i/2**n)], and its mirror
image below zero; what is nearer to zero than `zero_threshold` is in the zero bucket. The schema CUSTOM has the upper bounds
`custom`, the last bucket ends at +Inf, and there is nothing below.

Two histograms are brought to one layout before they are added: to the lower schema, the wider zero bucket, the common
bounds. Buckets are kept by index and only where something is in them, so that equal histograms are equal however they
were spelled.

Source: Prometheus `model/histogram/float_histogram.go` (behaviour).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

CUSTOM = -53
LOWEST_SCHEMA, HIGHEST_SCHEMA = -4, 8
_LARGEST = 1.7976931348623157e308

Reset = Literal["unknown", "reset", "not_reset", "gauge"]
"""What is known of a counter's history: whether it fell since the sample before. A gauge may fall."""

Buckets = Mapping[int, float]


class IncompatibleHistograms(Exception):
    """Exponential buckets on one side, custom ones on the other."""


@dataclass(frozen=True, slots=True)
class Bucket:
    lower: float
    upper: float
    count: float


@dataclass(frozen=True, slots=True)
class Histogram:
    schema: int = 0
    zero_threshold: float = 0.0
    zero_count: float = 0.0
    count: float = 0.0
    sum: float = 0.0
    positive: Buckets = field(default_factory=dict)
    negative: Buckets = field(default_factory=dict)
    custom: tuple[float, ...] = ()
    reset: Reset = "unknown"

    @property
    def is_custom(self) -> bool:
        return self.schema == CUSTOM

    def as_list(self) -> list[Any]:
        """For files; `from_list` is the way back."""
        return [self.schema, self.zero_threshold, self.zero_count, self.count, self.sum, [list(self.positive), list(
            self.positive.values())], [list(self.negative), list(self.negative.values())], list(self.custom), self.reset]

    @staticmethod
    def from_list(found: Sequence[Any]) -> Histogram:
        """ValueError, TypeError where it is none."""
        schema, threshold, zero, count, total, positive, negative, custom, reset = found
        return Histogram(schema, threshold, zero, count, total, dict(zip(*positive, strict=True)),
                         dict(zip(*negative, strict=True)), tuple(custom), reset)

    def same(self, other: Histogram) -> bool:
        """Equal in all but the reset hint; NaN is equal to NaN."""
        return (
            (self.schema, self.custom) == (other.schema, other.custom)
            and all(map(_same, self._numbers(), other._numbers()))
            and _same_buckets(self.positive, other.positive)
            and _same_buckets(self.negative, other.negative)
        )

    def _numbers(self) -> tuple[float, float, float, float]:
        return self.zero_threshold, self.zero_count, self.count, self.sum

    # --- buckets ------------------------------------------------------------------------------------------------------

    def bound(self, index: int) -> float:
        """The upper bound of a positive bucket."""
        if self.is_custom:
            return self.custom[index] if 0 <= index < len(self.custom) else math.inf if index >= 0 else -math.inf
        return exponential_bound(self.schema, index)

    def buckets(self) -> list[Bucket]:
        """All of them that hold something, from low to high; the first custom one begins at -Inf."""
        found = [Bucket(-self.bound(i), -self.bound(i - 1), self.negative[i]) for i in sorted(self.negative, reverse=True)]
        if self.zero_count:
            found.append(Bucket(-self.zero_threshold, self.zero_threshold, self.zero_count))
        return found + [Bucket(self.bound(i - 1), self.bound(i), self.positive[i]) for i in sorted(self.positive)]

    def to_schema(self, schema: int) -> Histogram:
        """At a lower resolution."""
        if self.is_custom or schema >= self.schema:
            return self
        step = self.schema - schema

        def merged(buckets: Buckets) -> Buckets:
            return _gathered(((index - 1) >> step) + 1 for index in buckets)(buckets.values())

        return replace(self, schema=schema, positive=merged(self.positive), negative=merged(self.negative))

    def with_zero_threshold(self, wanted: float) -> Histogram:
        """With a zero bucket at least this wide. It never ends inside a bucket that holds something."""
        threshold = wanted
        while True:
            reached = threshold
            for index in (*self.positive, *self.negative):
                if self.bound(index - 1) < threshold < self.bound(index):
                    reached = max(reached, self.bound(index))
            if reached == threshold:
                break
            threshold = reached
        inside = [[i for i in side if self.bound(i) <= threshold] for side in (self.positive, self.negative)]
        moved = sum(self.positive[i] for i in inside[0]) + sum(self.negative[i] for i in inside[1])
        return replace(
            self, zero_threshold=threshold, zero_count=self.zero_count + moved,
            positive={i: n for i, n in self.positive.items() if i not in inside[0]},
            negative={i: n for i, n in self.negative.items() if i not in inside[1]},
        )  # fmt: skip

    def with_bounds(self, bounds: tuple[float, ...]) -> Histogram:
        """With these custom bounds, each of which is one of its own."""
        if bounds == self.custom:
            return self
        place = [sum(bound < self.bound(i) for bound in bounds) for i in self.positive]
        return replace(self, custom=bounds, positive=_gathered(place)(self.positive.values()))

    # --- arithmetic ---------------------------------------------------------------------------------------------------

    def scaled(self, factor: float) -> Histogram:
        """Every count and the sum times `factor`. A counter does not shrink below nothing: that makes a gauge."""
        return self._each(lambda n: n * factor, gauge=factor < 0)

    def divided(self, divisor: float) -> Histogram:
        """A division by 0 leaves no buckets: they would all be infinite, or nothing."""
        if divisor == 0:
            none = replace(self, positive={}, negative={})
            return none._each(lambda n: math.nan if n == 0 or math.isnan(n) else math.copysign(math.inf, n) *
                              math.copysign(1, divisor), gauge=False)  # fmt: skip
        return self._each(lambda n: n / divisor, gauge=divisor < 0)

    def _each(self, change: Callable[[float], float], *, gauge: bool) -> Histogram:
        return replace(
            self, zero_count=change(self.zero_count), count=change(self.count), sum=change(self.sum),
            positive=_kept((i, change(n)) for i, n in self.positive.items()),
            negative=_kept((i, change(n)) for i, n in self.negative.items()), reset="gauge" if gauge else self.reset,
        )  # fmt: skip

    def fell_since(self, before: Histogram) -> bool:
        """Whether a counter was reset between the two: by its own word, or because something became less."""
        if self.reset in ("reset", "not_reset"):
            return self.reset == "reset"
        if self.count < before.count or self.is_custom != before.is_custom:
            return True
        if self.is_custom:
            bounds = common_bounds(self.custom, before.custom)
            return _any_less(self.with_bounds(bounds).positive, before.with_bounds(bounds).positive)
        if self.schema > before.schema or self.zero_threshold < before.zero_threshold:
            return True
        before = before.with_zero_threshold(self.zero_threshold)
        if before.zero_threshold != self.zero_threshold or self.zero_count < before.zero_count:
            return True
        before = before.to_schema(self.schema)
        return _any_less(self.positive, before.positive) or _any_less(self.negative, before.negative)

    def __str__(self) -> str:
        """As Prometheus writes it: the value of a `count_values` label."""
        parts = [f"count:{_shown(self.count)}", f"sum:{_shown(self.sum)}"]
        for bucket in self.buckets():
            if bucket.lower == -self.zero_threshold and bucket.upper == self.zero_threshold:
                edges = "[]"
            else:
                edges = "[)" if bucket.upper < 0 or (bucket.upper <= 0 and bucket.lower < 0) else "(]"
            parts.append(f"{edges[0]}{_shown(bucket.lower)},{_shown(bucket.upper)}{edges[1]}:{_shown(bucket.count)}")
        return "{" + ", ".join(parts) + "}"


@dataclass(frozen=True, slots=True)
class Total:
    """`reconciled`: custom bounds differed and only the common ones are left. `collided`: one histogram says that it was
    reset and another that it was not.
    """

    histogram: Histogram
    reconciled: bool = False
    collided: bool = False


def added(*histograms: Histogram) -> Total:
    """The sum of all, with one exact addition for each bucket. Raises `IncompatibleHistograms`."""
    first, *others = histograms
    if any(other.is_custom != first.is_custom for other in others):
        raise IncompatibleHistograms
    reset = first.reset
    for other in others:
        reset = _reset_of(reset, other.reset)
    collided = {"reset", "not_reset"} <= {histogram.reset for histogram in histograms}
    alike, reconciled = _one_layout(histograms)
    threshold = alike[0].zero_threshold
    total = Histogram(
        alike[0].schema, threshold, _sum(h.zero_count for h in alike), _sum(h.count for h in alike),
        _sum(h.sum for h in alike), _summed(h.positive for h in alike), _summed(h.negative for h in alike),
        alike[0].custom, reset,
    )  # fmt: skip
    return Total(total, reconciled, collided)


def subtracted(left: Histogram, right: Histogram) -> Total:
    return added(left, replace(right.scaled(-1), reset=right.reset))


def _one_layout(histograms: Sequence[Histogram]) -> tuple[list[Histogram], bool]:
    if histograms[0].is_custom:
        bounds = histograms[0].custom
        reconciled = False
        for other in histograms[1:]:
            if other.custom != bounds:
                bounds, reconciled = common_bounds(bounds, other.custom), True
        return [h.with_bounds(bounds) for h in histograms], reconciled
    found = list(histograms)
    while len({h.zero_threshold for h in found}) > 1:
        widest = max(h.zero_threshold for h in found)
        found = [h.with_zero_threshold(widest) for h in found]
    lowest = min(h.schema for h in found)
    return [h.to_schema(lowest) for h in found], False


def common_bounds(left: tuple[float, ...], right: tuple[float, ...]) -> tuple[float, ...]:
    return left if left == right else tuple(bound for bound in left if bound in set(right))


def exponential_bound(schema: int, index: int) -> float:
    """2**(index / 2**schema); the last finite bucket ends at the largest number."""
    if schema < 0:
        exponent = index << -schema
        if exponent == 1024:
            return _LARGEST
        return math.ldexp(1.0, exponent) if exponent < 1024 else math.inf
    per_power = 1 << schema
    whole, part = divmod(index, per_power)
    if whole == 1024 and part == 0:
        return _LARGEST
    if whole >= 1024:
        return math.inf
    return math.ldexp(2.0 ** (part / per_power), whole)


def _reset_of(left: Reset, right: Reset) -> Reset:
    if left == right:
        return left
    return "gauge" if "gauge" in (left, right) else "unknown"


def _gathered(places: Iterable[int]) -> Callable[[Iterable[float]], Buckets]:
    """Counts put together where they have the same place."""

    def gather(counts: Iterable[float]) -> Buckets:
        total: dict[int, float] = {}
        for place, count in zip(places, counts, strict=True):
            total[place] = total.get(place, 0.0) + count
        return total

    return gather


def _summed(sides: Iterable[Buckets]) -> Buckets:
    parts: dict[int, list[float]] = {}
    for side in sides:
        for index, count in side.items():
            parts.setdefault(index, []).append(count)
    return _kept((index, _sum(counts)) for index, counts in parts.items())


def _sum(numbers: Iterable[float]) -> float:
    found = list(numbers)
    try:
        return math.fsum(found)
    except (OverflowError, ValueError):  # infinities: fsum refuses what plain addition answers
        return sum(found)


def _kept(pairs: Iterable[tuple[int, float]]) -> Buckets:
    return {index: count for index, count in pairs if count != 0}


def _any_less(now: Buckets, before: Buckets) -> bool:
    return any(now.get(index, 0.0) < count for index, count in before.items())


def _same(left: float, right: float) -> bool:
    return left == right or (math.isnan(left) and math.isnan(right))


def _same_buckets(left: Buckets, right: Buckets) -> bool:
    return left.keys() == right.keys() and all(_same(count, right[index]) for index, count in left.items())


def _shown(value: float) -> str:
    """Go's %g."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    return text.removesuffix(".0") if "e" not in text else text


def spread(offset: int, counts: Iterable[float]) -> Iterator[tuple[int, float]]:
    """(index, count) of consecutive buckets from `offset` on."""
    return ((offset + i, count) for i, count in enumerate(counts) if count != 0)
