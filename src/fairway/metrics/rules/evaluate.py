"""One rule at one time: ask, fill in, say what is there. No state of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from fairway.manifests.go_template import TemplateError
from fairway.metrics.labels import NAME
from fairway.metrics.matchers import Matcher
from fairway.metrics.promql import QueryError, Scalar, Vector, instant, parse
from fairway.metrics.promql.evaluate import LOOKBACK_MS
from fairway.metrics.promql.tree import Selector, walk
from fairway.metrics.rules.alerts import FOR_STATE, OUTAGE_TOLERANCE, Element, RuleFailed
from fairway.metrics.rules.spec import AlertingRule, RecordingRule, Texts
from fairway.metrics.rules.templates import Sample, expanded
from fairway.metrics.series import SeriesSource, millis

ALERTNAME = "alertname"


@dataclass(frozen=True, slots=True)
class Evaluator:
    """`url`: where a person finds this installation, for `externalURL` and links."""

    source: SeriesSource
    url: str = ""

    def answer(self, expr: str, at: datetime) -> list[tuple[dict[str, str], float]]:
        """(labels, value) of each element. Raises `QueryError`; native histograms are left out."""
        value = instant(expr, self.source, millis(at)).value
        match value:
            case Scalar(values):
                return [({}, float(values[0]))]
            case Vector() as vector:
                floats = vector.floats().trimmed()
                return list(zip(floats.labels.rows(), floats.values[:, 0].tolist(), strict=True))
            case _:
                raise QueryError("rule result is not a vector or scalar")

    def recorded(self, rule: RecordingRule, at: datetime, *, limit: int = 0) -> list[tuple[dict[str, str], float]]:
        """The series that a recording rule writes. Raises `QueryError` and `RuleFailed`."""
        found = [(_labelled(labels, rule.labels, rule.record), value) for labels, value in self.answer(rule.expr, at)]
        if len({tuple(sorted(labels.items())) for labels, _ in found}) < len(found):
            raise RuleFailed("vector contains metrics with the same labelset after applying rule labels")
        if limit and len(found) > limit:
            raise RuleFailed(f"exceeded limit of {limit} with {len(found)} series")
        return found

    def elements(self, rule: AlertingRule, at: datetime) -> list[Element]:
        """What an alerting rule finds. Raises `QueryError`. A template that fails says so in its own text."""
        return [self._element(rule, labels, value, at) for labels, value in self.answer(rule.expr, at)]

    def _element(self, rule: AlertingRule, labels: Mapping[str, str], value: float, at: datetime) -> Element:
        def filled(texts: Texts) -> list[tuple[str, str]]:
            return [(name, self._filled(text, labels, value, at)) for name, text in texts]

        own = {name: text for name, text in labels.items() if name != NAME}
        identity = {**own, **dict(filled(rule.labels)), ALERTNAME: rule.alert}
        return Element(tuple(sorted((n, t) for n, t in identity.items() if t)), tuple(filled(rule.annotations)), value)

    def _filled(self, text: str, labels: Mapping[str, str], value: float, at: datetime) -> str:
        def query(expr: str) -> Sequence[Sample]:
            return [{"Labels": found, "Value": number} for found, number in self.answer(expr, at)]

        try:
            return expanded(text, labels, value, query, url=self.url)
        except (TemplateError, QueryError) as error:
            return f"<error expanding template: {error}>"

    def without_data(self, expr: str, at: datetime) -> tuple[str, ...]:
        """Selectors of a query that find no series at all: a rule over them says nothing, and that is not good news."""
        now = millis(at)
        missing = []
        for node in walk(parse(expr)):
            if isinstance(node, Selector):
                blocks = self.source.select(list(node.matchers), now - LOOKBACK_MS, now)
                if not any(len(block.labels) for block in blocks):
                    missing.append(_shown(node))
        return tuple(dict.fromkeys(missing))

    def saved(self, rule: AlertingRule, now: datetime) -> dict[Texts, tuple[float, datetime]]:
        """When each of the rule's alerts became active, as it was written before a restart, and when that was."""
        matchers = [Matcher(NAME, "=", FOR_STATE), Matcher(ALERTNAME, "=", rule.alert)]
        end = millis(now)
        found: dict[Texts, tuple[float, datetime]] = {}
        for block in self.source.select(matchers, end - round(OUTAGE_TOLERANCE.total_seconds() * 1000), end):
            valid = block.valid()
            for i, row in enumerate(block.labels.rows()):
                columns = np.flatnonzero(valid[i])
                if len(columns):
                    labels = tuple(sorted((n, t) for n, t in row.items() if n != NAME))
                    at = datetime.fromtimestamp(int(block.times[columns[-1]]) / 1000, now.tzinfo)
                    found[labels] = float(block.values[i, columns[-1]]), at
        return found


def _labelled(labels: Mapping[str, str], more: Texts, name: str) -> dict[str, str]:
    merged = {**labels, **dict(more), NAME: name}
    return {label: text for label, text in merged.items() if text}


def _shown(selector: Selector) -> str:
    name = next((m.value for m in selector.matchers if m.name == NAME and m.op == "="), "")
    rest = ",".join(str(m) for m in selector.matchers if m.name != NAME or m.op != "=")
    return f"{name}{{{rest}}}" if rest or not name else name
