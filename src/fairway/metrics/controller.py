"""Keeps the targets up to date with the API and scrapes them until it is cancelled."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from fairway.kube import resources
from fairway.kube.cache import Informers
from fairway.kube.clock import Clock
from fairway.kube.objects import Obj, key_of, status_of
from fairway.kube.resources import Resource
from fairway.metrics.exposition import Metadata
from fairway.metrics.journal import Journal
from fairway.metrics.kube_state import SERIES, StateRecorder
from fairway.metrics.mesh_names import Backing, Backings
from fairway.metrics.scrape import EnvoySource, Fetch, HttpFetch, Scrapes, TargetState
from fairway.metrics.series import millis
from fairway.metrics.store import Store
from fairway.metrics.targets import Target, find_targets

log = logging.getLogger("fairway.metrics")

DEFAULT_INTERVAL_S = 5.0
PROGRESSING_INTERVAL_S = 1.0
"""While a Rollout is under way its namespace is scraped this often: a background analysis looks every few seconds."""
STATE_AT_EVERY_BEAT = 10_000
"""Series of the state of objects that are recorded at every beat; of more, every second, every third beat: the 50,000 of a
thousand Deployments and what is around them every 25 s (a cluster's kube-state-metrics is asked every 30 s). At every beat they
would fill the store, and push out what applications say, within half an hour."""
_EXPIRE_EVERY_S = 60.0
_KUBE_STATE = "kube-state"

_WATCHED = (resources.PODS, resources.SERVICES, resources.ENDPOINT_SLICES, resources.SERVICE_MONITORS,
            resources.POD_MONITORS, resources.SECRETS)  # fmt: skip


class Scraper:
    """`snapshot` is where samples are kept between runs; None keeps none. `journal`, the store's own, has what came since.
    `fetch` is HTTP where none is given.
    """

    def __init__(
        self,
        informers: Informers,
        clock: Clock,
        store: Store,
        envoy: EnvoySource | None = None,
        interval_s: float = DEFAULT_INTERVAL_S,
        *,
        snapshot: Path | None = None,
        journal: Journal | None = None,
        fetch: Fetch | None = None,
    ) -> None:
        self._informers = informers
        self._clock = clock
        self._store = store
        self._interval_s = interval_s
        self._snapshot = snapshot
        self._journal = journal
        self._http = HttpFetch()
        self._scrapes = Scrapes(store, clock, fetch or self._http, envoy, self._backing)
        self._state = store.block(_KUBE_STATE)
        self._shown = StateRecorder(self._state)
        self._state_beat = -1
        self._targets_dirty = True
        self._problems: tuple[str, ...] = ()

    async def run(self) -> None:
        """Scrape until cancelled; on the way out, write the snapshot."""
        if self._snapshot is not None:
            self._store.load(self._snapshot, warn=log.warning)
        if self._journal is not None:
            self._journal.begin()
        for resource in dict.fromkeys((*_WATCHED, resources.INGRESSES, *SERIES)):
            cache = self._informers.of(resource)
            if resource in _WATCHED:
                cache.on_change(self._changed)
        await self._informers.synced()
        expire_at = 0.0
        try:
            while True:
                self.tick()
                now = self._clock.now().timestamp()
                if now >= expire_at:
                    self._store.expire(millis(self._clock.now()))
                    expire_at = now + _EXPIRE_EVERY_S
                if self._journal is not None and self._journal.full:
                    await self._compact()
                await asyncio.sleep(PROGRESSING_INTERVAL_S - now % PROGRESSING_INTERVAL_S)
        finally:
            self._scrapes.stop()
            await self._http.close()
            self.save()

    def tick(self) -> None:
        """One beat: look at the targets where they changed, start what is due."""
        if self._targets_dirty:
            self._targets_dirty = False
            self._look_for_targets()
        hot = self._progressing()
        self._scrapes.beat(lambda target: self._interval(target, hot))
        self._record_state(bool(hot))

    async def settle(self) -> None:
        """Until the scrapes of the last tick have ended."""
        await self._scrapes.settle()

    def save(self) -> None:
        """Write the snapshot; the journal is then taken in and deleted."""
        if self._snapshot is None:
            return
        if self._journal is not None:
            self._journal.begin()
        self._store.save(self._snapshot)
        if self._journal is not None:
            self._journal.drop_before(self._journal.number)

    async def _compact(self) -> None:
        """As `save`, while scraping goes on: a new segment is begun before the samples are copied."""
        if self._snapshot is None or self._journal is None:
            return
        self._journal.begin()
        number, copy = self._journal.number, self._store.copied()
        try:
            await asyncio.to_thread(self._store.written, copy, self._snapshot)
        except OSError as error:  # the segments before stay: nothing is lost, and the next time it may go
            log.warning("samples cannot be written to %s: %s", self._snapshot, error)
            return
        self._journal.drop_before(number)

    @property
    def targets(self) -> list[TargetState]:
        return self._scrapes.states

    def metadata(self) -> dict[str, list[Metadata]]:
        """What the targets say about their metrics, by metric."""
        found: dict[str, list[Metadata]] = {}
        for exposition in self._scrapes.expositions:
            for name, metadata in exposition.metadata.items():
                if metadata not in found.setdefault(name, []):
                    found[name].append(metadata)
        return found

    def _changed(self, old: Obj | None, new: Obj | None) -> None:
        self._targets_dirty = True

    def _look_for_targets(self) -> None:
        found = find_targets(*(self._objects(resource) for resource in _WATCHED))
        if found.problems != self._problems:
            for problem in found.problems:
                log.warning("%s", problem)
            self._problems = found.problems
        self._scrapes.set_targets(found.targets)

    def _backing(self, namespace: str, service: str, version: str) -> Backing:
        """Asked once for each series of the gateway."""
        found = Backings(*(self._objects(r) for r in (resources.PODS, resources.SERVICES, resources.INGRESSES)))
        return found(namespace, service, version)

    def _objects(self, resource: Resource) -> list[Obj]:
        return self._informers.of(resource).list()

    def _progressing(self) -> frozenset[str]:
        """Namespaces with a Rollout under way."""
        rollouts = self._objects(resources.ROLLOUTS)
        return frozenset(key_of(r).namespace for r in rollouts if status_of(r).get("phase") in ("Progressing", "Paused"))

    def _interval(self, target: Target, hot: frozenset[str]) -> float:
        usual = target.interval_s or self._interval_s
        return min(usual, PROGRESSING_INTERVAL_S) if target.namespace in hot else usual

    def _record_state(self, hot: bool) -> None:
        now = millis(self._clock.now())
        rarer = max(1, self._state.series // STATE_AT_EVERY_BEAT)
        beat = now // round((PROGRESSING_INTERVAL_S if hot else self._interval_s) * rarer * 1000)
        if beat == self._state_beat:
            return
        self._state_beat = beat
        rows, values = self._shown.rows((resource, self._objects(resource)) for resource in SERIES)
        self._state.append(now - now % round(PROGRESSING_INTERVAL_S * 1000), rows, values)
