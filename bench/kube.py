"""The Kubernetes API over HTTPS, durable, with every controller and a simulated node, in a process of its own.

One client, one connection, one request after the other, unless it says otherwise; the client is Python's `http.client`, and
its time counts. Objects are ConfigMaps of 1.2 kB. Goals: ready in 1 s, idle under 120 MB (daemon alone), 800 creates and 600
server-side applies a second.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import math
import os
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.api import config_map
from fairway.cli.platform_process import leftovers, start_platform, stop_platform
from fairway.kube.cache import Informers
from fairway.kube.clock import WallClock
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.http.pki import ensure_pki, server_context
from fairway.kube.http.server import KubeServer
from fairway.kube.objects import Obj
from fairway.kube.reconcile import ControllerLoop
from fairway.node.simulated import Script, SimulatedNode
from fairway.state import StateDir
from fairway.workloads.controllers import workload_controllers

WRITES = 2000
LISTED = 10_000
REPLICAS = 1000
WATCHES = 200
_MAPS = "/api/v1/namespaces/default/configmaps"
_APPS = "/apis/apps/v1/namespaces/default/deployments"


class Client:
    """One connection."""

    def __init__(self, url: str, token: str, ca: str) -> None:
        place = urlsplit(url)
        self._connection = http.client.HTTPSConnection(place.hostname or "", place.port, timeout=120,
                                                       context=ssl.create_default_context(cafile=ca))
        self._headers = {"Authorization": f"Bearer {token}", "User-Agent": "bench"}

    def ask(self, method: str, path: str, body: Obj | None = None, kind: str = "application/json") -> bytes:
        data = json.dumps(body).encode() if body is not None else None
        self._connection.request(method, path, data, {**self._headers, "Content-Type": kind})
        answer = self._connection.getresponse()
        found = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {found[:300]!r}")
        return found

    def stream(self, path: str) -> http.client.HTTPResponse:
        self._connection.request("GET", path, headers=self._headers)
        return self._connection.getresponse()


def measure() -> dict[str, Any]:
    figures = _platform()
    with tempfile.TemporaryDirectory(prefix="fairway-bench-") as folder, _served(Path(folder)) as (connect, pid):
        client = connect()
        works: dict[str, Callable[[int], object]] = {
            "creates": lambda n: client.ask("POST", _MAPS, config_map(n)),
            "gets": lambda n: client.ask("GET", f"{_MAPS}/c-{n}"),
            "server_side_applies": lambda n: _apply(client, n),
        }
        for name, work in works.items():
            before = cpu_s(pid)
            figures[f"{name}_per_s"] = _rate(WRITES, work)
            figures[f"{name}_server_cpu_ms"] = round((cpu_s(pid) - before) / WRITES * 1000, 2)
        figures |= _watches(connect)
        for n in range(2 * WRITES, LISTED + WRITES):
            client.ask("POST", _MAPS, config_map(n))
        figures["list_10000_s"] = round(min(_seconds(lambda: client.ask("GET", _MAPS)) for _ in range(3)), 3)
        figures["list_10000_mb"] = round(len(client.ask("GET", _MAPS)) / 2**20, 1)
        before = cpu_s(pid)
        figures["deployment_of_1000_to_ready_s"] = round(_deployment(client), 2)
        figures["deployment_of_1000_server_cpu_s"] = round(cpu_s(pid) - before, 2)
        figures["deployment_of_1000_gone_s"] = round(_gone(client), 2)
    return figures


def _platform() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="fairway-bench-") as folder:
        state = StateDir(Path(folder) / "state")
        ready_s = _seconds(lambda: start_platform(state))
        try:
            time.sleep(5)
            daemon = next(process for process in leftovers(state) if "fairway.daemon" in process.command)
            text = Path(f"/proc/{daemon.pid}/smaps_rollup").read_text()
            kilobytes = next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
        finally:
            stop_platform(state)
    return {"ready_s": round(ready_s, 2), "idle_pss_mb": round(kilobytes / 1024, 1)}


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def cpu_s(pid: int) -> float:
    """What a process has used so far: a figure that a busy machine does not change much."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rate(count: int, work: Callable[[int], object]) -> int:
    return round(count / _seconds(lambda: [work(n) for n in range(count)]))


