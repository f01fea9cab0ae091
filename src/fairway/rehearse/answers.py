"""Whom the controllers under rehearsal ask, and what they are told: for every seed of the world, which divides where that
makes a difference (`Seeds`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from fairway.kube.objects import uid_of
from fairway.metrics.promql import instant
from fairway.metrics.promql.values import Scalar, Vector
from fairway.metrics.series import millis
from fairway.rehearse.series import Exporter
from fairway.rehearse.users import BUCKETS_S, ERRORS, HISTOGRAM, OK, REFUSED
from fairway.rollouts.analysis_spec import Metric
from fairway.rollouts.gate import Arm
from fairway.rollouts.gate_provider import NoCounts
from fairway.rollouts.measurements import Measurement
from fairway.rollouts.prometheus import QueryFailed
from fairway.rollouts.providers import Ask, MetricProvider

if TYPE_CHECKING:
    from fairway.rehearse.world import World


class Queries:
    """PromQL over what was scraped; nobody answers while monitoring is out."""

    def __init__(self, world: World, conclusion: Callable[[str, float | Sequence[float]], Hashable] | None = None) -> None:
        self._world = world
        self._conclusion = conclusion or (lambda text, answer: repr(answer))

    async def query(self, text: str, at: datetime) -> float | Sequence[float]:
        if not self._world.monitoring:
            raise QueryFailed("Post \"http://prometheus:9090/api/v1/query\": connection refused")
        seeds = self._world.seeds
        if seeds.asked is not None:
            return _answer(text, seeds.asked, at)
        answers = [_answer(text, exporter, at) for exporter in seeds.all]
        return seeds.divided(answers, by=lambda answer: self._conclusion(text, answer))[0]


def _answer(text: str, exporter: Exporter, at: datetime) -> float | Sequence[float]:
    value = instant(text, exporter.store, millis(at)).value
    match value:
        case Scalar(values):
            return float(values[0])
        case Vector():
            return [float(v) for v in value.values[:, 0]]
    raise QueryFailed("Prometheus metric type not supported here: only scalars and vectors")


class Counted:
    """The proxy's own counts, by version."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def counts(self, namespace: str, *, slower_than: timedelta | None) -> Mapping[str, Arm]:
        if not self._world.monitoring:
            raise NoCounts("the proxy does not answer")
        users, seeds = self._world.users, self._world.seeds
        users.advance(self._world.clock.now())
        limit = slower_than.total_seconds() if slower_than else float("inf")
        first_slow = next((i + 1 for i, bound in enumerate(BUCKETS_S) if bound >= limit), len(BUCKETS_S) + 1)
        tally = (seeds.asked or seeds.first).luck.tally
        found = {}
        for unit, row in users.row_of.items():
            one = tally[row]
            errors = int(one[ERRORS] + one[REFUSED])
            found[unit] = Arm(int(one[OK]) + errors, errors, int(one[HISTOGRAM + first_slow :].sum() + one[REFUSED]))
        return found


class ForEverySeed:
    """A provider whose measurements are taken for every seed. Where they conclude something else for some, the world divides.
    Implements `MetricProvider`; for providers that only read what chance brought."""

    def __init__(self, provider: MetricProvider, world: World) -> None:
        self._provider, self._seeds, self._unfinished = provider, world.seeds, world.unfinished

    async def measure(self, ask: Ask, now: datetime) -> Measurement:
        return await self._each(ask, lambda seed: self._provider.measure(ask, now))

    async def resume(self, ask: Ask, unfinished: Measurement, now: datetime) -> Measurement:
        known = self._known(ask, unfinished)
        return await self._each(ask, lambda seed: self._provider.resume(ask, known[seed], now))

    async def end(self, ask: Ask, unfinished: Measurement, now: datetime) -> Measurement:
        known = self._known(ask, unfinished)
        return await self._each(ask, lambda seed: self._provider.end(ask, known[seed], now))

    def about(self, metric: Metric) -> Mapping[str, str]:
        return self._provider.about(metric)

    def _known(self, ask: Ask, unfinished: Measurement) -> Mapping[int, Measurement]:
        """Of every seed, what stands in the run's status for the first one."""
        for first, of_each in self._unfinished.get((uid_of(ask.run), ask.metric.name), ()):
            if first.metadata == unfinished.metadata:
                return of_each
        return {self._seeds.first.luck.seed: unfinished}

    async def _each(self, ask: Ask, take: Callable[[int], Awaitable[Measurement]]) -> Measurement:
        seeds, found = self._seeds, []
        for exporter in seeds.all:
            seeds.asked = exporter
            try:
                found.append(await take(exporter.luck.seed))
            finally:
                seeds.asked = None
        found = seeds.divided(found, by=_conclusion)
        if found[0].finished_at is None:
            of_each = {exporter.luck.seed: one for exporter, one in zip(seeds.all, found, strict=True)}
            latest = self._unfinished.setdefault((uid_of(ask.run), ask.metric.name), deque(maxlen=2))
            latest.append((found[0], of_each))
        return found[0]


def _conclusion(measurement: Measurement) -> Hashable:
    """All of it that anybody decides on; the rest is text, and the memory of its own provider."""
    return measurement.phase, measurement.started_at, measurement.finished_at, measurement.resume_at

