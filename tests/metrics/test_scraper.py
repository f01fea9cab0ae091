"""From objects in the API to answers of queries: in virtual time with scripted targets, and once with real HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from fairway.kube.api import MergePatch
from fairway.kube.cache import Informers
from fairway.kube.clock import Clock, WallClock, run_virtual
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.objects import Obj
from fairway.kube.resources import PODS, ROLLOUTS
from fairway.metrics.api import routes
from fairway.metrics.controller import Scraper
from fairway.metrics.querier import EmbeddedQuerier, QueryFailed, RemotePrometheus, Result
from fairway.metrics.relabel import rules
from fairway.metrics.scrape import FetchFailed, HttpFetch, target_labels
from fairway.metrics.store import Store
from fairway.metrics.targets import Target
from tests.metrics.cluster import NS, SCRAPED, pod


class Script:
    """What targets answer: text, or a failure, by address."""

    def __init__(self) -> None:
        self.answers: dict[str, str] = {}
        self.asked: list[str] = []

    async def __call__(self, target: Target, timeout_s: float) -> str:
        self.asked.append(target.url)
        for address, text in self.answers.items():
            if address in target.url:
                return text
        raise FetchFailed("connection refused")


class FakeEnvoy:
    def __init__(self) -> None:
        self.text = ""

    async def stats(self) -> str:
        return self.text


class World:
    def __init__(self, clock: Clock, api: EmbeddedApi, script: Script, envoy: FakeEnvoy, store: Store) -> None:
        self.clock, self.api, self.script, self.envoy, self.store = clock, api, script, envoy, store

    async def add(self, obj: Obj) -> None:
        status = obj.get("status")
        made = await self.api.create({k: v for k, v in obj.items() if k != "status"})
        if status:
            resource = self.api.resources.of(obj)
            await self.api.patch(resource, made["metadata"]["name"], NS, MergePatch({"status": status}), subresource="status")

    async def ask(self, query: str) -> dict[str, float]:
        result = await EmbeddedQuerier(self.store).query(query, self.clock.now())
        return {",".join(f"{k}={v}" for k, v in sorted(s.labels.items()) if k != "__name__"): s.value for s in result.samples}


async def namespaced(api: EmbeddedApi) -> None:
    await api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}})


def in_world(story: Callable[[World], Awaitable[None]], *, snapshot: Path | None = None, store: Store | None = None) -> None:
    async def main(clock: Clock) -> None:
        api = EmbeddedApi.in_memory(clock)
        await namespaced(api)
        informers = Informers(api)
        world = World(clock, api, Script(), FakeEnvoy(), store or Store())
        scraper = Scraper(informers, clock, world.store, world.envoy, snapshot=snapshot, fetch=world.script)
        task = asyncio.create_task(scraper.run())
        try:
            await story(world)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await informers.close()

    run_virtual(main, limit=timedelta(hours=1))


def test_a_pod_is_scraped_every_five_seconds_with_its_labels() -> None:
    async def story(world: World) -> None:
        world.script.answers["127.1.0.2"] = "# TYPE rq counter\nrq_total 7\n"
        await world.add(pod("shop-1", "127.1.0.2", template_hash="abc", annotations=SCRAPED))
        await asyncio.sleep(60.5)
        assert 12 <= len(world.script.asked) <= 14
        assert await world.ask("rq_total") == {
            "container=app,instance=127.1.0.2:8000,job=shop,namespace=shop,pod=shop-1,rollouts_pod_template_hash=abc": 7.0
        }
        assert await world.ask('up{pod="shop-1"}') != {}
        assert await world.ask("sum(kube_pod_status_ready{condition='true'})") == {"": 1.0}

    in_world(story)


def test_a_target_that_fails_is_down_and_its_series_end() -> None:
    async def story(world: World) -> None:
        world.script.answers["127.1.0.2"] = "x 1\n"
        await world.add(pod("shop-1", "127.1.0.2", annotations=SCRAPED))
        await asyncio.sleep(10.5)
        assert await world.ask("sum(x)") == {"": 1.0}
        world.script.answers.clear()
        await asyncio.sleep(6)
        assert await world.ask("sum(x)") == {}
        assert await world.ask("sum(up{job='shop'})") == {"": 0.0}
        world.script.answers["127.1.0.2"] = "<html>oops"
        await asyncio.sleep(6)
        assert await world.ask("sum(up{job='shop'})") == {"": 0.0}
        world.script.answers["127.1.0.2"] = "x 2\n"
        await asyncio.sleep(6)
        assert await world.ask("sum(x)") == {"": 2.0}

    in_world(story)


def test_only_a_target_that_stays_down_is_worth_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    async def story(world: World) -> None:
        caplog.set_level(logging.INFO, "fairway.metrics.scrape")
        await world.add(pod("boots", "127.1.0.2", annotations=SCRAPED))
        await asyncio.sleep(10.5)
        world.script.answers["127.1.0.2"] = "x 1\n"
        await asyncio.sleep(6)
        assert caplog.messages == []
        world.script.answers.clear()
        await asyncio.sleep(60)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert caplog.messages == ["Pod shop/boots http://127.1.0.2:8000/m is down: connection refused"]
        world.script.answers["127.1.0.2"] = "x 1\n"
        await asyncio.sleep(6)
        assert caplog.messages[1:] == ["Pod shop/boots http://127.1.0.2:8000/m is up again"]

    in_world(story)


def test_an_endless_answer_is_cut_off_and_a_closed_session_is_opened_again() -> None:
    async def story() -> None:
        async def endless(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            with contextlib.suppress(ConnectionResetError):
                while True:
                    await response.write(b"#" * (1 << 20))
            return response

        async def small(request: web.Request) -> web.Response:
            return web.Response(text="x 1\n")

        app = web.Application()
        app.add_routes([web.get("/endless", endless), web.get("/small", small)])
        runner = web.AppRunner(app)
        await runner.setup()
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            await web.SockSite(runner, listening).start()
            base = f"http://127.0.0.1:{listening.getsockname()[1]}"
            fetch = HttpFetch()
            with pytest.raises(FetchFailed, match="larger than 32 MiB"):
                await fetch(Target(f"{base}/endless", ()), 20)
            await fetch.close()
            assert await fetch(Target(f"{base}/small", ()), 5) == "x 1\n"
            await fetch.close()
            await runner.cleanup()

    asyncio.run(story())


def test_a_target_that_is_gone_leaves_no_series_behind() -> None:
    async def story(world: World) -> None:
        world.script.answers["127.1.0.2"] = "x 1\n"
        await world.add(pod("shop-1", "127.1.0.2", annotations=SCRAPED))
        await asyncio.sleep(10.5)
        await world.api.patch(PODS, "shop-1", NS, MergePatch({"status": {"phase": "Succeeded"}}), subresource="status")
        await asyncio.sleep(2)
        assert await world.ask("x or up{job='shop'}") == {}

    in_world(story)


def test_while_a_rollout_is_under_way_its_namespace_is_scraped_each_second() -> None:
    async def story(world: World) -> None:
        world.script.answers["127.1.0.2"] = "x 1\n"
        await world.add(pod("shop-1", "127.1.0.2", annotations=SCRAPED))
        template = {"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
        await world.add({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
                         "metadata": {"name": "shop", "namespace": NS},
                         "spec": {"selector": {"matchLabels": {"app": "shop"}}, "template": template,
                                  "strategy": {"canary": {}}},
                         "status": {"phase": "Progressing"}})  # fmt: skip
        await asyncio.sleep(20.5)
        assert len(world.script.asked) >= 20
        await world.api.patch(ROLLOUTS, "shop", NS, MergePatch({"status": {"phase": "Healthy"}}), subresource="status")
        await asyncio.sleep(5)
        asked = len(world.script.asked)
        await asyncio.sleep(20)
        assert len(world.script.asked) - asked <= 5
        assert await world.ask("rollout_info{phase='Healthy'}") == {
            "job=kube-state-metrics,name=shop,namespace=shop,phase=Healthy": 1.0
        }

    in_world(story)


def test_the_state_of_very_many_objects_is_recorded_more_rarely_than_applications(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fairway.metrics.controller.STATE_AT_EVERY_BEAT", 10)

    async def story(world: World) -> None:
        world.script.answers["127.1.0.2"] = "x 1\n"
        await world.add(pod("shop-1", "127.1.0.2", annotations=SCRAPED))  # 30 series and more
        await asyncio.sleep(121)
        samples = await world.ask("count_over_time(kube_pod_info[2m])")
        assert all(2 <= count <= 120 / 5 / 3 for count in samples.values()) and samples
        assert all(count >= 23 for count in (await world.ask("count_over_time(x[2m])")).values())

    in_world(story)


def test_a_burst_of_errors_through_envoy_is_seen_though_its_counter_is_new() -> None:
    def envoy(ok: int, bad: int) -> str:
        name = 'envoy_cluster_name="shop|shop|80|abc"'
        lines = ["# TYPE envoy_cluster_upstream_rq counter",
                 f'envoy_cluster_upstream_rq{{envoy_response_code="200",{name}}} {ok}',
                 f'envoy_cluster_external_upstream_rq{{envoy_response_code="200",{name}}} {ok}',
                 'envoy_cluster_upstream_rq{envoy_response_code="200",envoy_cluster_name="admin"} 1']  # fmt: skip
        if bad:
            lines.append(f'envoy_cluster_upstream_rq{{envoy_response_code="503",{name}}} {bad}')
        return "\n".join(lines) + "\n"

    async def story(world: World) -> None:
        for second in range(30):
            world.envoy.text = envoy(100 * second, 60 if second > 20 else 0)
            await asyncio.sleep(1)
        by_hash = 'envoy_cluster_upstream_rq{namespace="shop",service="shop",rollouts_pod_template_hash="abc"'
        share = f'sum(increase({by_hash},envoy_response_code=~"5.*"}}[25s])) / sum(increase({by_hash}}}[25s]))'
        found = await world.ask(share)
        assert 0.02 < found[""] < 0.03, "60 errors in 2500 requests"
        assert await world.ask("count(envoy_cluster_external_upstream_rq)") == {}
        assert await world.ask("count(envoy_cluster_upstream_rq)") == {"": 2.0}

    in_world(story)


def test_a_restart_goes_on_with_the_samples_of_before(tmp_path: Path) -> None:
    path = tmp_path / "samples"
    store = Store()

    async def before(world: World) -> None:
        world.script.answers["127.1.0.2"] = "x 1\n"
        await world.add(pod("shop-1", "127.1.0.2", annotations=SCRAPED))
        await asyncio.sleep(30.5)

    in_world(before, snapshot=path, store=store)
    again = Store()
    again.load(path, warn=lambda text: None)
    assert again.usage().samples == store.usage().samples > 0


# --- over real HTTP ---------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def served(*defs: web.RouteDef) -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes(defs)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        site = web.SockSite(runner, sock)
        await site.start()
        try:
            yield f"127.0.0.1:{sock.getsockname()[1]}"
        finally:
            await runner.cleanup()


def test_a_real_target_is_answered_through_the_real_query_api() -> None:
    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text="# HELP rq All.\n# TYPE rq counter\nrq_total{path=\"/\"} 5\nlat_bucket{le=\"+Inf\"} 1\n")

    async def main() -> None:
        clock, store = WallClock(), Store()
        api = EmbeddedApi.in_memory(clock)
        await namespaced(api)
        informers = Informers(api)
        async with served(web.get("/m", metrics)) as address:
            host, _, port = address.partition(":")
            await World(clock, api, Script(), FakeEnvoy(), store).add(
                pod("shop-1", host, annotations={**SCRAPED, "prometheus.io/port": port})
            )
            scraper = Scraper(informers, clock, store, interval_s=0.2)
            task = asyncio.create_task(scraper.run())
            async with served(*routes(store, clock, scraper)) as prometheus, ClientSession() as http:
                await eventually(http, f"http://{prometheus}/api/v1/query?query=rq_total")
                await judge_api(http, f"http://{prometheus}/api/v1", port)
                await judge_remote(RemotePrometheus(f"http://{prometheus}"))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await informers.close()

    asyncio.run(main())


async def eventually(http: ClientSession, url: str) -> None:
    async with asyncio.timeout(5):
        while True:
            async with http.get(url) as answer:
                if (await answer.json())["data"]["result"]:
                    return
            await asyncio.sleep(0.02)


async def judge_api(http: ClientSession, base: str, port: str) -> None:
    async def get(path: str, **params: str) -> Any:
        async with http.get(f"{base}/{path}", params=params) as answer:
            return await answer.json()

    found = (await get("query", query="rq_total"))["data"]
    assert found["resultType"] == "vector"
    assert found["result"][0]["metric"] == {
        "__name__": "rq_total", "path": "/", "namespace": "shop", "pod": "shop-1", "container": "app", "job": "shop",
        "instance": f"127.0.0.1:{port}",
    }  # fmt: skip
    assert found["result"][0]["value"][1] == "5"
    async with http.post(f"{base}/query", data={"query": "sum(rq_total) * 2"}) as answer:
        assert (await answer.json())["data"]["result"][0]["value"][1] == "10"
    now = (await get("query", query="time()"))["data"]["result"][0]
    matrix = (await get("query_range", query="vector(1)", start=str(now - 60), end=str(now), step="30s"))["data"]
    assert matrix["resultType"] == "matrix"
    assert [value for _, value in matrix["result"][0]["values"]] == ["1", "1", "1"]
    assert (await get("query", query='"text"'))["data"]["result"][1] == "text"
    assert (await get("format_query", query="sum(x)by(y)"))["data"] == "sum by (y) (x)"
    wrong = await get("query", query="sum(")
    assert (wrong["errorType"], wrong["error"]) == (
        "bad_data", 'invalid parameter "query": 1:5: parse error: unclosed left parenthesis'
    )  # fmt: skip
    assert (await get("query", query="rq_total", limit="x"))["errorType"] == "bad_data"
    assert "evalTotalTime" in (await get("query", query="rq_total", stats="all"))["stats"]["timings"]
    assert (await get("rules"))["data"] == {"groups": []} and (await get("alerts"))["data"] == {"alerts": []}
    assert (await get("query", query="rq_total[1m]"))["data"]["resultType"] == "matrix"
    assert "rq_total" in (await get("label/__name__/values"))["data"]
    assert {"__name__", "le", "pod", "path"} <= set((await get("labels"))["data"])
    assert [one["__name__"] for one in (await get("series", **{"match[]": '{__name__=~"rq.*"}'}))["data"]] == ["rq_total"]
    assert (await get("metadata"))["data"]["rq"] == [{"type": "counter", "help": "All.", "unit": ""}]
    targets = (await get("targets"))["data"]["activeTargets"]
    assert [(target["health"], target["scrapeUrl"]) for target in targets] == [("up", f"http://127.0.0.1:{port}/m")]
    assert (await get("status/buildinfo"))["data"]["version"].startswith("3.")
    for path, params, status, kind in (
        ("query", {"query": "sum("}, 400, "bad_data"),
        ("query", {"query": "1", "time": "yesterday"}, 400, "bad_data"),
        ("query_range", {"query": "1", "start": "0", "end": "10", "step": "0"}, 400, "bad_data"),
        ("query_range", {"query": "1", "start": "0", "end": "1e9", "step": "1"}, 400, "bad_data"),
        ("series", {}, 400, "bad_data"),
        ("query", {"query": "topk(NaN, vector(1))"}, 422, "execution"),
    ):
        async with http.get(f"{base}/{path}", params=params) as answer:
            body = await answer.json()
            assert (answer.status, body["status"], body["errorType"]) == (status, "error", kind), (path, params, body)


async def judge_remote(remote: RemotePrometheus) -> None:
    """The same port over HTTP gives the same answers, and says whose fault a failure is."""
    now = WallClock().now()
    assert [sample.value for sample in (await remote.query("sum(rq_total)", now)).samples] == [5.0]
    assert await remote.query("rq_total > 1e9", now) == Result("vector")
    assert (await remote.query("1 / 0", now)).samples[0].value == float("inf")
    try:
        await remote.query("sum(", now)
    except QueryFailed as failed:
        assert failed.fault == "query"
        assert "unclosed left parenthesis" in str(failed)
    else:
        raise AssertionError("a wrong query was answered")
    await remote.close()
    nowhere = RemotePrometheus("http://127.0.0.1:9", timeout_s=2)
    try:
        await nowhere.query("1", now)
    except QueryFailed as failed:
        assert failed.fault == "server"
    else:
        raise AssertionError("nobody listens there")
    await nowhere.close()


def test_labels_that_both_sides_use_are_kept_apart() -> None:
    target = Target("http://x", (("job", "shop"), ("pod", "p1")), sample_rules=rules([
        {"sourceLabels": ["__name__"], "regex": "go_.*", "action": "drop"},
        {"action": "labeldrop", "regex": "noise"},
    ]))  # fmt: skip
    label = target_labels(target)
    assert label({"__name__": "x", "pod": "own", "noise": "1"}) == {
        "__name__": "x", "exported_pod": "own", "pod": "p1", "job": "shop"
    }  # fmt: skip
    assert label({"__name__": "go_threads"}) is None
    honest = target_labels(replace(target, honor_labels=True))
    assert honest({"__name__": "x", "pod": "own"}) == {"__name__": "x", "pod": "own", "job": "shop"}
