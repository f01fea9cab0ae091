"""The people who use the service: requests by rate and time, each answered by one pod as the proxy's weights have it.

Nothing ticks. Between two events (a weight in force, a pod that comes or goes, a change in the scenario) all rates are
constant, so the number of requests, failures and slow answers of the span is drawn at once: Poisson, binomial and
multinomial, which is what single requests would have given.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray

from fairway.rehearse.spec import Behaviour, Fault, Scenario, Version

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histograms: those that client libraries use by default."""
Z99 = 2.3263

Floats = NDArray[np.float64]
OK, ERRORS, REFUSED, SECONDS, HISTOGRAM = 0, 1, 2, 3, 4
"""Columns of the tally. Refused: the pod did not answer, so only the proxy knows."""
COLUMNS = HISTOGRAM + len(BUCKETS_S) + 1


@dataclass(frozen=True, slots=True)
class Served:
    """A pod (or, with no pod, nobody) and the share of all requests that goes to it."""

    pod: str
    template_hash: str
    version: str
    share: float
    alive: bool = True


@dataclass(frozen=True, slots=True)
class Span:
    """What happened between two events. `seconds` since the new version was applied; `weight` is the canary's share."""

    start: float
    end: float
    weight: float
    stable: int
    stable_errors: int
    canary: int
    canary_errors: int
    canary_slow_s: float = 0.0
    nobody: int = 0
    """Requests that found no pod at all."""


class Users:
    """`tally` has one row per pod and per version (`row_of`), cumulative. Time is what `advance` is told."""

    def __init__(self, scenario: Scenario, chance: np.random.Generator, now: datetime) -> None:
        self.tally: Floats = np.zeros((16, COLUMNS))
        self.row_of: dict[str, int] = {}
        self.spans: list[Span] = []
        self._chance = chance
        self._begun = now
        self._now = now
        self._served: tuple[Served, ...] = ()
        self._shares = np.zeros(0)
        self._origin: datetime | None = None
        self._course = _Course(scenario)

    def begin(self, now: datetime, chance: np.random.Generator) -> None:
        """The new version is applied now: the scenario's clock starts, and its chance."""
        self.advance(now)
        self._origin = now
        self._chance = chance

    def route(self, served: Sequence[Served], now: datetime) -> None:
        """From now on requests go here."""
        if tuple(served) == self._served:
            return
        self.advance(now)
        self._served = tuple(served)
        self._shares = np.array([one.share for one in served])

    @property
    def weight(self) -> float:
        return sum(one.share for one in self._served if one.version == "canary")

    def row(self, unit: str) -> int:
        found = self.row_of.get(unit)
        if found is None:
            found = self.row_of[unit] = len(self.row_of)
            if found == len(self.tally):
                self.tally = np.concatenate([self.tally, np.zeros_like(self.tally)])
        return found

    def advance(self, now: datetime) -> None:
        """Draw what happened since the last time."""
        if now <= self._now:
            return
        if self._origin is None:
            self._draw(-1.0, (now - self._now).total_seconds() - 1.0, Moment.first(self._course))
        else:
            start, end = ((at - self._origin).total_seconds() for at in (self._now, now))
            for left, right, moment in self._course.between(start, end):
                self._draw(left, right, moment)
        self._now = now

    def _draw(self, start: float, end: float, moment: Moment) -> None:
        expected = moment.rate * (end - start)
        if expected <= 0.0 and self._origin is None:
            return
        counts: dict[str, list[float]] = {"stable": [0, 0, 0], "canary": [0, 0, 0]}
        nobody = 0
        served = self._served
        if not served:
            nobody = int(self._chance.poisson(expected))
        else:
            requests = self._chance.poisson(expected * self._shares)
            failing = [1.0 if not one.alive else moment.errors[one.version] for one in served]
            failed = self._chance.binomial(requests, failing)
            self._serve(requests.tolist(), failed.tolist(), moment)
            for one, asked, bad in zip(served, requests.tolist(), failed.tolist(), strict=True):
                count = counts[one.version]
                count[0] += asked
                count[1] += bad
        if self._origin is not None:
            stable, canary = counts["stable"], counts["canary"]
            self.spans.append(Span(start, end, self.weight, int(stable[0]), int(stable[1]), int(canary[0]), int(canary[1]),
                                   canary[2], nobody))

    def _serve(self, requests: list[int], failed: list[int], moment: Moment) -> None:
        """Pods side by side that behave alike are drawn in one call: chance deals to one after the other all the same."""
        drawn = np.zeros((len(requests), COLUMNS))
        at = 0
        for (version, alive), alike in groupby(self._served, lambda one: (one.version, one.alive)):
            first, at = at, at + len(list(alike))
            asked = requests[first:at]
            if not alive:
                drawn[first:at, REFUSED] = asked
                continue
            shares, mean = moment.latency(version)
            drawn[first:at, ERRORS] = failed[first:at]
            drawn[first:at, OK] = asked - drawn[first:at, ERRORS]
            drawn[first:at, SECONDS] = [mean * count for count in asked]
            drawn[first:at, HISTOGRAM:] = self._chance.multinomial(asked, shares)
        for one, asked_of_it, mine in zip(self._served, requests, drawn, strict=True):
            if asked_of_it:
                for unit in (one.pod, one.template_hash):
                    row = self.row(unit)  # first: it may make the tally larger
                    self.tally[row] += mine


