"""The query API where another Prometheus answers: questions about samples are passed on to it as they came.

What is scraped and which rules are evaluated here is still said here: those are other paths.
"""

from __future__ import annotations

import aiohttp
import msgspec
from aiohttp import web

from fairway.metrics.querier import without_login

PATHS = ("query", "query_range", "query_exemplars", "series", "labels", "format_query", "metadata")
TIMEOUT_S = 25.0
"""Less than our own command line waits, which then says whose fault it is."""


def routes(address: str) -> list[web.RouteDef]:
    """The paths about samples under /api/v1/, answered by the Prometheus at `address`."""
    base, shown = address.rstrip("/"), without_login(address.rstrip("/"))

    async def forward(request: web.Request) -> web.Response:
        body, kind = await request.read(), request.headers.get("Content-Type", "")
        headers = {"Content-Type": kind} if body else {}
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session,
                session.request(request.method, f"{base}{request.path_qs}", data=body, headers=headers) as answer,
            ):
                return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)
        except TimeoutError:
            return _unavailable(504, f"the Prometheus at {shown} gave no answer within {TIMEOUT_S:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return _unavailable(503, f"the Prometheus at {shown} is not to be had: {error}")

    found = [web.get("/api/v1/label/{name}/values", forward)]
    for path in PATHS:
        found += [web.get(f"/api/v1/{path}", forward), web.post(f"/api/v1/{path}", forward)]
    return found


def _unavailable(status: int, message: str) -> web.Response:
    body = {"status": "error", "errorType": "unavailable", "error": message}
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")
