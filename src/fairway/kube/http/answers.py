"""How answers are written: JSON or YAML, errors as Status objects, warnings as headers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import yaml
from aiohttp import web

from fairway.kube.errors import ApiError
from fairway.kube.http.media import Media
from fairway.kube.objects import Obj

JSON, YAML, TEXT = "application/json", "application/yaml", "text/plain"
encode = msgspec.json.encode


def answer(body: Any, *, status: int = 200, media: Media | None = None, warnings: Iterable[str] = (),
           content_type: str = JSON) -> web.Response:
    if media is not None and media.yaml:
        dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
        data, content_type = yaml.dump(body, Dumper=dumper, sort_keys=False).encode(), YAML
    else:
        data = encode(body) + b"\n"
    return _response(data, status, content_type, warnings)


def raw(data: bytes, *, content_type: str = JSON) -> web.Response:
    return _response(data, 200, content_type, ())


def text(words: str, status: int = 200) -> web.Response:
    return web.Response(text=words, status=status)


def page_not_found() -> web.Response:
    """What Go's router says to a path that nobody serves."""
    return text("404 page not found\n", 404)


def refusal(error: ApiError) -> web.Response:
    body = error.status()
    if error.reason in ("NotAcceptable", "NotFound", "Forbidden") and not error.details and _empty_details(error):
        body["details"] = {}
    response = answer(body, status=error.code if 400 <= error.code < 600 else 500)
    after = error.details.get("retryAfterSeconds")
    if after:
        response.headers["Retry-After"] = str(after)
    return response


def _empty_details(error: ApiError) -> bool:
    return not error.message.startswith("only the following")


def _response(data: bytes, status: int, content_type: str, warnings: Iterable[str]) -> web.Response:
    response = web.Response(body=data, status=status)
    # Set as it is: aiohttp would quote the parameters of the aggregated discovery's type.
    response.headers["Content-Type"] = content_type
    response.headers["Cache-Control"] = "no-cache, private"
    for warning in dict.fromkeys(warnings):
        warn(response, warning)
    return response


def warn(response: web.Response, words: str) -> None:
    """Say `words` to whoever reads warnings: kubectl prints them."""
    response.headers.add("Warning", f"299 - {quoted(words)}")


def quoted(words: str) -> str:
    """A quoted string of HTTP; control characters, which headers may not hold, become blanks."""
    clean = "".join(ch if ch.isprintable() else " " for ch in words)
    return '"' + clean.replace("\\", "\\\\").replace('"', '\\"') + '"'


def list_body(kind: str, api_version: str, metadata: Obj, items: list[Any]) -> Obj:
    return {"kind": kind, "apiVersion": api_version, "metadata": metadata, "items": items}
