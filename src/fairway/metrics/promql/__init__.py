"""PromQL over blocks of samples: `instant` and `over_range` answer a query; nothing here touches the outside."""

from fairway.metrics.promql.evaluate import Answer, instant, over_range
from fairway.metrics.promql.notes import Notes
from fairway.metrics.promql.syntax import parse
from fairway.metrics.promql.values import BadQuery, QueryError, Scalar, Text, Value, Vector

__all__ = [
    "Answer", "BadQuery", "Notes", "QueryError", "Scalar", "Text", "Value", "Vector", "instant", "over_range", "parse",
]  # fmt: skip
