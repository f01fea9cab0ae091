"""Scraping: every target at its interval, on one shared beat; targets of one interval share their timestamps."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import aiohttp

from fairway.kube.clock import Clock
from fairway.metrics.envoy_stats import upstream_labels
from fairway.metrics.exposition import BadExposition, Exposition
from fairway.metrics.histogram import Histogram
from fairway.metrics.labels import NAME
from fairway.metrics.mesh_names import Find, copies
from fairway.metrics.protobuf_exposition import CONTENT_TYPE, families
from fairway.metrics.relabel import relabelled
from fairway.metrics.series import millis
from fairway.metrics.store import Store
from fairway.metrics.targets import Target

log = logging.getLogger("fairway.metrics.scrape")

TIMEOUT_S = 3.0
PATIENCE_S = 15.0
"""A server that boots is down for some seconds, and longer is worth a warning."""
_AT_ONCE = 32
_MAX_BODY = 32 * 1024 * 1024


class Fetch(Protocol):
    """What a target answers: text, or the bytes of the protobuf format. Raises `FetchFailed`."""

    async def __call__(self, target: Target, timeout_s: float) -> str | bytes: ...


class EnvoySource(Protocol):
    """Envoy's statistics in Prometheus' text format; the data plane is one. Raises where Envoy does not answer."""

    async def stats(self) -> str: ...


class FetchFailed(Exception):
    """The target did not answer with metrics; the message says what it did instead."""


@dataclass(slots=True)
class TargetState:
    """What the last scrape of a target gave. `at` is in seconds since 1970, 0 before the first.

    `down_since` is 0 while it is up; `told` says that the log has a warning about it.
    """

    target: Target
    health: str = "unknown"
    error: str = ""
    at: float = 0.0
    seconds: float = 0.0
    down_since: float = 0.0
    told: bool = False


class TargetScrape:
    """One target: its cache of lines, its block, its state. `label` maps a sample's labels to ours (None: leave it
    out); `copies` names series that get the same number, times a factor.
    """

    def __init__(
        self,
        target: Target,
        store: Store,
        clock: Clock,
        label: Callable[[Mapping[str, str]], Mapping[str, str] | None],
        copies: Callable[[Mapping[str, str]], Iterable[tuple[dict[str, str], float]]] | None = None,
    ) -> None:
        self.state = TargetState(target)
        self.running = False
        self._block = store.block(target.key)
        self._label = label
        self._copies = copies
        self._copied: dict[int, list[tuple[int, float]]] = {}
        self._clock = clock
        self._exposition = Exposition(self._row)
        self._generation = self._block.generation

    @property
    def metadata(self) -> Exposition:
        return self._exposition

    async def scrape(self, at_ms: int, fetch: Callable[[], Awaitable[str | bytes]]) -> None:
        """Fetch, read, store. A target that cannot be read is down, which is a sample too; its series end."""
        self.running = True
        begun = self._clock.now()
        rows: list[int] = []
        values: list[float] = []
        natives: list[tuple[int, Histogram]] = []
        error, added = "", 0
        try:
            body = await fetch()
            self._refresh()
            known = self._block.series
            if isinstance(body, bytes):
                rows, values, natives = self._exposition.take(families(body, self.state.target.natives))
            else:
                rows, values = self._exposition.read(body)
            if self._copied:
                extra = [(row, value * by) for own, value in zip(rows, values, strict=True)
                         for row, by in self._copied.get(own, ())]  # fmt: skip
                rows += [row for row, _ in extra]
                values += [value for _, value in extra]
            added = self._block.series - known
            if 0 < self.state.target.sample_limit < len(rows):
                raise FetchFailed(f"sample limit exceeded: {len(rows)} samples, {self.state.target.sample_limit} are allowed")
        except (FetchFailed, BadExposition) as failure:
            rows, values, natives, added, error = [], [], [], 0, str(failure)
        finally:
            self.running = False
        self._refresh()
        state, labels = self.state, dict(self.state.target.labels)
        state.health, state.error, state.at = "down" if error else "up", error, at_ms / 1000
        state.seconds = (self._clock.now() - begun).total_seconds()
        scraped = float(self._exposition.samples if not error else 0)
        own = [("up", float(not error)), ("scrape_duration_seconds", state.seconds), ("scrape_samples_scraped", scraped),
               ("scrape_samples_post_metric_relabeling", float(len(rows))), ("scrape_series_added", float(added))]
        if state.target.sample_limit:
            own.append(("scrape_sample_limit", float(state.target.sample_limit)))
        for name, value in own:
            row = self._block.row({**labels, NAME: name})
            if row >= 0:
                rows.append(row)
                values.append(value)
        self._block.append(at_ms, rows, values, complete=not error, natives=natives)

    def end(self, at_ms: int) -> None:
        self._block.end(at_ms)

    def _refresh(self) -> None:
        if self._generation != self._block.generation:
            self._exposition.forget()
            self._copied.clear()
            self._generation = self._block.generation

    def _row(self, labels: dict[str, str]) -> int:
        public = self._label(labels)
        if public is None:
            return -1
        counter = self._exposition.is_counter(labels[NAME])
        row = self._block.row(public, counter=counter)
        if row >= 0 and self._copies is not None:
            rows = [(self._block.row(copy, counter=counter), by) for copy, by in self._copies(public)]
            if kept := [(one, by) for one, by in rows if one >= 0]:
                self._copied[row] = kept
        return row


def target_labels(target: Target) -> Callable[[Mapping[str, str]], Mapping[str, str] | None]:
    """A sample's labels with the target's. A name in both is the target's, and the sample's becomes `exported_…`."""
    own = dict(target.labels)

    def label(labels: Mapping[str, str]) -> Mapping[str, str] | None:
        if target.honor_labels:
            mixed = {**own, **labels}
        else:
            mixed = {f"exported_{name}" if name in own else name: value for name, value in labels.items()} | own
        return relabelled(mixed, target.sample_rules) if target.sample_rules else mixed

    return label


ENVOY = Target("envoy:", (("instance", "envoy"), ("job", "envoy")), source="Envoy")


class Beat:
    """Which targets are due. A target's scrapes fall on multiples of its interval."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def due(self, key: str, now_ms: int, interval_s: float) -> bool:
        beat = now_ms // max(round(interval_s * 1000), 1)
        if self._last.get(key) == beat:
            return False
        self._last[key] = beat
        return True

    def forget(self, key: str) -> None:
        self._last.pop(key, None)


