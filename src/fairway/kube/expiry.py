"""Events are kept for an hour after they were last said, as Kubernetes keeps them."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta

from fairway.kube.objects import Key, Obj, parse_time
from fairway.kube.store import Version

KEPT = timedelta(hours=1)


def last_said(event: Obj) -> datetime:
    made = event["metadata"]["creationTimestamp"]
    try:
        return parse_time(event.get("lastTimestamp") or made)
    except ValueError:  # clients write what they like; the API writes the other
        return parse_time(made)


class Expiry:
    """When each event is due. An event that was said again in the meantime is due again later."""

    def __init__(self, events: Iterable[tuple[Key, Version]]) -> None:
        self._due = [(last_said(version.obj) + KEPT, key) for key, version in events]
        heapq.heapify(self._due)

    def add(self, key: Key, event: Obj) -> None:
        heapq.heappush(self._due, (last_said(event) + KEPT, key))

    def expired(self, present: Callable[[Key], Version | None], now: datetime) -> Iterator[tuple[Key, Version]]:
        """The events that are `present` and may go. Each is given once."""
        while self._due and self._due[0][0] <= now:
            _, key = heapq.heappop(self._due)
            version = present(key)
            if version is None:
                continue
            if last_said(version.obj) + KEPT <= now:
                yield key, version
            else:
                self.add(key, version.obj)
