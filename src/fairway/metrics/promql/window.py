"""A range vector at one step: the samples of one block in (start, end]."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fairway.metrics.labels import Index
from fairway.metrics.series import Block, Bools, Floats, Histograms, Times


@dataclass(frozen=True, eq=False)
class Window:
    """`values` and `valid` are series × samples; times are milliseconds. `now` is the step's own time. `histograms` and
    `starts` are the block's, where it has them.
    """

    times: Times
    values: Floats
    valid: Bools
    start: int
    end: int
    now: int
    histograms: Histograms | None = None
    starts: Floats | None = None

    @cached_property
    def whole(self) -> bool:
        """Whether every series has a sample at every time: the usual case, and the fast one."""
        return bool(self.valid.all())

    @cached_property
    def counts(self) -> Index:
        return np.asarray(self.valid.sum(axis=1))

    @cached_property
    def any(self) -> Bools:
        return self.counts > 0

    @cached_property
    def first(self) -> Index:
        """Column of each series' first sample; 0 where there is none."""
        return np.zeros(len(self.valid), np.intp) if self.whole else np.argmax(self.valid, axis=1)

    @cached_property
    def last(self) -> Index:
        width = self.valid.shape[1]
        if self.whole:
            return np.full(len(self.valid), width - 1, np.intp)
        return np.asarray(width - 1 - np.argmax(self.valid[:, ::-1], axis=1))

    @cached_property
    def latest(self) -> Index:
        """For every cell, the column of the latest sample up to there (the first sample before that one)."""
        columns = np.where(self.valid, np.arange(self.valid.shape[1]), 0)
        return np.asarray(np.maximum(np.maximum.accumulate(columns, axis=1), self.first[:, np.newaxis]))

    @cached_property
    def filled(self) -> Floats:
        """Values with gaps closed by the sample before (or the first one): comparing neighbours sees only samples."""
        return self.values if self.whole else np.take_along_axis(self.values, self.latest, axis=1)

    def or_else(self, value: float) -> Floats:
        """Values, with `value` where there is no sample."""
        return self.values if self.whole else np.where(self.valid, self.values, value)

    def value_at(self, columns: Index) -> Floats:
        return np.asarray(self.values[np.arange(len(columns)), columns])

    def before_last(self) -> Index:
        """Column of the last sample but one; that of the only sample where there is one."""
        if self.whole:
            return np.maximum(self.last - 1, 0)
        return np.asarray(self.latest[np.arange(len(self.last)), np.maximum(self.last - 1, 0)])


def windows(block: Block, ends: Times, range_ms: int, steps: Times) -> Iterator[tuple[int, Window]]:
    """(step, window) for every step whose window holds at least one time of the block."""
    valid = block.valid()
    low = np.searchsorted(block.times, ends - range_ms, side="right")
    high = np.searchsorted(block.times, ends, side="right")
    for step in np.flatnonzero(high > low):
        cut = slice(int(low[step]), int(high[step]))
        end = int(ends[step])
        yield (
            int(step),
            Window(
                block.times[cut], block.values[:, cut], valid[:, cut], end - range_ms, end, int(steps[step]),
                None if block.histograms is None else block.histograms[:, cut],
                None if block.starts is None else block.starts[:, cut],
            ),
        )  # fmt: skip
