"""A page in a browser on this machine can send requests to the web port: it may neither change nor read anything."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web

from fairway.web.guard import refusal
from fairway.web.server import WebServer
from tests.traffic.backends import free_port

SILENCES = "/api/v2/silences"


@pytest.mark.parametrize(("method", "path", "headers", "refused"), [
    ("POST", SILENCES, {"Host": "127.0.0.1:8080"}, False),
    ("POST", SILENCES, {"Host": "localhost:8080", "Origin": "http://localhost:8080"}, False),
    ("POST", SILENCES, {"Host": "127.0.0.1:8080", "Origin": "https://elsewhere.example.com"}, True),
    ("POST", SILENCES, {"Host": "127.0.0.1:8080", "Origin": "http://127.0.0.1:3000"}, True),
    ("POST", SILENCES, {"Host": "127.0.0.1:8080", "Origin": "null"}, True),
    ("DELETE", "/api/v2/silence/1", {"Host": "127.0.0.1:8080", "Sec-Fetch-Site": "cross-site"}, True),
    ("GET", "/api/v1/query", {"Host": "127.0.0.1:8080", "Origin": "https://elsewhere.example.com"}, False),
    ("GET", "/api/v1/query", {"Host": "rebound.example.com:8080"}, True),
    ("GET", "/api/v1/query", {"Host": "127.0.0.1.example.com"}, True),
    ("GET", "/api/v1/query", {}, True),
    ("GET", "/healthz", {"Host": "[::1]:8080"}, False),
    ("POST", "/git/shop/app.git/git-receive-pack", {"Host": "git.example.com"}, False),
    ("POST", "/api/webhook", {"Host": "hooks.example.com"}, False),
    ("PUT", "/v2/shop/manifests/1", {"Host": "registry.example.com"}, False),
])  # fmt: skip
def test_who_may_ask(method: str, path: str, headers: dict[str, str], refused: bool) -> None:
    assert (refusal(method, path, headers) is not None) == refused


def test_the_server_asks_the_guard_before_anybody_else() -> None:
    reached: list[str] = []

    async def silence(_request: web.Request) -> web.Response:
        reached.append("silence")
        return web.Response()

    async def main() -> None:
        server, port = WebServer([web.post(SILENCES, silence)]), free_port()
        await server.start("127.0.0.1", port)
        try:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
                async with session.post(SILENCES, headers={"Origin": "https://elsewhere.example.com"}) as answer:
                    assert answer.status == 403 and "elsewhere.example.com" in await answer.text()
                assert reached == []
                async with session.post(SILENCES) as answer:
                    assert answer.status == 200
        finally:
            await server.stop()

    asyncio.run(main())
    assert reached == ["silence"]
