"""`info`: enrich series with the labels of info metrics about the same instance.

Info series meet base series by `instance` and `job`. Labels that the base series has stay as they are; where two info
metrics disagree about a label there is no answer.

Source: Prometheus `promql/info.go` (behaviour).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fairway.metrics.labels import NAME, LabelTable
from fairway.metrics.matchers import Matcher
from fairway.metrics.promql.tree import DurationSum, Node, Seconds, Selector, Subquery, walk
from fairway.metrics.promql.values import QueryError, Value, Vector, joined
from fairway.metrics.series import Bools, Floats

if TYPE_CHECKING:
    from fairway.metrics.promql.evaluate import Evaluation

_IDENTIFYING = ("instance", "job")
_DEFAULT = Matcher(NAME, "=", "target_info")
_ANY = Matcher(NAME, "=~", ".+_info")
"""What is meant where a query only says which info metrics it does not want."""

Row = dict[str, str]


def info(evaluation: Evaluation, arguments: list[Node]) -> Value:
    base = evaluation.vector(arguments[0])
    asked = list(arguments[1].matchers) if len(arguments) > 1 and isinstance(arguments[1], Selector) else []
    named = [matcher for matcher in asked if matcher.name == NAME]
    wanted = [matcher for matcher in asked if matcher.name != NAME]
    positive = any(matcher.op in ("=", "=~") for matcher in named)
    ignoring = (named if positive else []) if len(arguments) > 1 else [_DEFAULT]
    rows = base.labels.rows()
    ignored = [bool(ignoring) and all(m.test()(row.get(NAME, "")) for m in ignoring) for row in rows]
    names = [*named, *([] if positive else [_ANY])] if named else [_DEFAULT]
    source, times = _info_series(evaluation, arguments[0], [*names, *wanted])
    if source.is_histogram.any():
        raise QueryError("info sample should be float")
    found = _Infos(source, times)
    parts = [base.take(np.array(ignored, np.bool_))]
    for i, row in enumerate(rows):
        if not ignored[i]:
            parts += _enriched(base.take(np.array([i])), row, found, wanted)
    return joined(parts, base.steps).trimmed().merged()


def _info_series(evaluation: Evaluation, base: Node, matchers: list[Matcher]) -> tuple[Vector, Floats]:
    """The info series, read where the base series' own selector reads."""
    asked = Selector(tuple(matchers))
    for node in walk(base):
        if isinstance(node, Subquery | Selector):
            if node.moment is not None:
                asked = replace(asked, moment=node.moment, offset=node.offset)
            elif node.offset is not None:
                asked = replace(asked, offset=DurationSum("+", asked.offset or Seconds(0), node.offset))
        if isinstance(node, Selector):
            break
    vector, times, _ = evaluation.newest(asked)
    return vector, times


class _Infos:
    """Info series by metric name and what identifies their instance; of two at a step the newer one counts."""

    def __init__(self, vector: Vector, times: Floats) -> None:
        self._by_identity: dict[tuple[str, ...], list[int]] = {}
        self.rows = vector.labels.rows()
        self._present, self._times = vector.present, times
        self.names = sorted({row.get(NAME, "") for row in self.rows})
        for i, row in enumerate(self.rows):
            self._by_identity.setdefault((row.get(NAME, ""), *_identity(row)), []).append(i)

    def of(self, name: str, base: Row, step: int) -> Row | None:
        members = self._by_identity.get((name, *_identity(base)), [])
        here = [i for i in members if self._present[i, step]]
        newest = max((self._times[i, step] for i in here), default=0.0)
        best = [i for i in here if self._times[i, step] == newest]
        if len(best) > 1:
            first, second = (self.rows[i] for i in best[:2])
            raise QueryError(f"found duplicate series for info metric: existing {_shown(first)} @ {newest * 1000:.0f}, "
                             f"new {_shown(second)} @ {newest * 1000:.0f}")  # fmt: skip
        return self.rows[best[0]] if best else None


def _identity(row: Row) -> tuple[str, ...]:
    return tuple(row.get(name, "") for name in _IDENTIFYING)


def _enriched(series: Vector, row: Row, infos: _Infos, wanted: list[Matcher]) -> list[Vector]:
    """The series once for each set of labels that it has at some steps."""
    at: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for step in np.flatnonzero(series.present[0]).tolist():
        labels = _labels_at(row, infos, wanted, step)
        if labels is not None:
            at.setdefault(tuple(sorted(labels.items())), []).append(step)
    parts = []
    for labels_at, steps in at.items():
        here: Bools = np.zeros(series.present.shape, np.bool_)
        here[0, steps] = True
        parts.append(series.masked(here).with_labels(LabelTable.of([dict(labels_at)])))
    return parts


def _labels_at(row: Row, infos: _Infos, wanted: list[Matcher], step: int) -> Row | None:
    """None where no info series matched although one had to."""
    names = {matcher.name for matcher in wanted}
    more: Row = {}
    matched = False
    for name in infos.names:
        found = infos.of(name, row, step)
        if found is None:
            continue
        matched = True
        for label, value in found.items():
            if label == NAME or (names and label not in names):
                continue
            if more.get(label, value) != value:
                raise QueryError(f"conflicting label: {label}")
            if label not in row:
                more[label] = value
    if not matched and not all(matcher.test()("") for matcher in wanted):
        return None
    return {**row, **more}


def _shown(row: Row) -> str:
    rest = ", ".join(f'{name}="{value}"' for name, value in sorted(row.items()) if name != NAME)
    return f"{row.get(NAME, '')}{{{rest}}}"
