"""The daemon's end of a shim: start one, talk to it, hear what it says. `shim.py` has the protocol."""

from __future__ import annotations

import asyncio
import contextlib
import os
import py_compile
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path

from fairway.node.folder import PodFolder

SOURCE = Path(__file__).with_name("shim.py")
_BESIDE = ("shim_children", "shim_log", "enter")
"""What a shim, and a child of one on its way into a container's own root, load from the folder of the shim."""
START_LIMIT_S = 10.0
_LARGEST = 64 * 1024 * 1024


class ShimError(Exception):
    """The shim cannot be started or does not answer: the pod's next pass starts another."""


class StartRefused(Exception):
    """The container's process could not be started; the message is the operating system's."""

    @property
    def before_it_began(self) -> bool:
        """The container's own root could not be made: the program itself was never tried."""
        return str(self).startswith("own root: ")


def compiled(folder: Path) -> Path:
    """The shim as byte code: without it each shim would keep a compiler's leftovers in memory. Beside it what it loads."""
    tag = sys.implementation.cache_tag
    target = folder / f"shim-{tag}.pyc"
    py_compile.compile(str(SOURCE), cfile=str(target), optimize=2, doraise=True)
    for name in _BESIDE:
        source, place = SOURCE.with_name(f"{name}.py"), folder / f"{name}_{(tag or '').replace('-', '_')}.pyc"
        py_compile.compile(str(source), cfile=str(place), optimize=2, doraise=True)
    return target


class Shim:
    """A connection. `on_event(fields)` hears what no request waits for; `on_close()` when the shim is gone."""

    def __init__(self, folder: PodFolder, on_event: Callable[[list[str]], None], on_close: Callable[[], None]) -> None:
        self._folder = folder
        self._on_event, self._on_close = on_event, on_close
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._starts: dict[tuple[str, str], asyncio.Future[list[str]]] = {}
        self._execs: dict[str, asyncio.Future[list[str]]] = {}
        self._greeted: asyncio.Future[None] | None = None
        self._ids = count(1)

    async def open(self, program: Path, python: str) -> None:
        """Adopt the shim that holds the folder, else start one."""
        if self._folder.shim() is None:
            await self._launch(program, python)
        await self._connect()

    async def adopt(self) -> bool:
        """Connect to a shim that lives; False where there is none."""
        if self._folder.shim() is None:
            return False
        await self._connect()
        return True

    async def _launch(self, program: Path, python: str) -> None:
        (self._folder.path / "shim.pid").unlink(missing_ok=True)
        with (self._folder.path / "shim.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                python, "-I", "-S", str(program), str(self._folder.path), stdin=asyncio.subprocess.DEVNULL,
                stdout=log, stderr=log, cwd="/", env={"LC_ALL": "C.UTF-8"}, start_new_session=True)
        await process.wait()
        async with asyncio.timeout(START_LIMIT_S):
            while self._folder.shim() is None:  # noqa: ASYNC110 (another process writes the file)
                await asyncio.sleep(0.005)

    async def _connect(self) -> None:
        """Returns when the shim has answered: from then on it tells us every end, and what ended before is in the folder."""
        try:
            with shim_address(self._folder) as path:
                reader, self._writer = await asyncio.open_unix_connection(path)
        except OSError as error:
            raise ShimError(f"the shim of {self._folder.path} does not answer: {error}") from error
        self._reading = asyncio.create_task(self._read(reader))
        self._greeted = asyncio.get_running_loop().create_future()
        self._send("status")
        async with asyncio.timeout(START_LIMIT_S):
            await self._greeted

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                size = int.from_bytes(await reader.readexactly(4), "big")
                if size > _LARGEST:
                    break
                self._hear((await reader.readexactly(size)).decode("utf-8", "surrogateescape").split("\0"))
        gone = ShimError("the shim is gone")
        for future in [*self._starts.values(), *self._execs.values()]:
            if not future.done():
                future.set_exception(gone)
        if self._greeted is not None and not self._greeted.done():
            self._greeted.set_exception(gone)
        self._writer = None
        self._on_close()

    def _hear(self, fields: list[str]) -> None:
        if fields[0] in ("started", "failed"):
            waiter = self._starts.pop((fields[1], fields[2]), None)
        elif fields[0] == "end":
            if self._greeted is not None and not self._greeted.done():
                self._greeted.set_result(None)
            return
        elif fields[0] == "done":
            waiter = self._execs.pop(fields[1], None)
        else:
            self._on_event(fields)
            return
        if waiter is not None and not waiter.done():
            waiter.set_result(fields)

    def _send(self, *fields: object) -> None:
        if self._writer is None:
            raise ShimError("the shim is gone")
        self._writer.write(message(*fields))

    # --- requests -----------------------------------------------------------------------------------------------

    async def start(self, name: str, attempt: int, log: Path, argv: Sequence[str], env: Mapping[str, str], cwd: str,
                    options: Sequence[str] = ()) -> None:
        """`options` as the shim's protocol has them. Raises `StartRefused` with the reason of the operating system."""
        waiter = self._starts[name, str(attempt)] = asyncio.get_running_loop().create_future()
        log.parent.mkdir(parents=True, exist_ok=True)
        self._send("start", name, attempt, log, cwd, " ".join(options), *program(argv, env))
        async with asyncio.timeout(START_LIMIT_S):
            answer = await waiter
        if answer[0] == "failed":
            raise StartRefused(answer[4])

    async def exec(self, name: str, argv: Sequence[str], env: Mapping[str, str], cwd: str, timeout_s: float
                   ) -> tuple[int | None, str]:
        """(exit code, output); None for the code where the time ran out."""
        ident = str(next(self._ids))
        waiter = self._execs[ident] = asyncio.get_running_loop().create_future()
        self._send("exec", ident, name, int(timeout_s * 1000), cwd, *program(argv, env))
        async with asyncio.timeout(timeout_s + START_LIMIT_S):
            answer = await waiter
        return (None if answer[2] == "timeout" else int(answer[2])), answer[3]

    def stop(self, name: str, grace_s: float) -> None:
        self._send("stop", name, int(grace_s * 1000))

    def quit(self, grace_s: float) -> None:
        self._send("quit", int(grace_s * 1000))

    async def close(self) -> None:
        """Leave; the shim and its containers go on."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if self._writer is not None:
            self._writer.close()
            self._writer = None


@contextlib.contextmanager
def shim_address(folder: PodFolder) -> Iterator[str]:
    """Where the shim listens. A socket's path may have 107 bytes; by way of the folder's descriptor any folder will do."""
    descriptor = os.open(folder.path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        by_descriptor = Path("/proc/self/fd").is_dir()
        yield f"/proc/self/fd/{descriptor}/shim.sock" if by_descriptor else str(folder.path / "shim.sock")
    finally:
        os.close(descriptor)


def message(*fields: object) -> bytes:
    body = "\0".join(str(field) for field in fields).encode("utf-8", "surrogateescape")
    return len(body).to_bytes(4, "big") + body


def program(argv: Sequence[str], env: Mapping[str, str]) -> list[str]:
    return [str(len(argv)), *argv, *(f"{name}={value}" for name, value in env.items())]
