"""Reading what containers wrote: `kubectl logs` over the files that the shims keep.

Each container keeps its current and its previous run, and of each run the last 10 to 20 MB (`shim_log.LOG_LIMIT` twice).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO

from fairway.kube.cache import Informers
from fairway.kube.clock import Clock
from fairway.kube.errors import BadRequest, NotFound
from fairway.kube.objects import Key, Obj, parse_time, status_of, uid_of
from fairway.kube.resources import PODS
from fairway.node.folder import PodFolder

FOLLOW_S = 0.2
_CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a log file. `whole` is False where the text goes on in the next one."""

    time: bytes
    stream: bytes
    whole: bool
    text: bytes

    def moment(self) -> datetime:
        return parse_time(self.time.decode()[:26] + "Z" if len(self.time) > 27 else self.time.decode())


def parse_line(raw: bytes) -> Line | None:
    """`<time> <stream> <F or P> <text>`; None where it is not that."""
    parts = raw.split(b" ", 3)
    return Line(parts[0], parts[1], parts[2] == b"F", parts[3]) if len(parts) == 4 else None


class ShimLogs:
    """Implements the API server's `PodLogs`."""

    def __init__(self, informers: Informers, clock: Clock, pods: Path) -> None:
        self._cache, self._clock, self._pods = informers.of(PODS), clock, pods

    async def read(self, namespace: str, name: str, *, container: str, follow: bool = False, previous: bool = False,
                   tail_lines: int | None = None, since_s: float | None = None, limit_bytes: int | None = None,
                   timestamps: bool = False) -> AsyncIterator[bytes]:
        """Chunks of whole lines. With `follow` it ends when the container has ended and everything was read."""
        folder, attempt = self._find(namespace, name, container, previous=previous)
        since = self._clock.now() - timedelta(seconds=since_s) if since_s is not None else None
        left = limit_bytes
        async for chunk in self._chunks(folder, container, attempt, follow=follow, tail_lines=tail_lines, since=since,
                                        timestamps=timestamps):
            if left is not None:
                chunk, left = chunk[:left], left - len(chunk)
            if chunk:
                yield chunk
            if left is not None and left <= 0:
                return

    def _find(self, namespace: str, name: str, container: str, *, previous: bool) -> tuple[PodFolder, int]:
        pod = self._cache.get(Key(namespace, name))
        if pod is None:
            raise NotFound(f'pods "{name}" not found')
        folder = PodFolder(self._pods / uid_of(pod))
        attempts = folder.attempts().get(container, [])
        if previous:
            ended = attempts if _waits_after_an_end(pod, container) else attempts[1:]
            if not ended:
                raise BadRequest(f'previous terminated container "{container}" in pod "{name}" not found')
            return folder, ended[0].number
        if not attempts:
            raise BadRequest(f'container "{container}" in pod "{name}" is waiting to start: ContainerCreating')
        return folder, attempts[0].number

    async def _chunks(self, folder: PodFolder, container: str, attempt: int, *, follow: bool, tail_lines: int | None,
                      since: datetime | None, timestamps: bool) -> AsyncIterator[bytes]:
        path = folder.log(container, attempt)
        content, tail = await asyncio.to_thread(_read_all, path)
        lines = [line for raw in content.split(b"\n") if (line := parse_line(raw)) is not None]
        if since is not None:
            lines = [line for line in lines if line.moment() >= since]
        if tail_lines is not None:
            lines = _last(lines, tail_lines)
        for chunk in _grouped(_text(lines, timestamps=timestamps)):
            yield chunk
        if not follow:
            tail.close()
            return
        rest = b""
        try:
            while True:
                running = runs(folder, container, attempt)
                data, _, rest = (rest + tail.read()).rpartition(b"\n")
                fresh = [line for raw in data.split(b"\n") if (line := parse_line(raw)) is not None]
                for chunk in _grouped(_text(fresh, timestamps=timestamps)):
                    yield chunk
                if not running and not fresh:
                    return
                if not fresh:
                    await asyncio.sleep(FOLLOW_S)
        finally:
            tail.close()


def _waits_after_an_end(pod: Obj, container: str) -> bool:
    """Between an end and the next start the newest attempt is the previous one: it is what `lastState` tells of."""
    rows = [*(status_of(pod).get("containerStatuses") or ()), *(status_of(pod).get("initContainerStatuses") or ())]
    return any(row.get("name") == container and "waiting" in (row.get("state") or {}) and row.get("lastState") for row in rows)


class Tail:
    """A place in a log file that moves on with it, over a rotation, and to its end when the file is removed."""

    def __init__(self, path: Path, offset: int) -> None:
        self._path = path
        self._file = self._open()
        if self._file is not None:
            self._file.seek(offset)

    def _open(self) -> IO[bytes] | None:
        try:
            return self._path.open("rb")
        except OSError:
            return None

    def read(self) -> bytes:
        data = self._file.read(_CHUNK) if self._file is not None else b""
        if not data and self._has_rotated():
            self.close()
            self._file = self._open()
            data = self._file.read(_CHUNK) if self._file is not None else b""
        return data

    def _has_rotated(self) -> bool:
        try:
            inode = self._path.stat().st_ino
        except OSError:
            return False
        return self._file is None or os.fstat(self._file.fileno()).st_ino != inode

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _read_all(path: Path) -> tuple[bytes, Tail]:
    """Everything up to now, the rotated file first, in whole lines; and where to go on."""
    rotated = path.with_name(path.name + ".1")
    earlier = rotated.read_bytes() if rotated.exists() else b""
    current = path.read_bytes() if path.exists() else b""
    whole = current.rfind(b"\n") + 1
    return earlier + current[:whole], Tail(path, whole)


def runs(folder: PodFolder, container: str, attempt: int) -> bool:
    attempts = folder.attempts().get(container, [])
    return bool(attempts) and attempts[0].number == attempt and attempts[0].running and folder.shim() is not None


def _last(lines: list[Line], count: int) -> list[Line]:
    """The last `count` lines as the program wrote them: parts of one line stay together."""
    if count <= 0:
        return []
    found = 0
    for i in range(len(lines) - 1, -1, -1):
        if lines[i].whole:
            found += 1
            if found > count:
                return lines[i + 1:]
    return lines


def _text(lines: list[Line], *, timestamps: bool) -> Iterator[bytes]:
    begins = True
    for line in lines:
        mark = line.time + b" " if timestamps and begins else b""
        begins = line.whole
        yield mark + line.text + (b"\n" if line.whole else b"")


def _grouped(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Fewer, larger pieces."""
    group: list[bytes] = []
    size = 0
    for part in parts:
        group.append(part)
        size += len(part)
        if size >= _CHUNK:
            yield b"".join(group)
            group, size = [], 0
    if group:
        yield b"".join(group)
