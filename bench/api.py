"""The embedded API: writes and reads a second in the process, durable and in memory, and its start on a filled store.

The peer is SQLite itself, used as plainly as it can be: one insert a transaction on one connection, with the same durability.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import apsw

from fairway.kube.clock import WallClock
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.objects import Obj
from fairway.kube.resources import CONFIG_MAPS

WRITES = 2000
WRITERS = 8


def config_map(n: int) -> Obj:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c-{n}", "namespace": "default"},
            "data": {f"key-{i}": "x" * 100 for i in range(12)}}


def measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="fairway-bench-") as folder:
        durable = asyncio.run(_durable(Path(folder) / "api.db"))
        start = time.perf_counter()
        asyncio.run(_reopen(Path(folder) / "api.db"))
        reopened = time.perf_counter() - start
        plain = _plain_sqlite(Path(folder) / "plain.db")
    memory = asyncio.run(_memory())
    return {
        "creates_per_s_durable_8_writers": round(durable),
        "creates_per_s_in_memory": round(memory["creates"]),
        "gets_per_s": round(memory["gets"]),
        "start_with_2000_objects_s": round(reopened, 3),
        "plain_sqlite_inserts_per_s": round(plain),
        "durable_creates_over_plain_sqlite": round(durable / plain, 2),
    }


async def _durable(path: Path) -> float:
    api = await EmbeddedApi.open(path, WallClock())

    async def write(start: int) -> None:
        for n in range(start, WRITES, WRITERS):
            await api.create(config_map(n))

    begin = time.perf_counter()
    await asyncio.gather(*(write(n) for n in range(WRITERS)))
    took = time.perf_counter() - begin
    await api.close()
    return WRITES / took


async def _reopen(path: Path) -> None:
    api = await EmbeddedApi.open(path, WallClock())
    await api.close()


async def _memory() -> dict[str, float]:
    api = EmbeddedApi.in_memory(WallClock())
    begin = time.perf_counter()
    for n in range(WRITES):
        await api.create(config_map(n))
    creates = WRITES / (time.perf_counter() - begin)
    begin = time.perf_counter()
    for n in range(WRITES):
        await api.get(CONFIG_MAPS, f"c-{n}", "default")
    return {"creates": creates, "gets": WRITES / (time.perf_counter() - begin)}


def _plain_sqlite(path: Path) -> float:
    import json

    connection = apsw.Connection(str(path))
    table = "CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT)"
    for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", table):
        connection.execute(statement).fetchall()
    begin = time.perf_counter()
    for n in range(WRITES):
        with connection:
            connection.execute("INSERT INTO t (body) VALUES (?)", (json.dumps(config_map(n)),))
    took = time.perf_counter() - begin
    connection.close()
    return WRITES / took
