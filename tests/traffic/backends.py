"""Small real servers that say which version they are."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from itertools import count

_ADDRESSES = count(2)


def free_port(address: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def own_address() -> str:
    """A loopback address that no other test process uses: its second and third bytes come from the pid."""
    number, pid = next(_ADDRESSES), os.getpid()
    return f"127.{200 + pid % 50}.{pid // 50 % 250 + 1}.{number % 250 + 1}"


class Backend:
    """Answers everything with its version in `x-shop-version`. `stop` behaves as a pod does on SIGTERM: no new connections,
    idle ones closed, answers under way finished."""

    def __init__(self, version: str, address: str, port: int, *, status: int = 200, delay_s: float = 0.0) -> None:
        self.version, self.address, self.port = version, address, port
        self.status, self.delay_s = status, delay_s
        self.requests = 0
        self.last_head = ""
        self.asked = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._idle: set[asyncio.StreamWriter] = set()
        self._open: set[asyncio.StreamWriter] = set()
        self._stopping = False

    async def start(self) -> Backend:
        self._server = await asyncio.start_server(self._serve, self.address, self.port)
        return self

    async def stop(self) -> None:
        assert self._server is not None
        self._stopping = True
        self._server.close()
        for writer in list(self._idle):
            writer.close()

    def kill(self) -> None:
        """As SIGKILL: every connection is reset."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with contextlib.suppress(OSError, EOFError):
            while not self._stopping:
                self._idle.add(writer)
                head = await reader.readuntil(b"\r\n\r\n")
                self._idle.discard(writer)
                self.last_head = head.decode("latin-1")
                self.asked.set()
                lower = self.last_head.lower()
                if "content-length:" in lower:
                    await reader.readexactly(int(lower.split("content-length:")[1].split("\r\n")[0]))
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                self.requests += 1
                body = self.version.encode()
                close = "connection: close\r\n" if self._stopping or "connection: close" in lower else ""
                writer.write(f"HTTP/1.1 {self.status} X\r\nx-shop-version: {self.version}\r\n{close}"
                             f"content-length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
                if close:
                    break
        self._idle.discard(writer)
        self._open.discard(writer)
        writer.close()


async def ask(address: str, port: int, host: str, path: str = "/", headers: str = "", *,
              body: bytes = b"") -> tuple[int, str]:
    """(status, version) of one request on a connection of its own; headers as lines that end in CRLF."""
    reader, writer = await asyncio.open_connection(address, port)
    method = "POST" if body else "GET"
    length = f"content-length: {len(body)}\r\n" if body else ""
    writer.write(f"{method} {path} HTTP/1.1\r\nhost: {host}\r\n{headers}{length}connection: close\r\n\r\n".encode() + body)
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode("latin-1")
    writer.close()
    version = next((line.partition(":")[2].strip() for line in head.split("\r\n")
                    if line.lower().startswith("x-shop-version:")), "")
    return int(head.split(" ")[1]), version


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> None:
    """Asks a process that cannot tell us by itself; fails after `seconds`."""
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
