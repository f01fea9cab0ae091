"""Functions of instant vectors, scalars and strings, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from fairway.metrics.labels import NAME, LabelTable
from fairway.metrics.promql.calendar import DATE_FUNCTIONS
from fairway.metrics.promql.histogram_functions import HISTOGRAM_FUNCTIONS
from fairway.metrics.promql.info import info
from fairway.metrics.promql.label_functions import label_join, label_replace, sorted_by_label, sorted_by_value
from fairway.metrics.promql.tree import Node, Range, Selector, unwrapped
from fairway.metrics.promql.values import Scalar, Value, Vector
from fairway.metrics.series import Bools, Floats

if TYPE_CHECKING:
    from fairway.metrics.promql.evaluate import Evaluation

Function = Callable[["Evaluation", list[Node]], Value]

_ELEMENTWISE: dict[str, Callable[[Floats], Floats]] = {
    "abs": np.abs, "ceil": np.ceil, "floor": np.floor, "sqrt": np.sqrt, "sgn": np.sign, "exp": np.exp, "ln": np.log,
    "log2": np.log2, "log10": np.log10, "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin,
    "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "asinh": np.arcsinh,
    "acosh": np.arccosh, "atanh": np.arctanh, "deg": np.rad2deg, "rad": np.deg2rad,
}  # fmt: skip


def _elementwise(function: Callable[[Floats], Floats]) -> Function:
    def call(evaluation: Evaluation, arguments: list[Node]) -> Value:
        vector = evaluation.floats(arguments[0])
        return vector.mapped(function(vector.values))

    return call


def _date(function: Callable[[Floats], Floats]) -> Function:
    def call(evaluation: Evaluation, arguments: list[Node]) -> Value:
        if not arguments:
            return Vector.single(function(evaluation.steps / 1000))
        vector = evaluation.floats(arguments[0])
        return vector.mapped(function(vector.values))

    return call


# --- scalars and vectors --------------------------------------------------------------------------------------------


def _time(evaluation: Evaluation, _: list[Node]) -> Value:
    return Scalar(evaluation.steps / 1000)


def _pi(evaluation: Evaluation, _: list[Node]) -> Value:
    return Scalar(np.full(len(evaluation.steps), np.pi))


def _vector(evaluation: Evaluation, arguments: list[Node]) -> Value:
    return Vector.single(evaluation.scalar(arguments[0]))


def _scalar(evaluation: Evaluation, arguments: list[Node]) -> Value:
    """The value of the only element at each step; NaN where there is none, or more than one."""
    vector = evaluation.floats(arguments[0])
    values = np.where(vector.present, vector.values, 0.0).sum(axis=0)
    return Scalar(np.where(vector.present.sum(axis=0) == 1, values, np.nan))


def _timestamp(evaluation: Evaluation, arguments: list[Node]) -> Value:
    """The time of the sample, for a selector; the time of the step, for anything computed."""
    inner = unwrapped(arguments[0])
    if isinstance(inner, Selector):
        vector, times, _ = evaluation.newest(inner)
        return vector.mapped(times)
    vector = evaluation.vector(inner)
    return vector.mapped(np.broadcast_to(evaluation.steps / 1000, vector.values.shape))


def _start_timestamp(evaluation: Evaluation, arguments: list[Node]) -> Value:
    """When the sample's counter began, 0 where that is unknown; nothing computed knows it."""
    inner = unwrapped(arguments[0])
    if isinstance(inner, Selector):
        vector, _, starts = evaluation.newest(inner)
        return vector.mapped(starts)
    return Vector.empty(len(evaluation.steps))


def _edge(of: Callable[[Evaluation], float]) -> Function:
    """A number of the query itself, in seconds."""
    return lambda evaluation, _: Scalar(np.full(len(evaluation.steps), of(evaluation) / 1000))


def _min_of(evaluation: Evaluation, arguments: list[Node]) -> Value:
    return Scalar(np.minimum.reduce([evaluation.scalar(argument) for argument in arguments]))


def _max_of(evaluation: Evaluation, arguments: list[Node]) -> Value:
    return Scalar(np.maximum.reduce([evaluation.scalar(argument) for argument in arguments]))


# --- shaping values -------------------------------------------------------------------------------------------------


def _round(evaluation: Evaluation, arguments: list[Node]) -> Value:
    """To the nearest multiple, halves up."""
    vector = evaluation.floats(arguments[0])
    nearest = evaluation.scalar(arguments[1]) if len(arguments) > 1 else np.ones(vector.steps)
    inverse = 1.0 / nearest  # keeps 0.3 from becoming 0.30000000000000004, as upstream does it
    return vector.mapped(np.floor(vector.values * inverse + 0.5) / inverse)


