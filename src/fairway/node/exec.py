"""Commands that somebody runs in a container, and listening to a container: `kubectl exec`, `cp` and `attach`.

The command is a child of the pod's shim, as the container is, but what it reads and writes never passes through the
shim: its pipes, or its terminal, are made here and handed over. When the daemon or the client goes, the connection to
the shim closes, and the command with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import termios
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from fcntl import ioctl
from typing import Literal

from fairway.kube.errors import ApiError, BadRequest
from fairway.kube.objects import Key
from fairway.node.environment import ConfigProblem
from fairway.node.folder import PodFolder
from fairway.node.images import ImageUnavailable
from fairway.node.launch import Launch
from fairway.node.logs import FOLLOW_S, Tail, parse_line, runs
from fairway.node.pod import NodePod
from fairway.node.shims import ShimError, message, program, shim_address

Output = Literal["stdout", "stderr"]
_CHUNK = 64 * 1024
_LAST_WORDS_S = 0.5
"""How long an ended command's output may stay open in a process that it left behind."""


class NodeExec:
    """Implements the API server's `PodExec`. `pod_of` finds what this node runs."""

    def __init__(self, pod_of: Callable[[Key], NodePod | None]) -> None:
        self._pod_of = pod_of

    async def exec(self, namespace: str, name: str, *, container: str, command: Sequence[str], stdin: bool,
                   tty: bool) -> CommandSession:
        pod = self._pod(namespace, name)
        try:
            launch = await pod.inside(container, command)
            return await CommandSession.begin(pod.folder, container, launch, stdin=stdin, tty=tty)
        except (ShimError, ConfigProblem, ImageUnavailable, TimeoutError, OSError) as error:
            raise ApiError(f"the command could not be run in {container} of {name}: {error}") from error

    async def attach(self, namespace: str, name: str, *, container: str) -> LogSession:
        folder = self._pod(namespace, name).folder
        attempts = folder.attempts().get(container)
        if not attempts:
            raise BadRequest(f'container "{container}" in pod "{name}" was not started yet')
        return LogSession(folder, container, attempts[0].number)

    def _pod(self, namespace: str, name: str) -> NodePod:
        pod = self._pod_of(Key(namespace, name))
        if pod is None:
            raise BadRequest(f"pod {name} does not run on this node")
        return pod


class _Input(asyncio.BaseProtocol):
    """Whether there is room for more input."""

    def __init__(self) -> None:
        self.room = asyncio.Event()
        self.room.set()

    def pause_writing(self) -> None:
        self.room.clear()

    def resume_writing(self) -> None:
        self.room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.room.set()


class _Output(asyncio.StreamReaderProtocol):
    def connection_lost(self, exc: Exception | None) -> None:
        """A terminal tells its end by an error, which would hide what was read and not yet taken."""
        super().connection_lost(None)


