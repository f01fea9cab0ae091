"""One series' samples in a window, in order: numbers and native histograms mixed, with the times at which counters began.

Most series hold numbers only and are computed by the block (`over_time`). These functions are for the others, and for
`anchored` and `smoothed`, which read samples beyond the window's edges.

Source: Prometheus `promql/functions.go` (behaviour).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from fairway.metrics.histogram import Histogram, IncompatibleHistograms, added, subtracted
from fairway.metrics.promql.native_aggregation import mean_of, total_of
from fairway.metrics.promql.notes import Notes
from fairway.metrics.series import Block

Value = float | Histogram


@dataclass(frozen=True, slots=True)
class Sample:
    """Times are milliseconds. `start`: when the counter began; 0 where that is unknown."""

    time: int
    value: Value
    start: float = 0.0


@dataclass(frozen=True, slots=True)
class Asked:
    """The window (start, end], the metric's name, and where to say what is odd."""

    start: int
    end: int
    name: str
    notes: Notes

    @property
    def seconds(self) -> float:
        return (self.end - self.start) / 1000


def samples_of(block: Block, row: int) -> list[Sample]:
    """Every sample of one series."""
    columns = np.flatnonzero(block.take(np.array([row])).valid()[0])
    times, values = block.times[columns].tolist(), block.values[row, columns].tolist()
    starts = [0.0] * len(times) if block.starts is None else block.starts[row, columns].tolist()
    natives = [None] * len(times) if block.histograms is None else block.histograms[row, columns].tolist()
    return [
        Sample(time, value if native is None else native, start)
        for time, value, start, native in zip(times, values, starts, natives, strict=True)
    ]


def all_histograms(values: Sequence[Value]) -> list[Histogram] | None:
    """The values where they are all native histograms, else None."""
    found = [value for value in values if isinstance(value, Histogram)]
    return found if len(found) == len(values) else None


def _mixed(samples: Sequence[Sample], asked: Asked) -> bool:
    kinds = {isinstance(sample.value, Histogram) for sample in samples}
    if len(kinds) > 1:
        asked.notes.mixed(asked.name)
    return len(kinds) > 1


# --- counters and gauges ----------------------------------------------------------------------------------------------


def rate(samples: Sequence[Sample], asked: Asked) -> Value | None:
    return _per_second(_extrapolated(samples, asked, counter=True), asked)


def increase(samples: Sequence[Sample], asked: Asked) -> Value | None:
    return _extrapolated(samples, asked, counter=True)


def delta(samples: Sequence[Sample], asked: Asked) -> Value | None:
    return _extrapolated(samples, asked, counter=False)


def _per_second(change: Value | None, asked: Asked) -> Value | None:
    return None if change is None else times(change, 1 / asked.seconds)


def times(value: Value, factor: float) -> Value:
    return value.scaled(factor) if isinstance(value, Histogram) else value * factor


def _extrapolated(samples: Sequence[Sample], asked: Asked, *, counter: bool) -> Value | None:
    """The change over the window, extended to its edges. One sample is enough where its counter began in the window."""
    if not samples or _mixed(samples, asked):
        return None
    first, last = samples[0], samples[-1]
    change = _change(samples, asked, counter=counter) if len(samples) > 1 else 0.0
    if change is None:
        return None
    covered = (last.time - first.time) / 1000
    spacing = covered / (len(samples) - 1) if len(samples) > 1 else 0.0
    to_start, to_end = (first.time - asked.start) / 1000, (asked.end - last.time) / 1000
    if counter and first.start != 0 and asked.start < first.start < first.time:
        to_start, covered = 0.0, (last.time - first.start) / 1000
        whole = _plus(change, first.value, asked) if len(samples) > 1 else first.value
        if whole is None:
            return None
        change = whole
    elif len(samples) == 1:
        return None
    else:
        to_start = spacing / 2 if to_start >= spacing * 1.1 else to_start
        begin, total = size(first.value), size(change)
        if counter and total > 0 and begin >= 0:
            to_start = min(to_start, covered * begin / total)
    to_end = spacing / 2 if to_end >= spacing * 1.1 else to_end
    return times(change, (covered + to_start + to_end) / covered) if covered else change


