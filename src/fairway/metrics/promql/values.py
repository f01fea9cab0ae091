"""What PromQL computes with: scalars, strings, and vectors, each over all evaluation steps at once.

An instant query is a range query with one step. Every value carries its steps as the last axis, so that a graph over
a day costs a few numpy calls and not one evaluation a point.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fairway.metrics.labels import NAME, Index, LabelTable, stacked
from fairway.metrics.series import Bools, Floats


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
    """`values` and `present` are series × steps; what is not present has no meaning.

    `drop_name` marks series that lose their metric name when the query ends. It is not dropped at once, so that
    `label_replace` can still read it and two metrics do not collide half-way.
    """

    labels: LabelTable
    values: Floats
    present: Bools
    drop_name: Bools  # series

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
        return Vector(self.labels.take(index), self.values[index], self.present[index], self.drop_name[index])

    def trimmed(self) -> Vector:
        """Without series that are present at no step."""
        alive: Bools = np.asarray(self.present.any(axis=1))
        return self if alive.all() else self.take(alive)

    def mapped(self, values: Floats, present: Bools | None = None) -> Vector:
        """The same series with new values, which are no longer what the metric's name says."""
        return Vector(self.labels, values, self.present if present is None else present, np.ones(len(self), np.bool_))

    def masked(self, where: Bools) -> Vector:
        return replace(self, present=self.present & where)

    def with_labels(self, labels: LabelTable) -> Vector:
        return replace(self, labels=labels)

    def merged(self, error: str = SAME_LABELS) -> Vector:
        """Series with equal labels as one; where two of them are present at a step, that is `error`."""
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
        drop_name = np.zeros(len(first), np.bool_)
        np.logical_or.at(drop_name, ids, self.drop_name)
        return Vector(self.labels.take(first), values, present, drop_name)

    def finished(self) -> Vector:
        """As the query answers it: names dropped, no two series alike."""
        alive = self.trimmed()
        labels = alive.labels.blank_where(NAME, alive.drop_name)
        return replace(alive, labels=labels, drop_name=np.zeros(len(alive), np.bool_)).merged()


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
    )


Value = Scalar | Text | Vector
