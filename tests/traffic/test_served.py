"""What was served, as the native gate asks for it: what hangs is known before it ends, over Envoy and the slow proxy alike."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from fairway.kube.clock import WallClock
from fairway.rollouts.gate import Arm
from fairway.served import DataPlaneCounts
from fairway.traffic.model import Backend, Cluster, Endpoint, IngressListener, Model, Route, VirtualHost
from tests.traffic.backends import free_port
from tests.traffic.world import DATA_PLANES, HOST, PATIENCE_S, data_plane

SLOW = timedelta(milliseconds=200)


@pytest.mark.parametrize("kind", DATA_PLANES)
def test_requests_that_hang_wait_and_once_they_are_answered_were_slow(kind: str, tmp_path: Path) -> None:
    asyncio.run(hang_and_answer(kind, tmp_path))


async def hang_and_answer(kind: str, folder: Path) -> None:
    release, hanging = asyncio.Event(), 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal hanging
        while await reader.readline() not in (b"\r\n", b""):
            pass
        hanging += 1
        await release.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    async def asked() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET / HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n".encode())
        line = await reader.readline()
        writer.close()
        return line

    async def until(holds: Callable[[Arm], bool]) -> Arm:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = await counts.counts("shop", slower_than=SLOW)
                if holds(arm := found.get("abc", Arm())):
                    return arm
                await asyncio.sleep(0.02)

    plane, port, target = data_plane(kind, folder), free_port(), free_port()
    server = await asyncio.start_server(answer, "127.0.0.1", target)
    cluster = Cluster("shop", "web", 80, "abc", (Endpoint("127.0.0.1", target),))
    host = VirtualHost("shop", (HOST,), (Route("/", "prefix", (Backend(cluster.name, 1),)),))
    await plane.start()
    try:
        await plane.apply(Model(IngressListener("127.0.0.1", port, (host,)), (), (cluster,)))
        counts = DataPlaneCounts(plane, WallClock())
        begun = time.monotonic()
        requests = [asyncio.create_task(asked()) for _ in range(4)]
        # Twice as long as it must be: Envoy's histogram is coarse about the bound itself.
        waiting = await until(lambda arm: arm.waiting == 4 and time.monotonic() - begun > 2 * SLOW.total_seconds())
        assert (waiting.requests, waiting.slow, hanging) == (0, 0, 4)
        release.set()
        assert all(line.split()[1] == b"200" for line in await asyncio.gather(*requests))
        assert await until(lambda arm: arm.slow == 4 and not arm.waiting) == Arm(4, 0, 4)
    finally:
        server.close()
        await plane.stop()
