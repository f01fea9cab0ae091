"""One watch: changes of a table seen through a selection, as events.

An object that comes to match its selectors is ADDED for this watcher, one that no longer matches is DELETED. Events are
shared by all watchers of a table wherever their view is the same.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from fairway.kube.api import EventType, WatchEvent
from fairway.kube.errors import Expired
from fairway.kube.objects import Key, Obj, labels_of
from fairway.kube.selectors import EVERYTHING, FieldTerm, Selector, fields_match
from fairway.kube.store import HISTORY, Change, Store, Table

BOOKMARK_EVERY_S = 60.0
_EARLY_S = 0.001  # timers may go off a moment too early


@dataclass(frozen=True, slots=True)
class Selection:
    """What one reader wants of a table."""

    namespace: str = ""
    labels: Selector = EVERYTHING
    fields: tuple[FieldTerm, ...] = ()

    @property
    def everything(self) -> bool:
        return not self.fields and self.labels is EVERYTHING

    def holds(self, key: Key, obj: Obj) -> bool:
        if self.namespace and key.namespace != self.namespace:
            return False
        if self.labels is not EVERYTHING and not self.labels.matches(labels_of(obj)):
            return False
        return not self.fields or fields_match(self.fields, obj)

    def event(self, change: Change) -> EventType | None:
        """What `change` is for this reader."""
        if self.namespace and change.key.namespace != self.namespace:
            return None
        if self.everything:
            return "DELETED" if change.deleted else "MODIFIED" if change.old is not None else "ADDED"
        before = change.old is not None and self.holds(change.key, change.old.obj)
        after = not change.deleted and self.holds(change.key, change.new.obj)
        if before:
            return "MODIFIED" if after else "DELETED"
        return "ADDED" if after else None


class WatchStream(AsyncIterator[WatchEvent]):
    """Events as an asynchronous iterator. Dropping it, or `aclose`, ends the watch."""

    def __init__(self, store: Store, table: Table, selection: Selection, *, api_version: str, kind: str,
                 bookmarks: bool) -> None:
        self._store = store
        self._table = table
        self._selection = selection
        self._api_version = api_version
        self._kind = kind
        self._bookmarks = bookmarks
        self._backlog: deque[WatchEvent] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._bookmark_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._overrun = False
        # The store must not keep a watch alive that nobody reads any more.
        weak = weakref.WeakMethod(self._offer)
        number = store.listen(table, lambda change: _offer(weak, change))
        self._end = weakref.finalize(self, store.forget, table, number)
        self._end.atexit = False

    def __aiter__(self) -> WatchStream:
        return self

    async def __anext__(self) -> WatchEvent:
        while not self._backlog:
            if self._overrun:
                raise Expired("too old resource version: the watcher fell behind the history that is kept")
            if self._closed:
                raise StopAsyncIteration
            if not await self._wait():
                return self.bookmark({})
        return self._backlog.popleft()

    async def aclose(self) -> None:
        self._closed = True
        self._end()
        if self._timer is not None:
            self._timer.cancel()
        self._wake()

    def present(self, *, mark_end: bool) -> None:
        """Queue every object that is there now as ADDED, and with `mark_end` the bookmark that ends them."""
        for key, version in sorted(self._store.rows(self._table).items()):
            if self._selection.holds(key, version.obj):
                self._backlog.append(WatchEvent("ADDED", self._view(version.obj)))
        if mark_end:
            self._backlog.append(self.bookmark({"k8s.io/initial-events-end": "true"}))

    def replay(self, changes: list[Change]) -> None:
        for change in changes:
            self._offer(change)

    def bookmark(self, annotations: dict[str, str]) -> WatchEvent:
        meta: dict[str, Any] = {"resourceVersion": str(self._store.revision)}
        if annotations:
            meta["annotations"] = annotations
        return WatchEvent("BOOKMARK", {"kind": self._kind, "apiVersion": self._api_version, "metadata": meta})

    def _offer(self, change: Change) -> None:
        kind = self._selection.event(change)
        if kind is None or self._overrun:
            return
        if len(self._backlog) >= HISTORY:
            self._backlog.clear()
            self._overrun = True
        else:
            left = kind == "DELETED" and not change.deleted
            self._backlog.append(WatchEvent(kind, self._view(_last_seen(change) if left else change.new.obj)))
        self._wake()

    def _view(self, obj: Obj) -> Obj:
        return obj if obj["apiVersion"] == self._api_version else {**obj, "apiVersion": self._api_version}

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self) -> bool:
        """False when it is time for a bookmark."""
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        if self._bookmarks:
            self._bookmark_at = loop.time() + BOOKMARK_EVERY_S
            if self._timer is None:  # one that is set goes off too early, and is set again then: cheaper than one an event
                self._timer = loop.call_at(self._bookmark_at, _ring, weakref.ref(self))
        try:
            await self._waiter
        finally:
            self._waiter = None
        return bool(self._backlog or self._closed or self._overrun) or not self._bookmarks


    def rung(self) -> None:
        self._timer = None
        if self._waiter is None:
            return  # the next wait sets another one
        loop = asyncio.get_running_loop()
        if self._bookmark_at - loop.time() > _EARLY_S:
            self._timer = loop.call_at(self._bookmark_at, _ring, weakref.ref(self))
        else:
            self._wake()


def _ring(weak: weakref.ref[WatchStream]) -> None:
    stream = weak()
    if stream is not None:
        stream.rung()


def _last_seen(change: Change) -> Obj:
    """What a watcher saw of an object that leaves its selection, at the revision of its leaving."""
    assert change.old is not None
    obj = change.old.obj
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(change.revision)}}


def _offer(weak: weakref.WeakMethod[Any], change: Change) -> None:
    offer = weak()
    if offer is not None:
        offer(change)
