"""Range vectors: blocks of series, windows cut from them at each step, and the functions over those windows.

Numbers are computed by the block. Series with native histograms or known starts, and `anchored` and `smoothed` selectors,
go sample by sample where the function cares.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fairway.metrics.labels import NAME
from fairway.metrics.promql.notes import Notes
from fairway.metrics.promql.over_time import RANGE_FUNCTIONS
from fairway.metrics.promql.sequence import SEQUENCE_FUNCTIONS, Asked, SequenceFunction, extended, samples_of
from fairway.metrics.promql.tree import Mode
from fairway.metrics.promql.values import Vector, joined, no_histograms
from fairway.metrics.promql.window import Window, windows
from fairway.metrics.series import ABSENT_BITS, Block, Bools, Floats, Times, are_there

_KEEPS_HISTOGRAM = frozenset({"first_over_time", "last_over_time"})
_COUNTS_ANYTHING = frozenset({"count_over_time", "present_over_time", "ts_of_first_over_time", "ts_of_last_over_time"})
_READS_STARTS = frozenset({"rate", "increase", "irate", "resets"})


@dataclass(frozen=True, slots=True)
class Series:
    """One block, and which of its series have lost their name."""

    block: Block
    drop_name: Bools


@dataclass(frozen=True, slots=True, eq=False)
class RangeVectors:
    """`ends` are the windows' right edges, one a step; `steps` the steps' own times."""

    series: list[Series]
    ends: Times
    width: int
    steps: Times
    mode: Mode = ""
    lookback_ms: int = 0

    def windows(self, block: Block) -> Iterator[tuple[int, Window]]:
        return windows(block, self.ends, self.width, self.steps)

    def apply(self, name: str, scalars: Sequence[Floats], notes: Notes) -> Vector:
        parts = []
        for one in self.series:
            drop_name = one.drop_name if RANGE_FUNCTIONS[name].keeps_name else np.ones(len(one.drop_name), np.bool_)
            one = Series(one.block, drop_name)
            slow = self._sample_by_sample(name, one.block)
            if not slow.all():
                parts.append(self._by_block(name, _rows(one, ~slow), scalars, notes))
            if slow.any():
                function = extended(name, self.mode) if self.mode else SEQUENCE_FUNCTIONS[name]
                parts.append(self._one_by_one(function, _rows(one, slow), notes))
        return joined(parts, len(self.steps)) if parts else Vector.empty(len(self.steps))

    def _sample_by_sample(self, name: str, block: Block) -> Bools:
        """Which series need it."""
        rows = len(block.labels)
        if self.mode:
            return np.ones(rows, np.bool_)
        slow = np.zeros(rows, np.bool_)
        if name in SEQUENCE_FUNCTIONS and block.histograms is not None:
            slow |= are_there(block.histograms).any(axis=1)
        if name in _READS_STARTS and block.starts is not None:
            slow |= (block.starts != 0).any(axis=1)
        return slow

    def _by_block(self, name: str, one: Series, scalars: Sequence[Floats], notes: Notes) -> Vector:
        block, function = one.block, RANGE_FUNCTIONS[name].function
        native = None if block.histograms is None else are_there(block.histograms)
        if native is not None and name not in _KEEPS_HISTOGRAM | _COUNTS_ANYTHING:
            self._tell_of_ignored(block, native, notes)
            numbers = block.values.copy()
            numbers.view(np.int64)[native] = ABSENT_BITS
            block = Block(block.labels, block.times, numbers)
        values = np.zeros((len(block.labels), len(self.steps)))
        present = np.zeros(values.shape, np.bool_)
        histograms = no_histograms(values.shape) if native is not None and name in _KEEPS_HISTOGRAM else None
        every = np.arange(len(values))
        for step, window in self.windows(block):
            values[:, step], present[:, step] = function(window, *(s[step] for s in scalars))
            if histograms is not None and window.histograms is not None:
                place = window.first if name == "first_over_time" else window.last
                histograms[:, step] = window.histograms[every, place]
        return Vector(block.labels, values, present, one.drop_name, histograms).trimmed()

    def _tell_of_ignored(self, block: Block, native: Bools, notes: Notes) -> None:
        for _, window in self.windows(block):
            assert window.histograms is not None
            inside = are_there(window.histograms)
            for row in np.flatnonzero(inside.any(axis=1) & (window.valid & ~inside).any(axis=1)):
                notes.ignored_histograms(block.labels.row(int(row)).get(NAME, ""))

    def _one_by_one(self, function: SequenceFunction, one: Series, notes: Notes) -> Vector:
        block = one.block
        values = np.zeros((len(block.labels), len(self.steps)))
        present, histograms = np.zeros(values.shape, np.bool_), no_histograms(values.shape)
        before = self.lookback_ms if self.mode else 0
        after = self.lookback_ms if self.mode == "smoothed" else 0
        for row in range(len(values)):
            samples = samples_of(block, row)
            times = np.array([sample.time for sample in samples], np.int64)
            name = block.labels.row(row).get(NAME, "")
            for step, end in enumerate(self.ends.tolist()):
                low, high = np.searchsorted(times, [end - self.width - before, end + after], side="right")
                found = function(samples[low:high], Asked(end - self.width, end, name, notes)) if high > low else None
                present[row, step] = found is not None
                if isinstance(found, float):
                    values[row, step] = found
                else:
                    histograms[row, step] = found
        return Vector(block.labels, values, present, one.drop_name, histograms).trimmed()


def _rows(one: Series, rows: Bools) -> Series:
    return one if rows.all() else Series(one.block.take(rows), one.drop_name[rows])