def _clamp(evaluation: Evaluation, arguments: list[Node]) -> Value:
    vector = evaluation.floats(arguments[0])
    low, high = evaluation.scalar(arguments[1]), evaluation.scalar(arguments[2])
    present = vector.present & ~(high < low)
    return vector.mapped(np.maximum(low, np.minimum(high, vector.values)), present).trimmed()


def _clamp_min(evaluation: Evaluation, arguments: list[Node]) -> Value:
    vector = evaluation.floats(arguments[0])
    return vector.mapped(np.maximum(evaluation.scalar(arguments[1]), vector.values))


def _clamp_max(evaluation: Evaluation, arguments: list[Node]) -> Value:
    vector = evaluation.floats(arguments[0])
    return vector.mapped(np.minimum(evaluation.scalar(arguments[1]), vector.values))


# --- absence --------------------------------------------------------------------------------------------------------


def _equal_labels(node: Node) -> LabelTable:
    """The labels that a selector fixes: what `absent` can say about the series that is not there."""
    inner = unwrapped(node)
    if isinstance(inner, Range):
        inner = inner.selector
    if not isinstance(inner, Selector):
        return LabelTable.empty(1)
    matchers = [m for m in inner.matchers if m.name != NAME]
    names = [m.name for m in matchers]
    return LabelTable.of([{m.name: m.value for m in matchers if m.op == "=" and names.count(m.name) == 1}])


def _absent(evaluation: Evaluation, arguments: list[Node]) -> Value:
    vector = evaluation.vector(arguments[0])
    missing: Bools = np.asarray(~vector.present.any(axis=0))
    return Vector.single(np.ones(len(missing)), missing, _equal_labels(arguments[0])).trimmed()


def _absent_over_time(evaluation: Evaluation, arguments: list[Node]) -> Value:
    ranges = evaluation.ranges(arguments[0])
    missing = np.ones(len(ranges.ends), np.bool_)
    for one in ranges.series:
        for step, window in ranges.windows(one.block):
            missing[step] &= not window.any.any()
    return Vector.single(np.ones(len(missing)), missing, _equal_labels(arguments[0])).trimmed()


# --- labels ---------------------------------------------------------------------------------------------------------


def _label_replace(evaluation: Evaluation, arguments: list[Node]) -> Value:
    target, replacement, source, regex = (evaluation.text(argument) for argument in arguments[1:])
    return label_replace(evaluation.vector(arguments[0]), target, replacement, source, regex)


def _label_join(evaluation: Evaluation, arguments: list[Node]) -> Value:
    target, separator, *sources = (evaluation.text(argument) for argument in arguments[1:])
    return label_join(evaluation.vector(arguments[0]), target, separator, sources)


def _sort(name: str) -> Function:
    def call(evaluation: Evaluation, arguments: list[Node]) -> Value:
        vector = evaluation.vector(arguments[0])
        if vector.steps > 1:
            evaluation.notes.warn(
                "sort is ineffective for range queries since results are always ordered by labels"
            )
        descending = name.endswith("_desc")
        if name.startswith("sort_by_label"):
            names = [evaluation.text(argument) for argument in arguments[1:]]
            return sorted_by_label(vector, names, descending=descending)
        return sorted_by_value(vector.floats(), descending=descending).trimmed()

    return call


FUNCTIONS: dict[str, Function] = {
    **{name: _elementwise(function) for name, function in _ELEMENTWISE.items()},
    **{name: _date(function) for name, function in DATE_FUNCTIONS.items()},
    **{name: _sort(name) for name in ("sort", "sort_desc", "sort_by_label", "sort_by_label_desc")},
    **HISTOGRAM_FUNCTIONS,
    "start": _edge(lambda query: query.start), "end": _edge(lambda query: query.end),
    "step": _edge(lambda query: query.interval), "range": _edge(lambda query: query.end - query.start),
    "time": _time, "pi": _pi, "info": info, "start_timestamp": _start_timestamp,
    "vector": _vector, "scalar": _scalar, "timestamp": _timestamp,
    "min_of": _min_of, "max_of": _max_of, "round": _round, "clamp": _clamp, "clamp_min": _clamp_min,
    "clamp_max": _clamp_max, "absent": _absent, "absent_over_time": _absent_over_time,
    "label_replace": _label_replace, "label_join": _label_join,
}  # fmt: skip
