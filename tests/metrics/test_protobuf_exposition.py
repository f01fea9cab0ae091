"""Targets that answer in protobuf: a real Go program's metrics, native histograms encoded by the published schema, and what
queries and restarts make of them."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import struct
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from fairway.kube.cache import Informers
from fairway.kube.clock import WallClock
from fairway.kube.embedded import EmbeddedApi
from fairway.metrics.api import routes
from fairway.metrics.controller import Scraper
from fairway.metrics.exposition import BadExposition, parse
from fairway.metrics.histogram import Histogram
from fairway.metrics.journal import Journal
from fairway.metrics.labels import NAME
from fairway.metrics.promql import Vector, instant
from fairway.metrics.protobuf_exposition import Natives, families
from fairway.metrics.querier import EmbeddedQuerier
from fairway.metrics.store import Store
from fairway.metrics.targets import find_targets
from tests.metrics.cluster import endpoint_slice, monitor, pod, service
from tests.metrics.test_scraper import eventually, namespaced, served

PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
KEPT = Natives(wanted=True)


# --- the schema, written: number, wire type, value ----------------------------------------------------------------------


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def signed(field: int, value: int) -> bytes:
    return number(field, value << 1 if value >= 0 else (-value << 1) - 1)


def double(field: int, value: float) -> bytes:
    return varint(field << 3 | 1) + struct.pack("<d", value)


def message(field: int, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return varint(field << 3 | 2) + varint(len(data)) + data


def text(field: int, value: str) -> bytes:
    return message(field, value.encode())


def delimited(*parts: bytes) -> bytes:
    data = b"".join(parts)
    return varint(len(data)) + data


def latency(*parts: bytes, kind: int = 4) -> bytes:
    """A family `latency` with one histogram for `path="/"`."""
    label = message(1, text(1, "path"), text(2, "/"))
    return delimited(text(1, "latency"), text(2, "Time."), number(3, kind), message(4, label, message(7, *parts)))


def observed(times: int, *, packed: bool = False) -> bytes:
    """`times` observations in each of (0.5, 1] and (2, 4], as client_golang writes them: deltas, one field each."""
    deltas = (message(13, varint(times << 1), varint(0)) if packed else signed(13, times) + signed(13, 0))
    spans = message(12, signed(1, 0), number(2, 1)) + message(12, signed(1, 1), number(2, 1))
    classic = message(3, number(1, times), double(2, 1.0)) + message(3, number(1, 2 * times), double(2, 4.0))
    exemplar = message(16, message(1, text(1, "trace_id"), text(2, "abc")), double(2, 0.7))
    return latency(number(1, 2 * times), double(2, 3.5 * times), classic, signed(5, 0), double(6, 0.001), number(7, 0), spans,
                   deltas, message(15, number(1, 1_700_000_000)), exemplar)


def samples(body: bytes, natives: Natives = KEPT) -> dict[str, float | Histogram]:
    return {"/".join(f"{k}={v}" for k, v in sorted(labels.items()) if k != NAME) + f" {labels[NAME]}": value
            for family in families(body, natives) for labels, value in family.samples}


# --- reading ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
def test_a_native_histogram_is_one_sample_of_its_own_name(packed: bool) -> None:
    found = samples(observed(3, packed=packed))
    assert found == {"path=/ latency": Histogram(0, 0.001, 0, 6, 10.5, {0: 3.0, 2: 3.0})}


def test_its_classic_buckets_are_there_where_they_are_asked_for_or_where_it_is_not() -> None:
    classic = {"le=1.0/path=/ latency_bucket": 3.0, "le=4.0/path=/ latency_bucket": 6.0, "le=+Inf/path=/ latency_bucket": 6.0,
               "path=/ latency_sum": 10.5, "path=/ latency_count": 6.0}
    assert samples(observed(3), Natives()) == classic
    both = samples(observed(3), Natives(wanted=True, classic=True))
    assert both.keys() == {*classic, "path=/ latency"}


def test_fractions_gauges_and_histograms_that_saw_nothing() -> None:
    span = message(12, signed(1, -2), number(2, 2)) + message(9, signed(1, 1), number(2, 1))
    counts = double(14, 0.75) + double(14, 0.25) + double(11, 1.0)
    (value,) = samples(latency(double(4, 2.5), double(2, -1.0), signed(5, 3), double(8, 0.5), span, counts, kind=5)).values()
    assert value == Histogram(3, 0.0, 0.5, 2.5, -1.0, {-2: 0.75, -1: 0.25}, {1: 1.0}, reset="gauge")
    nothing = samples(latency(signed(5, 3), message(12, signed(1, 0), number(2, 0))))
    assert nothing == {"path=/ latency": Histogram(3)}


def test_too_many_buckets_are_joined_and_too_fine_ones_as_well() -> None:
    ones = [signed(13, int(i == 0)) for i in range(4)]
    fine = latency(number(1, 4), signed(5, 2), message(12, signed(1, 1), number(2, 4)), *ones)
    (value,) = samples(fine, Natives(wanted=True, bucket_limit=2)).values()
    assert value == Histogram(1, 0, 0, 4, 0, {1: 2.0, 2: 2.0})
    (value,) = samples(fine, Natives(wanted=True, least_factor=1.9)).values()
    assert value == Histogram(0, 0, 0, 4, 0, {1: 4.0})
    wide = latency(number(1, 2), signed(5, -4), message(12, signed(1, 0), number(2, 2)), signed(13, 1), signed(13, 0))
    with pytest.raises(BadExposition, match="bucket limit exceeded: 1 buckets are allowed"):
        samples(wide, Natives(wanted=True, bucket_limit=1))


@pytest.mark.parametrize(("body", "mistake"), [
    (observed(3)[:-4], "is cut off"), (b"<html>", "is cut off"), (delimited(number(3, 4)), "without a name"),
    (latency(number(1, 1), message(12, signed(1, 0), number(2, 3)), signed(13, 1)), "3 native buckets, and 1 are there"),
    (latency(signed(5, 9), message(12, signed(1, 0), number(2, 0))), "schema 9"),
])  # fmt: skip
def test_what_cannot_be_read_is_said(body: bytes, mistake: str) -> None:
    with pytest.raises(BadExposition, match=mistake):
        samples(body)


@pytest.fixture(scope="module")
def go_program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's Prometheus, whose own metrics are written by client_golang."""
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("no prometheus on PATH: there is no Go program to ask")
    folder = tmp_path_factory.mktemp("go")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    (folder / "p.yml").write_text("global: {}\n")
    argv = [binary, f"--config.file={folder}/p.yml", f"--storage.tsdb.path={folder}/data", f"--web.listen-address={address}"]
    process = subprocess.Popen(argv, stderr=subprocess.DEVNULL, env={**os.environ, "GOMAXPROCS": "1"})
    try:
        asyncio.run(_until_it_answers(f"http://{address}/-/ready"))
        yield f"http://{address}/metrics"
    finally:
        process.kill()
        process.wait()


