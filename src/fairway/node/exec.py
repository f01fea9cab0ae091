"""Commands that somebody runs in a container, and listening to a container: `kubectl exec`, `cp` and `attach`.

The command is a child of the pod's shim, as the container is, but what it reads and writes never passes through the
shim: its pipes, or its terminal, are made here and handed over. When the daemon or the client goes, the connection to
the shim closes, and the command with it. A container's own streams are the shim's: whoever attaches is sent a copy.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import termios
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from fcntl import ioctl
from typing import Literal

from fairway.kube.errors import ApiError, BadRequest
from fairway.kube.objects import Key
from fairway.node.environment import ConfigProblem
from fairway.node.folder import PodFolder
from fairway.node.images import ImageUnavailable
from fairway.node.launch import Launch
from fairway.node.pod import TERMINAL, NodePod
from fairway.node.shims import ShimError, message, program, shim_address

Output = Literal["stdout", "stderr"]
_CHUNK = 64 * 1024
_PIECES = 16
"""Of a container's output, waiting for a slow client: what is more waits in the shim."""
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
            if tty:
                launch = replace(launch, env={"TERM": TERMINAL, **launch.env})
            return await CommandSession.begin(pod.folder, container, launch, stdin=stdin, tty=tty)
        except (ShimError, ConfigProblem, ImageUnavailable, TimeoutError, OSError) as error:
            raise ApiError(f"the command could not be run in {container} of {name}: {error}") from error

    async def attach(self, namespace: str, name: str, *, container: str) -> AttachSession:
        try:
            return await AttachSession.begin(self._pod(namespace, name).folder, container)
        except ShimError as error:
            raise BadRequest(f"nobody can attach to {container} of {name}: {error}") from error

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
            fields = await _message(reader)
            if fields[0] == "done":
                if fields[3]:
                    raise ApiError(f"the command could not be started: {fields[3]}")
                return int(fields[2])
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise ApiError("the pod has ended, and the command with it") from error


class AttachSession:
    """A container that is listened to from now on, and given input where it has some."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, container: str) -> None:
        self._writer, self._container = writer, container
        self._heard: asyncio.Queue[tuple[Output, bytes] | None] = asyncio.Queue(_PIECES)
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._given, self._room = 0, asyncio.Event()
        self._room.set()
        self._ended = False
        self._listening = asyncio.create_task(self._listen(reader))

    @classmethod
    async def begin(cls, folder: PodFolder, container: str) -> AttachSession:
        """Raises `ShimError`, also where the container does not run."""
        try:
            with shim_address(folder) as address:
                reader, writer = await asyncio.open_unix_connection(address)
            writer.write(message("attach", container))
            answer = await _message(reader)
        except (OSError, asyncio.IncompleteReadError) as error:
            raise ShimError(f"the pod's shim does not answer: {error}") from error
        if answer[0] != "attached":
            writer.close()
            raise ShimError(answer[-1])
        return cls(reader, writer, container)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                kind, name, *rest = await _message(reader)
                if name != self._container:
                    continue
                if kind == "output":
                    stream: Output = "stderr" if rest[0] == "stderr" else "stdout"
                    await self._heard.put((stream, "\0".join(rest[1:]).encode("utf-8", "surrogateescape")))
                elif kind == "took":
                    self._given -= int(rest[0])
                    if self._given < _CHUNK:
                        self._room.set()
                elif kind == "exited":
                    self._end.set_result(None)
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            self._end.set_exception(ApiError("the pod has ended"))
            self._end.exception()  # whoever waits hears of it; nobody has to
        finally:
            self._room.set()
        await self._heard.put(None)

    async def read(self) -> tuple[Output, bytes] | None:
        if self._ended:
            return None
        piece = await self._heard.get()
        self._ended = piece is None
        return piece

    async def write(self, data: bytes) -> None:
        if self._end.done():
            return
        self._given += len(data)
        if self._given >= _CHUNK:
            self._room.clear()
        self._send("input", data.decode("utf-8", "surrogateescape"))
        await self._room.wait()

    async def close_input(self) -> None:
        self._send("eof")

    def resize(self, columns: int, rows: int) -> None:
        self._send("resize", columns, rows)

    def _send(self, verb: str, *fields: object) -> None:
        if not self._end.done():
            self._writer.write(message(verb, self._container, *fields))

    async def wait(self) -> int:
        """0 however the container ended: that is what its status says, and clients of a runtime's attach expect no code."""
        await asyncio.shield(self._end)
        return 0

    async def close(self) -> None:
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        self._writer.close()


async def _message(reader: asyncio.StreamReader) -> list[str]:
    size = int.from_bytes(await reader.readexactly(4), "big")
    return (await reader.readexactly(size)).decode("utf-8", "surrogateescape").split("\0")
