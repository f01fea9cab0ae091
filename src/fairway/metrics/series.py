"""What a query reads: blocks of series that share their timestamps.

All series of one scrape have the same time, so a target's samples are one matrix: series × scrapes, eight bytes a
sample. Two signalling NaNs, which no arithmetic can produce, mark what is not a sample: ABSENT (this series had
nothing at that time) and STALE (it had ended; Prometheus' own marker). An ordinary NaN is a sample.

Times are milliseconds since 1970, as everywhere in Prometheus.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fairway.metrics.labels import LabelTable
from fairway.metrics.matchers import Matcher

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Times = NDArray[np.int64]

STALE_BITS = 0x7FF0000000000002
ABSENT_BITS = 0x7FF0000000000003


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """`values` is series × times; `times` ascends strictly."""

    labels: LabelTable
    times: Times
    values: Floats

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
