"""What a query reads: blocks of series that share their timestamps.

All series of one scrape have the same time, so a target's samples are one matrix: series × scrapes, eight bytes a
sample. Two signalling NaNs, which no arithmetic can produce, mark what is not a sample: ABSENT (this series had
nothing at that time) and STALE (it had ended; Prometheus' own marker). An ordinary NaN is a sample.

A native histogram is an object beside the matrix, and its cell there is 0. Most blocks have none, and pay nothing for them.

Times are milliseconds since 1970, as everywhere in Prometheus.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fairway.metrics.labels import Index, LabelTable
from fairway.metrics.matchers import Matcher

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Times = NDArray[np.int64]
Histograms = NDArray[np.object_]
"""Each a `Histogram`, or None where the cell has none."""

_NONE = np.array(None, object)

STALE_BITS = 0x7FF0000000000002
ABSENT_BITS = 0x7FF0000000000003


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """`values` is series × times; `times` ascends strictly. `starts` are the times at which a sample's counter began, in
    milliseconds, 0 where that is unknown.
    """

    labels: LabelTable
    times: Times
    values: Floats
    histograms: Histograms | None = None
    starts: Floats | None = None

    def take(self, rows: Index | Bools) -> Block:
        """These series only."""
        return self._cut(rows, slice(None))

    def between(self, after: int, until: int) -> Block:
        """The samples of (after, until]."""
        low, high = np.searchsorted(self.times, [after, until], side="right")
        return self._cut(slice(None), slice(int(low), int(high)))

    def _cut(self, rows: Any, columns: Any) -> Block:
        labels = self.labels if isinstance(rows, slice) else self.labels.take(rows)
        histograms, starts = (None if part is None else part[rows][:, columns] for part in (self.histograms, self.starts))
        return Block(labels, self.times[columns], self.values[rows][:, columns], histograms, starts)

    def absent(self) -> Bools:
        return np.asarray(self.values.view(np.int64) == ABSENT_BITS)

    def stale(self) -> Bools:
        return np.asarray(self.values.view(np.int64) == STALE_BITS)

    def valid(self) -> Bools:
        """Where there is a sample."""
        bits = self.values.view(np.int64)
        return np.asarray((bits != ABSENT_BITS) & (bits != STALE_BITS))

    def seen(self) -> Bools:
        """Which series have any sample."""
        return np.asarray(self.valid().any(axis=1))


def are_there(histograms: Histograms) -> Bools:
    """Which cells hold a histogram."""
    return np.asarray(np.not_equal(histograms, _NONE), np.bool_)


class SeriesSource(Protocol):
    """Where samples come from. No series is in two blocks of one answer."""

    def select(self, matchers: Sequence[Matcher], start: int, end: int) -> Sequence[Block]:
        """Series that fulfil every matcher, with their samples in (start, end]."""
        ...


def matching_rows(labels: LabelTable, matchers: Sequence[Matcher]) -> Bools:
    """Which rows fulfil every matcher. Each predicate is asked once for each distinct value."""
    keep = np.ones(len(labels), np.bool_)
    for matcher in matchers:
        test = matcher.test()
        keep &= labels.map_column(matcher.name, lambda text, test=test: float(test(text))) > 0  # type: ignore[misc]
        if not keep.any():
            break
    return keep


def millis(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
