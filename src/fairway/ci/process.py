"""A step as a process: a session of its own, output line by line, a time limit, and an end that leaves nothing running.

A stop is SIGINT to the whole group, SIGTERM after 7.5 s, SIGKILL after 2.5 s more: GitHub's figures. Processes that
left the group are found by the environment variable that every process of a job carries.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

TRACKING = "RUNNER_TRACKING_ID"
NICENESS = 10
"""Jobs share this machine with what serves users: half the default distance to the lowest priority lets the users go first."""
INTERRUPT_S, TERMINATE_S = 7.5, 2.5
_CHUNK = 64 * 1024
_LONGEST_LINE = 256 * 1024  # a longer one is handed on in pieces
_DRAIN_S = 0.25  # a process left in the background keeps the pipe open: its output ends for us here

_DEATH_S = 2.0  # a killed process that waits for a disk may need a moment

MOST_PROCESSES = 4096
"""Of one job at a time. A build with 64 compilers has some 200; a fork bomb passes it within a second."""
_LOOK_S = 0.25
_BOMB_S = 30.0

Ending = Literal["exited", "timeout", "cancelled"]


@dataclass(frozen=True, slots=True)
class Finished:
    """`code` is the exit code; 128 + n for a process that died of signal n."""

    code: int
    ending: Ending = "exited"


class _Lines:
    """Bytes in pieces to whole lines of text."""

    def __init__(self, on_line: Callable[[str], None], unheard: Callable[[], bool]) -> None:
        self._on_line = on_line
        self._unheard = unheard
        self._rest = b""

    def feed(self, data: bytes) -> None:
        if b"::" not in data and b"##[" not in data and b"::" not in self._rest and self._unheard():
            self._rest = b""  # nobody would see it, and it holds no command: a gigabyte passes at the speed of the pipe
            return
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._on_line(line.decode(errors="replace").removesuffix("\r"))
        if len(self._rest) > _LONGEST_LINE:
            self.end()

    def end(self) -> None:
        if self._rest:
            rest, self._rest = self._rest, b""
            self._on_line(rest.decode(errors="replace"))


async def run_process(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], on_line: Callable[[str], None],
                      cancel: asyncio.Event | None = None, timeout_s: float | None = None,
                      unheard: Callable[[], bool] = lambda: False) -> Finished:
    """Run to the end, or to the end of the time, or until `cancel` is set. OSError where it cannot be started.

    While `unheard` is true, output without commands is thrown away unread.
    """
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()
    lines, eof = _Lines(on_line, unheard), asyncio.Event()

    def readable() -> None:
        try:
            data = os.read(reading, _CHUNK)
        except BlockingIOError:
            return
        if data:
            lines.feed(data)
        else:
            loop.remove_reader(reading)
            eof.set()

    os.set_blocking(reading, False)
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, cwd=cwd, env=dict(env), stdin=asyncio.subprocess.DEVNULL, stdout=writing, stderr=writing,
            start_new_session=True)
        with contextlib.suppress(OSError):  # it may have ended already
            os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
        too_many = asyncio.Event()
        watch = asyncio.create_task(_watch_number(process.pid, env.get(TRACKING, ""), too_many), name="number of processes")
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    loop.add_reader(reading, readable)
    try:
        ending = await _wait(process, cancel, timeout_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                await eof.wait()
        lines.end()
    except asyncio.CancelledError:
        signal_group(process.pid, signal.SIGKILL)
        raise
    finally:
        if not too_many.is_set():
            watch.cancel()
        loop.remove_reader(reading)
        os.close(reading)
    if too_many.is_set():
        await watch
        on_line(f"##[error]the step had more than {MOST_PROCESSES} processes and was ended")
        return Finished(137, "exited")
    code = process.returncode if process.returncode is not None else 1
    return Finished(128 - code if code < 0 else code, ending)


async def _wait(process: asyncio.subprocess.Process, cancel: asyncio.Event | None, timeout_s: float | None) -> Ending:
    exited = asyncio.ensure_future(process.wait())
    cancelled = asyncio.ensure_future(cancel.wait()) if cancel is not None else None
    waiting: set[asyncio.Future[Any]] = {exited, *((cancelled,) if cancelled is not None else ())}
    try:
        done, _ = await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if exited in done:
            return "exited"
        ending: Ending = "cancelled" if cancelled is not None and cancelled in done else "timeout"
        for sent, patience in ((signal.SIGINT, INTERRUPT_S), (signal.SIGTERM, TERMINATE_S), (signal.SIGKILL, None)):
            signal_group(process.pid, sent)
            done, _ = await asyncio.wait({exited}, timeout=patience)
            if done:
                break
        signal_group(process.pid, signal.SIGKILL)  # what the leader left behind in its group
        return ending
    finally:
        for future in waiting:
            future.cancel()


async def _watch_number(pid: int, tracking: str, too_many: asyncio.Event) -> None:
    """Ends a step that multiplies without end (a fork bomb), and says so.

    A look counts the machine's processes, which is cheap; only where there are many more than before, those of the job are
    counted. They are stopped before they are killed: nothing forks while it is stopped.
    """
    before = _machine_processes()
    while True:
        await asyncio.sleep(_LOOK_S)
        if _machine_processes() - before < MOST_PROCESSES or not tracking:
            continue
        mine = await asyncio.to_thread(_tracked, tracking)
        if len(mine) < MOST_PROCESSES:
            continue
        too_many.set()
        await asyncio.to_thread(_end_bomb, tracking)
        signal_group(pid, signal.SIGKILL)
        return


def _machine_processes() -> int:
    try:
        return sum(map(str.isdigit, os.listdir("/proc")))  # noqa: PTH208 (at every start: a Path each would cost more)
    except OSError:
        return 0


def _end_bomb(tracking: str) -> None:
    deadline = time.monotonic() + _BOMB_S
    for sent in (signal.SIGSTOP, signal.SIGKILL):
        seen: set[int] = set()
        while (found := set(_tracked(tracking)) - (seen if sent is signal.SIGSTOP else set())) and time.monotonic() < deadline:
            for pid in found:
                with contextlib.suppress(OSError):
                    os.kill(pid, sent)
            seen |= found


def signal_group(pid: int, sent: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, sent)


def kill_tracked(tracking: str) -> int:
    """Kill every process that carries this tracking id in its environment, or one below it (`id..more`); their number.

    Blocks until they are gone, which takes milliseconds. Linux only: elsewhere there is no /proc, and the process group
    is all that is known.
    """
    killed = _tracked(tracking)
    for pid in killed:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _DEATH_S
    while any(_runs(pid) for pid in killed) and time.monotonic() < deadline:
        time.sleep(0.002)
    return len(killed)


def _tracked(tracking: str) -> list[int]:
    wanted = f"{TRACKING}={tracking}".encode()
    try:
        names = os.listdir("/proc")  # noqa: PTH208 (hundreds, at every end of a job)
        return [int(name) for name in names if name.isdigit() and _carries(name, wanted)]
    except FileNotFoundError:
        return []  # no Linux


def _carries(pid: str, wanted: bytes) -> bool:
    if int(pid) == os.getpid():
        return False
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:  # noqa: PTH123 (hundreds)
            environ = file.read()
    except OSError:
        return False
    return wanted in environ and any(entry == wanted or entry.startswith(wanted + b"..") for entry in environ.split(b"\0"))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
