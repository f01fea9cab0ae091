"""Answers of queries in the query API's JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fairway.metrics.histogram import Histogram
from fairway.metrics.labels import NAME
from fairway.metrics.promql import Answer, Scalar, Text, Vector
from fairway.metrics.promql.numbers import format_sample
from fairway.metrics.series import Block

Series = dict[str, Any]


def answered(answer: Answer, *, ranged: bool, limit: int = 0) -> Mapping[str, Any]:
    """`data`, with warnings and infos where there are any. `limit` 0: every series."""
    data = _data(answer, ranged=ranged)
    warnings = list(answer.notes.warnings)
    if limit and data["resultType"] in ("vector", "matrix") and len(data["result"]) > limit:
        data = {**data, "result": data["result"][:limit]}
        warnings.append("results truncated due to limit")
    notes = {name: found for name, found in (("warnings", warnings), ("infos", answer.notes.infos)) if found}
    return {"data": data, **notes}


def _data(answer: Answer, *, ranged: bool) -> dict[str, Any]:
    times = [time / 1000 for time in answer.times.tolist()]
    match answer.value:
        case Scalar(values) if not ranged:
            return {"resultType": "scalar", "result": [times[0], format_sample(float(values[0]))]}
        case Text(value):
            return {"resultType": "string", "result": [times[0], value]}
        case Scalar(values):
            return {"resultType": "matrix", "result": _matrix(Vector.single(values), times)}
        case Vector() as vector if ranged:
            return {"resultType": "matrix", "result": _matrix(vector, times)}
        case Vector() as vector:
            return {"resultType": "vector", "result": _vector(vector, times[0])}
        case blocks:
            return {"resultType": "matrix", "result": _sorted(one for block in blocks for one in _of_block(block))}


def _vector(vector: Vector, time: float) -> list[Series]:
    if vector.histograms is None:
        return [
            {"metric": _metric(row), "value": [time, format_sample(value)]}
            for row, value in zip(vector.labels.rows(), vector.values[:, 0].tolist(), strict=True)
        ]
    rows = zip(vector.labels.rows(), vector.values[:, 0].tolist(), vector.histograms[:, 0].tolist(), strict=True)
    return [
        {"metric": _metric(row), "value": [time, format_sample(value)]} if native is None else
        {"metric": _metric(row), "histogram": [time, histogram_as_json(native)]}
        for row, value, native in rows
    ]  # fmt: skip


def _matrix(vector: Vector, times: list[float]) -> list[Series]:
    return _sorted(
        _points(row, [times[k] for k in steps], vector.values[i, steps].tolist(),
                None if vector.histograms is None else vector.histograms[i, steps].tolist())
        for i, row in enumerate(vector.labels.rows())
        for steps in (np.flatnonzero(vector.present[i]),)
    )  # fmt: skip


def _of_block(block: Block) -> Iterable[Series]:
    valid = block.valid()
    for i, row in enumerate(block.labels.rows()):
        columns = np.flatnonzero(valid[i])
        yield _points(row, (block.times[columns] / 1000).tolist(), block.values[i, columns].tolist(),
                      None if block.histograms is None else block.histograms[i, columns].tolist())  # fmt: skip


def _points(row: dict[str, str], times: Sequence[float], values: Sequence[float], natives: Sequence[Any] | None) -> Series:
    found: Series = {"metric": _metric(row)}
    if natives is None:
        found["values"] = [[time, format_sample(value)] for time, value in zip(times, values, strict=True)]
        return found
    cells = list(zip(times, values, natives, strict=True))
    numbers = [[time, format_sample(value)] for time, value, native in cells if native is None]
    histograms = [[time, histogram_as_json(native)] for time, _, native in cells if native is not None]
    if numbers:
        found["values"] = numbers
    if histograms:
        found["histograms"] = histograms
    return found


def histogram_as_json(native: Histogram) -> dict[str, Any]:
    """Buckets are [which bounds belong to it, lower, upper, count]: 0 the upper, 1 the lower, 2 none, 3 both."""
    buckets = []
    for bucket in native.buckets():
        zero = not native.is_custom and bucket.lower == -native.zero_threshold and bucket.upper == native.zero_threshold
        rule = 3 if zero else 1 if bucket.upper <= 0 and not native.is_custom else 0
        buckets.append([rule, *(format_sample(number) for number in (bucket.lower, bucket.upper, bucket.count))])
    return {"count": format_sample(native.count), "sum": format_sample(native.sum), **({"buckets": buckets} if buckets else {})}


def _sorted(series: Iterable[Series]) -> list[Series]:
    return sorted(series, key=lambda one: sorted(one["metric"].items()))


def _metric(row: dict[str, str]) -> dict[str, str]:
    """The name first, as Prometheus writes it. Bytes that are no text are replaced: JSON cannot carry them."""
    found = {NAME: row[NAME], **row} if NAME in row else row
    if all(text.isascii() for text in found.values()):
        return found
    return {name: text.encode("utf-8", "replace").decode() for name, text in found.items()}
