"""SPDY/3.1 frames, as far as port forwarding needs them: kubectl sends them through a WebSocket. Pure.

A control frame is a bit, the version, a type, a byte of flags and a length; a data frame begins with its stream instead.
Header blocks are one zlib stream for each direction of a connection, which begins with a dictionary that both sides know.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

SYN_STREAM, SYN_REPLY, RST_STREAM, PING, GOAWAY = 1, 2, 3, 6, 7
FIN = 0x01
LARGEST_FRAME = 1 << 20
"""kubectl's frames hold what it has read at once: 32 KiB."""

_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie "
    "keep-alive origin"
)  # fmt: skip
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative "
    "Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal "
    "Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, "
    "Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,"
    "application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8"
    "charset=iso-8859-1,utf-,*,enq=0."
)  # fmt: skip
DICTIONARY = b"".join(
    len(word).to_bytes(4, "big") + word.replace("_", " ").encode() for word in _WORDS.split(" ")) + _TAIL.encode()


class Malformed(Exception):
    """What came is no SPDY."""


@dataclass(frozen=True, slots=True)
class Frame:
    """`kind` 0: data of `stream`. Headers are those of a SYN_STREAM."""

    kind: int
    stream: int
    data: bytes = b""
    fin: bool = False
    headers: dict[str, str] = field(default_factory=dict)


class Reader:
    """Frames out of bytes that come in any pieces."""

    def __init__(self) -> None:
        self._rest = b""
        self._headers = zlib.decompressobj(zdict=DICTIONARY)

    def feed(self, data: bytes) -> list[Frame]:
        """Raises `Malformed`."""
        self._rest += data
        frames = []
        while len(self._rest) >= 8:
            length = int.from_bytes(self._rest[5:8], "big")
            if length > LARGEST_FRAME:
                raise Malformed(f"a frame of {length} bytes; the most is {LARGEST_FRAME}")
            if len(self._rest) < 8 + length:
                break
            head, body, self._rest = self._rest[:8], self._rest[8 : 8 + length], self._rest[8 + length :]
            frames.append(self._frame(head, body))
        return frames

    def _frame(self, head: bytes, body: bytes) -> Frame:
        fin = bool(head[4] & FIN)
        if not head[0] & 0x80:
            return Frame(0, int.from_bytes(head[:4], "big"), body, fin)
        kind = int.from_bytes(head[2:4], "big")
        number = int.from_bytes(body[:4], "big")
        if kind == SYN_STREAM:
            return Frame(kind, number & 0x7FFFFFFF, fin=fin, headers=self._block(body[10:]))
        return Frame(kind, number if kind == PING else number & 0x7FFFFFFF, body[4:], fin)

    def _block(self, data: bytes) -> dict[str, str]:
        try:
            plain = self._headers.decompress(data)
        except zlib.error as error:
            raise Malformed(f"a header block that zlib does not read: {error}") from error
        words, at = [], 4
        for _ in range(2 * int.from_bytes(plain[:4], "big")):
            size = int.from_bytes(plain[at : at + 4], "big")
            words.append(plain[at + 4 : at + 4 + size].decode("latin-1"))
            at += 4 + size
        return {name.lower(): value for name, value in zip(words[::2], words[1::2], strict=True)}


class Writer:
    """Bytes of frames, in the order in which they will be sent."""

    def __init__(self) -> None:
        self._headers = zlib.compressobj(zdict=DICTIONARY)

    def reply(self, stream: int) -> bytes:
        """The stream is accepted; there are no headers to tell."""
        block = self._headers.compress(bytes(4)) + self._headers.flush(zlib.Z_SYNC_FLUSH)
        return _control(SYN_REPLY, stream.to_bytes(4, "big") + block)

    @staticmethod
    def data(stream: int, data: bytes, *, fin: bool = False) -> bytes:
        return stream.to_bytes(4, "big") + bytes([FIN if fin else 0]) + len(data).to_bytes(3, "big") + data

    @staticmethod
    def pong(number: int) -> bytes:
        return _control(PING, number.to_bytes(4, "big"))


def _control(kind: int, body: bytes) -> bytes:
    return b"\x80\x03" + kind.to_bytes(2, "big") + b"\0" + len(body).to_bytes(3, "big") + body
