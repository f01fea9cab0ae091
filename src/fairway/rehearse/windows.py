"""How far back a query looks."""

from __future__ import annotations

from datetime import timedelta

from fairway.metrics.promql.syntax import parse
from fairway.metrics.promql.tree import Range, Subquery, seconds, walk
from fairway.metrics.promql.values import BadQuery


def longest_window(query: str) -> timedelta:
    """The longest range in it, zero where there is none or it cannot be read."""
    try:
        found = [seconds(node.width, 0, 0) for node in walk(parse(query)) if isinstance(node, Range | Subquery)]
    except BadQuery:
        return timedelta(0)
    return timedelta(seconds=max(found, default=0.0))
