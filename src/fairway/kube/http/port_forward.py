"""Ports of pods at a client's own machine: `kubectl port-forward`, over a WebSocket in two ways.

kubectl tunnels SPDY: each of its connections is a pair of streams, one for data and one for what went wrong. Python clients
give each port two channels, 2i for data and 2i+1 for errors, of which each begins with the port's number; that is also
what a client means that names no subprotocol.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

from fairway.kube.errors import BadRequest
from fairway.kube.http.channels import V4
from fairway.kube.http.spdy import PING, RST_STREAM, SYN_STREAM, Frame, Malformed, Reader, Writer
from fairway.kube.http.streams import Streams
from fairway.kube.objects import Obj, meta_of, status_of

TUNNEL = "SPDY/3.1+portforward.k8s.io"
_CHUNK = 32 * 1024
_WAITING = 32  # pieces that a slow pod may leave waiting before its client has to

Send = Callable[[bytes, bool], Awaitable[None]]
"""Data of a connection towards the client; True with the last, which may be empty."""


def address_of(pod: Obj) -> str:
    """Where the pod listens; `BadRequest` while it cannot."""
    phase, address = status_of(pod).get("phase") or "Pending", status_of(pod).get("podIP")
    if phase != "Running" or not address:
        name = meta_of(pod).get("name", "")
        raise BadRequest(f"unable to forward a port of pod {name}: it is not running. Current status={phase}")
    return str(address)


async def forward(request: web.Request, streams: Streams, address: str) -> web.WebSocketResponse:
    """Until the client leaves or the server stops."""
    offered = {word.strip() for word in request.headers.get("Sec-WebSocket-Protocol", "").split(",")}
    if request.headers.get("Upgrade", "").lower() != "websocket" or not offered & {TUNNEL, V4, ""}:
        raise BadRequest(f"this server forwards ports over WebSocket ({TUNNEL} or {V4}) alone: use a client that does, such "
                         "as kubectl 1.31 or newer")
    try:
        ports = [int(port) for text in request.query.getall("ports", []) for port in text.split(",")]
    except ValueError:
        raise BadRequest("ports: not a list of numbers") from None
    socket = web.WebSocketResponse(protocols=(TUNNEL, V4), compress=False)
    async with streams.lasting(None):
        await socket.prepare(request)
        async with contextlib.AsyncExitStack() as connections:
            if socket.ws_protocol == TUNNEL:
                await _Tunnel(socket, address, connections).run()
            else:
                await _channels(socket, address, ports, connections)
    await socket.close()
    return socket


@dataclass(slots=True)
class _Connection:
    """One connection to the pod. `take` gives it the client's data, None at their end."""

    address: str
    port: int
    send: Send
    fail: Callable[[str], Awaitable[None]]
    given: asyncio.Queue[bytes | None] = field(default_factory=lambda: asyncio.Queue(_WAITING))
    task: asyncio.Task[None] | None = None

    def begin(self, leaving: contextlib.AsyncExitStack) -> None:
        self.task = asyncio.create_task(self._run())
        leaving.push_async_callback(self.end)

    async def end(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    async def take(self, data: bytes | None) -> None:
        """Data for a connection that has ended are dropped."""
        if self.task is None or self.task.done():
            return
        putting = asyncio.ensure_future(self.given.put(data))
        await asyncio.wait({putting, self.task}, return_when=asyncio.FIRST_COMPLETED)
        putting.cancel()

    async def _run(self) -> None:
        try:
            reader, writer = await asyncio.open_connection(self.address, self.port)
        except OSError as error:
            await self.fail(f"error forwarding port {self.port}: nothing answers at {self.address}:{self.port}: {error}")
            return
        giving = asyncio.create_task(self._give(writer))
        try:
            while data := await reader.read(_CHUNK):
                await self.send(data, False)
        except ConnectionError as error:
            await self.fail(f"error forwarding port {self.port}: {error}")
            return
        finally:
            giving.cancel()
            writer.close()
            await asyncio.gather(giving, return_exceptions=True)
        await self.send(b"", True)

    async def _give(self, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while (data := await self.given.get()) is not None:
                writer.write(data)
                await writer.drain()
            writer.write_eof()


class _Tunnel:
    def __init__(self, socket: web.WebSocketResponse, address: str, leaving: contextlib.AsyncExitStack) -> None:
        self._socket, self._address, self._leaving = socket, address, leaving
        self._reader, self._writer = Reader(), Writer()
        self._errors: dict[str, int] = {}
        """Error streams by request."""
        self._connections: dict[int, _Connection] = {}

    async def run(self) -> None:
        async for message in self._socket:
            if message.type is not WSMsgType.BINARY:
                continue
            try:
                frames = self._reader.feed(message.data)
            except Malformed:
                return
            for frame in frames:
                await self._hear(frame)

    async def _hear(self, frame: Frame) -> None:
        if frame.kind == PING:
            await self._socket.send_bytes(Writer.pong(frame.stream))
        elif frame.kind == SYN_STREAM:
            await self._socket.send_bytes(self._writer.reply(frame.stream))
            await self._open(frame)
        elif frame.kind == RST_STREAM and frame.stream in self._connections:
            await self._connections.pop(frame.stream).end()
        elif frame.kind == 0 and (one := self._connections.get(frame.stream)) is not None:
            if frame.data:
                await one.take(frame.data)
            if frame.fin:
                await one.take(None)

    async def _open(self, frame: Frame) -> None:
        asked, request = frame.headers, frame.headers.get("requestid", "")
        if asked.get("streamtype") == "error":
            self._errors[request] = frame.stream
            return
        errors, port = self._errors.pop(request, 0), asked.get("port", "")

        async def send(data: bytes, last: bool) -> None:
            await self._socket.send_bytes(Writer.data(frame.stream, data, fin=last))
            if last and errors:
                await self._socket.send_bytes(Writer.data(errors, b"", fin=True))

        async def fail(why: str) -> None:
            if errors:
                await self._socket.send_bytes(Writer.data(errors, why.encode(), fin=True))
            await self._socket.send_bytes(Writer.data(frame.stream, b"", fin=True))

        if not port.isdigit():
            await fail(f"{port!r} is no port")
            return
        self._connections[frame.stream] = one = _Connection(self._address, int(port), send, fail)
        one.begin(self._leaving)


async def _channels(socket: web.WebSocketResponse, address: str, ports: list[int],
                    leaving: contextlib.AsyncExitStack) -> None:
    connections = [_on_channels(socket, address, number, port) for number, port in enumerate(ports)]
    for number, one in enumerate(connections):
        for channel in (2 * number, 2 * number + 1):
            await socket.send_bytes(bytes([channel]) + one.port.to_bytes(2, "little"))
        one.begin(leaving)
    async for message in socket:
        if message.type is WSMsgType.BINARY and message.data and message.data[0] % 2 == 0:
            number = message.data[0] // 2
            if number < len(connections) and message.data[1:]:
                await connections[number].take(message.data[1:])


def _on_channels(socket: web.WebSocketResponse, address: str, number: int, port: int) -> _Connection:
    async def send(data: bytes, last: bool) -> None:
        if last:
            await socket.close()
        else:
            await socket.send_bytes(bytes([2 * number]) + data)

    async def fail(why: str) -> None:
        await socket.send_bytes(bytes([2 * number + 1]) + why.encode())
        await socket.close()

    return _Connection(address, port, send, fail)
