"""A process that outlives the one that started it, and is known again by its pid and start time.

A pid alone may have been given to somebody else; together with the start time (in clock ticks since boot, from
`/proc/<pid>/stat`) it names one process of this boot.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

_POLL_S = 0.2  # only where the kernel has no pidfd (before Linux 5.3)


@dataclass(frozen=True, slots=True)
class Identity:
    """`config` is the hash of everything that the process was started with."""

    pid: int
    started: str
    config: str

    def alive(self) -> bool:
        return bool(self.started) and started_of(self.pid) == self.started


def started_of(pid: int) -> str:
    """Boot id and start tick of a living process; "" where there is none, or only a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else f"{boot}:{fields[19]}"


def start(argv: Sequence[str], *, log: Path, config: str, cwd: Path) -> Identity:
    """In a session of its own, with nothing of ours open; its output is appended to `log`."""
    with log.open("ab") as output:
        process = subprocess.Popen(list(argv), stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=cwd,
                                   start_new_session=True, close_fds=True)
    # Its end is watched by pid, here and in the process that adopts it; Python's own wait would only warn.
    process.returncode = 0
    return Identity(process.pid, started_of(process.pid), config)


def remember(path: Path, identity: Identity) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(asdict(identity)))
    temporary.replace(path)


def recall(path: Path) -> Identity | None:
    try:
        found = json.loads(path.read_text())
        return Identity(int(found["pid"]), str(found["started"]), str(found["config"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


async def ended(identity: Identity) -> None:
    """Return when the process is gone, whoever its parent is."""
    while identity.alive():
        try:
            handle = os.pidfd_open(identity.pid)
        except ProcessLookupError:
            break
        except (OSError, AttributeError):
            await asyncio.sleep(_POLL_S)
            continue
        try:
            if identity.alive():
                await _readable(handle)
        finally:
            os.close(handle)
        break
    _reap(identity)


async def _readable(handle: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(handle, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(handle)


async def terminate(identity: Identity, *, grace_s: float) -> None:
    """SIGTERM, and SIGKILL after the grace period. A process that is not this one any more is left alone."""
    for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
        if not identity.alive():
            break
        with contextlib.suppress(ProcessLookupError):
            os.kill(identity.pid, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await ended(identity)
    _reap(identity)


def _reap(identity: Identity) -> None:
    """Where it was our child, do not leave a zombie."""
    with contextlib.suppress(OSError):
        os.waitpid(identity.pid, os.WNOHANG)
