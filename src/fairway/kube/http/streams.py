"""Answers that go on: watches and followed logs.

A stream ends when its time is over, when the client leaves (aiohttp cancels the handler), or when the server stops: the
last two are why every stream runs under a deadline that the server can move to now.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import ClientConnectionResetError, web

from fairway.kube.api import WatchEvent
from fairway.kube.errors import ApiError
from fairway.kube.http.answers import TEXT, encode
from fairway.kube.http.columns import Layout
from fairway.kube.http.tables import Include, partial, table
from fairway.kube.objects import Obj, meta_of

_FIRST_LINE_S = 1.0  # until a followed log that says nothing yet sends its headers
_SHARED = 128  # encoded events kept, with their objects: watchers are rarely further apart, and memory is dear


class Streams:
    """The streams of one server."""

    def __init__(self) -> None:
        self._open: set[asyncio.Timeout] = set()
        self._stopped = False
        self._encoded: OrderedDict[int, tuple[Obj, bytes]] = OrderedDict()

    def stop(self) -> None:
        """End every stream cleanly, now, and let none begin."""
        self._stopped = True
        now = asyncio.get_running_loop().time()
        for deadline in self._open:
            deadline.reschedule(now)

    @contextlib.asynccontextmanager
    async def lasting(self, seconds: float | None) -> AsyncIterator[None]:
        """Leave the body after `seconds`, or when the server stops; a client that has left is no error."""
        try:
            async with asyncio.timeout(0 if self._stopped else seconds) as deadline:
                self._open.add(deadline)
                try:
                    yield
                finally:
                    self._open.discard(deadline)
        except (TimeoutError, ClientConnectionResetError, ConnectionResetError):
            pass

    def event(self, event: WatchEvent) -> bytes:
        """One line of a watch. Events are shared between watchers, and so is their encoding."""
        return b'{"type":"%s","object":%s}\n' % (event.type.encode(), self._object(event.object))

    def _object(self, obj: Obj) -> bytes:
        known = self._encoded.get(id(obj))
        if known is not None and known[0] is obj:
            return known[1]
        data = encode(obj)
        self._encoded[id(obj)] = obj, data
        if len(self._encoded) > _SHARED:
            self._encoded.popitem(last=False)
        return data


class EventWriter:
    """Watch events in the form that the client asked for."""

    def __init__(self, streams: Streams, *, form: str, layout: Layout | None, include: Include, now: Any) -> None:
        self._streams = streams
        self._form = form
        self._layout = layout
        self._include = include
        self._now = now
        self._headed = True

    def line(self, event: WatchEvent) -> bytes:
        if self._layout is not None:
            return _line(event.type, self._table(event, self._layout))
        if self._form in ("metadata", "metadata-list") and event.type != "BOOKMARK":
            return _line(event.type, partial(event.object))
        return self._streams.event(event)

    def _table(self, event: WatchEvent, layout: Layout) -> Obj:
        """Column definitions come with the first event only."""
        rows = [] if event.type == "BOOKMARK" else [event.object]
        metadata = {"resourceVersion": meta_of(event.object).get("resourceVersion", "")}
        if event.type == "BOOKMARK" and "annotations" in meta_of(event.object):
            metadata["annotations"] = meta_of(event.object)["annotations"]
        made = table(layout, rows, now=self._now(), metadata=metadata, include=self._include, headed=self._headed)
        self._headed = False
        return made

    @staticmethod
    def error(error: ApiError) -> bytes:
        return _line("ERROR", error.status())


def _line(kind: str, obj: Obj) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (kind.encode(), encode(obj))


async def send_events(request: web.Request, streams: Streams, events: AsyncIterator[WatchEvent] | ApiError,
                      writer: EventWriter, seconds: float) -> web.StreamResponse:
    """Stream `events`; an error among them, or instead of them, is the last event."""
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"})
    response.enable_chunked_encoding()
    async with streams.lasting(seconds):
        await response.prepare(request)
        try:
            if isinstance(events, ApiError):
                raise events
            async for event in events:
                await response.write(writer.line(event))
        except ApiError as error:
            await response.write(writer.error(error))
    if not isinstance(events, ApiError):
        await _close(events)
    await _end(response)
    return response


async def send_log(request: web.Request, streams: Streams, chunks: AsyncIterator[bytes], *,
                   follow: bool) -> web.StreamResponse:
    """Stream a log. Errors before the first chunk are answers of their own; an empty log is 204."""
    first: asyncio.Task[bytes | None] = asyncio.ensure_future(_next(chunks))
    response = web.StreamResponse(headers={"Content-Type": TEXT, "Cache-Control": "no-cache, private"})
    try:
        async with streams.lasting(None):
            await asyncio.wait({first}, timeout=_FIRST_LINE_S if follow else None)
            if first.done() and first.result() is None and not follow:
                return web.Response(status=204)
            response.enable_chunked_encoding()
            await response.prepare(request)
            chunk = await first
            while chunk is not None:
                await response.write(chunk)
                chunk = await _next(chunks)
    finally:
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await _close(chunks)
    if not response.prepared:
        return web.Response(status=204)
    await _end(response)
    return response


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(chunks, None)


async def _close(stream: AsyncIterator[Any]) -> None:
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()


async def _end(response: web.StreamResponse) -> None:
    with contextlib.suppress(ConnectionResetError, ClientConnectionResetError, RuntimeError):
        await response.write_eof()
