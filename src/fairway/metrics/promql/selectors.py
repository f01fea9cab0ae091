"""Selectors: the newest sample of each series at every step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fairway.metrics.promql.lexer import duration_seconds
from fairway.metrics.promql.values import Vector
from fairway.metrics.series import Block, Floats, Times, are_there


def newest(block: Block, ends: Times, lookback_ms: int) -> tuple[Vector, Floats, Floats]:
    """(the newest sample of each series in (end - lookback, end], its time, its start), times in seconds.

    A start of 0 is unknown.
    """
    low = np.searchsorted(block.times, ends - lookback_ms, side="right")
    high = np.searchsorted(block.times, ends, side="right")
    rows = len(block.labels)
    there = ~block.absent()
    if there.all():
        column = np.broadcast_to(high - 1, (rows, len(ends)))
    else:
        latest = np.maximum.accumulate(np.where(there, np.arange(there.shape[1]), -1), axis=1)
        latest = np.c_[np.full(rows, -1), latest]  # column 0: before the first time
        column = latest[:, high]
    inside = column >= low
    column = np.where(inside, column, 0)
    if there.shape[1] == 0:
        nothing = np.zeros((0, len(ends)))
        return Vector.empty(len(ends)), nothing, nothing
    values = np.take_along_axis(block.values, column, axis=1)
    stale = np.take_along_axis(block.stale(), column, axis=1)
    histograms = None if block.histograms is None else np.take_along_axis(block.histograms, column, axis=1)
    vector = Vector(block.labels, values, inside & ~stale, np.zeros(rows, np.bool_), histograms)
    starts = np.zeros(values.shape) if block.starts is None else np.take_along_axis(block.starts, column, axis=1) / 1000
    return vector, block.times[column] / 1000, starts


def with_resets(block: Block) -> Block:
    """The block with native histograms that say whether their counter fell since the one before."""
    if block.histograms is None:
        return block
    natives = block.histograms.copy()
    for row in natives:
        before = None
        for column in np.flatnonzero(are_there(row)):
            found = row[column]
            if before is not None and found.reset == "unknown":
                row[column] = replace(found, reset="reset" if found.fell_since(before) else "not_reset")
            before = found
    return replace(block, histograms=natives)


def forgetful(block: Block) -> Block:
    """The block with native histograms that say nothing of resets: between these samples others were left out."""
    if block.histograms is None:
        return block
    natives = block.histograms.copy()
    for where in zip(*np.nonzero(are_there(natives)), strict=True):
        if natives[where].reset != "gauge":
            natives[where] = replace(natives[where], reset="unknown")
    return replace(block, histograms=natives)


def duration_ms(text: str) -> int | None:
    """A duration as PromQL writes it ("1h30m"), or a number of seconds; None where it is neither."""
    try:
        return round(float(text) * 1000)
    except (ValueError, OverflowError):
        found = duration_seconds(text)
        return None if found is None else round(found * 1000)
