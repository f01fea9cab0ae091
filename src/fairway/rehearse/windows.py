"""How far back a query looks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import promql_parser as ast

from fairway.metrics.promql.syntax import parse
from fairway.metrics.promql.values import BadQuery


def longest_window(query: str) -> timedelta:
    """The longest range in it, zero where there is none or it cannot be read."""
    try:
        return _longest(parse(query))
    except BadQuery:
        return timedelta(0)


def _longest(node: Any) -> timedelta:
    own = getattr(node, "range", None) if isinstance(node, (ast.MatrixSelector, ast.SubqueryExpr)) else None
    found = [own if isinstance(own, timedelta) else timedelta(0)]
    for part in ("expr", "lhs", "rhs", "param"):
        inner = getattr(node, part, None)
        if inner is not None and not isinstance(inner, (str, float)):
            found.append(_longest(inner))
    found += [_longest(inner) for inner in getattr(node, "args", None) or ()]
    return max(found)
