"""PromQL: what a query answers, given the samples and the time.

The parser gives a tree; each node becomes a scalar, a string or a vector *over all evaluation steps at once*
(`values`), so that an instant query and a graph are the same computation with one step or with many. Selectors read
blocks of samples from a `SeriesSource`; everything above them is arithmetic on arrays.

The rules that decide correctness, all of them Prometheus 3's:

- windows are left-open: `x[5m]` at t is (t-5m, t], and an instant selector sees the newest sample of (t-lookback, t];
- a stale marker ends a series at once, and is no sample for functions of a range;
- `offset` and `@` move the times at which a selector reads, never the time of the step itself;
- a subquery evaluates its inner expression at multiples of its own step;
- a metric's name is dropped when the query ends, not while it runs.

Nothing here waits, reads a clock, or remembers anything between queries.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import promql_parser as ast

from fairway.metrics.labels import NAME
from fairway.metrics.matchers import BadPattern
from fairway.metrics.promql.aggregation import REDUCTIONS, Groups, check_k, count_values, extremes, quantile
from fairway.metrics.promql.functions import FUNCTIONS
from fairway.metrics.promql.matching import Card, Matching, binary, set_operation, with_scalar
from fairway.metrics.promql.numbers import format_float
from fairway.metrics.promql.operators import SET, applied
from fairway.metrics.promql.over_time import RANGE_FUNCTIONS
from fairway.metrics.promql.selectors import asked_ms, matchers_of, newest
from fairway.metrics.promql.syntax import Node, parse, unwrapped
from fairway.metrics.promql.values import BadQuery, QueryError, Scalar, Text, Value, Vector, joined
from fairway.metrics.promql.window import windows
from fairway.metrics.series import ABSENT_BITS, Block, Bools, Floats, SeriesSource, Times

LOOKBACK_MS = 5 * 60 * 1000
DEFAULT_SUBQUERY_STEP_MS = 60 * 1000
"""Prometheus' defaults: `query.lookback-delta`, and `global.evaluation_interval` for subqueries without a step."""
MAX_STEPS = 11_000
"""Points per series that one query may ask for: Prometheus' limit."""
MAX_POINTS = 20_000_000
"""Series × steps of one vector: 160 MB of numbers. Prometheus stops at 50 million samples; it has a machine of its own."""


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """A range vector before its windows are cut: one block, and which of its series have lost their name."""

    block: Block
    drop_name: Bools


@dataclass(slots=True)
class Notes:
    """What a reader of the answer should know."""

    warnings: list[str] = field(default_factory=list)
    infos: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

    def inform(self, text: str) -> None:
        if text not in self.infos:
            self.infos.append(text)


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """`value` at each of `times`; a range selector on its own answers blocks instead."""

    value: Value | list[Block]
    times: Times
    notes: Notes


def instant(query: str, source: SeriesSource, at: int, *, lookback_ms: int = LOOKBACK_MS) -> Answer:
    """The answer at one time."""
    node = parse(query)
    evaluation = Evaluation(source, np.array([at], np.int64), lookback_ms, at, at, Notes())
    inner = unwrapped(node)
    if isinstance(inner, ast.MatrixSelector | ast.SubqueryExpr):
        return Answer(evaluation.raw(inner), evaluation.steps, evaluation.notes)
    return Answer(_finished(evaluation.value(node)), evaluation.steps, evaluation.notes)


def over_range(query: str, source: SeriesSource, start: int, end: int, step: int, *, lookback_ms: int = LOOKBACK_MS) -> Answer:
    """The answers at start, start + step, … up to end."""
    if step <= 0:
        raise BadQuery("zero or negative query resolution step widths are not accepted. Try a positive integer")
    if end < start:
        raise BadQuery("end timestamp must not be before start time")
    if (end - start) // step > MAX_STEPS:
        raise BadQuery(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"
        )
    node = parse(query)
    if isinstance(unwrapped(node), ast.MatrixSelector | ast.SubqueryExpr | ast.StringLiteral):
        kind = "string" if isinstance(unwrapped(node), ast.StringLiteral) else "range vector"
        raise BadQuery(f'invalid expression type "{kind}" for range query, must be Scalar or instant Vector')
    steps = np.arange(start, end + 1, step, dtype=np.int64)
    evaluation = Evaluation(source, steps, lookback_ms, start, end, Notes())
    return Answer(_finished(evaluation.value(node)), steps, evaluation.notes)


