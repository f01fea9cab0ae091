"""The Prometheus provider: PromQL asked of a `Querier`, the answer judged by the metric's conditions.

A scalar is a float to the conditions, a vector or a matrix a list of floats (labels are dropped, an empty vector is an empty
list, not nil). Source: argo-rollouts `metricproviders/prometheus/prometheus.go`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from urllib.parse import urlsplit

from fairway.kube.clock import Clock
from fairway.rollouts.analysis_spec import Metric
from fairway.rollouts.expr.values import Floats, number_text
from fairway.rollouts.measurements import Measurement
from fairway.rollouts.providers import Ask, Instant, failed_to_measure, measured

DEFAULT_TIMEOUT = timedelta(seconds=30)


class QueryFailed(Exception):
    """The query could not be answered; the message is for the user."""


class Querier(Protocol):
    """PromQL at one moment. A float for a scalar, a sequence of floats for a vector (one per series, in any order).

    Raises `QueryFailed`, or any other exception whose text explains it.
    """

    async def query(self, text: str, at: datetime) -> float | Sequence[float]: ...


@dataclass(frozen=True, slots=True)
class Server:
    """Where a metric's Prometheus is, as the metric says it."""

    address: str
    headers: Mapping[str, str] = field(default_factory=dict)
    insecure: bool = False
    timeout: timedelta = DEFAULT_TIMEOUT


class Queriers:
    """Who answers for which server. `own` where none is named, for a host called prometheus…, or one of `own_addresses`.

    Whoever answers for another address is `connect`'s.
    """

    def __init__(self, own: Querier, connect: Callable[[Server], Querier], *, own_addresses: Collection[str] = ()) -> None:
        self._own = own
        self._own_addresses = {address.rstrip("/") for address in own_addresses}
        self._connect = connect

    def at(self, server: Server) -> Querier:
        host = urlsplit(server.address).hostname or ""
        own = not server.address or host.split(".")[0].startswith("prometheus") or (
            server.address.rstrip("/") in self._own_addresses)
        return self._own if own else self._connect(server)

    def __call__(self, address: str) -> Querier:
        return self.at(Server(address))


class PrometheusProvider(Instant):
    """PromQL, asked of whoever answers for the server that the metric names."""

    def __init__(self, queriers: Queriers, clock: Clock) -> None:
        self._clock = clock
        self._queriers = queriers

    async def measure(self, ask: Ask, now: datetime) -> Measurement:
        try:
            server = _server(ask)
            querier = self._queriers.at(server)
            text = str(ask.settings.get("query") or "")
            async with asyncio.timeout(server.timeout.total_seconds()):
                answer = await querier.query(text, now)
        except TimeoutError:
            return failed_to_measure(now, self._clock.now(), "the query was not answered in time")
        except Exception as error:  # whatever a querier raises is this measurement's error, never the run's end
            return failed_to_measure(now, self._clock.now(), str(error) or type(error).__name__)
        if isinstance(answer, (int, float)):
            return measured(ask.metric, float(answer), number_text(float(answer)), now, self._clock.now())
        values = Floats(float(value) for value in answer)
        text = "[" + ",".join(number_text(value) for value in values) + "]"
        return measured(ask.metric, values, text, now, self._clock.now())

    def about(self, metric: Metric) -> Mapping[str, str]:
        query = (metric.provider.get("prometheus") or {}).get("query")
        return {"ResolvedPrometheusQuery": str(query)} if query else {}


def _server(ask: Ask) -> Server:
    at = ask.settings
    headers = {str(header.get("key")): str(header.get("value")) for header in at.get("headers") or ()}
    seconds = at.get("timeout")
    timeout = timedelta(seconds=int(seconds)) if seconds else DEFAULT_TIMEOUT
    return Server(str(at.get("address") or ""), headers, bool(at.get("insecure")), timeout)
