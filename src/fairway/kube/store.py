"""The log: every version of every object is one entry, and the entry's number is the resourceVersion.

A write is decided against `head` (what was accepted last), appended to the log, and becomes visible to readers and
watchers when the journal says that it is durable; in memory that is at once. Changes become visible in the order of
their numbers, so a watch never shows an effect before its cause, and never shows what a crash could take back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

import msgspec

from fairway.kube.alike import share
from fairway.kube.errors import ApiError, Expired, Timeout
from fairway.kube.objects import Key, Obj

HISTORY = 10_000
"""Changes kept for watches that come back: at 100 writes a second, more than a minute and a half."""
HISTORY_BYTES = 8 << 20
"""And no more than this of their JSON: a thousand Applications that move at once would fill 100 MB with it."""

_encode = msgspec.json.encode
_decode = msgspec.json.Decoder().decode


class Table(NamedTuple):
    """Where objects of one resource stand, whatever version of it they are asked for in."""

    group: str
    plural: str


_TEXTS = frozenset((Table("", "events"),))
"""A thousand Applications that are synced say four thousand Events, which are kept for an hour: 20 MB as objects."""


class Version:
    """One object at one resourceVersion. `obj` is shared: never change it. `raw` is its JSON, encoded once.

    A superseded version is history: it keeps its JSON alone, a quarter of the memory, and is decoded when somebody asks. So is
    one of a table that everybody writes and hardly anybody reads.
    """

    __slots__ = ("_obj", "_raw", "revision")

    def __init__(self, revision: int, obj: Obj, raw: bytes | None = None) -> None:
        self.revision = revision
        self._obj: Obj | None = obj
        self._raw = raw

    @property
    def obj(self) -> Obj:
        if self._obj is None:
            return self.copy()
        return self._obj

    @property
    def raw(self) -> bytes:
        if self._raw is None:
            self._raw = _encode(self._obj)
        return self._raw

    def keep_text(self) -> None:
        """From now on the JSON alone."""
        assert self.raw
        self._obj = None

    def keep_object(self) -> None:
        """Until somebody asks, no JSON."""
        if self._obj is not None:
            self._raw = None

    def copy(self) -> Obj:
        """An object of one's own. Decoding is several times faster than copying."""
        obj: Obj = _decode(self._raw if self._raw is not None else _encode(self._obj))
        return obj


class Change(NamedTuple):
    """`old` None: added; `deleted`: `new` is the last state, carrying the number of the deletion."""

    revision: int
    table: Table
    key: Key
    old: Version | None
    new: Version
    deleted: bool


class Snapshot(NamedTuple):
    """A store in memory at one moment."""

    tables: Mapping[Table, Mapping[Key, Version]]
    history: tuple[Change, ...]
    sizes: tuple[int, ...]
    revision: int


class Journal(Protocol):
    """Makes changes durable, in order, and tells the store in the event loop (`settle`, `fail`)."""

    def append(self, change: Change) -> None: ...

    async def close(self) -> None: ...


Listener = Callable[[Change], None]