class CommandSession:
    """A command: its streams at our end, and the connection to the shim on which its exit code comes."""

    def __init__(self, answer: asyncio.Task[int], shim: asyncio.StreamWriter) -> None:
        self._answer, self._shim = answer, shim
        self._input: tuple[asyncio.WriteTransport, _Input] | None = None
        self._terminal = -1
        self._outputs: dict[asyncio.Task[bytes], tuple[Output, asyncio.StreamReader]] = {}
        self._output_ends: list[asyncio.BaseTransport] = []

    @classmethod
    async def begin(cls, folder: PodFolder, container: str, launch: Launch, *, stdin: bool, tty: bool) -> CommandSession:
        """Raises `ShimError`."""
        ours, theirs = _terminal() if tty else _pipes(stdin=stdin)
        try:
            reader, writer = await _ask(folder, container, launch, theirs)
        except BaseException:
            _close(ours.values())
            raise
        finally:
            _close(theirs)
        session = cls(asyncio.create_task(_answer(reader)), writer)
        if tty:
            session._terminal = ours["stdout"]
        for name, descriptor in ours.items():
            if name == "stdin":
                await session._take_input(descriptor)
            else:
                await session._take_output("stderr" if name == "stderr" else "stdout", descriptor)
        return session

    async def _take_input(self, descriptor: int) -> None:
        pipe = os.fdopen(descriptor, "wb", buffering=0)
        self._input = await asyncio.get_running_loop().connect_write_pipe(_Input, pipe)

    async def _take_output(self, name: Output, descriptor: int) -> None:
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader(limit=_CHUNK)
        transport, _ = await loop.connect_read_pipe(
            lambda: _Output(reader), os.fdopen(descriptor, "rb", buffering=0))
        self._output_ends.append(transport)
        self._await(name, reader)

    def _await(self, name: Output, reader: asyncio.StreamReader) -> None:
        self._outputs[asyncio.create_task(reader.read(_CHUNK))] = name, reader

    async def read(self) -> tuple[Output, bytes] | None:
        while self._outputs:
            wait_for: set[asyncio.Task[bytes] | asyncio.Task[int]] = set(self._outputs)
            if not self._answer.done():
                wait_for.add(self._answer)
            patience = _LAST_WORDS_S if self._answer.done() else None
            done, _ = await asyncio.wait(wait_for, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                return None
            ready = next((task for task in self._outputs if task.done()), None)
            if ready is None:
                continue
            name, reader = self._outputs.pop(ready)
            if data := ready.result():
                self._await(name, reader)
                return name, data
        return None

    async def write(self, data: bytes) -> None:
        if self._input is not None and not self._input[0].is_closing():
            self._input[0].write(data)
            await self._input[1].room.wait()

    async def close_input(self) -> None:
        """On a terminal the end of the input is a character."""
        if self._terminal >= 0:
            await self.write(b"\x04")
        elif self._input is not None:
            self._input[0].close()

    def resize(self, columns: int, rows: int) -> None:
        if self._terminal >= 0:
            with contextlib.suppress(OSError):
                ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    async def wait(self) -> int:
        return await asyncio.shield(self._answer)

    async def close(self) -> None:
        self._terminal = -1
        tasks = [*self._outputs, self._answer]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._input is not None and not self._input[0].is_closing():
            self._input[0].abort()
        for transport in self._output_ends:
            transport.close()
        self._shim.close()


def _terminal() -> tuple[dict[str, int], list[int]]:
    """(our ends, theirs) of a terminal. Reading and writing have a descriptor each, because each will be closed."""
    master, slave = os.openpty()
    return {"stdout": master, "stdin": os.dup(master)}, [slave]


def _pipes(*, stdin: bool) -> tuple[dict[str, int], list[int]]:
    ours, theirs = {}, []
    if stdin:
        read, ours["stdin"] = os.pipe()
        theirs.append(read)
    else:
        theirs.append(os.open(os.devnull, os.O_RDONLY))
    for name in ("stdout", "stderr"):
        ours[name], write = os.pipe()
        theirs.append(write)
    return ours, theirs


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


async def _ask(folder: PodFolder, container: str, launch: Launch, streams: Sequence[int]
               ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send the command to the shim, with its streams. The descriptors travel with the first bytes."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        with shim_address(folder) as address:
            await asyncio.get_running_loop().sock_connect(sock, address)
        body = message("session", container, launch.cwd, *program(launch.argv, launch.env))
        socket.send_fds(sock, [body[:4]], list(streams))
        reader, writer = await asyncio.open_unix_connection(sock=sock)
    except OSError as error:
        sock.close()
        raise ShimError(f"the pod's shim does not answer: {error}") from error
    writer.write(body[4:])
    return reader, writer


async def _answer(reader: asyncio.StreamReader) -> int:
    """The exit code; 126 or 127 where the command could not be started, as a shell says it."""
    try:
        while True:
            size = int.from_bytes(await reader.readexactly(4), "big")
            fields = (await reader.readexactly(size)).decode("utf-8", "surrogateescape").split("\0")
            if fields[0] == "done":
                if fields[3]:
                    raise ApiError(f"the command could not be started: {fields[3]}")
                return int(fields[2])
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise ApiError("the pod has ended, and the command with it") from error


class LogSession:
    """A container that is listened to: the lines that its shim writes down, from now on, each to its stream."""

    def __init__(self, folder: PodFolder, container: str, attempt: int) -> None:
        self._folder, self._container, self._attempt = folder, container, attempt
        path = folder.log(container, attempt)
        self._tail = Tail(path, path.stat().st_size if path.exists() else 0)
        self._pieces = self._follow()

    async def _follow(self) -> AsyncIterator[tuple[Output, bytes]]:
        rest = b""
        while True:
            running = runs(self._folder, self._container, self._attempt)
            data, _, rest = (rest + self._tail.read()).rpartition(b"\n")
            for raw in data.split(b"\n"):
                if (line := parse_line(raw)) is not None:
                    name: Output = "stderr" if line.stream == b"stderr" else "stdout"
                    yield name, line.text + (b"\n" if line.whole else b"")
            if not data and not running:
                return
            if not data:
                await asyncio.sleep(FOLLOW_S)

    async def read(self) -> tuple[Output, bytes] | None:
        return await anext(self._pieces, None)

    async def write(self, data: bytes) -> None:
        pass

    async def close_input(self) -> None:
        pass

    def resize(self, columns: int, rows: int) -> None:
        pass

    async def wait(self) -> int:
        attempts = self._folder.attempts().get(self._container, [])
        code = next((one.code for one in attempts if one.number == self._attempt), None)
        return 0 if code is None else code

    async def close(self) -> None:
        self._tail.close()