def size(value: Value) -> float:
    """What a counter has counted."""
    return value.count if isinstance(value, Histogram) else value


def _plus(left: Value, right: Value, asked: Asked) -> Value | None:
    if isinstance(left, Histogram) and isinstance(right, Histogram):
        total = total_of([left, right], Notes(), asked.name)
        return None if total is None else replace(total, reset="gauge")
    return size(left) + size(right)


def _change(samples: Sequence[Sample], asked: Asked, *, counter: bool) -> Value | None:
    natives = all_histograms([sample.value for sample in samples])
    if natives is not None:
        return _histogram_change(samples, natives, asked, counter=counter)
    numbers = [size(sample.value) for sample in samples]
    change = numbers[-1] - numbers[0]
    if counter:
        overlaps = False
        for before, after in _pairs(samples):
            overlaps = overlaps or (0 != after.start < before.time and after.start != before.start)
            if size(after.value) < size(before.value) or _restarted(before, after):
                change += size(before.value)
        if overlaps:
            _warn_of_overlap(asked)
    return change


def _warn_of_overlap(asked: Asked) -> None:
    asked.notes.warn(f'sample has start time that overlaps with previous sample timestamp for metric "{asked.name}"')


def _pairs(samples: Sequence[Sample]) -> Iterator[tuple[Sample, Sample]]:
    return pairwise(samples)


def _restarted(before: Sample, after: Sample) -> bool:
    """Whether the later sample says that its counter began after the earlier one.

    One that began exactly at the earlier sample is a delta, unless the earlier sample's own start is unknown.
    """
    if after.start == 0 or after.start >= after.time or after.start < before.time:
        return False
    return after.start > before.time or (before.start != 0 and before.start < before.time)


def _histogram_change(
    samples: Sequence[Sample], natives: list[Histogram], asked: Asked, *, counter: bool
) -> Histogram | None:
    notes = asked.notes
    first, last = natives[0], natives[-1]
    gauges = [native.reset == "gauge" for native in natives]
    if counter and any(gauges):
        notes.not_counter(asked.name)
    if not counter and not (gauges[0] and gauges[-1]):
        notes.not_gauge(asked.name)
    if counter and (_restarted(samples[0], samples[1]) or natives[1].fell_since(first)):
        # what came before the reset counts for nothing, and its layout may be another one
        first = Histogram(natives[1].schema, custom=natives[1].custom)
        natives = [first, *natives[1:]]
    if any(native.is_custom != first.is_custom for native in (natives if counter else (first, last))):
        notes.mixed_buckets(asked.name)
        return None
    change = subtracted(last, first)
    parts = [change.histogram]
    if counter:
        if any(0 != b.start < a.time and b.start != a.start for a, b in _pairs(samples)):
            _warn_of_overlap(asked)
        for (before, after), a, b in zip(_pairs(samples), natives[:-1], natives[1:], strict=True):
            if _restarted(before, after) or b.fell_since(a):
                parts.append(a)
    total = added(*parts)
    if change.reconciled:
        notes.reconciled("subtraction")
    if total.reconciled:
        notes.reconciled("addition")
    lowest = min(native.schema for native in natives) if counter else total.histogram.schema
    return replace(total.histogram.to_schema(lowest), reset="gauge")


def irate(samples: Sequence[Sample], asked: Asked) -> Value | None:
    return _last_change(samples, asked, counter=True)


def idelta(samples: Sequence[Sample], asked: Asked) -> Value | None:
    return _last_change(samples, asked, counter=False)


def _last_change(samples: Sequence[Sample], asked: Asked, *, counter: bool) -> Value | None:
    if len(samples) < 2 or _mixed(samples[-2:], asked):
        return None
    before, after = samples[-2:]
    seconds = (after.time - before.time) / 1000
    fallen = counter and _restarted(before, after)
    if isinstance(before.value, Histogram) and isinstance(after.value, Histogram):
        change: Value | None = _last_histogram_change(before.value, after.value, asked, counter=counter, fallen=fallen)
    else:
        a, b = size(before.value), size(after.value)
        change = b if fallen or (counter and b < a) else b - a
    return None if change is None else times(change, 1 / seconds) if counter else change