class Store:
    """All objects. Without a journal: in memory alone, and every write is visible when the call returns."""

    def __init__(self, journal: Journal | None = None, *, history: int = HISTORY) -> None:
        self._journal = journal
        self._tables: dict[Table, dict[Key, Version]] = {}
        self._listeners: dict[Table, dict[int, Listener]] = {}
        self._listener_count = 0
        self._history: deque[Change] = deque(maxlen=history)
        self._in_flight: deque[tuple[Change, asyncio.Future[None]]] = deque()
        self._heads: dict[tuple[Table, Key], Change] = {}
        self._failed: ApiError | None = None
        self._last = 0
        self._sizes: deque[int] = deque()  # of the JSON of each change in the history
        self._history_bytes = 0
        self.revision = 0
        self.oldest = 0

    # --- reading ----------------------------------------------------------------------------------------------------

    def get(self, table: Table, key: Key) -> Version | None:
        rows = self._tables.get(table)
        return rows.get(key) if rows is not None else None

    def rows(self, table: Table) -> Mapping[Key, Version]:
        return self._tables.get(table) or {}

    def tables(self) -> list[Table]:
        return list(self._tables)

    def head(self, table: Table, key: Key) -> Version | None:
        """What the next write must be decided against: writes on their way to the disk count."""
        if self._heads:
            change = self._heads.get((table, key))
            if change is not None:
                return None if change.deleted else change.new
        return self.get(table, key)

    def heads(self, table: Table) -> dict[Key, Version]:
        """All rows as the next write sees them."""
        rows = dict(self.rows(table))
        for (other, key), change in self._heads.items():
            if other == table:
                rows.pop(key, None)
                if not change.deleted:
                    rows[key] = change.new
        return rows

    @property
    def writing(self) -> bool:
        """Whether writes are on their way to the disk: then `heads` differs from `rows`."""
        return bool(self._heads)

    # --- writing ----------------------------------------------------------------------------------------------------

    def put(self, table: Table, key: Key, obj: Obj) -> Change:
        """Append `obj` (which the store keeps, and whose resourceVersion it sets)."""
        return self._append(table, key, obj, deleted=False)

    def remove(self, table: Table, key: Key, last: Obj) -> Change:
        """Append the deletion; `last` is what watchers are shown."""
        return self._append(table, key, last, deleted=True)

    async def durable(self, change: Change) -> None:
        """Until `change` is safe and visible. Without a journal it is already."""
        if change.revision <= self.revision:
            return
        for pending, future in reversed(self._in_flight):
            if pending.revision == change.revision:
                await asyncio.shield(future)
                return
        if self._failed is not None:
            raise self._failed

    def _append(self, table: Table, key: Key, obj: Obj, *, deleted: bool) -> Change:
        if self._failed is not None:
            raise self._failed
        old = self.head(table, key)
        self._last = revision = self._last + 1
        obj["metadata"]["resourceVersion"] = str(revision)
        change = Change(revision, table, key, old, Version(revision, obj), deleted)
        if self._journal is None:  # a rehearsal's: short, and in a hurry
            self._show(change)
        else:
            share(obj)
            self._heads[table, key] = change
            self._in_flight.append((change, asyncio.get_running_loop().create_future()))
            self._journal.append(change)
        return change

    def settle(self, revision: int) -> None:
        """The journal's word: everything up to `revision` is durable."""
        while self._in_flight and self._in_flight[0][0].revision <= revision:
            change, future = self._in_flight.popleft()
            if self._heads.get((change.table, change.key)) is change:
                del self._heads[change.table, change.key]
            self._show(change)
            if not future.done():
                future.set_result(None)

    def fail(self, error: ApiError) -> None:
        """The journal cannot write: what is in flight was never true, and nothing more is accepted."""
        self._failed = error
        self._heads.clear()
        while self._in_flight:
            _, future = self._in_flight.popleft()
            if not future.done():
                future.set_exception(error)

    async def close(self) -> None:
        if self._journal is not None:
            await self._journal.close()

    def restore(self, rows: Iterable[tuple[int, Table, Key, bytes]], revision: int) -> None:
        """Become what a journal holds. Watches cannot go back before this point."""
        for number, table, key, raw in rows:
            obj = _decode(raw)
            share(obj)
            version = self._tables.setdefault(table, {})[key] = Version(number, obj, raw)
            if table in _TEXTS:
                version.keep_text()
            else:
                version.keep_object()
        self._last = self.revision = self.oldest = revision

    def snapshot(self) -> Snapshot:
        """All rows as they are, for `resume`. Versions are shared: nobody changes one."""
        return Snapshot({table: dict(rows) for table, rows in self._tables.items()}, tuple(self._history), tuple(self._sizes),
                        self.revision)

    def resume(self, snapshot: Snapshot) -> None:
        """Become what another store in memory was; listeners are not told. For a store that is still empty."""
        self._tables = {table: dict(rows) for table, rows in snapshot.tables.items()}
        self._history.extend(snapshot.history)
        self._sizes.extend(snapshot.sizes)
        self._history_bytes = sum(snapshot.sizes)
        self._last = self.revision = snapshot.revision

    def _show(self, change: Change) -> None:
        rows = self._tables.setdefault(change.table, {})
        if change.deleted:
            rows.pop(change.key, None)
        else:
            rows[change.key] = change.new
        self.revision = change.revision
        self._remember(change)
        for listener in list(self._listeners.get(change.table, {}).values()):
            listener(change)
        if change.old is not None:
            change.old.keep_text()
        if change.deleted or change.table in _TEXTS:
            change.new.keep_text()
        elif self._journal is not None:
            change.new.keep_object()

    def _remember(self, change: Change) -> None:
        size = len(change.new.raw)
        self._history_bytes += size
        while self._history and (len(self._history) == self._history.maxlen or self._history_bytes > HISTORY_BYTES):
            self.oldest = self._history.popleft().revision
            self._history_bytes -= self._sizes.popleft()
        self._history.append(change)
        self._sizes.append(size)

    # --- following --------------------------------------------------------------------------------------------------

    def check_reached(self, revision: int) -> None:
        """`Timeout` for a version that does not exist yet."""
        if revision > self.revision:
            raise Timeout(f"Timeout: Too large resource version: {revision}, current: {self.revision}",
                          details={"causes": [{"reason": "ResourceVersionTooLarge",
                                               "message": "Too large resource version"}], "retryAfterSeconds": 1})

    def since(self, table: Table, revision: int) -> list[Change]:
        """Changes after `revision`, oldest first. `Expired` when some are no longer held."""
        self.check_reached(revision)
        if revision < self.oldest:
            raise Expired(f"too old resource version: {revision} ({self.oldest})")
        found = []
        for change in reversed(self._history):
            if change.revision <= revision:
                break
            if change.table == table:
                found.append(change)
        return found[::-1]

    def listen(self, table: Table, listener: Listener) -> int:
        """Call `listener` for every later change of `table`, until `forget` of the number returned."""
        self._listener_count += 1
        self._listeners.setdefault(table, {})[self._listener_count] = listener
        return self._listener_count

    def forget(self, table: Table, number: int) -> None:
        self._listeners.get(table, {}).pop(number, None)
