"""Envoy's admin interface over its unix socket: one short request per question, one connection each."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import quote

from fairway.traffic.port import TrafficError

_ANSWER_S = 5.0  # the largest answer seen (500 apps, statistics in full) takes 0.2 s


class Admin:
    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def ready(self) -> bool:
        try:
            return (await self.get("/ready")).startswith("LIVE")
        except TrafficError:
            return False

    async def versions(self) -> dict[str, str]:
        """What Envoy has taken, by file: "lds", "cds", and "rds.<table>". Cheap: Envoy has a handful of texts."""
        return {name: text.strip('"') for name, text in await self._followed("TextReadouts", "version_text")}

    async def refusals(self) -> dict[str, int]:
        """How many updates Envoy has refused, by file. Envoy walks over all its counters for this (20 ms with 200 apps),
        and moves no route meanwhile: ask only where a version does not come."""
        found: dict[str, int] = {}
        for name, text in await self._followed("Counters", "update_rejected|update_failure"):
            found[name] = found.get(name, 0) + int(text)
        return found

    async def _followed(self, kind: str, leaves: str) -> list[tuple[str, str]]:
        pattern = rf"^(listener_manager\.lds|cluster_manager\.cds|http\.\w+\.rds\.\w+)\.({leaves})$"
        lines = (await self.get(f"/stats?type={kind}&filter={quote(pattern)}")).splitlines()
        pairs = [line.partition(": ") for line in lines if ": " in line]
        return [(_file_of(name.rpartition(".")[0]), value) for name, _, value in pairs]

    async def get(self, path: str, method: str = "GET") -> str:
        """The body of the answer; `TrafficError` where Envoy does not answer, or not with 200."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                status, body = await self._exchange(f"{method} {path}")
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            raise TrafficError(f"Envoy does not answer on {self._socket}: {error or type(error).__name__}") from error
        if status not in (200, 503):
            raise TrafficError(f"Envoy answered {status} to {path.partition('?')[0]}: {body[:200]}")
        return body

    async def _exchange(self, request: str) -> tuple[int, str]:
        reader, writer = await asyncio.open_unix_connection(str(self._socket), limit=1 << 20)
        try:
            writer.write(f"{request} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            status = int(head.split(" ", 2)[1])
            body = await _chunks(reader) if "transfer-encoding: chunked" in head else await reader.read()
            return status, body.decode()
        finally:
            writer.close()


def _file_of(stat_path: str) -> str:
    if stat_path == "listener_manager.lds":
        return "lds"
    if stat_path == "cluster_manager.cds":
        return "cds"
    return "rds." + stat_path.rpartition(".")[2]


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    return b"".join(parts)
