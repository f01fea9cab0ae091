"""Providers against real HTTP servers on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from fairway.connections import Prometheuses
from fairway.kube.clock import WallClock
from fairway.rollouts.analysis_controller import completions
from fairway.rollouts.analysis_spec import Metric
from fairway.rollouts.jsonpath import PathError, find
from fairway.rollouts.measurements import Measurement
from fairway.rollouts.prometheus import PrometheusProvider, Queriers
from fairway.rollouts.providers import Ask
from fairway.rollouts.web import WebProvider
from tests.rollouts.world import Scripted

AT = datetime(2030, 1, 1, tzinfo=UTC)


@asynccontextmanager
async def a_server(answer: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def prometheus(query: str, address: str = "", **conditions: str) -> Ask:
    return Ask({}, Metric("m", provider={"prometheus": {"query": query, "address": address}}, **conditions))


def measure(provider: Any, ask: Ask) -> Measurement:
    found: Measurement = asyncio.run(provider.measure(ask, AT))
    return found


@pytest.mark.parametrize(("address", "own"), [
    ("", True), ("http://prometheus.monitoring.svc:9090", True), ("http://prometheus-server", True),
    ("http://127.0.0.1:1", False), ("http://me:9090/", True),
])  # fmt: skip
def test_which_prometheus_is_asked(address: str, own: bool) -> None:
    scripted = Scripted(lambda text, at: [0.97, 0.5])
    provider = PrometheusProvider(Queriers(scripted, Prometheuses().at, own_addresses=["http://me:9090"]), WallClock())
    found = measure(provider, prometheus("up", address, success_condition="result[0] > 0.9"))
    assert bool(scripted.asked) == own
    assert (found.phase, found.value) == (("Successful", "[0.97,0.5]") if own else ("Error", ""))


def test_a_real_prometheus_answers_over_http() -> None:
    bodies = {"scalar": [1, "0.5"], "vector": [{"metric": {}, "value": [1, "NaN"]}],
              "matrix": [{"metric": {}, "values": [[1, "1"], [2, "2"]]}]}
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        form = await request.post()
        kind = str(form["query"])
        seen.append(request.headers.get("X-Scope-OrgID", ""))
        if kind not in bodies:
            return web.json_response({"status": "error", "error": "parse error: unexpected"}, status=400)
        return web.json_response({"status": "success", "data": {"resultType": kind, "result": bodies[kind]}})

    async def story() -> dict[str, Measurement]:
        elsewhere = Prometheuses()
        async with a_server(answer) as url:
            provider = PrometheusProvider(Queriers(Scripted(lambda text, at: []), elsewhere.at), WallClock())
            found = {}
            for kind in (*bodies, "bad"):
                settings = {"query": kind, "address": url, "headers": [{"key": "X-Scope-OrgID", "value": "shop"}]}
                found[kind] = await provider.measure(Ask({}, Metric("m", provider={"prometheus": settings})), AT)
            await elsewhere.close()
            return found

    found = asyncio.run(story())
    assert {kind: m.value for kind, m in found.items()} == {"scalar": "0.5", "vector": "[NaN]", "matrix": "[1,2]", "bad": ""}
    assert (found["bad"].phase, found["bad"].message) == ("Error", "parse error: unexpected")
    assert set(seen) == {"shop"}


def test_the_web_provider_takes_a_value_out_of_json() -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/down":
            return web.Response(status=503)
        return web.json_response({"data": {"ok": True, "rates": [0.5, 1]}, "sent": await request.text()})

    async def story() -> list[Measurement]:
        async with a_server(answer) as url:
            asks = ({"url": f"{url}/x", "jsonPath": "{$.data.ok}"}, {"url": f"{url}/x", "jsonPath": "{$.data.rates[1]}"},
                    {"url": f"{url}/x", "method": "POST", "jsonBody": {"a": 1}, "jsonPath": "{$.sent}"},
                    {"url": f"{url}/down", "jsonPath": "{$.x}"}, {"url": f"{url}/x", "jsonPath": "{$.nope}"})
            conditions = ("result == true", "result == 1", "result != ''", "", "")
            return [await WebProvider(WallClock()).measure(
                Ask({}, Metric("m", success_condition=condition, provider={"web": ask})), AT)
                for ask, condition in zip(asks, conditions, strict=True)]

    found = asyncio.run(story())
    assert [m.phase for m in found] == ["Successful", "Successful", "Successful", "Error", "Error"]
    assert [m.value for m in found[:3]] == ["true", "1", '{"a": 1}']
    assert found[3].message == "received non 2xx response code: 503"


@pytest.mark.parametrize(("path", "value"), [
    ("{$.a[0].b}", 1), ("{.a[*].b}", [1, 2]), ("{$..b}", [1, 2]), ("{$['x-y']}", 3), ("a[1].b", 2),
])  # fmt: skip
def test_json_paths(path: str, value: Any) -> None:
    assert find({"a": [{"b": 1}, {"b": 2}], "x-y": 3}, path) == value


def test_a_json_path_that_leads_nowhere_says_so() -> None:
    with pytest.raises(PathError, match="nope is not found"):
        find({"a": 1}, "{$.nope}")


def test_what_a_run_has_completed_is_said_once() -> None:
    before = {"phase": "Running", "metricResults": [{"name": "a", "phase": "Successful"}, {"name": "b", "phase": "Running"}]}
    after = {"phase": "Failed", "metricResults": [{"name": "a", "phase": "Successful"}, {"name": "b", "phase": "Failed"}]}
    assert list(completions(before, after)) == [
        ("Warning", "MetricFailed", "Metric 'b' Completed. Result: Failed"),
        ("Warning", "AnalysisRunFailed", "Analysis Completed. Result: Failed")]
    assert not list(completions(after, after))
