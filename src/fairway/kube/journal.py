"""The store's log on disk: SQLite in WAL, one writer thread, many changes to a commit.

Every change is a row, and its revision is the row's key. While one commit waits for the disk, the changes that arrive are
the next commit: the more writers, the larger the batch, and the disk is asked once. A row that is superseded, and the
mark of a deletion together with what it deleted, are removed once enough of them have gathered.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import apsw

from fairway.kube.errors import ApiError, Unavailable
from fairway.kube.objects import Key
from fairway.kube.store import Change, Table

log = logging.getLogger("fairway.kube.journal")

LARGEST_BATCH = 256
_COMPACT_AT = 2048
"""Superseded rows that are removed at once: about a megabyte of objects, a few milliseconds of work."""
_CHECKPOINT_PAGES = 2000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
    revision INTEGER PRIMARY KEY, api_group TEXT NOT NULL, plural TEXT NOT NULL, namespace TEXT NOT NULL,
    name TEXT NOT NULL, deleted INTEGER NOT NULL, object BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS reached (one INTEGER PRIMARY KEY CHECK (one = 1), revision INTEGER NOT NULL) STRICT;
"""
_INSERT = "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?)"
_REACHED = "INSERT INTO reached VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET revision = excluded.revision"

_T = TypeVar("_T")
_Row = tuple[int, str, str, str, str, int, bytes]


class SqliteJournal:
    """A `Journal` in one file. `rows` and `revision` are what it held when it was opened."""

    def __init__(self, path: Path, *, fast_storage: bool = False) -> None:
        """`Unavailable` when the file is another process's or cannot be used. `fast_storage` leaves the last moments to
        the operating system: they survive the death of this process, not that of the machine."""
        try:
            self._db = _open(path, synchronous="NORMAL" if fast_storage else "FULL")
        except apsw.BusyError as error:
            raise Unavailable(f"the state {path} is in use by another process") from error
        except apsw.Error as error:
            raise Unavailable(f"the state {path} cannot be opened: {error}") from error
        self._waiting: deque[tuple[_Row, int]] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._superseded: list[int] = []
        self._settled: Callable[[int], None] = lambda revision: None
        self._failed: Callable[[ApiError], None] = lambda error: None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="kube journal", daemon=True)

    def load(self) -> tuple[list[tuple[int, Table, Key, bytes]], int]:
        """Every object that is there, and the last revision. Superseded rows are removed on the way."""
        present: dict[tuple[str, str, str, str], tuple[int, bytes]] = {}
        dead: list[int] = []
        last = next(iter(self._db.execute("SELECT revision FROM reached")), (0,))[0]
        for revision, group, plural, namespace, name, deleted, raw in self._rows():
            key = (group, plural, namespace, name)
            before = present.pop(key, None)
            if before is not None:
                dead.append(before[0])
            if deleted:
                dead.append(revision)
            else:
                present[key] = (revision, raw)
            last = max(last, revision)
        if dead:
            with self._db:
                self._remove(dead, last)
        rows = [(revision, Table(group, plural), Key(namespace, name), raw)
                for (group, plural, namespace, name), (revision, raw) in present.items()]
        return rows, last

    def start(self, settled: Callable[[int], None], failed: Callable[[ApiError], None]) -> None:
        """Begin writing. Both are called in the running event loop."""
        self._settled, self._failed = settled, failed
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def append(self, change: Change) -> None:
        row = (change.revision, *change.table, *change.key, int(change.deleted), change.new.raw)
        old = change.old.revision if change.old is not None else 0
        with self._wake:
            self._waiting.append((row, old))
            if len(self._waiting) == 1:
                self._wake.notify()

    async def close(self) -> None:
        """Until everything appended is on disk and the file is closed."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread.is_alive():
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
        self._db.close()

    # --- in the writer thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while batch := self._take():
            try:
                self._write(batch)
            except apsw.Error as error:
                log.error("the state cannot be written: %s", error)
                self._tell(self._failed, Unavailable(f"the state cannot be written: {error}"))
                return
            self._tell(self._settled, batch[-1][0][0])

    def _take(self) -> list[tuple[_Row, int]]:
        """The next batch; empty when closing and nothing waits."""
        with self._wake:
            while not self._waiting and not self._closing:
                self._wake.wait()
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), LARGEST_BATCH))]

    def _write(self, batch: list[tuple[_Row, int]]) -> None:
        with self._db:
            self._db.executemany(_INSERT, [row for row, _ in batch])
            for row, old in batch:
                if old:
                    self._superseded.append(old)
                if row[5]:
                    self._superseded.append(row[0])
            if len(self._superseded) >= _COMPACT_AT:
                self._remove(self._superseded, batch[-1][0][0])
                self._superseded = []

    def _remove(self, revisions: list[int], reached: int) -> None:
        self._db.executemany("DELETE FROM log WHERE revision = ?", [(revision,) for revision in revisions])
        self._db.execute(_REACHED, (reached,))

    def _tell(self, listener: Callable[[_T], None], word: _T) -> None:
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(listener, word)

    def _rows(self) -> Iterator[_Row]:
        yield from self._db.execute("SELECT * FROM log ORDER BY revision")


def _open(path: Path, *, synchronous: str) -> apsw.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    db = apsw.Connection(str(path))
    db.set_busy_timeout(200)
    # One owner: a second process is refused at once, and no shared memory is needed for the WAL.
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"PRAGMA synchronous = {synchronous}")
    db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    db.execute(_SCHEMA)
    return db
