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
Counts = NDArray[np.int64]
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
    nobody: int = 0
    """Requests that found no pod at all."""


class Users:
    """Where everybody's requests go, and since when; what comes of them is `Luck`. Time is what `advance` is told."""

    def __init__(self, scenario: Scenario, now: datetime) -> None:
        self.row_of: dict[str, int] = {}
        """Rows of a tally, by pod and by version."""
        self.stretches: list[Stretch] = []
        self._now = now
        self._served: tuple[Served, ...] = ()
        self._origin: datetime | None = None
        self._course = _Course(scenario)
        self._plans: dict[int, Plan] = {}  # by moment, for those who serve now

    def begin(self, now: datetime) -> None:
        """The new version is applied now: the scenario's clock starts."""
        self.advance(now)
        self._origin = now

    def route(self, served: Sequence[Served], now: datetime) -> None:
        """From now on requests go here."""
        if tuple(served) == self._served:
            return
        self.advance(now)
        self._served, self._plans = tuple(served), {}

    @property
    def weight(self) -> float:
        return sum(one.share for one in self._served if one.version == "canary")

    def row(self, unit: str) -> int:
        return self.row_of.setdefault(unit, len(self.row_of))

    def advance(self, now: datetime) -> None:
        """So it went on until now."""
        if now <= self._now:
            return
        if self._origin is None:
            self._go_on(-1.0, (now - self._now).total_seconds() - 1.0, Moment.first(self._course))
        else:
            start, end = ((at - self._origin).total_seconds() for at in (self._now, now))
            for left, right, moment in self._course.between(start, end):
                self._go_on(left, right, moment)
        self._now = now

    def _go_on(self, start: float, end: float, moment: Moment) -> None:
        plan = self._plans.get(id(moment))
        if plan is None:
            plan = self._plans[id(moment)] = self._planned(moment)
        self.stretches.append(Stretch(start, end, moment.rate * (end - start), plan, counted=self._origin is not None))

    def _planned(self, moment: Moment) -> Plan:
        served, groups, at = self._served, [], 0
        for (version, alive), alike in groupby(served, lambda one: (one.version, one.alive)):
            first, at = at, at + len(list(alike))
            groups.append(_Group(first, at, version, alive, *moment.latency(version)))
        failing = [1.0 if not one.alive else moment.errors[one.version] for one in served]
        return Plan(np.array([one.share for one in served]), np.array(failing), tuple(groups),
                    tuple((self.row(one.pod), self.row(one.template_hash)) for one in served), self.weight)


class Luck:
    """What chance makes of it, for one seed. `tally` has a row per pod and per version (`Users.row_of`), cumulative.

    Nothing is drawn before somebody looks.
    """

    def __init__(self, users: Users, chance: np.random.Generator, seed: int = 0) -> None:
        self.seed = seed
        self._users = users
        self._chance = chance
        self._drawn = len(users.stretches)
        self._tally: Floats = np.zeros((16, COLUMNS))
        self._spans: list[Span] = []

    def branched(self, seed: int) -> Luck:
        """As it is so far; from now on by another seed."""
        other = Luck(self._users, np.random.default_rng(seed), seed)
        other._tally, other._spans = self.tally.copy(), list(self.spans)
        return other

    @property
    def tally(self) -> Floats:
        self._draw()
        return self._tally

    @property
    def spans(self) -> list[Span]:
        self._draw()
        return self._spans

    def _draw(self) -> None:
        rows, stretches = len(self._users.row_of), self._users.stretches
        while rows > len(self._tally):
            self._tally = np.concatenate([self._tally, np.zeros_like(self._tally)])
        for stretch in stretches[self._drawn:] if self._drawn < len(stretches) else ():
            if stretch.expected > 0.0 or stretch.counted:
                self._draw_one(stretch)
        self._drawn = len(stretches)

    def _draw_one(self, stretch: Stretch) -> None:
        plan, counts, nobody = stretch.plan, {"stable": [0, 0], "canary": [0, 0]}, 0
        if not plan.rows:
            nobody = int(self._chance.poisson(stretch.expected))
        else:
            requests = self._chance.poisson(stretch.expected * plan.shares)
            failed = self._chance.binomial(requests, plan.failing)
            self._serve(plan, requests, failed)
            asked, bad = requests.tolist(), failed.tolist()
            for group in plan.groups:
                count = counts[group.version]
                count[0] += sum(asked[group.first:group.end])
                count[1] += sum(bad[group.first:group.end])
        if stretch.counted:
            (stable, stable_bad), (canary, canary_bad) = counts["stable"], counts["canary"]
            self._spans.append(Span(stretch.start, stretch.end, plan.weight, stable, stable_bad, canary, canary_bad, nobody))

    def _serve(self, plan: Plan, requests: Counts, failed: Counts) -> None:
        """Pods side by side that behave alike are drawn in one call: chance deals to one after the other all the same."""
        drawn = np.zeros((len(requests), COLUMNS))
        for group in plan.groups:
            these = slice(group.first, group.end)
            asked = requests[these]
            if not group.alive:
                drawn[these, REFUSED] = asked
                continue
            drawn[these, ERRORS] = failed[these]
            drawn[these, OK] = asked - failed[these]
            drawn[these, SECONDS] = group.mean_s * asked
            drawn[these, HISTOGRAM:] = self._chance.multinomial(asked, group.shares)
        for (pod, version), mine in zip(plan.rows, drawn, strict=True):
            self._tally[pod] += mine
            self._tally[version] += mine


@dataclass(frozen=True, slots=True)
class _Group:
    """Pods `first` to `end` of those that serve: of one version, and alike. `shares` are those of the latency's buckets."""

    first: int
    end: int
    version: str
    alive: bool
    shares: Floats
    mean_s: float


@dataclass(frozen=True, slots=True)
class Plan:
    """How requests are dealt out while the same pods serve in the same moment. `rows` are the tally's, of pod and version."""

    shares: Floats
    failing: Floats
    groups: tuple[_Group, ...]
    rows: tuple[tuple[int, int], ...]
    weight: float


@dataclass(frozen=True, slots=True)
class Stretch:
    """Time in which nothing changed, and how many requests are expected in it. `counted`: it belongs to the rollout, and not
    to the time before it."""

    start: float
    end: float
    expected: float
    plan: Plan
    counted: bool


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