def _last_histogram_change(
    before: Histogram, after: Histogram, asked: Asked, *, counter: bool, fallen: bool
) -> Histogram | None:
    gauges = before.reset == "gauge", after.reset == "gauge"
    if counter and any(gauges):
        asked.notes.not_counter(asked.name)
    if not counter and not all(gauges):
        asked.notes.not_gauge(asked.name)
    if fallen or (counter and after.fell_since(before)):
        return replace(after, reset="gauge")
    if before.is_custom != after.is_custom:
        asked.notes.mixed_buckets(asked.name)
        return None
    change = subtracted(after, before)
    if change.reconciled:
        asked.notes.reconciled("subtraction")
    return replace(change.histogram, reset="gauge")


def resets(samples: Sequence[Sample], asked: Asked) -> Value | None:
    """A change of kind counts as a reset."""
    if not samples:
        return None
    return float(sum(_fell(before, after) for before, after in _pairs(samples)))


def _fell(before: Sample, after: Sample) -> bool:
    match before.value, after.value:
        case Histogram() as a, Histogram() as b:
            return _restarted(before, after) or b.fell_since(a)
        case float(a), float(b):
            return _restarted(before, after) or b < a
        case _:
            return True


def changes(samples: Sequence[Sample], asked: Asked) -> Value | None:
    if not samples:
        return None
    return float(sum(_differ(before.value, after.value) for before, after in _pairs(samples)))


def _differ(before: Value, after: Value) -> bool:
    match before, after:
        case Histogram(), Histogram():
            return not before.same(after)
        case float(), float():
            return before != after and not (math.isnan(before) and math.isnan(after))
        case _:
            return True


# --- over time --------------------------------------------------------------------------------------------------------


def sum_over_time(samples: Sequence[Sample], asked: Asked) -> Value | None:
    if not samples or _mixed(samples, asked):
        return None
    natives = all_histograms([sample.value for sample in samples])
    if natives is None:
        return math.fsum(size(sample.value) for sample in samples)
    return total_of(natives, asked.notes, asked.name)


def avg_over_time(samples: Sequence[Sample], asked: Asked) -> Value | None:
    natives = all_histograms([sample.value for sample in samples])
    if samples and natives is not None:
        return mean_of(natives, asked.notes, asked.name)
    total = sum_over_time(samples, asked)
    return total / len(samples) if isinstance(total, float) else None


# --- anchored and smoothed --------------------------------------------------------------------------------------------


def interpolated(before: Sample, after: Sample, time: int, asked: Asked, *, counter: bool) -> Value:
    """The value at a time between two samples; a counter that fell in between began at 0.

    Raises `IncompatibleHistograms`.
    """
    share = (time - before.time) / (after.time - before.time)
    a, b = before.value, after.value
    if isinstance(a, Histogram) and isinstance(b, Histogram):
        if share in (0, 1):
            return b if share else a
        if counter and b.fell_since(a):
            return b.scaled(share)
        rise = subtracted(b, a)
        if rise.reconciled:
            asked.notes.reconciled("subtraction")
            asked.notes.reconciled("addition")
        return replace(added(replace(rise.histogram, reset=b.reset).scaled(share), a).histogram, reset=b.reset)
    low = 0.0 if counter and size(b) < size(a) else size(a)
    return low + (size(b) - low) * (time - before.time) / (after.time - before.time)


@dataclass(frozen=True, slots=True)
class _Edges:
    """The samples that matter, the values at the window's edges, and what lies strictly between."""

    left: Value
    right: Value
    inside: tuple[Value, ...]


