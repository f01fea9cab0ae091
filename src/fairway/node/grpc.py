"""One question of the standard gRPC health protocol over plain HTTP/2, and its answer.

A probe needs one unary call on a fresh connection: the preface, one HEADERS frame whose fields are written out in full (no
table, no Huffman code), one DATA frame. Of the answer only the message is read, so that no header has to be decoded.

Source: RFC 9113, RFC 7541 section 6.2.2, grpc `PROTOCOL-HTTP2.md`, `grpc/health/v1/health.proto`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, END_HEADERS, ACK, PADDED = 1, 4, 1, 8
_STATUS = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_SERVING = 1
_FRAME_LIMIT = 1 << 20


async def check(host: str, port: int, service: str) -> tuple[bool, str]:
    """Whether `service` ("": the whole server) is SERVING, and what was said where not. Raises OSError."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(PREFACE + frame(SETTINGS, 0, 0, b"") + question(f"{host}:{port}", service))
        return await _answer(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(0.2):
                await writer.wait_closed()


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def question(authority: str, service: str) -> bytes:
    """The frames of one call on stream 1."""
    fields = {
        ":method": "POST", ":scheme": "http", ":path": "/grpc.health.v1.Health/Check", ":authority": authority,
        "content-type": "application/grpc", "te": "trailers", "user-agent": "kube-probe/1.35",
    }  # fmt: skip
    block = b"".join(b"\x00" + _text(name) + _text(value) for name, value in fields.items())
    name = service.encode()
    asked = b"\x0a" + _varint(len(name)) + name if name else b""
    message = b"\x00" + len(asked).to_bytes(4, "big") + asked
    return frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, END_STREAM, 1, message)


def _text(text: str) -> bytes:
    """A string literal: its length in seven bits, more where they are not enough."""
    raw = text.encode()
    if len(raw) < 127:
        return bytes((len(raw),)) + raw
    return b"\x7f" + _varint(len(raw) - 127) + raw


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes((*out, number))


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[bool, str]:
    body = b""
    while True:
        head = await reader.readexactly(9)
        size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        if size > _FRAME_LIMIT:
            return False, "the answer is no HTTP/2: is this a gRPC port?"
        payload = await reader.readexactly(size)
        if kind == SETTINGS and not flags & ACK:
            writer.write(frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            writer.write(frame(PING, ACK, 0, payload))
        elif kind == DATA:
            body += payload[1:len(payload) - payload[0]] if flags & PADDED else payload
        elif kind in (RST_STREAM, GOAWAY):
            return False, "the server refused the call"
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            return verdict(body)


def verdict(body: bytes) -> tuple[bool, str]:
    """What a whole answer says. One without a message is an error of the server's, told in a header that we do not read."""
    if len(body) < 5:
        return False, ("service unhealthy: the server answered without a message; it must offer grpc.health.v1.Health and know "
                       "the service")
    status = next((value for number, value in _numbers(body[5:]) if number == 1), 0)
    said = _STATUS.get(status, str(status))
    return status == _SERVING, f'service unhealthy (responded with "{said}")'


def _numbers(message: bytes) -> Iterator[tuple[int, int]]:
    """Fields of a protobuf message that hold a number; any other field ends the reading."""
    at = 0
    while at + 1 < len(message) and message[at] & 7 == 0:
        number, value, shift = message[at] >> 3, 0, 0
        at += 1
        while at < len(message):
            value |= (message[at] & 127) << shift
            shift += 7
            at += 1
            if not message[at - 1] & 128:
                break
        yield number, value
