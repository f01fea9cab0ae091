"""A scenario: who uses the service, how each version behaves, what goes wrong and what people do. `example.yaml` shows it all.

Times are counted from the moment when the new version is applied.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal, TypeVar

from fairway.kube.durations import parse_duration

Deed = Literal["promote", "promote-full", "abort", "retry", "pause", "resume"]
DEEDS: tuple[Deed, ...] = ("promote", "promote-full", "abort", "retry", "pause", "resume")
Outcome = Literal["promoted", "aborted", "held", "rolled back"]
OUTCOMES: tuple[Outcome, ...] = ("promoted", "aborted", "held", "rolled back")
FAULTS = ("monitoring", "incident", "controller", "proxy")

T = TypeVar("T")


class ScenarioMistake(ValueError):
    """The scenario cannot be used: the path of the mistake, what was found and what is needed."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """From `at` on: the share of requests that fail with 500, and the median and the 99th percentile of the latency."""

    at: timedelta = timedelta(0)
    errors: float = 0.001
    latency: timedelta = timedelta(milliseconds=80)
    p99: timedelta = timedelta(milliseconds=300)


@dataclass(frozen=True, slots=True)
class PodScript:
    """How a version's pods run. `crash` is the time from running to the crash, None for never; `crashes` None: every time."""

    start: timedelta = timedelta(seconds=1)
    ready: timedelta | None = timedelta(seconds=2)
    crash: timedelta | None = None
    crashes: int | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """`behaviours` by time, the first from the beginning."""

    behaviours: tuple[Behaviour, ...] = (Behaviour(),)
    pods: PodScript = PodScript()


@dataclass(frozen=True, slots=True)
class Rate:
    at: timedelta
    per_second: float


@dataclass(frozen=True, slots=True)
class Fault:
    """`monitoring`: no scrape, no answer, no counts. `incident`: both versions fail `errors` of their requests besides their
    own. `controller`: killed, and back at the end. `proxy`: refuses every change."""

    kind: str
    start: timedelta
    end: timedelta
    errors: float = 0.0


@dataclass(frozen=True, slots=True)
class Person:
    at: timedelta
    does: Deed


@dataclass(frozen=True, slots=True)
class Scenario:
    """`users` are as many people, each as likely as the next to send the next request."""

    rates: tuple[Rate, ...] = (Rate(timedelta(0), 50.0),)
    users: int = 2000
    stable: Version = Version()
    canary: Version = Version()
    faults: tuple[Fault, ...] = ()
    people: tuple[Person, ...] = ()
    expect: Outcome | None = None
    limit: timedelta = timedelta(hours=6)

    def healthy(self) -> Scenario:
        """The same day with a new version that is as good as the old one, and nobody who interferes."""
        return replace(self, canary=self.stable, people=(), expect=None)

    @property
    def canary_is_healthy(self) -> bool:
        return self.canary == self.stable


def decode_scenario(document: Any) -> Scenario:
    """Raises `ScenarioMistake`."""
    at = _Reader(document if document is not None else {}, "")
    at.only("traffic", "stable", "canary", "faults", "people", "expect", "limit")
    traffic = at.inner("traffic")
    traffic.only("rate", "users", "changes")
    plain = Scenario()
    first = Rate(timedelta(0), traffic.number("rate", plain.rates[0].per_second))
    later = [Rate(change.length("at"), change.number("rate")) for change in traffic.each("changes", "at", "rate")]
    stable = _version(at.inner("stable"), Version())
    return Scenario(
        rates=tuple(sorted((first, *later), key=lambda rate: rate.at)),
        users=round(traffic.number("users", plain.users)),
        stable=stable,
        canary=_version(at.inner("canary"), stable),
        faults=tuple(_fault(fault) for fault in at.each("faults", *FAULTS, "for", "errors")),
        people=tuple(Person(person.length("at"), person.word("do", DEEDS)) for person in at.each("people", "at", "do")),
        expect=at.word("expect", OUTCOMES) if at.has("expect") else None,
        limit=at.length("limit", plain.limit),
    )


