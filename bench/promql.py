"""PromQL: the queries that an analysis asks, over 1 000 and 10 000 series, and a Prometheus as the peer.

Both scrape the same exporter each second for a minute, and are then asked the same over HTTP, one connection each, in turns:
the share of good requests (a canary's ratio) and the 99th percentile of a classic histogram. Without Prometheus on the
machine (`apt-get install prometheus`) only our own times are there, and the result says so. The arithmetic alone is measured
in the process too, against plain Python.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiohttp import web

from fairway.kube.clock import WallClock
from fairway.metrics import api
from fairway.metrics.promql import instant
from fairway.metrics.scrape import HttpFetch, Scrapes
from fairway.metrics.store import Store
from fairway.metrics.targets import Target

POINTS, STEP_MS, START_MS = 60, 1000, 1_700_000_000_000
RUNS = 15
RATE = 'sum by (pod) (rate(requests_total{code!~"5.."}[1m]))'
SIZES = (1000, 10_000)
FILL_S, ASKED = 65, 30
QUERIES = {
    "ratio": 'sum(rate(m{0}{{code!~"5.*"}}[1m])) / sum(rate(m{0}[1m])) * 100',
    "quantile": "histogram_quantile(0.99, sum by (le) (rate(b{0}_bucket[1m])))",
    "quantile by pod": "histogram_quantile(0.99, sum by (le, pod) (rate(b{0}_bucket[1m])))",
}


def measure() -> dict[str, Any]:
    found: dict[str, Any] = {"over HTTP": over_http()}
    for count in SIZES:
        store, rows = _filled(count)
        at = START_MS + (POINTS - 1) * STEP_MS
        mine = _median(partial(instant, RATE, store, at))
        naive = _median(partial(_naive, rows))
        found[f"{count} series"] = {"rate_by_pod_ms": round(1000 * mine, 2), "plain_python_ms": round(1000 * naive, 2),
                                    "times_faster": round(naive / mine, 1)}
    return found


# --- over HTTP, against Prometheus ------------------------------------------------------------------------------------


def over_http() -> dict[str, Any]:
    """{"1000 series ratio": {"fairway_ms": …, "prometheus_ms": …, "times_faster": …}, …}: medians."""
    binary = shutil.which("prometheus")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        exporter, own, peer = (free_port() for _ in range(3))
        me = [sys.executable, "-m", "bench.promql"]
        stack.enter_context(_running([*me, "export", str(exporter)]))
        stack.enter_context(_running([*me, "serve", str(own), str(exporter)]))
        servers = {"fairway": own}
        if binary is not None:
            config = Path(folder) / "prometheus.yml"
            config.write_text(json.dumps({"global": {"scrape_interval": "1s", "scrape_timeout": "900ms"}, "scrape_configs": [
                {"job_name": "bench", "static_configs": [{"targets": [f"127.0.0.1:{exporter}"]}]}]}))  # fmt: skip
            stack.enter_context(_running([binary, f"--config.file={config}", f"--storage.tsdb.path={folder}/data",
                                          f"--web.listen-address=127.0.0.1:{peer}", "--log.level=error"]))  # fmt: skip
            servers["prometheus"] = peer
        time.sleep(FILL_S)
        found = {f"{size} series, {name}": _compared(servers, text.format(size))
                 for size in SIZES for name, text in QUERIES.items()}  # fmt: skip
    return found if binary is not None else {**found, "peer": "skipped: no prometheus on this machine"}


def _compared(servers: dict[str, int], query: str) -> dict[str, Any]:
    """Asked in turns, so that whatever else the machine does meets both."""
    connections = {name: http.client.HTTPConnection("127.0.0.1", port) for name, port in servers.items()}
    times: dict[str, list[float]] = {name: [] for name in servers}
    answers: dict[str, float] = {}
    for _ in range(ASKED):
        for name, connection in connections.items():
            begin = time.perf_counter()
            connection.request("GET", f"/api/v1/query?query={quote(query)}")
            body = connection.getresponse().read()
            times[name].append(1000 * (time.perf_counter() - begin))
            answers[name] = float(json.loads(body)["data"]["result"][0]["value"][1])
    result: dict[str, Any] = {}
    for name, taken in times.items():
        result |= {f"{name}_ms": round(statistics.median(taken), 2), f"{name}_p95_ms": round(sorted(taken)[-2], 2),
                   f"{name}_answer": round(answers[name], 4)}  # fmt: skip
    if "prometheus" in servers:
        result["times_faster"] = round(statistics.median(times["prometheus"]) / statistics.median(times["fairway"]), 1)
    return result


@contextlib.contextmanager
def _running(argv: list[str]) -> Iterator[None]:
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def free_port() -> int:
    """A port that nobody listens on; another process may take it first."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _exposition(seconds: float) -> str:
    """Counters and buckets that grow each at its own pace."""
    lines: list[str] = []
    for size in SIZES:
        lines.append(f"# TYPE m{size} counter")
        for n in range(size):
            labels = f'namespace="shop",pod="pod-{n % 50}",path="/{n}",code="{("200", "404", "500", "201")[n % 4]}"'
            lines.append(f"m{size}{{{labels}}} {int(seconds * (n % 7 + 1))}")
        lines.append(f"# TYPE b{size} histogram")
        for n in range(size // 10):
            for k, bound in enumerate(("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf"), 1):
                lines.append(f'b{size}_bucket{{pod="pod-{n % 50}",path="/{n}",le="{bound}"}} {int(seconds * k * (n % 5 + 1))}')
    return "\n".join(lines) + "\n"


async def _export(port: int) -> None:
    begun = time.time() - 1000

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=_exposition(time.time() - begun))

    await _serving(port, [web.get("/metrics", metrics)])


