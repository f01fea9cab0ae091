"""Functions of histograms, classic ones (`…_bucket` series) and native ones alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fairway.metrics.histogram import Histogram
from fairway.metrics.labels import NAME, code_of
from fairway.metrics.promql import native_quantile
from fairway.metrics.promql.numbers import format_float
from fairway.metrics.promql.quantile import ClassicHistograms
from fairway.metrics.promql.tree import Node
from fairway.metrics.promql.values import Value, Vector, joined
from fairway.metrics.series import Floats

if TYPE_CHECKING:
    from fairway.metrics.promql.evaluate import Evaluation

_MONOTONICITY = (
    "input to histogram_quantile needed to be fixed for monotonicity (see "
    "https://prometheus.io/docs/practices/histograms/#errors-of-quantile-estimation) for metric name"
)


def _of_each(vector: Vector, compute: Callable[[Histogram, str, int], float]) -> Vector:
    """One number for each native histogram; numbers have no answer. `compute` gets the metric's name and the step."""
    present = vector.is_histogram
    values = np.zeros(present.shape)
    if vector.histograms is not None:
        names = [row.get(NAME, "") for row in vector.labels.keep((NAME,)).rows()]
        for row, step in zip(*np.nonzero(present), strict=True):
            values[row, step] = compute(vector.histograms[row, step], names[row], int(step))
    return vector.mapped(values, present).trimmed()


def _native(compute: Callable[[Histogram], float], *, resets: bool = True) -> Callable[[Evaluation, list[Node]], Value]:
    def call(evaluation: Evaluation, arguments: list[Node]) -> Value:
        vector = replace(evaluation, resets=resets).vector(arguments[0])
        return _of_each(vector, lambda histogram, _name, _step: compute(histogram))

    return call


class _Both:
    """The histograms of a vector. One that comes as classic and as native histogram with the same labels has no answer."""

    def __init__(self, evaluation: Evaluation, node: Node) -> None:
        self._notes = evaluation.notes
        vector = evaluation.vector(node)
        self.classic = ClassicHistograms(vector.floats().trimmed())
        for value, name in self.classic.unreadable:
            self._notes.warn(f'bucket label "le" is missing or has a malformed value of "{value}" for metric name "{name}"')
        self.native = vector.masked(vector.is_histogram).trimmed() if vector.histograms is not None else None
        if self.native is not None and len(self.native) and len(self.classic.owner):
            self._refuse_doubles(self.native)

    def _refuse_doubles(self, native: Vector) -> None:
        owners = {tuple(sorted(row.items())): i for i, row in enumerate(self.classic.owner.labels.rows())}
        for i, row in enumerate(native.labels.rows()):
            place = owners.get(tuple(sorted(row.items())))
            if place is None:
                continue
            both = self.classic.owner_present(place) & native.present[i]
            if both.any():
                self._notes.warn("vector contains a mix of classic and native histograms for metric name "
                                 f'"{row.get(NAME, "")}"')  # fmt: skip
                self.classic.drop(place, both)
                native.present[i] &= ~both

    def quantiles(self, q: Floats) -> Vector:
        answers = [self.classic.quantiles(q)]
        for name in sorted(self.classic.forced):
            self._notes.inform(f'{_MONOTONICITY} "{name}"')
        if self.native is not None:
            answers.append(_of_each(self.native, lambda h, name, step: native_quantile.quantile(
                float(q[step]), h, name, self._notes)))  # fmt: skip
        return joined([answer.trimmed() for answer in answers], len(q))

    def fractions(self, lower: Floats, upper: Floats) -> Vector:
        answers = [self.classic.fractions(lower, upper)]
        if self.native is not None:
            answers.append(_of_each(self.native, lambda h, name, step: native_quantile.fraction(
                float(lower[step]), float(upper[step]), h, name, self._notes)))  # fmt: skip
        return joined([answer.trimmed() for answer in answers], len(lower))


def _quantile(evaluation: Evaluation, arguments: list[Node]) -> Value:
    q = evaluation.scalar(arguments[0])
    evaluation.warn_of_quantile(q)
    return _Both(evaluation, arguments[1]).quantiles(q)


def _quantiles(evaluation: Evaluation, arguments: list[Node]) -> Value:
    """Several at once; which one it is stands in a label."""
    histograms, label = _Both(evaluation, arguments[0]), evaluation.text(arguments[1])
    answers = []
    for argument in arguments[2:]:
        q = evaluation.scalar(argument)
        evaluation.warn_of_quantile(q)
        answer = histograms.quantiles(q)
        name = format_float(float(q[0]))
        name = name if not name.lstrip("-").isdigit() else f"{name}.0"
        codes = np.full(len(answer), code_of(name), np.int32)
        answers.append(answer.with_labels(answer.labels.with_column(label, codes)))
    return joined(answers, len(evaluation.steps))


def _fraction(evaluation: Evaluation, arguments: list[Node]) -> Value:
    lower, upper = evaluation.scalar(arguments[0]), evaluation.scalar(arguments[1])
    return _Both(evaluation, arguments[2]).fractions(lower, upper)


def _mean(histogram: Histogram) -> float:
    with np.errstate(all="ignore"):
        return float(np.float64(histogram.sum) / np.float64(histogram.count))


HISTOGRAM_FUNCTIONS: Mapping[str, Callable[[Evaluation, list[Node]], Value]] = {
    "histogram_count": _native(lambda histogram: histogram.count),
    "histogram_sum": _native(lambda histogram: histogram.sum),
    "histogram_avg": _native(_mean),
    "histogram_stdvar": _native(native_quantile.variance, resets=False),
    "histogram_stddev": _native(lambda h: float(np.sqrt(native_quantile.variance(h))), resets=False),
    "histogram_quantile": _quantile, "histogram_quantiles": _quantiles, "histogram_fraction": _fraction,
}  # fmt: skip
