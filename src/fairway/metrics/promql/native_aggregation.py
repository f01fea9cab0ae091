"""`sum` and `avg` of native histograms: one for each group and step."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from fairway.metrics.histogram import Histogram, IncompatibleHistograms, added
from fairway.metrics.labels import Index
from fairway.metrics.promql.notes import Notes
from fairway.metrics.promql.values import Vector, no_histograms


def with_histograms(answer: Vector, vector: Vector, ids: Index, op: str, notes: Notes) -> Vector:
    """`answer`, the sum or average of the numbers of each group, with histograms where the group's elements are such.

    A group that holds numbers and histograms has no answer, and neither has one of exponential and custom histograms.
    """
    native = vector.is_histogram
    here = np.zeros(answer.present.shape, np.int64)
    np.add.at(here, ids, native)
    all_here = np.zeros(answer.present.shape, np.int64)
    np.add.at(all_here, ids, vector.present)
    mixed = (here > 0) & (here < all_here)
    if mixed.any():
        notes.warn("encountered a mix of histograms and floats for aggregation")
    histograms, present = no_histograms(answer.present.shape), answer.present & ~mixed
    for group, step in zip(*np.nonzero((here > 0) & ~mixed), strict=True):
        members = vector.histograms[(ids == group) & native[:, step], step]  # type: ignore[index]
        found = (total_of if op == "sum" else mean_of)(list(members), notes, "")
        present[group, step] = found is not None
        histograms[group, step] = found
    return replace(answer, present=present, histograms=histograms).trimmed()


def total_of(members: list[Histogram], notes: Notes, name: str) -> Histogram | None:
    """The sum, with what a reader should know about it; None where the layouts do not fit together."""
    try:
        total = added(*members)
    except IncompatibleHistograms:
        notes.mixed_buckets(name)
        return None
    if total.reconciled:
        notes.reconciled("aggregation")
    if total.collided:
        notes.collided("aggregation")
    return total.histogram


def mean_of(members: list[Histogram], notes: Notes, name: str) -> Histogram | None:
    """The average; a sum that is too large for a number is no reason for an infinite one."""
    total = total_of(members, notes, name)
    if total is None or not math.isinf(total.count) or any(math.isinf(member.count) for member in members):
        return None if total is None else total.divided(len(members))
    return total_of([member.divided(len(members)) for member in members], Notes(), name)