class Scrapes:
    """All targets of one process."""

    def __init__(self, store: Store, clock: Clock, fetch: Fetch, envoy: EnvoySource | None, find: Find | None = None) -> None:
        self._store = store
        self._clock = clock
        self._fetch = fetch
        self._envoy = envoy
        self._scrapes: dict[str, TargetScrape] = {}
        self._beat = Beat()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._running: set[asyncio.Task[None]] = set()
        if envoy is not None:
            named = None if find is None else partial(copies, find=find)
            self._scrapes[ENVOY.key] = TargetScrape(ENVOY, store, clock, upstream_labels, named)

    @property
    def states(self) -> list[TargetState]:
        return [scrape.state for scrape in self._scrapes.values()]

    @property
    def expositions(self) -> list[Exposition]:
        return [scrape.metadata for scrape in self._scrapes.values()]

    def set_targets(self, targets: Sequence[Target]) -> None:
        """Begin with new targets; end the series of those that are gone; go on with those that are asked otherwise now."""
        wanted = {target.key: target for target in targets}
        now = millis(self._clock.now())
        for key in self._scrapes.keys() - wanted.keys() - {ENVOY.key}:
            self._scrapes.pop(key).end(now)
            self._beat.forget(key)
        for key, target in wanted.items():
            known = self._scrapes.get(key)
            if known is None or known.state.target != target:
                self._scrapes[key] = TargetScrape(target, self._store, self._clock, target_labels(target))
            if known is not None:
                self._scrapes[key].state = replace(known.state, target=target)

    def beat(self, interval_of: Callable[[Target], float]) -> None:
        """Start the scrapes that are due now. One still running is not started again."""
        now = millis(self._clock.now())
        for key, scrape in self._scrapes.items():
            interval = 1.0 if key == ENVOY.key else interval_of(scrape.state.target)
            if not scrape.running and self._beat.due(key, now, interval):
                # the beat's own time, not the clock's: targets of one interval then share their timestamps
                at = now - now % max(round(min(interval, 1.0) * 1000), 1)
                scrape.running = True
                wanted = scrape.state.target.timeout_s
                timeout = min(wanted, interval) if wanted else min(max(interval, 1.0), TIMEOUT_S)
                task = asyncio.create_task(self._one(scrape, at, timeout))
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    async def settle(self) -> None:
        """Until the scrapes that are running have ended."""
        await asyncio.gather(*self._running)

    def stop(self) -> None:
        for task in self._running:
            task.cancel()

    async def _one(self, scrape: TargetScrape, at_ms: int, timeout_s: float) -> None:
        async def fetch() -> str | bytes:
            if scrape.state.target is ENVOY and self._envoy is not None:
                try:
                    return await self._envoy.stats()
                except Exception as error:  # another room fills this port, and its errors are its own
                    raise FetchFailed(str(error) or type(error).__name__) from None
            return await self._fetch(scrape.state.target, timeout_s)

        async with self._slots:
            await scrape.scrape(at_ms, fetch)
        _say(scrape.state)


def _say(state: TargetState) -> None:
    """A target that stays down is told once, and when it is up again. One that starts or ends is down for a moment."""
    if state.health == "up":
        if state.told:
            log.info("%s %s is up again", state.target.source, state.target.url)
        state.down_since, state.told = 0.0, False
        return
    state.down_since = state.down_since or state.at
    if not state.told and state.at - state.down_since >= PATIENCE_S:
        log.warning("%s %s is down: %s", state.target.source, state.target.url, state.error)
        state.told = True


class HttpFetch:
    """`Fetch` over HTTP, with one pool of connections."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, target: Target, timeout_s: float) -> str | bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        return await _get(self._session, target, timeout_s)

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()


async def _get(session: aiohttp.ClientSession, target: Target, timeout_s: float) -> str | bytes:
    headers = {"Accept": target.accept, "X-Prometheus-Scrape-Timeout-Seconds": f"{timeout_s:g}"}
    if target.authorization:
        headers["Authorization"] = target.authorization
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with session.get(target.url, timeout=timeout, headers=headers, ssl=target.verify) as answer:
            if answer.status != 200:
                raise FetchFailed(f"server returned HTTP status {answer.status} {answer.reason}")
            body = bytearray()
            async for piece in answer.content.iter_any():
                body += piece
                if len(body) > _MAX_BODY:
                    raise FetchFailed(f"the answer is larger than {_MAX_BODY >> 20} MiB")
            return bytes(body) if answer.content_type == CONTENT_TYPE else body.decode("utf-8", "replace")
    except TimeoutError:
        raise FetchFailed(f"no answer within {timeout_s:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise FetchFailed(str(error) or type(error).__name__) from None
