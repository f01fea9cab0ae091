"""HTTP as applications use it passes through unharmed, over Envoy and over the slow proxy alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from fairway.traffic.model import Backend, Cluster, Endpoint, HeaderMatch, IngressListener, Model, Route, VirtualHost
from fairway.traffic.port import DataPlane
from tests.traffic.backends import Backend as Server
from tests.traffic.backends import ask, free_port, own_address
from tests.traffic.world import DATA_PLANES, HOST, data_plane

pytestmark = pytest.mark.parametrize("kind", DATA_PLANES)


@asynccontextmanager
async def serving(plane: DataPlane, *hosts: VirtualHost, clusters: tuple[Cluster, ...]) -> AsyncIterator[int]:
    port = free_port()
    await plane.start()
    try:
        await plane.apply(Model(IngressListener("127.0.0.1", port, hosts), (), clusters))
        yield port
    finally:
        await plane.stop()


def cluster(name: str, server: Server) -> Cluster:
    return Cluster("shop", name, 80, "", (Endpoint(server.address, server.port),))


def to(name: str) -> tuple[Backend, ...]:
    return (Backend(f"shop|{name}|80|-", 1),)


async def echo(request: web.Request) -> web.StreamResponse:
    body = await request.read()
    answer = web.StreamResponse(headers={"x-length": str(len(body)), "x-path": request.path_qs,
                                         "x-host": request.headers["host"]})
    await answer.prepare(request)
    for piece in (body[:1000], body[1000:]):
        if piece:
            await answer.write(piece)
    await answer.write_eof()
    return answer


async def socket(request: web.Request) -> web.WebSocketResponse:
    answer = web.WebSocketResponse()
    await answer.prepare(request)
    async for message in answer:
        await answer.send_str(f"heard {message.data}")
    return answer


async def empty(request: web.Request) -> web.Response:
    return web.Response(status=204)


@asynccontextmanager
async def application() -> AsyncIterator[Server]:
    """An aiohttp application, described as a server."""
    app = web.Application(client_max_size=8 << 20)
    app.router.add_get("/socket", socket)
    app.router.add_get("/empty", empty)
    app.router.add_route("*", "/{path:.*}", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    address = own_address()
    port = free_port(address)
    await web.TCPSite(runner, address, port).start()
    try:
        yield Server("app", address, port)
    finally:
        await runner.cleanup()


def test_bodies_streams_upgrades_and_reused_connections(kind: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with application() as app:
            host = VirtualHost(HOST, (HOST,), (Route("/", "prefix", to("app")),))
            async with serving(data_plane(kind, tmp_path), host, clusters=(cluster("app", app),)) as port:
                url = f"http://127.0.0.1:{port}"
                connector = aiohttp.TCPConnector(limit=1)
                async with aiohttp.ClientSession(headers={"host": HOST}, connector=connector) as client:
                    await bodies(client, url)
                    async with client.ws_connect(f"{url}/socket") as ws:
                        await ws.send_str("hello")
                        assert await ws.receive_str(timeout=5) == "heard hello"

    asyncio.run(story())


async def bodies(client: aiohttp.ClientSession, url: str) -> None:
    large = bytes(range(256)) * 4096

    async def in_pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 100_000):
            yield large[start:start + 100_000]

    async with client.post(f"{url}/a?b=c%20d", data=large) as answer:
        assert (answer.status, await answer.read() == large) == (200, True)
        assert answer.headers["x-path"] == "/a?b=c%20d"
        assert answer.headers["x-host"] == HOST
    async with client.put(f"{url}/chunked", data=in_pieces()) as answer:
        assert (answer.headers["x-length"], await answer.read() == large) == (str(len(large)), True)
    async with client.head(f"{url}/head") as answer:
        assert (answer.status, await answer.read()) == (200, b"")
    async with client.get(f"{url}/empty") as answer:
        assert (answer.status, await answer.read()) == (204, b"")
    async with client.get(f"{url}/after") as answer:
        assert (answer.status, await answer.read()) == (200, b"")


ROUTES = (
    Route("/exact", "exact", to("a")),
    Route("/shop", "prefix", to("b")),
    Route("/v[0-9]+/", "regex", to("c")),
    Route("/", "prefix", to("a"), headers=(HeaderMatch("x-debug", kind="present"),)),
    Route("/", "prefix", to("d")),
)


@pytest.mark.parametrize(
    ("host", "path", "headers", "answer"),
    [
        ("shop.example.com", "/exact", "", (200, "a")),
        ("shop.example.com", "/exact/more", "", (200, "d")),
        ("shop.example.com", "/exact?x=1", "", (200, "a")),
        ("shop.example.com", "/shop", "", (200, "b")),
        ("shop.example.com", "/shop/cart", "", (200, "b")),
        ("shop.example.com", "/shopping", "", (200, "d")),
        ("shop.example.com", "/v12/orders", "", (200, "c")),
        ("SHOP.example.com", "/", "X-Debug: 1\r\n", (200, "a")),
        ("www.example.org", "/", "", (200, "b")),
        ("example.org", "/", "", (404, "")),
        ("www.example.org", "/exact", "", (200, "b")),
        ("unknown.example.net", "/", "", (404, "")),
    ],
)
def test_which_route_a_request_takes(kind: str, tmp_path: Path, host: str, path: str, headers: str,
                                     answer: tuple[int, str]) -> None:
    async def story() -> None:
        servers = {}
        for name in "abcd":
            address = own_address()
            servers[name] = await Server(name, address, free_port(address)).start()
        hosts = (VirtualHost("shop", ("shop.example.com",), ROUTES),
                 VirtualHost("wild", ("*.example.org",), (Route("/", "prefix", to("b")),)))
        clusters = tuple(cluster(name, server) for name, server in servers.items())
        async with serving(data_plane(kind, tmp_path), *hosts, clusters=clusters) as port:
            assert await ask("127.0.0.1", port, host, path, headers) == answer
        for server in servers.values():
            server.kill()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("path", "path_kind", "rewrite", "asked", "got"),
    [
        ("/api", "prefix", "/", "/api/x?y=1", "/?y=1"),
        ("/api(/|$)(.*)", "regex", "/\\2", "/api/orders/7", "/orders/7"),
        ("/api", "prefix", "", "/api/x", "/api/x"),
    ],
)
def test_rewrites(kind: str, tmp_path: Path, path: str, path_kind: str, rewrite: str, asked: str, got: str) -> None:
    async def story() -> None:
        address = own_address()
        server = await Server("a", address, free_port(address)).start()
        route = Route(path, path_kind, to("a"), rewrite=rewrite)  # type: ignore[arg-type]
        host = VirtualHost(HOST, (HOST,), (route,))
        async with serving(data_plane(kind, tmp_path), host, clusters=(cluster("a", server),)) as port:
            assert await ask("127.0.0.1", port, HOST, asked) == (200, "a")
        assert server.last_head.split(" ")[1] == got
        server.kill()

    asyncio.run(story())


def test_no_ready_endpoint_is_503(kind: str, tmp_path: Path) -> None:
    async def story() -> None:
        host = VirtualHost(HOST, (HOST,), (Route("/", "prefix", to("a")),))
        async with serving(data_plane(kind, tmp_path), host, clusters=(Cluster("shop", "a", 80, ""),)) as port:
            assert await ask("127.0.0.1", port, HOST) == (503, "")

    asyncio.run(story())


def test_what_is_sent_twice(kind: str, tmp_path: Path) -> None:
    """A GET that a server cuts off is asked of another; a POST that reached one is not."""

    async def story() -> None:
        cut = await asyncio.start_server(_cut_off, own_address(), 9300)
        good = await Server("good", own_address(), 9300).start()
        bad = Endpoint(cut.sockets[0].getsockname()[0], 9300)
        both = Cluster("shop", "a", 80, "", (bad, Endpoint(good.address, 9300)))
        host = VirtualHost(HOST, (HOST,), (Route("/", "prefix", to("a")),))
        async with serving(data_plane(kind, tmp_path), host, clusters=(both,)) as port:
            assert [await ask("127.0.0.1", port, HOST) for _ in range(6)] == [(200, "good")] * 6
        async with serving(data_plane(kind, tmp_path), host, clusters=(Cluster("shop", "a", 80, "", (bad,)),)) as port:
            assert (await ask("127.0.0.1", port, HOST, body=b"order"))[0] in (502, 503)
        cut.close()
        good.kill()

    asyncio.run(story())


async def _cut_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()


def test_a_request_with_two_lengths_is_refused(kind: str, tmp_path: Path) -> None:
    """What is behind the proxy may believe the other one, and read a second request in the first one's body."""

    async def story() -> None:
        host = VirtualHost(HOST, (HOST,), (Route("/", "prefix", to("a")),))
        async with serving(data_plane(kind, tmp_path), host, clusters=(Cluster("shop", "a", 80, ""),)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            head = f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
            writer.write(f"{head}0\r\n\r\n".encode())
            assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
            writer.close()

    asyncio.run(story())
