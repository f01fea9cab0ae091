"""PromQL: what a query answers, given the samples and the time.

Each node of the tree becomes a scalar, a string or a vector *over all evaluation steps at once*
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

from dataclasses import dataclass, replace

import numpy as np

from fairway.metrics.labels import METADATA
from fairway.metrics.promql import tree
from fairway.metrics.promql.aggregation import REDUCTIONS, Groups, check_k, count_values, extremes, quantile
from fairway.metrics.promql.check import type_of
from fairway.metrics.promql.functions import FUNCTIONS
from fairway.metrics.promql.lexer import mistake
from fairway.metrics.promql.matching import binary, set_operation, with_scalar
from fairway.metrics.promql.native_aggregation import with_histograms
from fairway.metrics.promql.notes import Notes
from fairway.metrics.promql.numbers import format_float
from fairway.metrics.promql.operators import ARITHMETIC, SET, Elements, applied
from fairway.metrics.promql.over_time import RANGE_FUNCTIONS
from fairway.metrics.promql.range_vectors import RangeVectors, Series
from fairway.metrics.promql.sampling import first_of, share_of
from fairway.metrics.promql.selectors import forgetful, newest, with_resets
from fairway.metrics.promql.smoothed import smoothed
from fairway.metrics.promql.syntax import parse
from fairway.metrics.promql.tree import Node, unwrapped
from fairway.metrics.promql.values import (
    BadQuery,
    QueryError,
    Scalar,
    Text,
    Value,
    Vector,
    joined,
    no_histograms,
)
from fairway.metrics.series import ABSENT_BITS, Block, Bools, Floats, SeriesSource, Times

LOOKBACK_MS = 5 * 60 * 1000
DEFAULT_SUBQUERY_STEP_MS = 60 * 1000
"""Prometheus' defaults: `query.lookback-delta`, and `global.evaluation_interval` for subqueries without a step."""
MAX_STEPS = 11_000
"""Points per series that one query may ask for: Prometheus' limit."""
MAX_POINTS = 20_000_000
"""Series × steps of one vector: 160 MB of numbers. Prometheus stops at 50 million samples; it has a machine of its own."""
_LONGEST_MS = 2**53
_IGNORING = frozenset({"min", "max", "stddev", "stdvar", "quantile", "topk", "bottomk"})
"""Aggregations that pass over native histograms."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """`value` at each of `times`; a range selector on its own answers blocks instead."""

    value: Value | list[Block]
    times: Times
    notes: Notes


def instant(query: str, source: SeriesSource, at: int, *, lookback_ms: int = LOOKBACK_MS) -> Answer:
    """The answer at one time."""
    node = parse(query)
    evaluation = Evaluation(source, np.array([at], np.int64), lookback_ms, at, at, 0, Notes(), query)
    inner = unwrapped(node)
    if isinstance(inner, tree.Range | tree.Subquery):
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
    if (kind := type_of(node)) not in ("scalar", "instant vector"):
        raise BadQuery(f'invalid expression type "{kind}" for range query, must be Scalar or instant Vector')
    steps = np.arange(start, end + 1, step, dtype=np.int64)
    evaluation = Evaluation(source, steps, lookback_ms, start, end, step, Notes(), query)
    return Answer(_finished(evaluation.value(node)), steps, evaluation.notes)


def _finished(value: Value) -> Value:
    return value.finished() if isinstance(value, Vector) else value


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """One pass over a tree at given steps. `start`, `end` and `interval` are the query's own, in milliseconds: what
    `start()`, `end()` and `step()` answer, also inside a subquery.
    """

    source: SeriesSource
    steps: Times
    lookback_ms: int
    start: int
    end: int
    interval: int
    notes: Notes
    query: str = ""
    resets: bool = False
    """Whether selectors look for counter resets between native histograms, as below `histogram_count` and its like."""

    # --- nodes ------------------------------------------------------------------------------------------------------

    def value(self, node: Node) -> Value:
        match node:
            case tree.Paren(inner):
                return self.value(inner)
            case tree.Number(value):
                return Scalar(np.full(len(self.steps), value))
            case tree.String(text):
                return Text(text)
            case tree.Selector():
                return self.newest(node)[0]
            case tree.Call(name, arguments):
                if name in RANGE_FUNCTIONS:
                    return self._over_time(name, arguments)
                with np.errstate(all="ignore"):
                    return FUNCTIONS[name](self, list(arguments))
            case tree.Aggregation():
                return self._aggregate(node)
            case tree.Binary():
                return self._binary(node)
            case tree.Sign(op, inner):
                return self.value(inner) if op == "+" else _negated(self.value(inner))
            case _:
                raise BadQuery("a range vector is expected in a function of one")

    def vector(self, node: Node) -> Vector:
        value = self.value(node)
        if not isinstance(value, Vector):
            raise QueryError(f"expected type instant vector, got {type(value).__name__.lower()}")
        return value

    def floats(self, node: Node) -> Vector:
        """An instant vector without its native histograms."""
        return self.vector(node).floats()

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

    # --- selectors --------------------------------------------------------------------------------------------------

    def _ms(self, duration: tree.Duration | None, at: int, *, positive: bool = True) -> int:
        if duration is None:
            return 0
        found = tree.seconds(duration, self.interval, self.end - self.start) * 1000
        if positive and found <= 0:
            raise mistake(self.query, at, "duration must be greater than 0")
        if not abs(found) < _LONGEST_MS:
            raise mistake(self.query, at, "duration out of range")
        return round(found)

    def _times_read(self, node: tree.Selector | tree.Subquery) -> Times:
        """Where a selector or subquery looks, for each step: `@` replaces the step's time, `offset` moves it back."""
        times = self.steps
        if node.moment is not None:
            at = {"start": self.start, "end": self.end}.get(node.moment.edge, round(node.moment.seconds * 1000))
            times = np.full(len(self.steps), at, np.int64)
        return times - self._ms(node.offset, node.at, positive=False)

    def newest(self, node: tree.Selector) -> tuple[Vector, Floats, Floats]:
        """(the newest sample of each series at each step, the times of those samples, the starts of their counters), in
        seconds. A `smoothed` selector answers what lies between two samples.
        """
        ends = self._times_read(node)
        ahead = self.lookback_ms if node.mode == "smoothed" else 0
        blocks = self.select(node, int(ends.min()) - self.lookback_ms, int(ends.max()) + ahead)
        if node.mode == "smoothed":
            found = [smoothed(block, ends, self.lookback_ms, self.notes) for block in blocks]
        else:
            found = [newest(block, ends, self.lookback_ms) for block in blocks]
        vector = joined([vector for vector, _, _ in found], len(ends))
        nothing = np.zeros((0, len(ends)))
        times = np.concatenate([nothing, *(times for _, times, _ in found)])
        starts = np.concatenate([nothing, *(starts for _, _, starts in found)])
        alive: Bools = np.asarray(vector.present.any(axis=1))
        return vector.take(alive), times[alive], starts[alive]

    def select(self, selector: tree.Selector, after: int, until: int) -> list[Block]:
        found = list(self.source.select(list(selector.matchers), after, until))
        if sum(len(block.labels) for block in found) * len(self.steps) > MAX_POINTS:
            raise QueryError("query processing would load too many samples into memory in query execution")
        return [with_resets(block) for block in found] if self.resets else found

    def ranges(self, node: Node) -> RangeVectors:
        """The series of a range selector or subquery, and the windows that are cut from them."""
        node = unwrapped(node)
        match node:
            case tree.Range(selector, duration, at):
                width = self._ms(duration, at)
                ends = self._times_read(selector)
                before = self.lookback_ms if selector.mode else 0
                after = self.lookback_ms if selector.mode == "smoothed" else 0
                blocks = self.select(selector, int(ends.min()) - width - before, int(ends.max()) + after)
                series = [Series(block, np.zeros(len(block.labels), np.bool_)) for block in blocks]
                return RangeVectors(series, ends, width, self.steps, selector.mode, self.lookback_ms)
            case tree.Subquery():
                ends, width = self._times_read(node), self._ms(node.width, node.at)
                return RangeVectors(self._subquery(node, ends, width), ends, width, self.steps)
            case _:
                raise QueryError("expected type range vector")

    def _subquery(self, node: tree.Subquery, ends: Times, width: int) -> list[Series]:
        step = self._ms(node.step, node.at) or DEFAULT_SUBQUERY_STEP_MS
        first = (int(ends.min()) - width) // step * step + step  # the first multiple after the left-open edge
        if (int(ends.max()) - first) // step > MAX_STEPS * 10:
            raise BadQuery("unsupported: a subquery of more than 110,000 steps; use a longer resolution")
        times = np.arange(first, int(ends.max()) + 1, step, dtype=np.int64)
        if not len(times):
            return []
        inner = replace(self, steps=times).vector(node.inner)
        values = inner.values.copy()
        values.view(np.int64)[~inner.present] = ABSENT_BITS
        return [Series(forgetful(Block(inner.labels, times, values, inner.histograms)), inner.drop_name)] if len(inner) else []

    def raw(self, node: Node) -> list[Block]:
        """A range selector's own samples, for an instant query that asks for nothing else."""
        ranges = self.ranges(node)
        end = int(ranges.ends[0])
        cut = []
        for one in ranges.series:
            block = one.block.between(end - ranges.width, end)
            alive = block.seen()
            labels = block.labels
            for name in METADATA:
                labels = labels.blank_where(name, one.drop_name)
            cut.append(replace(block, labels=labels).take(alive))
        return [block for block in cut if len(block.labels)]

    # --- functions --------------------------------------------------------------------------------------------------

    def _over_time(self, name: str, arguments: tuple[Node, ...]) -> Vector:
        """A function of a range vector and, for some, of scalars that may differ from step to step."""
        place = next(i for i, argument in enumerate(arguments) if type_of(argument) == "range vector")
        scalars = [self.scalar(argument) for i, argument in enumerate(arguments) if i != place]
        if name == "quantile_over_time":
            self.warn_of_quantile(scalars[0])
        with np.errstate(all="ignore"):
            return self.ranges(arguments[place]).apply(name, scalars, self.notes)

    def warn_of_quantile(self, q: Floats) -> None:
        for bad in q[~((q >= 0) & (q <= 1))][:1]:
            self.notes.warn(f"quantile value should be between 0 and 1, got {format_float(float(bad))}")

    # --- operators --------------------------------------------------------------------------------------------------

    def _aggregate(self, node: tree.Aggregation) -> Vector:
        op, vector = node.op, self.vector(node.inner)
        if op == "count_values" and node.parameter is not None:
            return count_values(vector, node.by, node.without, self.text(node.parameter))
        if op in _IGNORING and vector.histograms is not None:
            if vector.is_histogram.any():
                self.notes.inform(f"ignored histogram in {op} aggregation")
            vector = vector.floats()
        groups = Groups(vector, node.by, node.without)
        with np.errstate(all="ignore"):
            if op in REDUCTIONS:
                answer = groups.answer(REDUCTIONS[op](groups))
                if op in ("sum", "avg") and vector.histograms is not None:
                    return with_histograms(answer, vector, groups.ids, op, self.notes)
                return answer
            return self._chosen(op, groups, self.scalar(node.parameter or tree.Number(np.nan)))

    def _chosen(self, op: str, groups: Groups, parameter: Floats) -> Vector:
        match op:
            case "topk" | "bottomk":
                check_k(parameter)
                return extremes(groups, parameter, largest=op == "topk")
            case "limitk":
                return first_of(groups, parameter)
            case "limit_ratio":
                return share_of(groups.vector, parameter, self.notes)
            case _:
                self.warn_of_quantile(parameter)
                return quantile(groups, parameter)

    def _binary(self, node: tree.Binary) -> Value:
        op, as_bool = node.op, node.as_bool
        left, right = self.value(node.left), self.value(node.right)
        match left, right:
            case Scalar(a), Scalar(b):
                sides = Elements(a), Elements(b)
                here = np.ones(len(self.steps), np.bool_)
                return Scalar(applied(op, *sides, sides[0], here, self.notes, as_bool=op not in ARITHMETIC).values)
            case Vector(), Scalar(b):
                return with_scalar(op, left, b, self.notes, scalar_left=False, as_bool=as_bool)
            case Scalar(a), Vector():
                return with_scalar(op, right, a, self.notes, scalar_left=True, as_bool=as_bool)
            case Vector(), Vector():
                if op in SET:
                    return set_operation(op, left, right, node.matching)
                return binary(op, left, right, node.matching, self.notes, as_bool=as_bool)
            case _:
                raise QueryError("binary expression must contain only scalar and instant vector types")


def _negated(value: Value) -> Value:
    match value:
        case Scalar(values):
            return Scalar(-values)
        case Vector(histograms=natives):
            negated = value.mapped(-value.values)
            if natives is None:
                return negated
            histograms = no_histograms(value.values.shape)
            for where in zip(*np.nonzero(value.is_histogram), strict=True):
                histograms[where] = natives[where].scaled(-1)
            return replace(negated, histograms=histograms)
        case _:
            raise QueryError("unary expression only allowed on expressions of type scalar or instant vector")