def _version(at: _Reader, like: Version) -> Version:
    """What is not said is as `like`."""
    at.only("errors", "latency", "p99", "changes", "pods")
    found = [_behaviour(at, timedelta(0), like.behaviours[0])]
    for change in at.each("changes", "at", "errors", "latency", "p99"):
        found.append(_behaviour(change, change.length("at"), found[-1]))
    pods = at.inner("pods")
    pods.only("start", "ready", "crash", "crashes")
    script = PodScript(
        start=pods.length("start", like.pods.start),
        ready=None if pods.raw.get("ready") == "never" else pods.length("ready", like.pods.ready or timedelta(0)),
        crash=pods.length("crash") if pods.has("crash") else None,
        crashes=round(pods.number("crashes")) if pods.has("crashes") else None,
    )
    return Version(tuple(sorted(found, key=lambda behaviour: behaviour.at)), script)


def _behaviour(at: _Reader, moment: timedelta, like: Behaviour) -> Behaviour:
    latency = at.length("latency", like.latency)
    spread = at.length("p99", max(like.p99, latency * (like.p99 / like.latency)) if at.has("latency") else like.p99)
    if spread <= latency:
        raise ScenarioMistake(f"{at.at('p99')}: the 99th percentile must be above the median latency")
    return Behaviour(moment, at.share("errors", like.errors), latency, spread)


def _fault(at: _Reader) -> Fault:
    kinds = [kind for kind in FAULTS if at.has(kind)]
    if len(kinds) != 1:
        raise ScenarioMistake(f"{at.path}: one of {', '.join(FAULTS)} is needed, with the time when it begins")
    kind = kinds[0]
    start = at.length(kind)
    errors = at.share("errors", 0.2) if kind == "incident" else 0.0
    return Fault(kind, start, start + at.length("for", timedelta(minutes=1)), errors)


class _Reader:
    """One mapping, and where it stands."""

    def __init__(self, value: Any, path: str) -> None:
        if not isinstance(value, Mapping):
            raise ScenarioMistake(f"{path or 'the scenario'}: a mapping is needed, found {value!r}")
        self.raw: Mapping[str, Any] = value
        self.path = path

    def at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def has(self, name: str) -> bool:
        return self.raw.get(name) is not None

    def only(self, *names: str) -> None:
        for name in self.raw:
            if name not in names:
                raise ScenarioMistake(f"{self.at(str(name))}: unknown; there are: {', '.join(names)}")

    def inner(self, name: str) -> _Reader:
        return _Reader(self.raw.get(name) or {}, self.at(name))

    def each(self, name: str, *fields: str) -> Sequence[_Reader]:
        value = self.raw.get(name) or []
        if not isinstance(value, list):
            raise ScenarioMistake(f"{self.at(name)}: a list is needed, found {value!r}")
        found = [_Reader(entry, f"{self.at(name)}[{i}]") for i, entry in enumerate(value)]
        for entry in found:
            entry.only(*fields)
        return found

    def _read(self, name: str, default: T | None, read: Callable[[Any], T], needed: str) -> T:
        value = self.raw.get(name)
        if value is None:
            if default is None:
                raise ScenarioMistake(f"{self.at(name)}: missing; {needed} is needed")
            return default
        try:
            return read(value)
        except (TypeError, ValueError):
            raise ScenarioMistake(f"{self.at(name)}: {needed} is needed, found {value!r}") from None

    def number(self, name: str, default: float | None = None) -> float:
        return self._read(name, default, _positive, "a number, 0 or more")

    def share(self, name: str, default: float) -> float:
        return self._read(name, default, _share, "a share such as 2% or 0.02")

    def length(self, name: str, default: timedelta | None = None) -> timedelta:
        return self._read(name, default, lambda value: parse_duration(str(value)), "a duration such as 90s or 5m")

    def word(self, name: str, words: Sequence[T]) -> T:
        def one(value: Any) -> T:
            return words[list(words).index(value)]

        return self._read(name, None, one, "one of " + ", ".join(map(str, words)))


def _positive(value: Any) -> float:
    number = float(value)
    if not 0 <= number < math.inf or isinstance(value, bool):
        raise ValueError(value)
    return number


def _share(value: Any) -> float:
    text = str(value)
    number = float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)
    if not 0.0 <= number <= 1.0:
        raise ValueError(value)
    return number
