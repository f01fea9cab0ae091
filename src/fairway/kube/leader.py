"""One of several: Leases say which process does the work, as client-go's leader election has it.

Whoever holds a Lease renews it. Who wants it waits until it has not changed for the Lease's whole duration *by the waiter's own
clock* (times of other machines are never compared), then writes itself in, under the optimistic lock of the object's version.
A holder that could not renew within `RENEW_WITHIN` is `late`: `Fenced` refuses its writes before others may begin, until it has
renewed after all. Only where somebody else has taken over is the leadership lost.

Source: k8s.io/client-go/tools/leaderelection; durations are those of kube-controller-manager.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fairway.kube.api import Api, DeleteOptions, Patch, Subresource, WriteOptions
from fairway.kube.clock import Clock
from fairway.kube.errors import AlreadyExists, ApiError, Conflict, Forbidden, Unavailable
from fairway.kube.objects import Obj, rfc3339_micro, spec_of
from fairway.kube.resources import LEASES, Resource

log = logging.getLogger("fairway.kube")

LEASE = timedelta(seconds=15)
RENEW_WITHIN = timedelta(seconds=10)
RENEW_EVERY = timedelta(seconds=5)
"""client-go renews every 2 s; a third of the duration leaves room for two failures and costs the API less."""
TRY_EVERY = timedelta(seconds=2)
_ANSWER_S = 4.0  # for one round of renewals


class LeadershipLost(Exception):
    """The work has to stop: a Lease is somebody else's, or may not be written any more. The message says which and whose."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A Lease (None where there is none), and when it was first seen as it is."""

    lease: Obj | None
    since: datetime


@dataclass(frozen=True, slots=True)
class Wait:
    """It is `holder`'s; not before `until` may it be taken."""

    holder: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Take:
    """What to write: a new Lease, or a change of the one that was seen."""

    lease: Obj


def decide(seen: Sighting, name: str, namespace: str, me: str, now: datetime) -> Take | Wait:
    spec = spec_of(seen.lease) if seen.lease is not None else {}
    holder = str(spec.get("holderIdentity") or "")
    if holder and holder != me:
        until = seen.since + timedelta(seconds=int(spec.get("leaseDurationSeconds") or LEASE.total_seconds()))
        if now < until:
            return Wait(holder, until)
    kept = holder == me
    mine = {"holderIdentity": me, "leaseDurationSeconds": int(LEASE.total_seconds()), "renewTime": rfc3339_micro(now),
            "acquireTime": spec["acquireTime"] if kept and spec.get("acquireTime") else rfc3339_micro(now),
            "leaseTransitions": int(spec.get("leaseTransitions") or 0) + (0 if kept or seen.lease is None else 1)}
    if seen.lease is not None:
        return Take({**seen.lease, "spec": mine})
    return Take({"apiVersion": LEASES.api_version, "kind": LEASES.kind, "spec": mine,
                 "metadata": {"name": name, "namespace": namespace}})