async def _until_it_answers(url: str) -> None:
    async with asyncio.timeout(30), ClientSession() as http:
        while True:
            try:
                async with http.get(url) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                pass
            await asyncio.sleep(0.05)


def test_a_go_programs_metrics_are_the_same_in_both_formats(go_program: str) -> None:
    def fetched(accept: str) -> bytes:
        with urllib.request.urlopen(urllib.request.Request(go_program, headers={"Accept": accept}), timeout=10) as answer:
            data: bytes = answer.read()
            return data

    fetched("text/plain")  # the first request makes series of its own
    binary = list(families(fetched(PROTOBUF), KEPT))
    plain = [labels for labels, _ in parse(fetched("text/plain;version=0.0.4").decode())]
    assert _names(labels for family in binary for labels, _ in family.samples) == _names(plain)
    assert {f.metadata.kind for f in binary} >= {"counter", "gauge", "summary", "histogram"}
    build = next(f for f in binary if f.name == "prometheus_build_info")
    assert (build.samples[0][1], build.metadata.kind) == (1.0, "gauge") and "version" in build.samples[0][0]


def _names(series: Iterator[dict[str, str]] | Sequence[dict[str, str]]) -> set[tuple[tuple[str, str], ...]]:
    """Bounds are numbers: Go writes 1 in text, and Prometheus makes 1.0 of it."""
    return {tuple(sorted((k, str(float(v)) if k in ("le", "quantile") else v) for k, v in one.items())) for one in series}


# --- asking -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("spec", "first", "natives"), [
    ({}, "application/openmetrics-text", False),
    ({"scrapeNativeHistograms": True}, "application/vnd.google.protobuf", True),
    ({"scrapeProtocols": ["PrometheusProto", "PrometheusText0.0.4"]}, "application/vnd.google.protobuf", True),
    ({"scrapeProtocols": ["PrometheusText0.0.4", "PrometheusProto"]}, "text/plain", False),
    ({"scrapeProtocols": ["PrometheusProto"], "scrapeNativeHistograms": False}, "application/vnd.google.protobuf", False),
])  # fmt: skip
def test_what_a_monitor_asks_for(spec: dict[str, object], first: str, natives: bool) -> None:
    pieces = [endpoint_slice("shop", {"shop-1": "127.1.0.2"})]
    found = find_targets([pod("shop-1", "127.1.0.2")], [service("shop", team="a")], pieces, [monitor(**spec)])
    (target,) = found.targets
    assert target.accept.startswith(first) and target.accept.endswith("*/*;q=0.1")
    assert target.natives.wanted == natives


def test_a_format_that_nobody_has_is_a_problem_of_its_monitor() -> None:
    pieces = [endpoint_slice("shop", {"shop-1": "127.1.0.2"})]
    asks = monitor(scrapeProtocols=["Carbon"])
    found = find_targets([pod("shop-1", "127.1.0.2")], [service("shop", team="a")], pieces, [asks])
    assert found.targets == () and "scrapeProtocols: 'Carbon' is not one of PrometheusProto" in found.problems[0]


