"""Prometheus' query API, so that Grafana, promtool and analyses written for a Prometheus work unchanged.

Answers, error words and status codes are Prometheus': 400 bad_data for a wrong request, 422 execution for a query
that cannot be answered. GET and POST forms mean the same.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
from aiohttp import web

from fairway import __version__
from fairway.kube.clock import Clock
from fairway.metrics.controller import Scraper
from fairway.metrics.labels import NAME
from fairway.metrics.matchers import Matcher
from fairway.metrics.promql import Answer, BadQuery, QueryError, Scalar, Text, Vector, instant, over_range, parse
from fairway.metrics.promql.numbers import format_sample
from fairway.metrics.promql.selectors import duration_ms
from fairway.metrics.promql.tree import Selector
from fairway.metrics.series import Block, millis
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


def routes(store: Store, clock: Clock, scraper: Scraper | None = None) -> list[web.RouteDef]:
    """The routes under /api/v1/. `scraper` tells about targets and metadata; without one there are none."""
    api = _Api(store, clock, scraper)
    found: list[web.RouteDef] = []
    for path, answer in (
        ("query", api.query),
        ("query_range", api.query_range),
        ("series", api.series),
        ("labels", api.labels),
    ):
        handler = _answering(answer)
        found += [web.get(f"/api/v1/{path}", handler), web.post(f"/api/v1/{path}", handler)]
    for path, one in (
        ("label/{name}/values", api.label_values),
        ("metadata", api.metadata),
        ("targets", api.targets),
        ("status/buildinfo", api.buildinfo),
        ("status/tsdb", api.usage),
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

    def __init__(self, store: Store, clock: Clock, scraper: Scraper | None) -> None:
        self._store = store
        self._clock = clock
        self._scraper = scraper

    def query(self, form: Form) -> Mapping[str, Any]:
        at = _time(form, "time", self._clock.now())
        return _answered(instant(_query(form), self._store, at, lookback_ms=_lookback(form)), ranged=False)

    def query_range(self, form: Form) -> Mapping[str, Any]:
        start, end = _time(form, "start"), _time(form, "end")
        step = _duration(form, "step")
        if end < start:
            raise BadData('invalid parameter "end": end timestamp must not be before start time')
        return _answered(over_range(_query(form), self._store, start, end, step, lookback_ms=_lookback(form)), ranged=True)

    def series(self, form: Form) -> Mapping[str, Any]:
        if not form.all("match[]"):
            raise BadData("no match[] parameter provided")
        return {"data": self._series(form)}

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
        wanted = form.get("metric")
        return {
            "data": {
                name: [{"type": m.kind, "help": m.help, "unit": m.unit} for m in entries]
                for name, entries in sorted(known.items())
                if not wanted or name == wanted
            }
        }

    def targets(self, _: Form) -> Mapping[str, Any]:
        states = self._scraper.targets if self._scraper is not None else []
        active = [{
            "discoveredLabels": {}, "labels": dict(state.target.labels), "scrapePool": state.target.source,
            "scrapeUrl": state.target.url, "globalUrl": state.target.url, "lastError": state.error,
            "lastScrape": datetime.fromtimestamp(state.at, UTC).isoformat(), "lastScrapeDuration": state.seconds,
            "health": state.health,
        } for state in states]  # fmt: skip
        return {"data": {"activeTargets": active, "droppedTargets": [], "droppedTargetCounts": {}}}

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
    return form.get("query")


def _selector(text: str) -> list[Matcher]:
    node = parse(text)
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
    limit = form.get("limit")
    return names[: int(limit)] if limit.isdigit() and int(limit) else names


# --- answers --------------------------------------------------------------------------------------------------------


def _answered(answer: Answer, *, ranged: bool) -> Mapping[str, Any]:
    notes = {name: found for name, found in (("warnings", answer.notes.warnings), ("infos", answer.notes.infos)) if found}
    return {"data": _data(answer, ranged=ranged), **notes}


def _data(answer: Answer, *, ranged: bool) -> Mapping[str, Any]:
    times = [time / 1000 for time in answer.times.tolist()]
    match answer.value:
        case Scalar(values) if not ranged:
            return {"resultType": "scalar", "result": [times[0], format_sample(float(values[0]))]}
        case Text(value):
            return {"resultType": "string", "result": [times[0], value]}
        case Scalar(values):
            return {"resultType": "matrix", "result": _matrix(Vector.single(values), times)}
        case Vector() as vector if ranged:
            return {"resultType": "matrix", "result": _matrix(vector, times)}
        case Vector() as vector:
            return {
                "resultType": "vector",
                "result": [
                    {"metric": _metric(row), "value": [times[0], format_sample(value)]}
                    for row, value in zip(vector.labels.rows(), vector.values[:, 0].tolist(), strict=True)
                ],
            }
        case blocks:
            return {"resultType": "matrix", "result": _sorted(one for block in blocks for one in _of_block(block))}


def _matrix(vector: Vector, times: list[float]) -> list[Mapping[str, Any]]:
    return _sorted(
        {
            "metric": _metric(row),
            "values": [[times[k], format_sample(float(vector.values[i, k]))] for k in np.flatnonzero(vector.present[i])],
        }
        for i, row in enumerate(vector.labels.rows())
    )


def _of_block(block: Block) -> Iterable[Mapping[str, Any]]:
    valid = block.valid()
    for i, row in enumerate(block.labels.rows()):
        yield {
            "metric": _metric(row),
            "values": [
                [int(block.times[k]) / 1000, format_sample(float(block.values[i, k]))] for k in np.flatnonzero(valid[i])
            ],
        }


def _sorted(series: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(series, key=lambda one: sorted(one["metric"].items()))


def _metric(row: dict[str, str]) -> dict[str, str]:
    """The name first, as Prometheus writes it."""
    return {NAME: row[NAME], **row} if NAME in row else row
