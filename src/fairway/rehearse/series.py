"""What the simulated application and the gateways export: exactly the metrics that the analyses ask for, under their names.

Which label belongs to whom decides what may be invented. Labels of the scrape (namespace, pod, job, whatever a ServiceMonitor
copies) come from the files as they do in a cluster: a query for one that nothing provides finds nothing here either. Labels
of the application (`route`, `method`, …) are taken to be what the queries need. The status code is known by its usual names.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass

from fairway.metrics.envoy_stats import upstream_labels
from fairway.metrics.labels import NAME
from fairway.metrics.promql import tree
from fairway.metrics.promql.syntax import parse
from fairway.metrics.promql.tree import walk
from fairway.metrics.promql.values import BadQuery
from fairway.metrics.store import Store
from fairway.rehearse.users import BUCKETS_S, ERRORS, HISTOGRAM, OK, REFUSED, SECONDS, Floats, Luck, Users

CODE_LABELS = ("status", "code", "status_code", "response_code", "http_status", "http_status_code", "status_class",
               "response_code_class", "http_response_status_code", "envoy_response_code", "envoy_response_code_class",
               "outcome", "result")  # fmt: skip
CODES = (("200", "500"), ("2xx", "5xx"), ("2", "5"), ("success", "failure"), ("success", "error"), ("ok", "error"))
"""How a good and a bad answer are written, the usual first."""
SCRAPE_LABELS = frozenset(("namespace", "pod", "service", "job", "instance", "endpoint", "container", "node",
                           "rollouts_pod_template_hash", "pod_template_hash", "exported_namespace", "exported_service"))
GATEWAYS = ("envoy_cluster_", "istio_", "nginx_ingress_controller_")
_STATE = ("kube_", "rollout_info", "container_", "up", "node_", "process_")

Labels = Mapping[str, str]
Reading = Callable[[Floats], float]
"""One series' value, from its unit's row of the tally."""


@dataclass(frozen=True, slots=True)
class Matcher:
    label: str
    op: str
    value: str

    def holds(self, text: str) -> bool:
        if self.op in ("=", "!="):
            return (text == self.value) == (self.op == "=")
        with contextlib.suppress(re.error):
            return (re.fullmatch(self.value, text) is not None) == (self.op == "=~")
        return False


@dataclass(frozen=True, slots=True)
class Selector:
    metric: str
    matchers: tuple[Matcher, ...]


def selectors_of(query: str) -> tuple[Selector, ...]:
    """Every selector of a query; none where it cannot be read, which the evaluation will say."""
    try:
        nodes = list(walk(parse(query)))
    except BadQuery:
        return ()
    return tuple(dict.fromkeys(_selector(node) for node in nodes if isinstance(node, tree.Selector)))


def _selector(node: tree.Selector) -> Selector:
    matchers = tuple(Matcher(m.name, m.op, m.value) for m in node.matchers)
    name = next((m.value for m in matchers if m.label == NAME and m.op == "="), "")
    return Selector(name, tuple(m for m in matchers if m.label != NAME))


# --- which series a metric has ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """One series of a unit (a pod, or a version at a gateway): its own labels, and how its value is read from the tally."""

    metric: str
    labels: tuple[tuple[str, str], ...]
    value: Reading


def lines_for(metric: str, selectors: Sequence[Selector], given: frozenset[str]) -> tuple[Line, ...]:
    """`given` are the labels that scraping or the gateway sets: nothing is invented for them."""
    found: dict[tuple[tuple[str, str], ...], Line] = {}
    code_label, (good, bad) = _code(metric, [m for s in selectors for m in s.matchers])
    for selector in selectors:
        own = {m.label: example for m in selector.matchers
               if m.label not in given and m.label not in CODE_LABELS and m.label != "le" and (example := _example(m))}
        for line in _series(metric, own, code_label, good, bad):
            found.setdefault(line.labels, line)
    return tuple(found.values())


def _series(metric: str, own: dict[str, str], code: str, good: str, bad: str) -> Iterator[Line]:
    gateway = metric.startswith(GATEWAYS)
    scale = 1000.0 if re.search(r"milliseconds|_ms(_|$)|^envoy_", metric) else 1.0
    fixed = tuple(sorted(own.items()))
    if metric.endswith("_bucket"):
        for i, bound in enumerate((*BUCKETS_S, float("inf"))):
            le = "+Inf" if bound == float("inf") else f"{bound * scale:g}"
            yield Line(metric, (*fixed, ("le", le)), _below(i))
    elif metric.endswith("_sum"):
        yield Line(metric, fixed, lambda row: float(row[SECONDS]) * scale)
    elif re.search(r"error|fail|5xx", metric) and not code:
        yield Line(metric, fixed, lambda row: float(row[ERRORS]))
    elif code:
        yield Line(metric, tuple(sorted({**own, code: good}.items())), lambda row: float(row[OK]))
        yield Line(metric, tuple(sorted({**own, code: bad}.items())),
                   lambda row: float(row[ERRORS] + (row[REFUSED] if gateway else 0.0)))
    else:
        yield Line(metric, fixed, lambda row: float(row[OK] + row[ERRORS]))


def _below(i: int) -> Reading:
    return lambda row: float(row[HISTOGRAM : HISTOGRAM + i + 1].sum())


def _code(metric: str, matchers: Sequence[Matcher]) -> tuple[str, tuple[str, str]]:
    """The label of the status and how it is written: as the queries tell good from bad."""
    label = next((m.label for m in matchers if m.label in CODE_LABELS), "")
    if not label:
        usual = {"envoy_cluster_upstream_rq": "envoy_response_code", "envoy_cluster_upstream_rq_xx":
                 "envoy_response_code_class", "istio_requests_total": "response_code", "nginx_ingress_controller_requests":
                 "status"}.get(metric, "")
        return (usual, CODES[2] if usual.endswith("class") else CODES[0]) if usual or not metric.endswith("_total") else (
            ("", CODES[0]) if re.search(r"error|fail", metric) else ("status", CODES[0]))
    mine = [m for m in matchers if m.label == label]
    if label == "envoy_response_code_class":
        return label, CODES[2]
    for pair in CODES:
        if all(m.holds(pair[0]) != m.holds(pair[1]) for m in mine):
            return label, pair
    return label, CODES[0]


def _example(matcher: Matcher) -> str:
    """A value that the matcher takes; "" where the label may as well be missing."""
    if matcher.op == "=":
        return matcher.value
    if matcher.op != "=~" or matcher.holds(""):
        return ""
    text = re.sub(r"\((?:\?:)?([^()|]*)[^()]*\)", r"\1", matcher.value).split("|")[0]
    text = re.sub(r"\[(?:\^[^\]]*|([^\]]))[^\]]*\]", lambda m: m[1] or "x", text)
    text = re.sub(r"\\(.)", r"\1", re.sub(r"(?<!\\)\.(?=[+{])", "x", re.sub(r"(?<!\\)\.[*?]", "", text)))
    text = re.sub(r"[*+?^$]|\{[^}]*\}", "", text)
    return text if matcher.holds(text) else ""


# --- writing them ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unit:
    """Something that exports: `key` is its row in the tally, `labels` are those that the scrape or the gateway sets."""

    key: str
    labels: tuple[tuple[str, str], ...]
    gateway: str = ""
    interval_s: float = 15.0


class Exporter:
    """Writes the samples of all units into a store, as one seed's users made them."""

    def __init__(self, luck: Luck, users: Users, queries: Iterable[str]) -> None:
        self.store = Store()
        self.luck = luck
        self._users = users
        self._block = self.store.block("rehearsal")
        self._selectors: dict[str, list[Selector]] = {}
        for query in queries:
            for selector in selectors_of(query):
                self._selectors.setdefault(selector.metric, []).append(selector)
        self._lines: dict[Unit, tuple[tuple[Labels, Reading], ...]] = {}
        self._planned: tuple[tuple[Unit, ...], list[int], list[tuple[int, tuple[Reading, ...]]]] | None = None

    def branched(self, seed: int) -> Exporter:
        """As it is so far; from now on by another seed."""
        other = copy(self)
        other.luck = self.luck.branched(seed)
        other.store = self.store.twin()
        other._block = other.store.block("rehearsal")
        return other

    @property
    def metrics(self) -> frozenset[str]:
        return frozenset(self._selectors)

    def needs(self, prefix: str) -> bool:
        return any(metric.startswith(prefix) for metric in self._selectors)

    def scrape(self, units: tuple[Unit, ...], at_ms: int, extra: Sequence[tuple[dict[str, str], float]] = ()) -> None:
        if self._planned is None or self._planned[0] is not units:
            self._planned = units, *self._plan(units)
        rows, tally = list(self._planned[1]), self.luck.tally
        values = [value(tally[row]) for row, readings in self._planned[2] for value in readings]
        for labels, value_now in extra:
            row = self._block.row(labels)
            if row >= 0:
                rows.append(row)
                values.append(value_now)
        self._block.append(at_ms, rows, values)

    def missed(self, at_ms: int) -> None:
        """Nothing was scraped: every series ends."""
        self._block.end(at_ms)

    def _plan(self, units: Sequence[Unit]) -> tuple[list[int], list[tuple[int, tuple[Reading, ...]]]]:
        """The rows of the store, and for each unit its row of the tally and how its values are read from there."""
        rows, readings = [], []
        for unit in units:
            lines = self._lines.get(unit)
            if lines is None:
                lines = self._lines[unit] = tuple(self._lines_of(unit))
            found = [(row, value) for labels, value in lines if (row := self._block.row(labels, counter=True)) >= 0]
            rows += [row for row, _ in found]
            readings.append((self._users.row(unit.key), tuple(value for _, value in found)))
        return rows, readings

    def _lines_of(self, unit: Unit) -> Iterator[tuple[Labels, Reading]]:
        given = frozenset(name for name, _ in unit.labels) | SCRAPE_LABELS
        for metric, selectors in self._selectors.items():
            gateway = next((prefix for prefix in GATEWAYS if metric.startswith(prefix)), "")
            if gateway != unit.gateway or metric.startswith(_STATE) or not metric:
                continue
            for line in lines_for(metric, selectors, given):
                labels = {**dict(unit.labels), **dict(line.labels), NAME: metric}
                yield upstream_labels(labels) or labels if gateway == "envoy_cluster_" else labels, line.value