def test_a_target_is_asked_answers_and_is_queried() -> None:
    """Through the real scraper and the real query API; the monitor is changed on the way."""
    asked: list[str] = []

    async def metrics(request: web.Request) -> web.Response:
        asked.append(request.headers["Accept"])
        if asked[-1].startswith("application/vnd"):
            return web.Response(body=observed(3 * len(asked)), headers={"Content-Type": PROTOBUF.replace(";", "; ")})
        return web.Response(text="# TYPE latency histogram\nlatency_bucket{le=\"+Inf\"} 1\nlatency_sum 1\nlatency_count 1\n")

    async def story() -> None:
        clock, store = WallClock(), Store()
        api = EmbeddedApi.in_memory(clock)
        await namespaced(api)
        informers = Informers(api)
        async with served(web.get("/metrics", metrics)) as address:
            host, _, port = address.partition(":")
            pieces = endpoint_slice("shop", {"shop-1": host})
            pieces["ports"] = [{"name": "http", "port": int(port)}]
            asks = monitor(endpoint={"port": "http", "path": "/metrics", "interval": "200ms"})
            for obj in (pod("shop-1", host), service("shop", team="a"), pieces, asks):
                await api.create(obj)
            scraper = Scraper(informers, clock, store, interval_s=0.2)
            task = asyncio.create_task(scraper.run())
            async with served(*routes(store, clock, scraper)) as prometheus, ClientSession() as http:
                base = f"http://{prometheus}/api/v1/query?query="
                await eventually(http, base + "latency_count")
                asks["spec"]["scrapeNativeHistograms"] = True
                await _replace(api, asks)
                await eventually(http, base + "histogram_quantile(0.99,rate(latency[10s]))")
                async with http.get(base + "latency") as answer:
                    (series,) = (await answer.json())["data"]["result"]
                assert series["metric"]["path"] == "/" and "value" not in series
                assert [bucket[1:3] for bucket in series["histogram"][1]["buckets"]] == [["0.5", "1"], ["2", "4"]]
                found = await EmbeddedQuerier(store).query("histogram_quantile(0.99, rate(latency[10s]))", clock.now())
                assert 2 < found.samples[0].value <= 4
                bare = await EmbeddedQuerier(store).query("latency", clock.now())
                assert bare.samples == () and "1 native histograms are left out" in bare.warnings[0]
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await informers.close()

    asyncio.run(story())
    assert asked[0].startswith("application/openmetrics-text") and asked[-1].startswith("application/vnd.google.protobuf")


async def _replace(api: EmbeddedApi, obj: dict[str, object]) -> None:
    from fairway.kube.api import MergePatch
    from fairway.kube.resources import SERVICE_MONITORS

    meta = obj["metadata"]
    assert isinstance(meta, dict)
    await api.patch(SERVICE_MONITORS, str(meta["name"]), str(meta["namespace"]), MergePatch({"spec": obj["spec"]}))


# --- keeping ------------------------------------------------------------------------------------------------------------


def kept(store: Store, at: int) -> Histogram:
    answer = instant("latency", store, at).value
    assert isinstance(answer, Vector) and answer.histograms is not None
    found = answer.histograms[0, 0]
    assert isinstance(found, Histogram)
    return found


def filled(store: Store, scrapes: range) -> None:
    block = store.block("t")
    for i in scrapes:
        rows = [block.row({NAME: "up"}), block.row({NAME: "latency"})]
        block.append(i * 1000, rows, [1.0, 0.0], natives=[(rows[1], Histogram(count=i, sum=i, positive={1: float(i)}))])


@pytest.mark.parametrize("saved", [True, False])
def test_native_histograms_outlive_a_restart(tmp_path: Path, saved: bool) -> None:
    """By the snapshot, and by the journal alone as after a kill."""
    journal = Journal(tmp_path)
    store = Store(journal=journal)
    journal.begin()
    filled(store, range(1, 6))
    if saved:
        store.save(tmp_path / "samples")
        journal.drop_before(journal.number + 1)
    journal.close()
    said: list[str] = []
    again = Store(journal=Journal(tmp_path))
    again.load(tmp_path / "samples", warn=said.append)
    assert said == []
    assert kept(again, 5000) == Histogram(count=5, sum=5, positive={1: 5.0})
    assert kept(again, 2000) == Histogram(count=2, sum=2, positive={1: 2.0})


def test_they_count_against_the_limit_and_fall_off_with_their_samples() -> None:
    store = Store(limit_bytes=300_000)
    filled(store, range(1, 2000))
    assert store.usage().bytes <= 310_000 and store.usage().shortened
    assert kept(store, 1_999_000).count == 1999
    assert instant("latency", store, 1000).value.labels.rows() == []  # type: ignore[union-attr]
