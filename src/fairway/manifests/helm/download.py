"""Bounded GETs for charts: http and https, with a limit of bytes and time, and no credentials to another host."""

from __future__ import annotations

import base64
import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from fairway.git.port import Unreachable, without_credentials

SECONDS = 30.0
"""For one answer to begin, and for each piece of it."""
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Login:
    user: str
    password: str = field(repr=False)

    def header(self) -> str:
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


def get(url: str, *, limit: int, authorization: str = "", accept: str = "*/*",
        known: Mapping[str, str] | None = None) -> Answer:
    """The answer, whatever its status; `Unreachable` where there is none, or one of more than `limit` bytes.

    The authorization is not sent on when the server points elsewhere. `known`: the headers of the answer that is here already;
    a server that has no other one says 304.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise Unreachable(f"{without_credentials(url)}: charts come over http or https")
    request = urllib.request.Request(url, headers={"Accept": accept, "User-Agent": "fairway"})
    for told, asked in (("etag", "If-None-Match"), ("last-modified", "If-Modified-Since")):
        if known and known.get(told):
            request.add_header(asked, known[told])
    if authorization:
        request.add_unredirected_header("Authorization", authorization)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as response:
            return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, _read(response, limit, url))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read(_CHUNK))
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Unreachable(f"{without_credentials(url)}: {reason}; is the address right, and the server up?") from error


def _read(response: http.client.HTTPResponse, limit: int, url: str) -> bytes:
    found = bytearray()
    while data := response.read(_CHUNK):
        found += data
        if len(found) > limit:
            raise Unreachable(f"{without_credentials(url)}: more than {limit >> 20} MB; it is not read on")
    return bytes(found)
