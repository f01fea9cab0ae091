"""Prometheus' query API, so that Grafana, promtool and analyses written for a Prometheus work unchanged.

Answers, error words and status codes are Prometheus': 400 bad_data for a wrong request, 422 execution for a query
that cannot be answered. GET and POST forms mean the same.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import web

from fairway import __version__
from fairway.kube.clock import Clock
from fairway.metrics.answers import answered
from fairway.metrics.controller import DEFAULT_INTERVAL_S, Scraper
from fairway.metrics.matchers import Matcher
from fairway.metrics.promql import BadQuery, QueryError, instant, over_range, parse
from fairway.metrics.promql.printer import pretty
from fairway.metrics.promql.selectors import duration_ms
from fairway.metrics.promql.tree import Selector
from fairway.metrics.rules.api import alerts_as_json, groups_as_json
from fairway.metrics.rules.controller import RuleController
from fairway.metrics.series import millis
from fairway.metrics.store import Store

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_LONG_AGO = -(2**62)


@dataclass(frozen=True, slots=True)
class Form:
    """The parameters of a request: of its path, its query and its body."""

    pairs: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.pairs if key == name]

    def get(self, name: str) -> str:
        """The first value; "" where there is none."""
        return next(iter(self.all(name)), "")


class BadData(ValueError):
    """A parameter that cannot be read."""


def routes(
    store: Store, clock: Clock, scraper: Scraper | None = None, rules: RuleController | None = None, *, asked: bool = True
) -> list[web.RouteDef]:
    """The routes under /api/v1/. `scraper` tells about targets and metadata, `rules` about rules and alerts; without them
    there are none. `asked`: questions about samples are answered here too.
    """
    api = _Api(store, clock, scraper, rules)
    found: list[web.RouteDef] = []
    asking: tuple[tuple[str, Callable[[Form], Mapping[str, Any]]], ...] = (
        ("query", api.query),
        ("query_range", api.query_range),
        ("series", api.series),
        ("labels", api.labels),
        ("format_query", api.format_query),
        ("query_exemplars", api.exemplars),
    )
    if asked:
        for path, answer in asking:
            handler = _answering(answer)
            found += [web.get(f"/api/v1/{path}", handler), web.post(f"/api/v1/{path}", handler)]
        found += [web.get("/api/v1/label/{name}/values", _answering(api.label_values)),
                  web.get("/api/v1/metadata", _answering(api.metadata))]
    for path, one in (
        ("targets", api.targets),
        ("rules", api.rules),
        ("alerts", api.alerts),
        ("status/buildinfo", api.buildinfo),
        ("status/tsdb", api.usage),
        ("status/flags", api.flags),
        ("status/config", api.config),
        ("status/runtimeinfo", api.runtime),
    ):
        found.append(web.get(f"/api/v1/{path}", _answering(one)))
    return found


def _answering(answer: Callable[[Form], Mapping[str, Any]]) -> Handler:
    """Read the form, answer it, or say in Prometheus' way what is wrong with it."""

    async def handle(request: web.Request) -> web.Response:
        posted = (await request.post()).items() if request.method == "POST" else ()
        form = Form((*request.query.items(), *((name, str(value)) for name, value in posted), *request.match_info.items()))
        try:
            return _json(200, {"status": "success", **answer(form)})
        except (BadData, BadQuery) as error:
            return _json(400, {"status": "error", "errorType": "bad_data", "error": str(error)})
        except QueryError as error:
            return _json(422, {"status": "error", "errorType": "execution", "error": str(error)})

    return handle


def _json(status: int, body: Mapping[str, Any]) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")


