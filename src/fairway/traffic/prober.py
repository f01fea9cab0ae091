"""An open-loop load generator: so many requests a second, whether answers come or not.

Each request has a moment at which it is due, and its latency counts from then: a service that stops for a second shows a
second, not one slow request (coordinated omission). Raw sockets over asyncio and HTTP/1.1 keep-alive cost about a
twentieth of a core at 200 requests a second.

As a process of its own: `python -m fairway.traffic.prober URL --host H --rate R --out FILE` writes one JSON line per answer:
`{"at": seconds since 1970 when it was due, "status": 200, "version": "1.1.0", "ms": 1.8}`; status 0 means that no answer
came, and `error` says why.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TextIO
from urllib.parse import urlsplit

VERSION_HEADER = "x-shop-version"
TIMEOUT_S = 10.0
_IDLE_S = 2.0  # connections unused for longer are not trusted: servers close them, some after five seconds
_FLUSH_S = 0.2


@dataclass(frozen=True, slots=True)
class Answer:
    """`at`: when it was due, in seconds since 1970. `status` 0: no answer; `error` says why."""

    at: float
    status: int
    version: str
    ms: float
    error: str = ""

    def line(self) -> str:
        text = f'{{"at":{self.at:.4f},"status":{self.status},"version":{json.dumps(self.version)},"ms":{self.ms:.2f}'
        return text + (f',"error":{json.dumps(self.error)}}}' if self.error else "}")


@dataclass(frozen=True, slots=True)
class Target:
    """`host` is what the Host header says; requests go to `address`:`port`."""

    address: str
    port: int
    path: str
    host: str
    headers: tuple[tuple[str, str], ...] = ()
    version_header: str = VERSION_HEADER

    @staticmethod
    def of(url: str, *, host: str = "", headers: Iterable[tuple[str, str]] = (),
           version_header: str = VERSION_HEADER) -> Target:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"{url!r} is not an http:// URL")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return Target(parts.hostname, parts.port or 80, path, host or parts.netloc, tuple(headers), version_header)

    def request(self) -> bytes:
        lines = [f"GET {self.path} HTTP/1.1", f"Host: {self.host}", "User-Agent: fairway-prober"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Prober:
    """`record` is called with every answer, in the order in which they come."""

    def __init__(self, target: Target, rate: float, record: Callable[[Answer], None]) -> None:
        if rate <= 0:
            raise ValueError("the rate must be above 0")
        self._target = target
        self._interval = 1 / rate
        self._record = record
        self._request = target.request()
        self._version_key = b"\r\n" + target.version_header.lower().encode() + b":"
        self._idle: list[_Wire] = []
        self._waiting: set[asyncio.Task[None]] = set()

    async def run(self, *, stop: asyncio.Event | None = None, count: int = 0) -> None:
        """Until `stop` is set, or `count` requests are sent (0: no end); then wait for the answers under way."""
        loop = asyncio.get_running_loop()
        began, epoch = loop.time(), time.time()
        number = 0
        while not (stop and stop.is_set()) and (not count or number < count):
            due = began + number * self._interval
            wait = due - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            task = asyncio.create_task(self._one(due, epoch + due - began))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)
            number += 1
        if self._waiting:
            await asyncio.gather(*self._waiting)
        for wire in self._idle:
            wire.close()
        self._idle.clear()

    async def _one(self, due: float, at: float) -> None:
        loop = asyncio.get_running_loop()
        wire = None
        try:
            async with asyncio.timeout_at(due + TIMEOUT_S):
                wire = self._kept(loop.time()) or await self._connect()
                head = await wire.ask(self._request)
            status, version, error = int(head[9:12]), self._version_of(head), ""
        except (OSError, EOFError, ValueError) as failed:  # TimeoutError is an OSError
            status, version, error = 0, "", str(failed) or type(failed).__name__
        finished = loop.time()
        if wire is not None:
            if status and wire.reusable:
                wire.idle_since = finished
                self._idle.append(wire)
            else:
                wire.close()
        self._record(Answer(at, status, version, (finished - due) * 1000, error))

    def _kept(self, now: float) -> _Wire | None:
        while self._idle:
            wire = self._idle.pop()
            if wire.reusable and now - wire.idle_since < _IDLE_S:
                return wire
            wire.close()
        return None

    async def _connect(self) -> _Wire:
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_connection(_Wire, self._target.address, self._target.port)
        return wire

    def _version_of(self, head: bytes) -> str:
        at = head.lower().find(self._version_key)
        if at < 0:
            return ""
        start = at + len(self._version_key)
        return head[start:head.index(b"\r\n", start)].strip().decode("latin-1")


class _Wire(asyncio.Protocol):
    """One connection with one request on it at a time. Reads heads, counts bodies away."""

    def __init__(self) -> None:
        self.reusable = True
        self.idle_since = 0.0
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[bytes] | None = None
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.reusable = False
        if self._answer is not None and not self._answer.done():
            if self._until_close():
                self._answer.set_result(bytes(self._buffer[:self._buffer.index(b"\r\n\r\n") + 4]))
            else:
                self._answer.set_exception(exc or EOFError("the connection was closed without an answer"))

    def ask(self, request: bytes) -> asyncio.Future[bytes]:
        """The head of the answer, once its body is there too."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._buffer.clear()
        self._transport.write(request)
        return self._answer

    def close(self) -> None:
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            self.close()  # bytes that nobody asked for
            return
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._buffer[:end + 4])
        try:
            whole = _is_whole(head, self._buffer, end + 4)
        except ValueError as bad:
            self._answer.set_exception(bad)
            return
        if whole:
            self.reusable = self.reusable and b"\r\nconnection: close" not in head.lower()
            self._answer.set_result(head)

    def _until_close(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        head = bytes(self._buffer[:max(end, 0)]).lower()
        return end >= 0 and b"\r\ncontent-length:" not in head and b"\r\ntransfer-encoding:" not in head


def _is_whole(head: bytes, buffer: bytearray, start: int) -> bool:
    lower = head.lower()
    at = lower.find(b"\r\ncontent-length:")
    if at >= 0:
        return len(buffer) - start >= int(lower[at + 17:lower.index(b"\r\n", at + 2)])
    if b"\r\ntransfer-encoding: chunked" in lower:
        return buffer.endswith(b"0\r\n\r\n")
    return lower[9:12] in (b"204", b"304")


# --- what the answers say -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Counts:
    """Of one window of time. `shares` and `failed` are what tests and the demo ask for."""

    by: dict[tuple[str, int], int] = field(default_factory=lambda: defaultdict(int))
    slowest_ms: float = 0.0

    def add(self, answer: Answer) -> None:
        self.by[answer.version, answer.status] += 1
        self.slowest_ms = max(self.slowest_ms, answer.ms)

    @property
    def total(self) -> int:
        return sum(self.by.values())

    @property
    def failed(self) -> int:
        """No answer, or one of 5xx."""
        return sum(count for (_, status), count in self.by.items() if status == 0 or status >= 500)

    def share(self, version: str) -> float:
        """Of the answers that name a version."""
        named = sum(count for (name, _), count in self.by.items() if name)
        return sum(count for (name, _), count in self.by.items() if name == version) / named if named else 0.0


def windows(answers: Iterable[Answer], seconds: float) -> Iterator[tuple[float, Counts]]:
    """(start, counts) of every window that has answers, in order."""
    found: dict[int, Counts] = defaultdict(Counts)
    for answer in answers:
        found[int(answer.at // seconds)].add(answer)
    for number in sorted(found):
        yield number * seconds, found[number]


# --- as a process -------------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m fairway.traffic.prober", description="Steady load on one URL.")
    parser.add_argument("url")
    parser.add_argument("--host", default="", help="Host header")
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second")
    parser.add_argument("--out", default="-", help="file of JSON lines, one per answer; - is standard output")
    parser.add_argument("--count", type=int, default=0, help="stop after so many requests")
    parser.add_argument("--header", action="append", default=[], metavar="NAME:VALUE")
    parser.add_argument("--version-header", default=VERSION_HEADER)
    options = parser.parse_args(arguments)
    headers = [(name.strip(), value.strip()) for name, _, value in (text.partition(":") for text in options.header)]
    try:
        target = Target.of(options.url, host=options.host, headers=headers, version_header=options.version_header)
    except ValueError as error:
        parser.error(str(error))
    with contextlib.ExitStack() as stack:
        out = sys.stdout if options.out == "-" else stack.enter_context(open(options.out, "a"))  # noqa: PTH123
        asyncio.run(_serve(target, options.rate, options.count, out))
    return 0


async def _serve(target: Target, rate: float, count: int, out: TextIO) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    lines: list[str] = []
    prober = Prober(target, rate, lambda answer: lines.append(answer.line()))
    flusher = asyncio.create_task(_flush(lines, out))
    try:
        await prober.run(stop=stop, count=count)
    finally:
        flusher.cancel()
        _write(lines, out)


async def _flush(lines: list[str], out: TextIO) -> None:
    while True:
        await asyncio.sleep(_FLUSH_S)
        _write(lines, out)


def _write(lines: list[str], out: TextIO) -> None:
    if lines:
        out.write("\n".join(lines) + "\n")
        out.flush()
        lines.clear()


if __name__ == "__main__":
    sys.exit(main())
