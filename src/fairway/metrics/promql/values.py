"""What PromQL computes with: scalars, strings, and vectors, each over all evaluation steps at once.

An instant query is a range query with one step. Every value carries its steps as the last axis, so that a graph over
a day costs a few numpy calls and not one evaluation a point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fairway.metrics.labels import METADATA, Index, LabelTable, stacked
from fairway.metrics.series import Bools, Floats, Histograms, are_there


class QueryError(ValueError):
    """The query cannot be answered as it stands: whoever wrote it has to act."""


class BadQuery(QueryError):
    """It does not parse, or asks for what is not supported."""


SAME_LABELS = "vector cannot contain metrics with the same labelset"


@dataclass(frozen=True, slots=True, eq=False)
class Scalar:
    values: Floats  # steps


@dataclass(frozen=True, slots=True)
class Text:
    value: str


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    """`values` and `present` are series × steps; what is not present has no meaning. `histograms` has the native
    histograms among the elements; None where there are none at all, which is the usual and the fast case.

    `drop_name` marks series that lose their metric name when the query ends. It is not dropped at once, so that
    `label_replace` can still read it and two metrics do not collide half-way.
    """

    labels: LabelTable
    values: Floats
    present: Bools
    drop_name: Bools  # series
    histograms: Histograms | None = None

    @staticmethod
    def empty(steps: int) -> Vector:
        return Vector(LabelTable.empty(), np.zeros((0, steps)), np.zeros((0, steps), np.bool_), np.zeros(0, np.bool_))

    @staticmethod
    def single(values: Floats, present: Bools | None = None, labels: LabelTable | None = None) -> Vector:
        """One series, without labels where none are given."""
        seen = np.ones(len(values), np.bool_) if present is None else present
        table = LabelTable.empty(1) if labels is None else labels
        return Vector(table, values[np.newaxis], seen[np.newaxis], np.zeros(1, np.bool_))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def steps(self) -> int:
        return int(self.values.shape[1])

    def take(self, index: Index | Bools) -> Vector:
        histograms = None if self.histograms is None else self.histograms[index]
        return Vector(self.labels.take(index), self.values[index], self.present[index], self.drop_name[index], histograms)

    @property
    def is_histogram(self) -> Bools:
        """Which elements are native histograms."""
        if self.histograms is None:
            return np.zeros(self.present.shape, np.bool_)
        return are_there(self.histograms) & self.present

    def floats(self) -> Vector:
        """Without native histograms, which most functions pass over."""
        if self.histograms is None:
            return self
        return replace(self, present=self.present & ~self.is_histogram, histograms=None)

    def trimmed(self) -> Vector:
        """Without series that are present at no step."""
        alive: Bools = np.asarray(self.present.any(axis=1))
        return self if alive.all() else self.take(alive)

    def mapped(self, values: Floats, present: Bools | None = None) -> Vector:
        """The same series with new values, all of them numbers and no longer what the metric's name says."""
        return Vector(self.labels, values, self.present if present is None else present, np.ones(len(self), np.bool_))

    def masked(self, where: Bools) -> Vector:
        return Vector(self.labels, self.values, self.present & where, self.drop_name, self.histograms)

    def with_labels(self, labels: LabelTable) -> Vector:
        return replace(self, labels=labels)

    def merged(self, error: str = SAME_LABELS) -> Vector:
        """Series with equal labels as one; where two of them are present at a step, that is `error`."""
        if len(self) < 2:
            return self
        ids, first = self.labels.identities()
        if len(first) == len(self):
            return self
        count = np.zeros((len(first), self.steps), np.int64)
        np.add.at(count, ids, self.present)
        if (count > 1).any():
            raise QueryError(error)
        values, present = np.zeros(count.shape), count > 0
        rows, steps = np.nonzero(self.present)
        values[ids[rows], steps] = self.values[rows, steps]
        histograms = None
        if self.histograms is not None:
            histograms = no_histograms(count.shape)
            histograms[ids[rows], steps] = self.histograms[rows, steps]
        drop_name = np.zeros(len(first), np.bool_)
        np.logical_or.at(drop_name, ids, self.drop_name)
        return Vector(self.labels.take(first), values, present, drop_name, histograms)

    def finished(self) -> Vector:
        """As the query answers it: names dropped, no two series alike."""
        alive = self.trimmed()
        labels = alive.labels
        for name in METADATA:
            labels = labels.blank_where(name, alive.drop_name)
        return Vector(labels, alive.values, alive.present, np.zeros(len(alive), np.bool_), alive.histograms).merged()


def joined(vectors: list[Vector], steps: int) -> Vector:
    """The series of all vectors, in order."""
    if len(vectors) == 1:
        return vectors[0]
    if not vectors:
        return Vector.empty(steps)
    return Vector(
        stacked([v.labels for v in vectors]),
        np.concatenate([v.values for v in vectors]),
        np.concatenate([v.present for v in vectors]),
        np.concatenate([v.drop_name for v in vectors]),
        joined_histograms([v.histograms for v in vectors], [v.values.shape for v in vectors]),
    )


def no_histograms(shape: tuple[int, ...]) -> Histograms:
    return np.full(shape, None, object)


def joined_histograms(parts: Sequence[Histograms | None], shapes: Sequence[tuple[int, ...]]) -> Histograms | None:
    """Rows of all parts; None where no part has any."""
    if all(part is None for part in parts):
        return None
    return np.concatenate([no_histograms(shape) if part is None else part for part, shape in zip(parts, shapes, strict=True)])


Value = Scalar | Text | Vector
