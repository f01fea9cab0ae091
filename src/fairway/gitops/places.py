"""Where Applications are delivered to: the cluster that Fairway serves, and others by a connection that is kept here. Hands.

A connection is made when the first Application wants it. Its caches fill once and then follow; every few seconds the cluster
is asked whether it is there. While it is not, nobody compares with what was known of it, and nothing is changed or deleted:
what a cluster does not say is unknown.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from fairway.gitops.clusters import OURS, Cluster, choose, decode_cluster, is_cluster_secret
from fairway.gitops.comparison import Comparison
from fairway.gitops.deletion import Deletion, HooksOf
from fairway.gitops.live import WATCHED, LiveObjects
from fairway.gitops.operator import Operator
from fairway.gitops.settings import Settings
from fairway.gitops.spec import Application
from fairway.gitops.tracking import Tracking
from fairway.kube.api import Api
from fairway.kube.cache import Informers
from fairway.kube.decision import Reason
from fairway.kube.errors import ApiError, Forbidden, NotFound
from fairway.kube.kubeconfig import Connection
from fairway.kube.objects import Key, Obj, key_of, status_of
from fairway.kube.resources import CRDS, REPLICA_SETS, SECRETS, Resource
from fairway.kube.scoped import NamespacesApi

log = logging.getLogger("fairway.gitops.places")

_KEPT = (*WATCHED, REPLICA_SETS)  # a Rollout names the images of its stable version by their ReplicaSet
_FIRST_S, _LONGEST_S = 1.0, 30.0
"""A cluster that is away is asked again after a second, then ever later."""
_LOOK_EVERY_S = 10.0
_ANSWERS_WITHIN_S = 15.0
_PATIENCE = timedelta(seconds=5)
"""So long is a connection in the making no news."""


class RemoteApi(Api, Protocol):
    """An `Api` over a network."""

    async def version(self) -> str: ...

    async def refresh(self) -> None: ...

    async def close(self) -> None: ...


Connect = Callable[[Connection], Awaitable[RemoteApi]]
LookAgain = Callable[[Key], None]


class Place:
    """One cluster, as the passes of its Applications see it."""

    def __init__(self, cluster: Cluster, home: Api, informers: Informers, settings: Settings, hooks_of: HooksOf,
                 watched: Iterable[Resource] = WATCHED) -> None:
        self.cluster = cluster
        self.informers = informers
        self.watched = set(watched)
        self.hidden: set[Resource] = set()
        """Kinds that may not be listed: their objects are looked up one by one."""
        self.comparison = Comparison(informers, self.watched)
        self.operator = Operator(informers, self.comparison, settings)
        self.deletion = Deletion(home, informers, self.comparison, hooks_of)
        self._live: LiveObjects | None = None

    def live(self, tracking: Tracking) -> LiveObjects:
        if self._live is None:
            self._live = LiveObjects(self.informers, tracking, [row for row in WATCHED if row in self.watched])
        return self._live

    def track_by(self, tracking: Tracking) -> None:
        if self._live is not None:
            self._live.track_by(tracking)

    def watch(self, resource: Resource) -> None:
        """A kind that is served since a moment ago."""
        self.watched.add(resource)
        if self._live is not None:
            self._live.watch(resource)

    def objects(self, resource: Resource, namespace: str) -> list[Obj]:
        cache = self.informers.known(resource)
        return cache.list(namespace) if cache is not None else []

    def stable(self, rollout: Obj) -> Obj | None:
        """The ReplicaSet of the version that serves."""
        cache, pod_hash = self.informers.known(REPLICA_SETS), str(status_of(rollout).get("stableRS") or "")
        key = key_of(rollout)
        return cache.get(Key(key.namespace, f"{key.name}-{pod_hash}")) if cache is not None and pod_hash else None


@dataclass(slots=True)
class _Line:
    """The connection to one cluster: `place` once its caches are full, `failure` why it cannot be used now."""

    cluster: Cluster
    since: datetime
    api: RemoteApi | None = None
    filling: Place | None = None
    place: Place | None = None
    failure: str = ""
    look: asyncio.Event = field(default_factory=asyncio.Event)
    kinds_changed: bool = False
    task: asyncio.Task[None] | None = None


class Places:
    def __init__(self, informers: Informers, settings: Settings, hooks_of: HooksOf, connect: Connect) -> None:
        self._informers = informers
        self._settings = settings
        self._hooks_of = hooks_of
        self._connect = connect
        self._known: dict[Key, Cluster] | None = None
        self._lines: dict[str, _Line] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.home = Place(OURS, informers.api, informers, settings, hooks_of)
        self.changed: Callable[[Cluster], None] = lambda cluster: None
        """Called when a cluster has become reachable, or no longer is."""
        self.seen: Callable[[Obj], None] = lambda obj: None
        """Called with every object of another cluster that has changed."""

    def all(self) -> list[Place]:
        return [self.home, *(line.place for line in self._lines.values() if line.place is not None)]

    def cluster(self, app: Application, *, here: bool) -> Cluster:
        """The cluster that the Application names. Raises `UnknownCluster`."""
        if self._known is None:
            self._known = {}
            self._informers.of(SECRETS).on_change(self._secret_changed)
        return choose(app.server, app.cluster, self._known.values(), here=here)

    def at(self, cluster: Cluster, now: datetime) -> Place | Reason:
        """The place, or why there is none now: `Connecting` for the first moment, `ClusterUnreachable`."""
        if cluster.is_here:
            self.home.cluster = cluster
            return self.home
        line = self._lines.get(cluster.server)
        if line is None:
            line = self._lines[cluster.server] = _Line(cluster, now)
            line.task = asyncio.create_task(self._keep(line), name=f"cluster {cluster.name}")
        if line.failure:
            why = line.failure.removeprefix(f"the API at {cluster.server} cannot be reached: ")
            return Reason("ClusterUnreachable", f"cluster {cluster.name} at {cluster.server} cannot be reached: {why}")
        if line.place is None:
            early = now - line.since < _PATIENCE
            return Reason("Connecting" if early else "ClusterUnreachable",
                          f"cluster {cluster.name} at {cluster.server}: its objects are being listed")
        line.place.cluster = cluster
        return line.place

    def doubt(self, cluster: Cluster) -> None:
        """A request failed in a way that says that the cluster may be away: ask it now."""
        if (line := self._lines.get(cluster.server)) is not None:
            line.look.set()

    async def run(self) -> None:
        """Until cancelled; then every connection is closed."""
        try:
            await asyncio.Event().wait()
        finally:
            await self.close()

    async def close(self) -> None:
        for server in list(self._lines):
            self._drop(server)
        await asyncio.gather(*self._closing, return_exceptions=True)

    # --- registered, changed, removed ---------------------------------------------------------------------------------

    def _secret_changed(self, old: Obj | None, new: Obj | None) -> None:
        assert self._known is not None
        before = self._known.pop(key_of(old), None) if old is not None else None
        after = None
        if new is not None and is_cluster_secret(new):
            after = self._known[key_of(new)] = decode_cluster(new)
        if before is not None and (after is None or _other_connection(before, after)):
            self._drop(before.server)

    def _drop(self, server: str) -> None:
        line = self._lines.pop(server, None)
        if line is not None and line.task is not None:
            line.task.cancel()
            self._closing.add(line.task)
            line.task.add_done_callback(self._closing.discard)

    # --- the connection -------------------------------------------------------------------------------------------------

    async def _keep(self, line: _Line) -> None:
        delay = 0.0
        try:
            while True:
                before = (line.place, line.failure)
                try:
                    async with asyncio.timeout(_ANSWERS_WITHIN_S):
                        await self._look(line)
                    line.failure, delay = "", 0.0
                except TimeoutError:
                    line.failure = f"no answer within {_ANSWERS_WITHIN_S:.0f} s"
                except (ApiError, OSError, ValueError) as error:
                    line.failure = str(error)
                except Exception as error:  # the outermost loop: a cluster whose watch has ended may not count as there
                    log.exception("cluster %s", line.cluster.name)
                    line.failure = f"{type(error).__name__}: {error}"
                if (line.place, line.failure) != before:
                    log.info("cluster %s: %s", line.cluster.name, line.failure or (
                        "connected" if line.place is not None else "its objects are being listed"))
                    self.changed(line.cluster)
                delay = min(max(2 * delay, _FIRST_S), _LONGEST_S) if line.failure else _LOOK_EVERY_S
                await self._wait(line, delay)
        finally:
            await self._empty(line)
            if line.api is not None:
                await line.api.close()

    async def _wait(self, line: _Line, delay: float) -> None:
        """Until it is time to look, somebody doubts, or the caches are full."""
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(line.look.wait())]
        filling = line.filling or (line.place if line.kinds_changed else None)
        if filling is not None:
            waits.append(asyncio.create_task(filling.informers.synced()))
        try:
            await asyncio.wait(waits, timeout=delay, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        line.look.clear()

    async def _look(self, line: _Line) -> None:
        """Be connected, ask whether the cluster is there, and note what it serves."""
        if line.api is None:
            assert line.cluster.connection is not None
            line.api = await self._connect(line.cluster.connection)
        else:
            await line.api.version()
            if line.failure:  # what its caches have missed is not known: they are filled anew
                await self._empty(line)
                await line.api.refresh()
        if line.place is None and line.filling is None:
            line.filling = await self._begin(line, line.api)
        if line.filling is not None and line.filling.informers.all_synced:
            line.place, line.filling = line.filling, None
        if line.kinds_changed and line.place is not None:
            await line.api.refresh()
            line.kinds_changed = not await self._watch_new(line.place, line.api)
            self.changed(line.cluster)

    async def _empty(self, line: _Line) -> None:
        before, line.place, line.filling = (line.place, line.filling), None, None
        for place in before:
            if place is not None:
                await place.informers.close()

    async def _watch_new(self, place: Place, api: RemoteApi) -> bool:
        """Whether all kinds that are served and may be listed are watched now: a cache that is not full says nothing."""
        waiting = False
        for resource in _served(api, place.cluster, place.watched | place.hidden):
            if place.informers.known(resource) is None:
                if not await _may_list(api, place.cluster, resource):
                    place.hidden.add(resource)
                    continue
                place.informers.of(resource).on_change(self._told)
            if place.informers.of(resource).synced.is_set():
                place.watch(resource)
            else:
                waiting = True
        return not waiting

    async def _begin(self, line: _Line, api: RemoteApi) -> Place:
        """Caches of all kinds that the cluster serves and lets us see."""
        cluster = line.cluster
        seen: Api = NamespacesApi(api, cluster.namespaces) if cluster.namespaces else api
        rows = _served(api, cluster, ())
        may = await asyncio.gather(*(_may_list(api, cluster, row) for row in rows))
        place = Place(cluster, self._informers.api, Informers(seen), self._settings, self._hooks_of,
                      [row for row, allowed in zip(rows, may, strict=True) if allowed])
        place.hidden.update(row for row, allowed in zip(rows, may, strict=True) if not allowed)
        for resource in place.watched:
            place.informers.of(resource).on_change(self._told)
        if CRDS in place.watched:
            place.informers.of(CRDS).on_change(lambda old, new: self._new_kinds(line))
        return place

    def _told(self, old: Obj | None, new: Obj | None) -> None:
        for obj in (old, new):
            if obj is not None:
                self.seen(obj)

    def _new_kinds(self, line: _Line) -> None:
        line.kinds_changed = True
        if line.place is not None:
            line.look.set()


def _other_connection(before: Cluster, after: Cluster) -> bool:
    return (before.server, before.connection, before.namespaces, before.cluster_resources) != (
        after.server, after.connection, after.namespaces, after.cluster_resources)


def _served(api: Api, cluster: Cluster, known: Iterable[Resource]) -> list[Resource]:
    """What the cluster serves of the kinds that we keep, and we do not have yet."""
    everywhere = not cluster.namespaces or cluster.cluster_resources
    return [row for row in _KEPT if row not in known and (row.namespaced or everywhere)
            and api.resources.of_plural(row.group, row.version, row.plural) is not None]


async def _may_list(api: Api, cluster: Cluster, resource: Resource) -> bool:
    """Whether this kind may be listed, in every namespace that counts."""
    for namespace in (cluster.namespaces if resource.namespaced else ()) or ("",):
        with suppress(NotFound):
            try:
                await api.list(resource, namespace, limit=1)
            except Forbidden:
                return False
    return True
