"""Blocks for queries, written as Prometheus' tests write series."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fairway.metrics.labels import LabelTable
from fairway.metrics.matchers import Matcher
from fairway.metrics.promql import Scalar, Vector, instant
from fairway.metrics.series import ABSENT_BITS, STALE_BITS, Block, matching_rows

Row = tuple[dict[str, str], Sequence[float | str]]


class Blocks:
    """A `SeriesSource` over given blocks."""

    def __init__(self, *blocks: Block) -> None:
        self._blocks = blocks

    def select(self, matchers: Sequence[Matcher], start: int, end: int) -> list[Block]:
        return [block.take(matching_rows(block.labels, matchers)).between(start, end) for block in self._blocks]


def block(step_s: float, rows: Sequence[Row], *, start_s: float = 0.0) -> Block:
    """"_" is no sample, "stale" the end of a series."""
    width = max(len(samples) for _, samples in rows)
    values = np.zeros((len(rows), width))
    bits = values.view(np.int64)
    bits[:] = ABSENT_BITS
    for i, (_, samples) in enumerate(rows):
        for j, sample in enumerate(samples):
            if sample == "stale":
                bits[i, j] = STALE_BITS
            elif sample != "_":
                values[i, j] = float(sample)
    times = (np.arange(width) * step_s * 1000 + start_s * 1000).astype(np.int64)
    return Block(LabelTable.of([labels for labels, _ in rows]), times, values)


def named(name: str, samples: Sequence[float | str], **labels: str) -> Row:
    return {"__name__": name, **labels}, samples


def ask(query: str, source: Blocks, at_s: float) -> dict[str, float] | float:
    """{"name{a=b}": value} of an instant query, or the number of a scalar one."""
    value = instant(query, source, round(at_s * 1000)).value
    if isinstance(value, Scalar):
        return float(value.values[0])
    assert isinstance(value, Vector), value
    return {shown(row): float(v) for row, v in zip(value.labels.rows(), value.values[:, 0], strict=True)}


def shown(row: dict[str, str]) -> str:
    rest = ",".join(f"{name}={text}" for name, text in sorted(row.items()) if name != "__name__")
    return f"{row.get('__name__', '')}{{{rest}}}"
