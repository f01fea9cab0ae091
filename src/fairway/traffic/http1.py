"""HTTP/1.1 messages as far as a proxy has to read them: heads, and how long a body is. RFC 9112 section 6."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Literal

Framing = Literal["none", "length", "chunked", "until-close"]

HOP_BY_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"})
_PIECE = 64 << 10


class MalformedMessage(Exception):
    """The peer does not speak HTTP/1.1."""


@dataclass(frozen=True, slots=True)
class Head:
    """`first` is the request or status line in its three parts. `headers` keeps order and case; `fields` is a lookup by
    lower-case name (of several equal names, joined by ", ")."""

    first: tuple[str, str, str]
    headers: tuple[tuple[str, str], ...]
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def keeps_alive(self) -> bool:
        options = self.fields.get("connection", "").lower()
        version = self.first[0] if self.first[0].startswith("HTTP/") else self.first[2]
        return "close" not in options if version == "HTTP/1.1" else "keep-alive" in options

    @property
    def upgrades(self) -> bool:
        return "upgrade" in self.fields and "upgrade" in self.fields.get("connection", "").lower()


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """None where the peer closed before the first byte."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as cut:
        if not cut.partial.strip():
            return None
        raise MalformedMessage("the connection was closed inside a message head") from cut
    except asyncio.LimitOverrunError as long:
        raise MalformedMessage("the message head is too long") from long
    lines = raw[:-4].decode("latin-1").lstrip("\r\n").split("\r\n")
    first = lines[0].split(" ", 2)
    if len(first) == 2 and first[0].startswith("HTTP/"):
        first.append("")
    if len(first) != 3:
        raise MalformedMessage(f"not a request or status line: {lines[0][:80]!r}")
    headers: list[tuple[str, str]] = []
    fields: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise MalformedMessage(f"not a header: {line[:80]!r}")
        value = value.strip()
        headers.append((name, value))
        lower = name.lower()
        fields[lower] = f"{fields[lower]}, {value}" if lower in fields else value
    return Head((first[0], first[1], first[2]), tuple(headers), fields)


def request_framing(head: Head) -> tuple[Framing, int]:
    length = _length(head)  # first: a message with both lengths is refused, for the next server may read it otherwise
    if "chunked" in head.fields.get("transfer-encoding", "").lower():
        return "chunked", 0
    return ("length", length) if length else ("none", 0)


def response_framing(head: Head, method: str) -> tuple[Framing, int]:
    status = int(head.first[1])
    if method == "HEAD" or status < 200 or status in (204, 304):
        return "none", 0
    if "chunked" in head.fields.get("transfer-encoding", "").lower():
        return "chunked", 0
    if "content-length" in head.fields:
        return "length", _length(head)
    return "until-close", 0


def _length(head: Head) -> int:
    text = head.fields.get("content-length", "0")
    if not (text.isascii() and text.isdigit()) or ("transfer-encoding" in head.fields and "content-length" in head.fields):
        raise MalformedMessage(f"content-length {text!r} cannot be trusted")
    return int(text)


async def body(reader: asyncio.StreamReader, framing: Framing, length: int) -> AsyncIterator[bytes]:
    """The body as it is on the wire, chunk headers included. Raises `IncompleteReadError` where it is cut."""
    match framing:
        case "none":
            return
        case "length":
            while length > 0:
                piece = await reader.read(min(length, _PIECE))
                if not piece:
                    raise asyncio.IncompleteReadError(b"", length)
                length -= len(piece)
                yield piece
        case "until-close":
            while piece := await reader.read(_PIECE):
                yield piece
        case "chunked":
            async for piece in _chunks(reader):
                yield piece


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while True:
        line = await reader.readuntil(b"\r\n")
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError as bad:
            raise MalformedMessage(f"not a chunk size: {line[:40]!r}") from bad
        if size == 0:
            tail = line
            while (trailer := await reader.readuntil(b"\r\n")) != b"\r\n":
                tail += trailer
            yield tail + b"\r\n"
            return
        yield line + await reader.readexactly(size + 2)
