"""A real API server in a thread of this process, on a free port, over an embedded API in memory."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from fairway.kube.clock import WallClock
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.guards import Guard
from fairway.kube.http.pki import Pki, ensure_pki, server_context, write_kubeconfig
from fairway.kube.http.pod_exec import PodExec
from fairway.kube.http.server import KubeServer
from fairway.kube.users import User

T = TypeVar("T")
DEADLINE_S = 20.0


class FakeLogs:
    """Three lines; a followed log adds lines until the test says that the container ended."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}
        self.more: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def read(self, namespace: str, name: str, **asked: Any) -> AsyncIterator[bytes]:
        self.asked = {"namespace": namespace, "name": name, **asked}
        if name == "silent":
            return
        for number in range(3)[-(asked["tail_lines"] or 3) :]:
            yield b"line %d\n" % number
        while asked["follow"] and (line := await self.more.get()) is not None:
            yield line


class Served:
    """A running server: how to reach it, and a way to act on its API in its own loop."""

    def __init__(self, folder: Path, *, tls: bool = True, exec: PodExec | None = None,
                 guard: Callable[[EmbeddedApi], Guard] | None = None) -> None:
        self.folder = folder
        self._exec = exec
        self._guard = guard
        self.pki: Pki = ensure_pki(folder, datetime.now(UTC))
        self.kubeconfig = folder / "kubeconfig"
        self._use_tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        self._thread.start()
        self.run(self._start())
        write_kubeconfig(self.kubeconfig, self.server.url, self.pki.ca if self._use_tls else "", self.pki.token)

    async def _start(self) -> None:
        clock = WallClock()
        self.api = EmbeddedApi.in_memory(clock)
        self.logs = FakeLogs()
        tls = server_context(self.pki) if self._use_tls else None
        self.server = KubeServer(self.api, clock, logs=self.logs, tls=tls, token=self.pki.token, exec=self._exec,
                                 users={"user-alice": User("alice", ("devs",))},
                                 guard=self._guard(self.api) if self._guard is not None else None)
        await self.server.start("127.0.0.1", 0)

    def stop(self) -> None:
        self.run(self.server.stop())
        self.run(self.api.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` in the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE_S)

    def tell_log(self, line: bytes | None) -> None:
        self._loop.call_soon_threadsafe(self.logs.more.put_nowait, line)

    # --- requests -----------------------------------------------------------------------------------------------------

    def open(self, method: str, path: str, body: Any = None, *, token: str | None = None, **headers: str) -> Any:
        """The answer as `urllib` has it, errors too; for streams."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.server.url + path, data=data, method=method)
        chosen = self.pki.token if token is None else token
        if chosen:
            request.add_header("Authorization", f"Bearer {chosen}")
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in {"Content-Type": "application/json", "User-Agent": "tests/1", **given}.items():
            request.add_header(name, value)
        context = ssl.create_default_context(cafile=str(self.pki.ca_file)) if self._use_tls else None
        try:
            return urllib.request.urlopen(request, timeout=DEADLINE_S, context=context)
        except urllib.error.HTTPError as error:
            return error

    def ask(self, method: str, path: str, body: Any = None, *, token: str | None = None, **headers: str) -> tuple[int, Any]:
        """(status, decoded JSON or text)."""
        with self.open(method, path, body, token=token, **headers) as response:
            data = response.read()
            kind = response.headers.get_content_type()
            return response.status, json.loads(data) if kind == "application/json" else data.decode()

    def create(self, path: str, name: str, **rest: Any) -> Any:
        status, made = self.ask("POST", path, {"metadata": {"name": name, **rest.pop("metadata", {})}, **rest})
        assert status == 201, made
        return made


@contextmanager
def serving(folder: Path, *, tls: bool = True, exec: PodExec | None = None,
            guard: Callable[[EmbeddedApi], Guard] | None = None) -> Iterator[Served]:
    served = Served(folder, tls=tls, exec=exec, guard=guard)
    served.start()
    try:
        yield served
    finally:
        served.stop()
