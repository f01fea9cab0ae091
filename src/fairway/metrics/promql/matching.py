"""Vector matching: which series of the left side meets which of the right.

A series' signature is its labels under `on(…)` or without `ignoring(…)`; equal signatures meet. In one-to-one and
one-to-many matching the "one" side may have at most one series per signature at any step. `fill` puts a stand-in
where a side has none.

Source: Prometheus `promql/engine.go`, VectorBinop (behaviour).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fairway.metrics.labels import METADATA, NAME, Index, LabelTable, stacked
from fairway.metrics.promql.notes import Notes
from fairway.metrics.promql.operators import ARITHMETIC, Elements, applied
from fairway.metrics.promql.tree import Matching
from fairway.metrics.promql.values import QueryError, Vector, joined
from fairway.metrics.series import Bools, Floats


def signature(matching: Matching, labels: LabelTable) -> LabelTable:
    return labels.keep(matching.labels) if matching.on else labels.drop((*matching.labels, NAME))


@dataclass(frozen=True, slots=True, eq=False)
class _Signatures:
    """Ids of the signatures of both sides, from one numbering."""

    left: Index
    right: Index
    count: int

    @staticmethod
    def of(left: Vector, right: Vector, matching: Matching) -> _Signatures:
        both = stacked([signature(matching, left.labels), signature(matching, right.labels)])
        ids, first = both.identities()
        return _Signatures(ids[: len(left)], ids[len(left) :], len(first))


def _seen(vector: Vector, ids: Index, count: int) -> Bools:
    """Signatures × steps: whether any series of that signature is present."""
    seen = np.zeros((count, vector.steps), np.bool_)
    np.logical_or.at(seen, ids, vector.present)
    return seen


def set_operation(op: str, left: Vector, right: Vector, matching: Matching) -> Vector:
    ids = _Signatures.of(left, right, matching)
    match op:
        case "and":
            return left.masked(_seen(right, ids.right, ids.count)[ids.left]).trimmed()
        case "unless":
            return left.masked(~_seen(right, ids.right, ids.count)[ids.left]).trimmed()
        case _:
            others = right.masked(~_seen(left, ids.left, ids.count)[ids.right]).trimmed()
            return joined([left, others], left.steps)


def binary(op: str, left: Vector, right: Vector, matching: Matching, notes: Notes, *, as_bool: bool) -> Vector:
    """Arithmetic or comparison of two vectors."""
    left, right = left.trimmed(), right.trimmed()
    if matching.fill_left is None and matching.fill_right is None:
        meet: Bools = np.asarray(left.present.any(axis=0) & right.present.any(axis=0))
        if not meet.all():
            left, right = left.masked(meet).trimmed(), right.masked(meet).trimmed()
    swapped = matching.card == "one-to-many"
    left, right = _with_stand_ins(left, right, matching)
    ids = _Signatures.of(left, right, matching)
    many, one = (right, left) if swapped else (left, right)
    many_ids, one_ids = (ids.right, ids.left) if swapped else (ids.left, ids.right)
    _refuse_duplicates(one, one_ids, ids.count, matching, side="left" if swapped else "right")
    i, j = _pairs(many_ids, one_ids, ids.count)
    together = many.present[i] & one.present[j]
    if matching.card == "one-to-one":
        _refuse_many(together, many_ids[i], ids.count)
    sides = _elements(many, i), _elements(one, j)
    lhs, rhs = reversed(sides) if swapped else sides
    found = applied(op, lhs, rhs, lhs, together, notes, as_bool=as_bool)
    labels = _result_labels(op, many.labels.take(i), one.labels.take(j), matching)
    result = Vector(labels, found.values, found.present, many.drop_name[i] | as_bool, found.histograms)
    if matching.card == "one-to-one":
        return result.merged().trimmed()
    _refuse_ambiguous(labels, together)
    return result.trimmed().merged("multiple matches for labels: grouping labels must ensure unique matches")


def _elements(vector: Vector, rows: Index) -> Elements:
    return Elements(vector.values[rows], None if vector.histograms is None else vector.histograms[rows])


def _pairs(many: Index, one: Index, count: int) -> tuple[Index, Index]:
    """Every (row of many, row of one) with the same signature, in the order of many."""
    order = np.argsort(one, kind="stable")
    sizes = np.bincount(one, minlength=count)
    starts = np.cumsum(sizes) - sizes
    i = np.repeat(np.arange(len(many)), sizes[many])
    offset = np.arange(len(i)) - np.repeat(np.cumsum(sizes[many]) - sizes[many], sizes[many])
    return i, order[starts[many[i]] + offset]


def _result_labels(op: str, many: LabelTable, one: LabelTable, matching: Matching) -> LabelTable:
    labels = many.drop(METADATA) if op in ARITHMETIC else many
    if matching.card == "one-to-one":
        labels = labels.keep(matching.labels) if matching.on else labels.drop(matching.labels)
    for name in matching.include:
        labels = labels.with_column(name, one.column(name))
    return labels


def _with_stand_ins(left: Vector, right: Vector, matching: Matching) -> tuple[Vector, Vector]:
    """Both sides with a series of the fill value wherever the other side has a signature that this one lacks."""
    if matching.fill_left is None and matching.fill_right is None:
        return left, right
    ids = _Signatures.of(left, right, matching)
    for_left, for_right = matching.fill_left, matching.fill_right
    if matching.card == "one-to-many":
        for_left, for_right = (
            for_right,
            for_left,
        )  # Prometheus exchanges the sides first: fill_left is the "many" side's
    seen_left, seen_right = _seen(left, ids.left, ids.count), _seen(right, ids.right, ids.count)
    more_left = _stand_ins(right, ids.right, seen_right & ~seen_left, matching, for_left)
    more_right = _stand_ins(left, ids.left, seen_left & ~seen_right, matching, for_right)
    return joined([left, *more_left], left.steps), joined([right, *more_right], left.steps)


def _stand_ins(other: Vector, ids: Index, missing: Bools, matching: Matching, value: float | None) -> list[Vector]:
    if value is None or len(other) == 0:
        return []
    signatures, rows = np.unique(ids, return_index=True)
    labels = signature(matching, other.labels.take(rows))
    values: Floats = np.full((len(rows), other.steps), value)
    return [Vector(labels, values, missing[signatures], np.zeros(len(rows), np.bool_)).trimmed()]


def _refuse_duplicates(one: Vector, ids: Index, count: int, matching: Matching, *, side: str) -> None:
    if len(one) < 2:
        return
    per_signature = np.zeros((count, one.steps), np.int64)
    np.add.at(per_signature, ids, one.present)
    if (per_signature <= 1).all():
        return
    double, step = (int(where[0]) for where in np.nonzero(per_signature > 1))
    rows = np.flatnonzero((ids == double) & one.present[:, step])
    first, second = sorted(_shown(one.labels.row(int(i))) for i in rows)[:2]
    group = signature(matching, one.labels.take(np.flatnonzero(ids == double)[:1])).row(0)
    raise QueryError(
        f"found duplicate series for the match group {_shown(group)} on the {side} hand-side of the operation: "
        f"[{first}, {second}];many-to-many matching not allowed: matching labels must be unique on one side"
    )


def _refuse_many(together: Bools, ids: Index, count: int) -> None:
    if len(ids) < 2:
        return
    per_signature = np.zeros((count, together.shape[1]), np.int64)
    np.add.at(per_signature, ids, together)
    if (per_signature > 1).any():
        raise QueryError("multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)")


def _refuse_ambiguous(labels: LabelTable, together: Bools) -> None:
    ids, first = labels.identities()
    per_result = np.zeros((len(first), together.shape[1]), np.int64)
    np.add.at(per_result, ids, together)
    if (per_result > 1).any():
        raise QueryError("multiple matches for labels: grouping labels must ensure unique matches")


def _shown(labels: dict[str, str]) -> str:
    return "{" + ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items())) + "}"


def with_scalar(op: str, vector: Vector, scalar: Floats, notes: Notes, *, scalar_left: bool, as_bool: bool) -> Vector:
    """A vector and a scalar. A filtering comparison answers the vector's elements and keeps its names."""
    own = Elements(vector.values, vector.histograms)
    other = Elements(np.broadcast_to(scalar, vector.values.shape))
    lhs, rhs = (other, own) if scalar_left else (own, other)
    found = applied(op, lhs, rhs, own, vector.present, notes, as_bool=as_bool)
    drop_name = np.ones(len(vector), np.bool_) if op in ARITHMETIC or as_bool else vector.drop_name
    result = Vector(vector.labels, found.values, found.present, drop_name, found.histograms)
    return result if op in ARITHMETIC and found.histograms is None else result.trimmed()
