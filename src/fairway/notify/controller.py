"""Looks at what changed, writes down what will be told, tells it.

The record is written first and the message is sent then: a crash in between loses a message, and never sends one twice.
A sink that fails is tried again with growing delays, without holding up the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime

from fairway.kube.cache import Informers
from fairway.kube.clock import Clock
from fairway.kube.decision import Outcome, carry_out
from fairway.kube.objects import Key
from fairway.kube.reconcile import ControllerLoop, Watch
from fairway.kube.resources import Resource
from fairway.notify.decide import WATCHED, Message, decide
from fairway.notify.sinks import Sink, SinkFailed

log = logging.getLogger("fairway.notify")

FIRST_DELAY_S, LONGEST_DELAY_S, ATTEMPTS = 1.0, 60.0, 8
"""1, 2, 4, … 60 s: two minutes until a sink that does not come back is given up."""


class Outbox:
    """Delivers messages to sinks, each sink on its own."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = tuple(sinks)
        self._sending: set[asyncio.Task[None]] = set()

    def put(self, message: Message) -> None:
        for sink in self._sinks:
            if message.trigger in sink.triggers:
                task = asyncio.create_task(self._deliver(sink, message), name=f"notify {sink.name}")
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)

    async def settle(self) -> None:
        """Until everything is delivered or given up."""
        while self._sending:
            await asyncio.gather(*self._sending, return_exceptions=True)

    async def close(self, grace_s: float = 2.0) -> None:
        """Let running deliveries end for a moment, then give up."""
        if self._sending:
            await asyncio.wait(self._sending, timeout=grace_s)
        for task in self._sending:
            task.cancel()
        for sink in self._sinks:
            await sink.close()

    async def _deliver(self, sink: Sink, message: Message) -> None:
        delay = FIRST_DELAY_S
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await sink.send(message)
                return
            except SinkFailed as failed:
                if not failed.again or attempt == ATTEMPTS:
                    log.error("%s did not take %r: %s", sink.name, message.title, failed)
                    return
                log.warning("%s did not take %r, trying again: %s", sink.name, message.title, failed)
                await asyncio.sleep(min(max(delay, failed.after_s), LONGEST_DELAY_S))
                delay *= 2


class _OfKind:
    """The `Controller` of one kind of object."""

    workers = 1

    def __init__(self, resource: Resource, informers: Informers, outbox: Outbox) -> None:
        self.name = f"notify-{resource.plural}"
        self.resource = resource
        self._informers = informers
        self._outbox = outbox

    def watches(self) -> Sequence[Watch]:
        return ()

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        obj = self._informers.of(self.resource).get(key)
        if obj is None:
            return Outcome()
        news = decide(self.resource, obj, now)
        await carry_out(self._informers.api, news.decision.actions, manager="fairway-notify")
        for message in news.messages:
            self._outbox.put(message)
        return Outcome(reasons=news.decision.reasons)


class NotifyController:
    """Watches every kind that has something to tell, until `run` is cancelled."""

    def __init__(self, informers: Informers, clock: Clock, sinks: Sequence[Sink]) -> None:
        self.outbox = Outbox(sinks)
        self._loops = [ControllerLoop(_OfKind(resource, informers, self.outbox), informers, clock) for resource in WATCHED]

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                for loop in self._loops:
                    tasks.create_task(loop.run())
        finally:
            await self.outbox.close()