class Candidate:
    """Stands for several Leases at once: the work begins when all of them are ours. Taken in the order of their names, so that
    two who want the same ones cannot wait for each other. One task at a time may call it."""

    def __init__(self, api: Api, clock: Clock, me: str, names: Iterable[str], namespace: str) -> None:
        self._api = api
        self._clock = clock
        self.me = me
        self._names = sorted(names)
        self._namespace = namespace
        self._seen: dict[str, Sighting] = {}
        self._renewed: dict[str, datetime] = {}
        self.waits_for: tuple[str, str] | None = None
        """(Lease, holder) of the first Lease that is not ours."""

    async def attempt(self) -> bool:
        """One look at all Leases, renewing those that are ours; whether all are. Raises `Forbidden`; other refusals of the API
        are met again at the next look."""
        try:
            await self._look()
            for name in self._names:
                now = self._clock.now()
                match decide(self._seen[name], name, self._namespace, self.me, now):
                    case Wait(holder):
                        self._wait(name, holder)
                        return False
                    case Take(lease):
                        await self._write(lease, name)
                        self._renewed[name] = now
        except Forbidden:
            raise
        except (ApiError, OSError) as error:
            if not isinstance(error, Conflict | AlreadyExists):
                log.warning("leases: %s", error)
            self.waits_for = None
            return False
        self.waits_for = None
        return True

    async def win(self) -> None:
        """Return once every Lease is ours."""
        while not await self.attempt():  # noqa: ASYNC110 (time itself is awaited)
            await asyncio.sleep(TRY_EVERY.total_seconds())

    @property
    def late(self) -> bool:
        """Whether something that is ours was not renewed in time: others may take it over at any moment."""
        now = self._clock.now()
        return any(now - renewed >= RENEW_WITHIN for renewed in self._renewed.values())

    async def hold(self) -> None:
        """Renew for ever; `LeadershipLost` where somebody else leads."""
        while True:
            renewed = await self._renew()
            await asyncio.sleep((RENEW_EVERY if renewed else TRY_EVERY).total_seconds())

    async def step_down(self) -> None:
        """Let the next one begin at once. What cannot be said is found out after the Lease's duration."""
        for name in [*self._renewed]:
            seen = self._seen.get(name)
            if seen is None or seen.lease is None:
                continue
            try:
                await self._write({**seen.lease, "spec": {**spec_of(seen.lease), "holderIdentity": "",
                                                          "leaseDurationSeconds": 1}}, name)
            except (ApiError, OSError) as error:
                log.info("lease %s is left to expire: %s", name, error)
            self._renewed.pop(name, None)

    async def _renew(self) -> bool:
        """Whether every Lease was renewed now; False while it may be tried again."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                renewed = await self.attempt()
        except TimeoutError:
            log.warning("leases: no answer within %.0f s", _ANSWER_S)
            return False
        except Forbidden as error:
            raise LeadershipLost(f"leases may not be written any more: {error}") from error
        if self.waits_for is not None:
            raise LeadershipLost(f"lease {self.waits_for[0]} is {self.waits_for[1]}'s now")
        return renewed

    async def _look(self) -> None:
        """All of them at one time, so that the wait for one counts for the others too."""
        listed = await self._api.list(LEASES, self._namespace)
        found = {lease["metadata"]["name"]: lease for lease in listed.items}
        now = self._clock.now()
        for name in self._names:
            lease, known = found.get(name), self._seen.get(name)
            same = known is not None and _says(known.lease) == _says(lease)
            self._seen[name] = Sighting(lease, known.since if known is not None and same else now)

    async def _write(self, lease: Obj, name: str) -> None:
        options = WriteOptions(manager="fairway")
        new = "resourceVersion" not in lease["metadata"]
        written = await (self._api.create(lease, options) if new else self._api.replace(lease, options))
        self._seen[name] = Sighting(written, self._clock.now())

    def _wait(self, name: str, holder: str) -> None:
        if self.waits_for != (name, holder):
            log.info("standing by: lease %s is %s's", name, holder)
        self.waits_for = name, holder


def _says(lease: Obj | None) -> Obj | None:
    return spec_of(lease) if lease is not None else None


class Fenced:
    """An API that writes nothing while its candidate is late. Everything else is the API's own."""

    def __init__(self, api: Api, candidate: Candidate) -> None:
        self._api = api
        self._candidate = candidate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    async def create(self, obj: Obj, options: WriteOptions | None = None) -> Obj:
        self._check()
        return await self._api.create(obj, options)

    async def replace(self, obj: Obj, options: WriteOptions | None = None, *, subresource: Subresource = "") -> Obj:
        self._check()
        return await self._api.replace(obj, options, subresource=subresource)

    async def patch(self, resource: Resource, name: str, namespace: str, patch: Patch,
                    options: WriteOptions | None = None, *, subresource: Subresource = "") -> Obj:
        self._check()
        return await self._api.patch(resource, name, namespace, patch, options, subresource=subresource)

    async def delete(self, resource: Resource, name: str, namespace: str = "", delete: DeleteOptions | None = None,
                     options: WriteOptions | None = None) -> Obj:
        self._check()
        return await self._api.delete(resource, name, namespace, delete, options)

    def _check(self) -> None:
        if self._candidate.late:
            raise Unavailable("nothing is written while the leases of this process could not be renewed: another one may lead")
