"""`smoothed` on an instant selector: the value between the sample before and the sample after each step."""

from __future__ import annotations

import numpy as np

from fairway.metrics.histogram import Histogram, IncompatibleHistograms
from fairway.metrics.labels import NAME
from fairway.metrics.promql.notes import Notes
from fairway.metrics.promql.sequence import Asked, Sample, Value, interpolated, samples_of
from fairway.metrics.promql.values import Vector, no_histograms
from fairway.metrics.series import Block, Floats, Times


def smoothed(block: Block, ends: Times, lookback_ms: int, notes: Notes) -> tuple[Vector, Floats, Floats]:
    """As `newest`: the vector, the times of its values, and no starts."""
    shape = (len(block.labels), len(ends))
    values, present, histograms = np.zeros(shape), np.zeros(shape, np.bool_), no_histograms(shape)
    for row in range(shape[0]):
        samples = samples_of(block, row)
        name = block.labels.row(row).get(NAME, "")
        for step, end in enumerate(ends.tolist()):
            near = [s for s in samples if end - lookback_ms < s.time <= end + lookback_ms]
            found = _at(near, Asked(end, end, name, notes))
            present[row, step] = found is not None
            if isinstance(found, float):
                values[row, step] = found
            else:
                histograms[row, step] = found
    vector = Vector(block.labels, values, present, np.zeros(shape[0], np.bool_), histograms)
    return vector, np.broadcast_to(ends / 1000, shape), np.zeros(shape)


def _at(near: list[Sample], asked: Asked) -> Value | None:
    if len({isinstance(sample.value, Histogram) for sample in near}) > 1:
        asked.notes.mixed(asked.name)
        return None
    before = [sample for sample in near if sample.time <= asked.end]
    after = [sample for sample in near if sample.time > asked.end]
    if not before:
        return None
    if not after or before[-1].time == asked.end:
        return before[-1].value
    a, b = before[-1].value, after[0].value
    counter = isinstance(a, Histogram) and a.reset != "gauge"
    try:
        if isinstance(a, Histogram) and isinstance(b, Histogram) and a.is_custom != b.is_custom:
            raise IncompatibleHistograms
        return interpolated(before[-1], after[0], asked.end, asked, counter=counter)
    except IncompatibleHistograms:
        asked.notes.mixed_buckets(asked.name)
        return None
