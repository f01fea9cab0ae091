"""Selectors: which series, and the newest sample of each at every step."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import promql_parser as ast

from fairway.metrics.labels import NAME
from fairway.metrics.matchers import Matcher, MatchOp
from fairway.metrics.promql.syntax import Node
from fairway.metrics.promql.values import BadQuery, Vector
from fairway.metrics.series import Block, Floats, Times


def newest(block: Block, ends: Times, lookback_ms: int) -> tuple[Vector, Floats]:
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
        return Vector.empty(len(ends)), np.zeros((0, len(ends)))
    values = np.take_along_axis(block.values, column, axis=1)
    stale = np.take_along_axis(block.stale(), column, axis=1)
    vector = Vector(block.labels, values, inside & ~stale, np.zeros(rows, np.bool_))
    return vector, block.times[column] / 1000


def duration_ms(text: str) -> int | None:
    """A duration as PromQL writes it ("1h30m"), or a number of seconds; None where it is neither."""
    try:
        return round(float(text) * 1000)
    except ValueError:
        pass
    try:
        return millis(ast.parse_duration(text))
    except ValueError:
        return None


def asked_ms(read: Callable[[], timedelta | datetime | None]) -> int | None:
    """A duration or a time of a node, in milliseconds. The parser fails only when an impossible one is read."""
    try:
        found = read()
    except (OverflowError, ValueError):
        raise BadQuery('invalid parameter "query": parse error: a duration or time is out of range') from None
    if isinstance(found, datetime):
        return round(found.timestamp() * 1000)
    return None if found is None else millis(found)


def millis(delta: timedelta) -> int:
    return round(delta.total_seconds() * 1000)


_MATCH_OPS: dict[str, MatchOp] = {
    "MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~",
}  # fmt: skip


def matchers_of(selector: Node) -> list[Matcher]:
    if selector.matchers.or_matchers:
        raise BadQuery("unsupported: `or` between label matchers; use a regular expression or the `or` operator")
    found = [Matcher(m.name, _MATCH_OPS[str(m.op)], m.value) for m in selector.matchers.matchers]
    return [Matcher(NAME, "=", selector.name), *found] if selector.name is not None else found
