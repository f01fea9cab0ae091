"""The web provider: one HTTP request, a value out of its JSON. Source: argo-rollouts `metricproviders/webmetric`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import aiohttp

from fairway.kube.clock import Clock
from fairway.rollouts.analysis_spec import Metric
from fairway.rollouts.expr.values import number_text
from fairway.rollouts.jsonpath import PathError, find
from fairway.rollouts.measurements import Measurement
from fairway.rollouts.providers import Ask, Instant, failed_to_measure, measured

DEFAULT_TIMEOUT_S = 10
METHODS = ("GET", "POST", "PUT")


class WebProvider(Instant):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def measure(self, ask: Ask, now: datetime) -> Measurement:
        at = ask.settings
        method = str(at.get("method") or "GET")
        if method not in METHODS:
            return failed_to_measure(now, self._clock.now(), f"method {method} is not one of {', '.join(METHODS)}")
        body: Any = at.get("body")
        if at.get("jsonBody") is not None:
            if body is not None:
                return failed_to_measure(now, self._clock.now(), "use either Body or JSONBody; both cannot exist for "
                                         "WebMetric payload")
            body = json.dumps(at["jsonBody"])
        try:
            document = await self._answer(at, method, body)
            path = str(at.get("jsonPath") or "")
            value = find(document, path) if path else document
        except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, PathError) as error:  # LookupError: a charset
            return failed_to_measure(now, self._clock.now(), str(error) or "the request was not answered in time")
        return measured(ask.metric, _as_go(value), _text(value), now, self._clock.now())

    def about(self, metric: Metric) -> Mapping[str, str]:
        return {}

    async def _answer(self, at: Mapping[str, Any], method: str, body: Any) -> Any:
        headers = {str(h.get("key")): str(h.get("value")) for h in at.get("headers") or ()}
        if at.get("jsonBody") is not None:
            headers.setdefault("Content-Type", "application/json")
        timeout = aiohttp.ClientTimeout(total=int(at.get("timeoutSeconds") or DEFAULT_TIMEOUT_S))
        url, verified = str(at.get("url") or ""), not at.get("insecure")
        async with (aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
                    session.request(method, url, data=body, ssl=verified) as response):
            text = await response.text()
            if not 200 <= response.status < 300:
                raise ValueError(f"received non 2xx response code: {response.status}")
        if not at.get("jsonPath"):
            try:
                return json.loads(text)
            except ValueError:
                return text
        try:
            return json.loads(text)
        except ValueError as error:
            raise ValueError(f"Could not parse JSON body: {error}") from None


def _as_go(value: Any) -> Any:
    """Numbers of JSON are floats to a condition."""
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, list):
        return [_as_go(item) for item in value]
    return {name: _as_go(inner) for name, inner in value.items()} if isinstance(value, dict) else value


def _text(value: Any) -> str:
    if isinstance(value, float):
        return number_text(value)
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