def _edges(samples: Sequence[Sample], asked: Asked, *, smoothed: bool, counter: bool) -> _Edges | None:
    """Anchored: the left edge is the last sample at or before it. Smoothed: both edges are interpolated."""
    after = next((i for i, sample in enumerate(samples[:-1]) if sample.time > asked.start), len(samples) - 1)
    first, last = max(0, after - 1), len(samples) - 1
    if smoothed:
        last = next((i for i, sample in enumerate(samples[:-1]) if sample.time >= asked.end), last)
    if samples[last].time <= asked.start or (smoothed and samples[first].time > asked.end):
        return None
    natives = all_histograms([sample.value for sample in samples[first : last + 1]])
    if natives is not None:
        if any(native.is_custom != natives[0].is_custom for native in natives):
            asked.notes.mixed_buckets(asked.name)
            return None
        if counter and any(native.reset == "gauge" for native in natives):
            asked.notes.not_counter(asked.name)
    left, right = samples[first].value, samples[last].value
    skip = first + 1
    if smoothed and samples[first].time < asked.start:
        left = interpolated(samples[first], samples[first + 1], asked.start, asked, counter=counter)
    if smoothed and last > 0 and samples[last].time > asked.end:
        right = interpolated(samples[last - 1], samples[last], asked.end, asked, counter=counter)
    if natives is None:  # numbers: a sample on the right edge is that edge
        upto = last if samples[last].time >= asked.end else last + 1
        skip = first if samples[first].time > asked.start else first + 1
    else:
        upto = last
    return _Edges(left, right, tuple(sample.value for sample in samples[skip:upto]))


def extended_change(samples: Sequence[Sample], asked: Asked, *, smoothed: bool, counter: bool) -> Value | None:
    if not samples or _mixed(samples, asked):
        return None
    try:
        edges = _edges(samples, asked, smoothed=smoothed, counter=counter)
    except IncompatibleHistograms:
        asked.notes.mixed_buckets(asked.name)
        return None
    if edges is None:
        return None
    if isinstance(edges.left, Histogram) and isinstance(edges.right, Histogram):
        return _extended_histogram(samples, edges, asked, smoothed=smoothed, counter=counter)
    left, right = size(edges.left), size(edges.right)
    change, before = right - left, left
    for value in (*edges.inside, right) if counter else ():
        if size(value) < before:
            change += before
        before = size(value)
    return change


def _extended_histogram(
    samples: Sequence[Sample], edges: _Edges, asked: Asked, *, smoothed: bool, counter: bool
) -> Value | None:
    left, right = edges.left, edges.right
    assert isinstance(left, Histogram) and isinstance(right, Histogram)
    if not counter and (left.reset != "gauge" or right.reset != "gauge"):
        asked.notes.not_gauge(asked.name)
    change = subtracted(right, left)
    if change.reconciled:
        asked.notes.reconciled("subtraction")
    parts = [change.histogram]
    if counter:
        inside = [value for value in edges.inside if isinstance(value, Histogram)]
        before, chain = left, [*inside, right]
        crossed = _crossed(samples, asked) if smoothed else None
        if crossed is not None:  # the interpolation of the left edge has reckoned with this reset
            before, chain = crossed, chain[1:] if inside else []
        for value in chain:
            if value.fell_since(before):
                parts.append(before)
            before = value
    total = added(*parts)
    if total.reconciled:
        asked.notes.reconciled("addition")
    return replace(total.histogram, reset="gauge")


def _crossed(samples: Sequence[Sample], asked: Asked) -> Histogram | None:
    """The first sample after the left edge, where the counter fell on the way to it."""
    for before, after in _pairs(samples):
        if before.time < asked.start and after.time > asked.start:
            a, b = before.value, after.value
            if isinstance(a, Histogram) and isinstance(b, Histogram) and b.fell_since(a):
                return b
    return None


def anchored(samples: Sequence[Sample], asked: Asked) -> Sequence[Sample]:
    """The window's samples, and the last one at or before it; none where the window itself is empty."""
    if not samples or samples[-1].time <= asked.start:
        return ()
    before = [i for i, sample in enumerate(samples) if sample.time <= asked.start]
    return samples[before[-1] :] if before else samples


SequenceFunction = Callable[[Sequence[Sample], Asked], Value | None]
SEQUENCE_FUNCTIONS: dict[str, SequenceFunction] = {
    function.__name__: function
    for function in (rate, increase, delta, irate, idelta, resets, changes, sum_over_time, avg_over_time)
}


def extended(name: str, mode: str) -> SequenceFunction:
    """The function `name` over a selector with `anchored` or `smoothed`."""

    def call(samples: Sequence[Sample], asked: Asked) -> Value | None:
        if name in ("resets", "changes"):
            return SEQUENCE_FUNCTIONS[name](anchored(samples, asked), asked)
        change = extended_change(samples, asked, smoothed=mode == "smoothed", counter=name != "delta")
        return _per_second(change, asked) if name == "rate" else change

    return call
