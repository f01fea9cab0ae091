"""The web port: whatever routes the platform's rooms offer, on loopback, plus health."""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web
from aiohttp.typedefs import Handler

from fairway.web.guard import refusal

_LARGEST_BODY = 1 << 30  # a push of a large repository; git's own backend streams it


class WebServer:
    """Serves `routes` until `stop`."""

    def __init__(self, routes: Iterable[web.RouteDef]) -> None:
        app = web.Application(client_max_size=_LARGEST_BODY, middlewares=[_guarded])
        app.add_routes([web.get("/healthz", _healthy), *routes])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)

    async def start(self, host: str, port: int) -> None:
        """Raises OSError where the port is taken."""
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()

    async def stop(self) -> None:
        await self._runner.cleanup()


@web.middleware
async def _guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    refused = refusal(request.method, request.path, request.headers)
    return await handler(request) if refused is None else web.Response(status=403, text=f"{refused}\n")


async def _healthy(_request: web.Request) -> web.Response:
    return web.Response(text="ok")
