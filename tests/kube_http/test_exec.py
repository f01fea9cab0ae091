"""`exec` and `attach` over a WebSocket: the channels, the end, and what is refused before there is a stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import aiohttp
import pytest

from fairway.kube.errors import ApiError
from tests.kube_http.serving import DEADLINE_S, Served, serving

PODS = "/api/v1/namespaces/default/pods"
V4, V5 = "v4.channel.k8s.io", "v5.channel.k8s.io"


class Session:
    """Says back in capitals what it is given, complains about sizes, and ends with the number it was started with."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.said: asyncio.Queue[tuple[Literal["stdout", "stderr"], bytes] | None] = asyncio.Queue()
        self.closed = asyncio.Event()

    async def read(self) -> tuple[Literal["stdout", "stderr"], bytes] | None:
        return await self.said.get()

    async def write(self, data: bytes) -> None:
        self.said.put_nowait(("stdout", data.upper()))

    async def close_input(self) -> None:
        self.said.put_nowait(None)

    def resize(self, columns: int, rows: int) -> None:
        self.said.put_nowait(("stderr", f"{columns}x{rows}".encode()))

    async def wait(self) -> int:
        if self.code < 0:
            raise ApiError("the pod has ended")
        return self.code

    async def close(self) -> None:
        self.closed.set()


class Exec:
    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}
        self.session = Session(0)

    async def exec(self, namespace: str, name: str, **asked: Any) -> Session:
        self.asked = {"namespace": namespace, "name": name, **asked}
        self.session = Session(int(asked["command"][-1]))
        return self.session

    async def attach(self, namespace: str, name: str, *, container: str) -> Session:
        self.session = Session(0)
        self.session.said.put_nowait(("stdout", container.encode()))
        self.session.said.put_nowait(None)
        return self.session


class World:
    def __init__(self, served: Served, exec: Exec) -> None:
        self.served, self.exec = served, exec

    def pod(self, name: str, state: dict[str, Any], phase: str = "Running") -> None:
        self.served.create(PODS, name, spec={"containers": [{"name": "main", "image": "i"}]})
        row = {"name": "main", "image": "i", "imageID": "", "ready": True, "restartCount": 0, "state": state}
        status = {"status": {"phase": phase, "containerStatuses": [row]}}
        self.served.ask("PATCH", f"{PODS}/{name}/status", status, Content_Type="application/merge-patch+json")

    def talk(self, query: str, work: Callable[[aiohttp.ClientWebSocketResponse], Awaitable[None]], *,
             protocol: str = V5, what: str = "exec") -> None:
        async def main() -> None:
            headers = {"Authorization": f"Bearer {self.served.pki.token}"}
            async with asyncio.timeout(DEADLINE_S), aiohttp.ClientSession(headers=headers) as client:
                url = f"{self.served.server.url}{PODS}/runs/{what}?{query}"
                async with client.ws_connect(url, protocols=(protocol,)) as socket:
                    assert socket.protocol == protocol
                    await work(socket)

        asyncio.run(main())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Any:
    exec = Exec()
    with serving(tmp_path_factory.mktemp("exec"), tls=False, exec=exec) as served:
        found = World(served, exec)
        found.pod("runs", {"running": {"startedAt": "2026-01-01T00:00:00Z"}})
        yield found


def test_input_output_size_and_a_clean_end(world: World) -> None:
    async def work(socket: aiohttp.ClientWebSocketResponse) -> None:
        assert await socket.receive_bytes() == b"\x01"  # the stream stands
        await socket.send_bytes(b"\x00hello")
        assert await socket.receive_bytes() == b"\x01HELLO"
        await socket.send_bytes(b'\x04{"Width":80,"Height":24}')
        assert await socket.receive_bytes() == b"\x0280x24"
        await socket.send_bytes(b"\x04nonsense")
        await socket.send_bytes(b"\xff\x00")
        assert json.loads((await socket.receive_bytes())[1:]) == {"metadata": {}, "status": "Success"}
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE

    world.talk("command=sh&command=-c&command=0&stdin=true&stdout=true&stderr=true&tty=true", work)
    assert world.exec.asked == {"namespace": "default", "name": "runs", "container": "main", "stdin": True, "tty": True,
                                "command": ["sh", "-c", "0"]}
    assert world.exec.session.closed.is_set()


@pytest.mark.parametrize(("code", "reason", "causes"), [
    (3, "NonZeroExitCode", [{"reason": "ExitCode", "message": "3"}]),
    (-1, "InternalError", None),
])  # fmt: skip
def test_an_end_that_is_no_success_is_a_status_on_channel_3(world: World, code: int, reason: str, causes: Any) -> None:
    async def work(socket: aiohttp.ClientWebSocketResponse) -> None:
        assert await socket.receive_bytes() == b"\x01"
        await socket.send_bytes(b"\xff\x00")
        end = await socket.receive_bytes()
        status = json.loads(end[1:])
        assert (end[0], status["reason"], status.get("details", {}).get("causes")) == (3, reason, causes)

    world.talk(f"command={code}&stdin=true&stdout=true", work, protocol=V4)


def test_attach_listens(world: World) -> None:
    async def work(socket: aiohttp.ClientWebSocketResponse) -> None:
        assert [await socket.receive_bytes() for _ in range(2)] == [b"\x01", b"\x01main"]
        assert (await socket.receive_bytes())[0] == 3

    world.talk("stdout=true&stderr=true", work, what="attach")


def test_a_client_that_leaves_ends_the_command(world: World) -> None:
    async def work(socket: aiohttp.ClientWebSocketResponse) -> None:
        await socket.receive_bytes()

    world.talk("command=0&stdout=true", work)

    async def closed() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await world.exec.session.closed.wait()

    world.served.run(closed())


def test_what_cannot_run_says_why_in_words_that_clients_can_read(world: World) -> None:
    world.pod("over", {"terminated": {"reason": "Completed", "exitCode": 0}}, "Succeeded")
    world.pod("waits", {"waiting": {"reason": "CrashLoopBackOff"}})
    asked = "command=ls&stdout=true"
    for path, code, words in (
        (f"runs/exec?{asked}", 400, "streams over WebSocket (v5.channel.k8s.io or v4.channel.k8s.io) alone"),
        ("runs/exec?stdout=true", 400, "at least 1 command"),
        ("runs/exec?command=ls", 400, "at least 1 of stdin, stdout, stderr"),
        (f"runs/exec?{asked}&container=x", 400, "container x is not valid for pod runs"),
        (f"nobody/exec?{asked}", 404, 'pods "nobody" not found'),
        (f"over/exec?{asked}", 400, "the phase of over is Succeeded"),
        (f"waits/exec?{asked}", 400, "does not run now: CrashLoopBackOff"),
    ):
        status, body = world.served.ask("POST", f"{PODS}/{path}")
        assert (status, words in body["message"]) == (code, True), body
    assert world.served.ask("DELETE", f"{PODS}/runs/exec?{asked}")[0] == 405


def test_a_server_without_a_node_says_so(tmp_path: Path) -> None:
    with serving(tmp_path, tls=False) as served:
        served.create(PODS, "p", spec={"containers": [{"name": "main", "image": "i"}]})
        assert "no node" in served.ask("GET", f"{PODS}/p/exec?command=ls&stdout=true")[1]["message"]
