"""The port through which everybody asks for metrics: embedded, or a Prometheus elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

import aiohttp

from fairway.metrics.promql import QueryError, Scalar, Text, instant
from fairway.metrics.promql.values import Vector
from fairway.metrics.series import Block, SeriesSource, are_there, millis

Kind = Literal["scalar", "vector", "matrix", "string"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of an answer: (seconds since 1970, value) pairs; exactly one of them in a vector."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]

    @property
    def value(self) -> float:
        return self.points[-1][1]


@dataclass(frozen=True, slots=True)
class Result:
    """What a query answered. A scalar is one sample without labels; a string has only `text`."""

    kind: Kind
    samples: tuple[Sample, ...] = ()
    text: str = ""
    warnings: tuple[str, ...] = ()


class QueryFailed(Exception):
    """There is no answer: the query is wrong (`fault` "query"), or the server is not to be had ("server")."""

    def __init__(self, message: str, *, fault: Literal["query", "server"]) -> None:
        super().__init__(message)
        self.fault = fault


class Querier(Protocol):
    async def query(self, text: str, at: datetime) -> Result:
        """The answer at a time. Raises `QueryFailed`; an empty vector is an answer."""
        ...


class EmbeddedQuerier:
    """Asks a source in this process."""

    def __init__(self, source: SeriesSource) -> None:
        self._source = source

    async def query(self, text: str, at: datetime) -> Result:
        try:
            answer = instant(text, self._source, millis(at))
        except QueryError as error:
            raise QueryFailed(str(error), fault="query") from None
        moment = millis(at) / 1000
        warnings = (*answer.notes.warnings, *answer.notes.infos)
        match answer.value:
            case Scalar(values):
                return Result("scalar", (Sample({}, ((moment, float(values[0])),)),), warnings=warnings)
            case Text(value):
                return Result("string", text=value, warnings=warnings)
            case Vector() as vector:
                natives = vector.histograms[:, 0] if vector.histograms is not None else [None] * len(vector)
                rows = zip(vector.labels.rows(), vector.values[:, 0], natives, strict=True)
                samples = tuple(Sample(row, ((moment, float(v)),)) for row, v, native in rows if native is None)
                return Result("vector", samples, warnings=(*warnings, *_not_numbers(len(vector) - len(samples))))
            case blocks:
                return Result("matrix", tuple(s for block in blocks for s in _of_block(block)), warnings=warnings)


def _not_numbers(count: int) -> tuple[str, ...]:
    """A native histogram is no number: whoever asks for one is told so, and not given a 0."""
    return (f"{count} native histograms are left out; histogram_quantile, histogram_count and the like give numbers",) * bool(
        count)


def _of_block(block: Block) -> list[Sample]:
    valid = block.valid()
    if block.histograms is not None:
        valid = valid & ~are_there(block.histograms)
    return [
        Sample(
            row,
            tuple((float(t) / 1000, float(v)) for t, v, ok in zip(block.times, block.values[i], valid[i], strict=True) if ok),
        )
        for i, row in enumerate(block.labels.rows())
    ]


class RemotePrometheus:
    """Asks a Prometheus (or what speaks its API) at `address`; a user and password in it are taken as basic authorization.

    `verify`: whether the server's certificate is looked at.
    """

    def __init__(self, address: str, *, timeout_s: float = 30.0, headers: Mapping[str, str] | None = None,
                 verify: bool = True) -> None:
        self._address = address.rstrip("/")
        self._shown = without_login(self._address)
        self._verify = verify
        self._timeout_s = timeout_s
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._headers = dict(headers or {})
        self._session: aiohttp.ClientSession | None = None

    async def query(self, text: str, at: datetime) -> Result:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, headers=self._headers)
        form = {"query": text, "time": f"{at.astimezone(UTC).timestamp():.3f}"}
        try:
            async with self._session.post(f"{self._address}/api/v1/query", data=form, ssl=self._verify) as answer:
                status, text = answer.status, await answer.text()
        except TimeoutError:
            raise QueryFailed(f"{self._shown}: no answer within {self._timeout_s:g} s", fault="server") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise QueryFailed(f"{self._shown}: {error or type(error).__name__}", fault="server") from None
        try:
            body = json.loads(text)
        except ValueError:
            raise QueryFailed(f"{self._shown} answered {status} with something that is not Prometheus' JSON: "
                              f"{' '.join(text.split())[:80]!r}", fault="server") from None
        if not isinstance(body, dict) or body.get("status") != "success":
            message = body.get("error") if isinstance(body, dict) else None
            wrong = isinstance(body, dict) and body.get("errorType") in ("bad_data", "execution")
            raise QueryFailed(str(message or f"{self._shown} answered {status}"), fault="query" if wrong else "server")
        try:
            return _decoded(body)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise QueryFailed(f"{self._shown}: an answer that is not understood: {error}", fault="server") from None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def without_login(url: str) -> str:
    """For messages: the address without a user's name and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _decoded(body: Mapping[str, Any]) -> Result:
    data, warnings = body["data"], tuple(body.get("warnings") or ())
    kind, result = data["resultType"], data["result"]
    match kind:
        case "scalar":
            return Result("scalar", (Sample({}, (_point(result),)),), warnings=warnings)
        case "string":
            return Result("string", text=str(result[1]), warnings=warnings)
        case "vector":
            return Result(
                "vector",
                tuple(Sample(one["metric"], (_point(one["value"]),)) for one in result if "value" in one),
                warnings=warnings,
            )
        case "matrix":
            return Result(
                "matrix",
                tuple(Sample(one["metric"], tuple(map(_point, one["values"]))) for one in result if "values" in one),
                warnings=warnings,
            )
        case _:
            raise ValueError(f"result type {kind!r}")


def _point(pair: Any) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])
