"""Ports of pods over a WebSocket: SPDY in a tunnel, and channels."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterator

import aiohttp
import pytest

from fairway.kube.http import spdy
from fairway.kube.http.port_forward import TUNNEL
from tests.kube_http.serving import DEADLINE_S, Served, serving

PODS = "/api/v1/namespaces/default/pods"
V4 = "v4.channel.k8s.io"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("forward"), tls=False) as running:
        running.create(PODS, "p", spec={"containers": [{"name": "main", "image": "i"}]})
        status = {"status": {"phase": "Running", "podIP": "127.0.0.1"}}
        running.ask("PATCH", f"{PODS}/p/status", status, Content_Type="application/merge-patch+json")
        yield running


async def capitals(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What a pod serves here: everything in capitals, once the other side has ended."""
    writer.write((await reader.read()).upper())
    await writer.drain()
    writer.close()


def talk(served: Served, protocol: str, work: Callable[[aiohttp.ClientWebSocketResponse, int], Awaitable[None]]) -> None:
    async def main() -> None:
        server = await asyncio.start_server(capitals, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        headers = {"Authorization": f"Bearer {served.pki.token}"}
        async with asyncio.timeout(DEADLINE_S), server, aiohttp.ClientSession(headers=headers) as client:
            url = f"{served.server.url}{PODS}/p/portforward?ports={port}"
            async with client.ws_connect(url, protocols=(protocol,)) as socket:
                await work(socket, port)

    asyncio.run(main())


def syn(stream: int, compressor: zlib._Compress, **headers: str) -> bytes:
    block = len(headers).to_bytes(4, "big")
    for pair in headers.items():
        block += b"".join(len(word).to_bytes(4, "big") + word.encode() for word in pair)
    packed = compressor.compress(block) + compressor.flush(zlib.Z_SYNC_FLUSH)
    body = stream.to_bytes(4, "big") + bytes(6) + packed
    return b"\x80\x03\x00\x01\x00" + len(body).to_bytes(3, "big") + body


def test_a_tunnel_of_spdy_in_pieces_of_any_size(served: Served) -> None:
    async def work(socket: aiohttp.ClientWebSocketResponse, port: int) -> None:
        compressor, reader = zlib.compressobj(zdict=spdy.DICTIONARY), spdy.Reader()
        sent = syn(1, compressor, streamtype="error", port=str(port), requestid="0")
        sent += syn(3, compressor, streamtype="data", port=str(port), requestid="0")
        sent += spdy.Writer.pong(7) + spdy.Writer.data(3, b"hel") + spdy.Writer.data(3, b"lo", fin=True)
        for at in range(0, len(sent), 11):
            await socket.send_bytes(sent[at : at + 11])
        frames: list[spdy.Frame] = []
        while not {1, 3} <= {frame.stream for frame in frames if frame.fin}:
            frames += reader.feed(await socket.receive_bytes())
        assert b"".join(frame.data for frame in frames if (frame.kind, frame.stream) == (0, 3)) == b"HELLO"
        assert [frame.stream for frame in frames if frame.kind == spdy.SYN_REPLY] == [1, 3]
        assert [frame.stream for frame in frames if frame.kind == spdy.PING] == [7]

    talk(served, TUNNEL, work)


def test_channels_begin_with_their_port_and_tell_what_went_wrong(served: Served) -> None:
    async def work(socket: aiohttp.ClientWebSocketResponse, port: int) -> None:
        assert [await socket.receive_bytes() for _ in range(2)] == [
            bytes([channel]) + port.to_bytes(2, "little") for channel in (0, 1)]
        await socket.send_bytes(b"\x00hello")

    talk(served, V4, work)

    async def refused() -> None:
        headers = {"Authorization": f"Bearer {served.pki.token}"}
        async with asyncio.timeout(DEADLINE_S), aiohttp.ClientSession(headers=headers) as client:
            url = f"{served.server.url}{PODS}/p/portforward?ports=1"
            async with client.ws_connect(url, protocols=(V4,)) as socket:
                said = [await socket.receive_bytes() for _ in range(3)]
                assert said[2].startswith(b"\x01error forwarding port 1: nothing answers at 127.0.0.1:1")
                assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE

    asyncio.run(refused())


def test_nonsense_ends_the_tunnel(served: Served) -> None:
    async def work(socket: aiohttp.ClientWebSocketResponse, port: int) -> None:
        await socket.send_bytes(b"\x80\x03\x00\x01\x00\x00\x00\x0c" + bytes(10) + b"xx")
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE

    talk(served, TUNNEL, work)


def test_what_cannot_be_forwarded_says_why(served: Served) -> None:
    served.create(PODS, "waits", spec={"containers": [{"name": "main", "image": "i"}]})
    status, body = served.ask("POST", f"{PODS}/waits/portforward")
    assert (status, "it is not running. Current status=Pending" in body["message"]) == (400, True)
    status, body = served.ask("POST", f"{PODS}/p/portforward")
    assert (status, "over WebSocket (SPDY/3.1+portforward.k8s.io or v4.channel.k8s.io) alone" in body["message"]) == (400, True)
    assert served.ask("DELETE", f"{PODS}/p/portforward")[0] == 405