class _Api:
    """One method per path: from the form to `data` (and warnings)."""

    def __init__(self, store: Store, clock: Clock, scraper: Scraper | None, rules: RuleController | None) -> None:
        self._store = store
        self._clock = clock
        self._scraper = scraper
        self._rules = rules
        self._started = clock.now()

    def query(self, form: Form) -> Mapping[str, Any]:
        at, begun = _time(form, "time", self._clock.now()), self._clock.now()
        answer = instant(_query(form), self._store, at, lookback_ms=_lookback(form))
        return {**answered(answer, ranged=False, limit=_limit(form)), **self._stats(form, begun)}

    def query_range(self, form: Form) -> Mapping[str, Any]:
        start, end = _time(form, "start"), _time(form, "end")
        step = _duration(form, "step")
        if end < start:
            raise BadData('invalid parameter "end": end timestamp must not be before start time')
        begun = self._clock.now()
        answer = over_range(_query(form), self._store, start, end, step, lookback_ms=_lookback(form))
        return {**answered(answer, ranged=True, limit=_limit(form)), **self._stats(form, begun)}

    def _stats(self, form: Form, begun: datetime) -> Mapping[str, Any]:
        """`stats=…`: how long it took."""
        if not form.get("stats"):
            return {}
        return {"stats": {"timings": {"evalTotalTime": (self._clock.now() - begun).total_seconds()}}}

    def format_query(self, form: Form) -> Mapping[str, Any]:
        return {"data": pretty(parse(_query(form)))}

    def exemplars(self, _: Form) -> Mapping[str, Any]:
        """None are kept."""
        return {"data": []}

    def series(self, form: Form) -> Mapping[str, Any]:
        if not form.all("match[]"):
            raise BadData("no match[] parameter provided")
        found = self._series(form)
        limit = _limit(form)
        cut = {"warnings": ["results truncated due to limit"]} if 0 < limit < len(found) else {}
        return {"data": found[:limit] if limit else found, **cut}

    def labels(self, form: Form) -> Mapping[str, Any]:
        return {"data": _limited(form, sorted({name for row in self._series(form) for name in row}))}

    def label_values(self, form: Form) -> Mapping[str, Any]:
        name = form.get("name")
        return {"data": _limited(form, sorted({row[name] for row in self._series(form) if name in row}))}

    def _series(self, form: Form) -> list[dict[str, str]]:
        now = self._clock.now()
        start, end = _time(form, "start", now, default_ms=_LONG_AGO), _time(form, "end", now)
        selectors = [_selector(text) for text in form.all("match[]")] or [[]]
        found = {tuple(sorted(row.items())): row for one in selectors for row in self._store.labels(one, start - 1, end)}
        return [found[key] for key in sorted(found)]

    def metadata(self, form: Form) -> Mapping[str, Any]:
        known = self._scraper.metadata() if self._scraper is not None else {}
        wanted, limit = form.get("metric"), _limit(form)
        names = [name for name in sorted(known) if not wanted or name == wanted][: limit or None]
        return {"data": {name: [{"type": m.kind, "help": m.help, "unit": m.unit} for m in known[name]] for name in names}}

    def targets(self, _: Form) -> Mapping[str, Any]:
        states = self._scraper.targets if self._scraper is not None else []
        active = [{
            "discoveredLabels": dict(state.target.discovered), "labels": dict(state.target.labels),
            "scrapePool": state.target.source,
            "scrapeUrl": state.target.url, "globalUrl": state.target.url, "lastError": state.error,
            "lastScrape": datetime.fromtimestamp(state.at, UTC).isoformat(), "lastScrapeDuration": state.seconds,
            "health": state.health,
        } for state in states]  # fmt: skip
        return {"data": {"activeTargets": active, "droppedTargets": [], "droppedTargetCounts": {}}}

    def rules(self, form: Form) -> Mapping[str, Any]:
        kind = form.get("type")
        if kind not in ("", "alert", "record"):
            raise BadData(f'invalid parameter "type": not supported value "{kind}"')
        groups = self._rules.groups if self._rules is not None else []
        wanted = [name for key in ("rule_group[]", "file[]") for name in form.all(key)]
        groups = [g for g in groups if not wanted or g.group.name in wanted or g.group.file in wanted]
        return {"data": {"groups": groups_as_json(groups, kind=kind, names=form.all("rule_name[]"))}}

    def alerts(self, _: Form) -> Mapping[str, Any]:
        return {"data": {"alerts": alerts_as_json(self._rules.groups if self._rules is not None else [])}}

    def flags(self, _: Form) -> Mapping[str, Any]:
        return {"data": {
            "storage.tsdb.retention.time": f"{self._store.retention_ms // 1000}s", "query.lookback-delta": "5m",
            "storage.tsdb.retention.size": str(self._store.limit_bytes),
        }}  # fmt: skip

    def config(self, _: Form) -> Mapping[str, Any]:
        """What is not said by targets themselves; the targets come from the API."""
        return {"data": {"yaml": f"global:\n  scrape_interval: {DEFAULT_INTERVAL_S:g}s\n"}}

    def runtime(self, _: Form) -> Mapping[str, Any]:
        usage = self._store.usage()
        return {"data": {"startTime": self._started.isoformat(),
                         "storageRetention": f"{self._store.retention_ms // 1000}s or {usage.limit_bytes}B"}}  # fmt: skip

    def buildinfo(self, _: Form) -> Mapping[str, Any]:
        """Grafana reads the version to know which endpoints there are: those of Prometheus 3."""
        return {
            "data": {
                "version": "3.0.0",
                "revision": f"fairway-{__version__}",
                "branch": "",
                "buildUser": "",
                "buildDate": "",
                "goVersion": "",
            }
        }

    def usage(self, _: Form) -> Mapping[str, Any]:
        usage = self._store.usage()
        return {
            "data": {
                "headStats": {
                    "numSeries": usage.series,
                    "samples": usage.samples,
                    "bytes": usage.bytes,
                    "limitBytes": usage.limit_bytes,
                    "refused": usage.refused,
                    "shortened": usage.shortened,
                }
            }
        }


