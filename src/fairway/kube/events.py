"""Core events: what `kubectl describe` shows below an object.

The same thing said again about the same object is one event with a count. Recording never fails into the caller: an event
is a remark, not a fact that anything depends on.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from fairway.kube.api import Api, MergePatch, WriteOptions
from fairway.kube.clock import Clock
from fairway.kube.errors import AlreadyExists, ApiError, NotFound
from fairway.kube.objects import Obj, dig, meta_of, rfc3339
from fairway.kube.resources import CORE_EVENTS

log = logging.getLogger("fairway.kube.events")

EventKind = Literal["Normal", "Warning"]

_REMEMBERED = 4096
_LONGEST_MESSAGE = 1024
_REFERENCE = ("apiVersion", "kind")
_REFERENCE_META = ("name", "namespace", "uid", "resourceVersion")


class TimeOfPass:
    """The clock of events for a controller that has none: the time that the loop gave the pass that records them."""

    def __init__(self) -> None:
        self.moment = datetime.min.replace(tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment


class EventRecorder:
    """Records events as `component`. One per controller."""

    def __init__(self, api: Api, clock: Clock, component: str) -> None:
        self._api = api
        self._clock = clock
        self._component = component
        self._counts: OrderedDict[str, int] = OrderedDict()

    async def event(self, obj: Mapping[str, Any], type: EventKind, reason: str, message: str) -> None:
        """Say `message` about `obj`. `reason` is a CamelCase word. Refusals by the API are logged, never raised."""
        try:
            await self._record(obj, type, reason, message[:_LONGEST_MESSAGE])
        except ApiError as error:
            log.debug("event %s of %s not recorded: %s", reason, dig(obj, "metadata", "name"), error)

    async def _record(self, obj: Mapping[str, Any], kind: EventKind, reason: str, message: str) -> None:
        meta = meta_of(obj)
        namespace = meta.get("namespace") or "default"
        name = self._name(obj, kind, reason, message)
        options = WriteOptions(manager=self._component)
        count = self._counts.get(name, 0) + 1
        self._remember(name, count)
        now = rfc3339(self._clock.now())
        if count > 1:
            try:
                await self._again(name, namespace, count, now, options)
                return
            except NotFound:
                self._remember(name, 1)
        try:
            await self._api.create(self._first(obj, name, namespace, kind, reason, message, now), options)
        except AlreadyExists:  # said before this process started
            present = await self._api.get(CORE_EVENTS, name, namespace)
            count = int(present.get("count") or 1) + 1
            self._remember(name, count)
            await self._again(name, namespace, count, now, options)

    async def _again(self, name: str, namespace: str, count: int, now: str, options: WriteOptions) -> None:
        await self._api.patch(CORE_EVENTS, name, namespace, MergePatch({"count": count, "lastTimestamp": now}), options)

    def _first(self, obj: Mapping[str, Any], name: str, namespace: str, kind: EventKind, reason: str, message: str,
               now: str) -> Obj:
        involved = {field: obj[field] for field in _REFERENCE if field in obj}
        involved.update({field: meta_of(obj)[field] for field in _REFERENCE_META if field in meta_of(obj)})
        return {
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": namespace},
            "involvedObject": involved, "type": kind, "reason": reason, "message": message, "count": 1,
            "firstTimestamp": now, "lastTimestamp": now, "source": {"component": self._component},
            "reportingComponent": self._component, "reportingInstance": "",
        }

    def _name(self, obj: Mapping[str, Any], kind: str, reason: str, message: str) -> str:
        """The same remark has the same name in every process."""
        meta = meta_of(obj)
        said = "\0".join((self._component, str(meta.get("uid", "")), kind, reason, message))
        return f"{meta.get('name', 'unknown')[:200]}.{hashlib.sha256(said.encode()).hexdigest()[:16]}"

    def _remember(self, name: str, count: int) -> None:
        self._counts[name] = count
        self._counts.move_to_end(name)
        while len(self._counts) > _REMEMBERED:
            self._counts.popitem(last=False)