async def _serve(port: int, exporter: int) -> None:
    """Our store, scraped into by our scraper, behind our API; nothing else of the platform."""
    clock, store = WallClock(), Store()
    scrapes = Scrapes(store, clock, HttpFetch(), None)
    scrapes.set_targets([Target(f"http://127.0.0.1:{exporter}/metrics", (("job", "bench"),))])

    async def scrape() -> None:
        while True:
            scrapes.beat(lambda target: 1.0)
            await asyncio.sleep(1 - time.time() % 1)

    task = asyncio.create_task(scrape())
    await _serving(port, api.routes(store, clock))
    task.cancel()


async def _serving(port: int, routes: list[web.RouteDef]) -> None:
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


# --- in the process, against plain Python -----------------------------------------------------------------------------


def _filled(count: int) -> tuple[Store, list[tuple[dict[str, str], list[tuple[int, float]]]]]:
    store = Store()
    block = store.block("bench")
    rows = []
    for n in range(count):
        labels = {"__name__": "requests_total", "pod": f"pod-{n % 50}", "path": f"/{n}", "code": ("200", "500")[n % 10 == 0]}
        rows.append((labels, [(START_MS + i * STEP_MS, float(i * (n % 7 + 1))) for i in range(POINTS)]))
    numbers = [block.row(labels) for labels, _ in rows]
    for i in range(POINTS):
        block.append(START_MS + i * STEP_MS, numbers, [points[i][1] for _, points in rows])
    return store, rows


def _naive(rows: list[tuple[dict[str, str], list[tuple[int, float]]]]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for labels, points in rows:
        if labels["code"].startswith("5"):
            continue
        rise = 0.0
        for (_, before), (_, after) in pairwise(points):
            rise += after - before if after >= before else after
        seconds = (points[-1][0] - points[0][0]) / 1000
        sums[labels["pod"]] = sums.get(labels["pod"], 0.0) + rise / seconds
    return sums


def _median(call: Callable[[], object]) -> float:
    times = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


if __name__ == "__main__":
    role, own_port, *others = sys.argv[1:]
    asyncio.run(_export(int(own_port)) if role == "export" else _serve(int(own_port), int(others[0])))