def _apply(client: Client, n: int) -> None:
    """A new object with every request, as the peer was measured."""
    made = config_map(WRITES + n)
    client.ask("PATCH", f"{_MAPS}/{made['metadata']['name']}?fieldManager=bench&force=true", made,
               "application/apply-patch+yaml")  # fmt: skip


def _watches(connect: Callable[[], Client]) -> dict[str, Any]:
    """How late an event reaches each of the open watches."""
    late: list[float] = []
    changes = 20
    ready = threading.Barrier(WATCHES + 1)
    sent: dict[str, float] = {}

    def follow() -> None:
        answer = connect().stream(f"{_MAPS}?watch=true&labelSelector=watched=yes&resourceVersion=0")
        ready.wait()
        for _ in range(changes):
            event = json.loads(answer.readline())
            late.append(time.perf_counter() - sent[event["object"]["metadata"]["name"]])

    threads = [threading.Thread(target=follow) for _ in range(WATCHES)]
    for thread in threads:
        thread.start()
    ready.wait()
    client = connect()
    for n in range(changes):
        made = {**config_map(n), "metadata": {"name": f"w-{n}", "labels": {"watched": "yes"}}}
        sent[f"w-{n}"] = time.perf_counter()
        client.ask("POST", _MAPS, made)
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    late.sort()
    return {"watches": WATCHES, "watch_event_ms_p50": round(late[len(late) // 2] * 1000, 1),
            "watch_event_ms_p99": round(late[math.ceil(len(late) * 0.99) - 1] * 1000, 1)}


def _deployment(client: Client) -> float:
    pod = {"metadata": {"labels": {"app": "many"}}, "spec": {"containers": [{"name": "app", "image": "app:1"}]}}
    made = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "many"},
            "spec": {"replicas": REPLICAS, "selector": {"matchLabels": {"app": "many"}}, "template": pod}}
    begin = time.perf_counter()
    client.ask("POST", _APPS, made)
    while json.loads(client.ask("GET", f"{_APPS}/many")).get("status", {}).get("availableReplicas") != REPLICAS:
        time.sleep(0.05)
    return time.perf_counter() - begin


def _gone(client: Client) -> float:
    begin = time.perf_counter()
    client.ask("DELETE", f"{_APPS}/many")
    while json.loads(client.ask("GET", "/api/v1/namespaces/default/pods?limit=1"))["items"]:
        time.sleep(0.05)
    return time.perf_counter() - begin


# --- the server's process ---------------------------------------------------------------------------------------------


@contextmanager
def _served(folder: Path) -> Iterator[tuple[Callable[[], Client], int]]:
    process = subprocess.Popen([sys.executable, "-m", "bench.kube", str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        where = json.loads(process.stdout.readline())
        yield lambda: Client(**where), process.pid
    finally:
        process.terminate()
        process.wait()


async def _serve(folder: Path) -> None:
    clock = WallClock()
    pki = ensure_pki(folder, datetime.now(UTC))
    api = await EmbeddedApi.open(folder / "api.db", clock)
    server = KubeServer(api, clock, logs=None, tls=server_context(pki), token=pki.token)
    await server.start("127.0.0.1", 0)
    informers = Informers(api)
    loops = [ControllerLoop(one, informers, clock) for one in workload_controllers(informers, clock)]
    node = SimulatedNode(informers, clock, Script(start_s=0.1, ready_s=0.1))
    node.workers = 64  # a machine's worth of kubelets: their writes share a trip to the disk
    print(json.dumps({"url": server.url, "token": pki.token, "ca": str(pki.ca_file)}), flush=True)
    await asyncio.gather(*(loop.run() for loop in loops), node.run())


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