@dataclass(frozen=True, slots=True)
class Moment:
    """What holds between two changes of the scenario."""

    rate: float
    behaviours: Mapping[str, Behaviour]
    errors: Mapping[str, float]

    def latency(self, version: str) -> tuple[Floats, float]:
        behaviour = self.behaviours[version]
        return _latency(behaviour.latency.total_seconds(), behaviour.p99.total_seconds())

    @staticmethod
    def first(course: _Course) -> Moment:
        return course.moments[0]


class _Course:
    """The scenario cut into spans in which nothing changes."""

    def __init__(self, scenario: Scenario) -> None:
        edges = {0.0}
        edges |= {rate.at.total_seconds() for rate in scenario.rates}
        edges |= {b.at.total_seconds() for version in (scenario.stable, scenario.canary) for b in version.behaviours}
        incidents = [fault for fault in scenario.faults if fault.kind == "incident"]
        edges |= {at.total_seconds() for fault in incidents for at in (fault.start, fault.end)}
        self.edges = sorted(edges)
        self.moments = [_moment(scenario, incidents, timedelta(seconds=edge)) for edge in self.edges]

    def between(self, start: float, end: float) -> list[tuple[float, float, Moment]]:
        cuts = [start, *(edge for edge in self.edges if start < edge < end), end]
        return [(left, right, self.moments[bisect_right(self.edges, left) - 1]) for left, right in pairwise(cuts)]


def _moment(scenario: Scenario, incidents: Sequence[Fault], at: timedelta) -> Moment:
    versions: dict[str, Version] = {"stable": scenario.stable, "canary": scenario.canary}
    behaviours = {name: [b for b in version.behaviours if b.at <= at][-1] for name, version in versions.items()}
    fine = math.prod(1.0 - fault.errors for fault in incidents if fault.start <= at < fault.end)
    errors = {name: 1.0 - (1.0 - behaviour.errors) * fine for name, behaviour in behaviours.items()}
    rate = [rate for rate in scenario.rates if rate.at <= at][-1].per_second
    return Moment(rate, behaviours, errors)


@lru_cache(maxsize=256)
def _latency(median_s: float, p99_s: float) -> tuple[Floats, float]:
    """Of a log-normal latency: the share of each bucket, the last one without end, and the mean."""
    mu, sigma = math.log(median_s), math.log(p99_s / median_s) / Z99
    below = [0.5 * (1 + math.erf((math.log(bound) - mu) / (sigma * math.sqrt(2)))) for bound in BUCKETS_S]
    shares = np.diff([0.0, *below, 1.0])
    return shares / shares.sum(), math.exp(mu + sigma * sigma / 2)