def _finished(value: Value) -> Value:
    return value.finished() if isinstance(value, Vector) else value


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """One pass over a tree at given steps. `start` and `end` are the query's own, for `@ start()` and `@ end()`."""

    source: SeriesSource
    steps: Times
    lookback_ms: int
    start: int
    end: int
    notes: Notes

    # --- nodes ------------------------------------------------------------------------------------------------------

    def value(self, node: Node) -> Value:
        match node:
            case ast.ParenExpr():
                return self.value(node.expr)
            case ast.NumberLiteral():
                return Scalar(np.full(len(self.steps), node.val))
            case ast.StringLiteral():
                return Text(node.val)
            case ast.VectorSelector():
                return self.newest(node)[0]
            case ast.Call():
                return self._call(node)
            case ast.AggregateExpr():
                return self._aggregate(node)
            case ast.BinaryExpr():
                return self._binary(node)
            case ast.UnaryExpr():
                return self._negated(self.value(node.expr))
            case _:
                raise BadQuery(f"unsupported: {type(node).__name__}")

    def vector(self, node: Node) -> Vector:
        value = self.value(node)
        if not isinstance(value, Vector):
            raise QueryError(f"expected type instant vector, got {type(value).__name__.lower()}")
        return value

    def scalar(self, node: Node) -> Floats:
        value = self.value(node)
        if not isinstance(value, Scalar):
            raise QueryError(f"expected type scalar, got {type(value).__name__.lower()}")
        return value.values

    def text(self, node: Node) -> str:
        value = self.value(node)
        if not isinstance(value, Text):
            raise QueryError(f"expected type string, got {type(value).__name__.lower()}")
        return value.value

    def _negated(self, value: Value) -> Value:
        match value:
            case Scalar(values):
                return Scalar(-values)
            case Vector():
                return value.mapped(-value.values)
            case _:
                raise QueryError("unary expression only allowed on expressions of type scalar or instant vector")

    # --- selectors --------------------------------------------------------------------------------------------------

    def _times_read(self, node: Node) -> Times:
        """Where a selector or subquery looks, for each step: `@` replaces the step's time, `offset` moves it back."""
        times = self.steps
        if node.at is not None:
            match node.at.type:
                case ast.AtModifierType.Start:
                    at = self.start
                case ast.AtModifierType.End:
                    at = self.end
                case _:
                    at = asked_ms(lambda: node.at.at) or 0
            times = np.full(len(self.steps), at, np.int64)
        return times - (asked_ms(lambda: node.offset) or 0)

    def newest(self, node: Node) -> tuple[Vector, Floats]:
        """(the newest sample of each series at each step, the times of those samples in seconds)."""
        ends = self._times_read(node)
        found = [
            newest(block, ends, self.lookback_ms)
            for block in self._select(node, int(ends.min()) - self.lookback_ms, int(ends.max()))
        ]
        vector = joined([vector for vector, _ in found], len(ends))
        times = np.concatenate([times for _, times in found]) if found else np.zeros((0, len(ends)))
        alive: Bools = np.asarray(vector.present.any(axis=1))
        return vector.take(alive), times[alive]

    def _select(self, selector: Node, after: int, until: int) -> list[Block]:
        try:
            found = list(self.source.select(matchers_of(selector), after, until))
        except BadPattern as error:
            raise BadQuery(f"parse error: {error}") from None
        if sum(len(block.labels) for block in found) * len(self.steps) > MAX_POINTS:
            raise QueryError("query processing would load too many samples into memory in query execution")
        return found

    def ranges(self, node: Node) -> tuple[list[Series], Times, int]:
        """(series, the end of the window of each step, the window's width)."""
        node = unwrapped(node)
        width = asked_ms(lambda: node.range) or 0
        if isinstance(node, ast.MatrixSelector):
            ends = self._times_read(node.vector_selector)
            blocks = self._select(node.vector_selector, int(ends.min()) - width, int(ends.max()))
            return [Series(block, np.zeros(len(block.labels), np.bool_)) for block in blocks], ends, width
        if isinstance(node, ast.SubqueryExpr):
            ends = self._times_read(node)
            return self._subquery(node, ends, width), ends, width
        raise QueryError("expected type range vector")

    def _subquery(self, node: Node, ends: Times, width: int) -> list[Series]:
        step = asked_ms(lambda: node.step) or DEFAULT_SUBQUERY_STEP_MS
        first = (int(ends.min()) - width) // step * step + step  # the first multiple after the left-open edge
        if (int(ends.max()) - first) // step > MAX_STEPS * 10:
            raise BadQuery("unsupported: a subquery of more than 110,000 steps; use a longer resolution")
        times = np.arange(first, int(ends.max()) + 1, step, dtype=np.int64)
        if not len(times):
            return []
        inner = replace(self, steps=times).value(node.expr)
        if not isinstance(inner, Vector):
            raise QueryError("subquery is only allowed on instant vector")
        values = inner.values.copy()
        values.view(np.int64)[~inner.present] = ABSENT_BITS
        return [Series(Block(inner.labels, times, values), inner.drop_name)] if len(inner) else []

    def raw(self, node: Node) -> list[Block]:
        """A range selector's own samples, for an instant query that asks for nothing else."""
        series, ends, width = self.ranges(node)
        cut = []
        for one in series:
            inside = (one.block.times > ends[0] - width) & (one.block.times <= ends[0])
            block = Block(one.block.labels, one.block.times[inside], one.block.values[:, inside])
            alive = block.seen()
            labels = block.labels.blank_where(NAME, one.drop_name).take(alive)
            cut.append(Block(labels, block.times, block.values[alive]))
        return [block for block in cut if len(block.labels)]

    # --- functions --------------------------------------------------------------------------------------------------

    def _call(self, node: Node) -> Value:
        name, arguments = node.func.name, list(node.args)
        if name in RANGE_FUNCTIONS:
            return self._over_time(name, arguments)
        if name in FUNCTIONS:
            with np.errstate(all="ignore"):
                return FUNCTIONS[name](self, arguments)
        kind = "native histograms" if name.startswith("histogram_") else "an experimental function"
        raise BadQuery(f"unsupported: {name}() ({kind})")

    def _over_time(self, name: str, arguments: list[Node]) -> Vector:
        """A function of a range vector and, for some, of scalars that may differ from step to step."""
        spec = RANGE_FUNCTIONS[name]
        place = next(i for i, a in enumerate(arguments) if isinstance(unwrapped(a), ast.MatrixSelector | ast.SubqueryExpr))
        series, ends, width = self.ranges(arguments[place])
        scalars = [self.scalar(argument) for i, argument in enumerate(arguments) if i != place]
        if name == "quantile_over_time":
            self.warn_of_quantile(scalars[0])
        parts = []
        with np.errstate(all="ignore"):
            for one in series:
                values = np.zeros((len(one.block.labels), len(self.steps)))
                present = np.zeros(values.shape, np.bool_)
                for step, window in windows(one.block, ends, width, self.steps):
                    values[:, step], present[:, step] = spec.function(window, *(s[step] for s in scalars))
                drop_name = one.drop_name if spec.keeps_name else np.ones(len(values), np.bool_)
                parts.append(Vector(one.block.labels, values, present, drop_name).trimmed())
        return joined(parts, len(self.steps))

    def warn_of_quantile(self, q: Floats) -> None:
        for bad in q[~((q >= 0) & (q <= 1))][:1]:
            self.notes.warn(f"PromQL warning: quantile value should be between 0 and 1, got {format_float(float(bad))}")

    # --- operators --------------------------------------------------------------------------------------------------

    def _aggregate(self, node: Node) -> Vector:
        op = str(node.op)
        by, without = _grouping(node.modifier)
        vector = self.vector(node.expr)
        if op == "count_values":
            return count_values(vector, by, without, self.text(node.param))
        groups = Groups(vector, by, without)
        if op in REDUCTIONS:
            with np.errstate(all="ignore"):
                return groups.answer(REDUCTIONS[op](groups))
        parameter = self.scalar(node.param)
        match op:
            case "topk" | "bottomk":
                check_k(parameter)
                return extremes(groups, parameter, largest=op == "topk")
            case "quantile":
                self.warn_of_quantile(parameter)
                return quantile(groups, parameter)
            case _:
                raise BadQuery(f"unsupported: {op} (an experimental aggregation)")

    def _binary(self, node: Node) -> Value:
        op = str(node.op)
        modifier = node.modifier
        as_bool = bool(modifier and modifier.return_bool)
        left, right = self.value(node.lhs), self.value(node.rhs)
        match left, right:
            case Scalar(a), Scalar(b):
                return Scalar(applied(op, a, b, a, as_bool=True)[0])
            case Vector(), Scalar(b):
                return with_scalar(op, left, b, scalar_left=False, as_bool=as_bool)
            case Scalar(a), Vector():
                return with_scalar(op, right, a, scalar_left=True, as_bool=as_bool)
            case Vector(), Vector():
                matching = _matching(modifier)
                if op in SET:
                    return set_operation(op, left, right, matching)
                return binary(op, left, right, matching, as_bool=as_bool)
            case _:
                raise QueryError("binary expression must contain only scalar and instant vector types")


def _grouping(modifier: Node | None) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """(labels of by, labels of without): one of them is None, or both."""
    if modifier is None:
        return None, None
    labels = tuple(modifier.labels)
    return (labels, None) if modifier.type == ast.AggModifierType.By else (None, labels)


_CARDS: dict[str, Card] = {
    "VectorMatchCardinality.ManyToOne": "many-to-one", "VectorMatchCardinality.OneToMany": "one-to-many",
}  # fmt: skip


def _matching(modifier: Node | None) -> Matching:
    if modifier is None:
        return Matching()
    fill = modifier.fill_values
    return Matching(
        card=_CARDS.get(str(modifier.card), "one-to-one"),
        on=modifier.matching is not None and modifier.matching.type == ast.LabelModifierType.Include,
        labels=tuple(modifier.matching.labels) if modifier.matching is not None else (),
        include=tuple(modifier.group_labels or ()),
        fill_left=fill.lhs if fill is not None else None,
        fill_right=fill.rhs if fill is not None else None,
    )