# --- parameters -----------------------------------------------------------------------------------------------------


def _query(form: Form) -> str:
    text = form.get("query")
    try:
        parse(text)
    except BadQuery as error:
        raise BadData(f'invalid parameter "query": {error}') from None
    return text


def _limit(form: Form) -> int:
    """0: none."""
    text = form.get("limit")
    if not text:
        return 0
    if not text.isdecimal():
        raise BadData(f'invalid parameter "limit": limit must be non-negative, got {text!r}')
    return int(text)


def _selector(text: str) -> list[Matcher]:
    try:
        node = parse(text)
    except BadQuery as error:
        raise BadData(f'invalid parameter "match[]": {error}') from None
    if not isinstance(node, Selector):
        raise BadData(f'invalid parameter "match[]": a series selector is expected, got {text!r}')
    return list(node.matchers)


def _time(form: Form, name: str, default: datetime | None = None, *, default_ms: int | None = None) -> int:
    """Seconds since 1970, or RFC 3339."""
    text = form.get(name)
    if not text and default is not None:
        return millis(default) if default_ms is None else default_ms
    try:
        seconds = float(text)
        if math.isfinite(seconds):
            return round(seconds * 1000)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
            return millis(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
        except ValueError:
            pass
    raise BadData(f'invalid parameter "{name}": cannot parse "{text}" to a valid timestamp')


def _duration(form: Form, name: str) -> int:
    """Seconds, or as PromQL writes durations."""
    text = form.get(name)
    found = duration_ms(text)
    if found is None:
        raise BadData(f'invalid parameter "{name}": cannot parse "{text}" to a valid duration')
    if found <= 0:
        raise BadData(
            f'invalid parameter "{name}": zero or negative query resolution step widths are not accepted. '
            "Try a positive integer"
        )
    return found


def _lookback(form: Form) -> int:
    return _duration(form, "lookback_delta") if form.get("lookback_delta") else 5 * 60 * 1000


def _limited(form: Form, names: list[str]) -> list[str]:
    return names[: _limit(form) or None]
