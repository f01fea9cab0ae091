"""The demo's arithmetic: what the load saw, and how much of the time was the platform's own. Pure.

Times are seconds since the epoch. An answer with status 0 never came: the connection failed or timed out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Answer:
    at: float
    status: int
    version: str

    @property
    def lost(self) -> bool:
        return self.status == 0

    @property
    def failed(self) -> bool:
        return not 200 <= self.status < 400


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` to `end`, with a name."""

    name: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class StepShare:
    """What a canary was given and what it got, over one step."""

    weight: int
    share: float
    requests: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """One commit, from its push to its end."""

    sha: str
    version: str
    digest: str
    outcome: str
    pushed: float
    ended: float
    phases: dict[str, float] = field(default_factory=dict)
    steps: tuple[Span, ...] = ()
    """One span per canary weight, named by the weight."""
    users_time: tuple[Span, ...] = ()
    """When the team's own steps ran: jobs, hooks, containers that start, pauses."""


def answers_within(answers: Iterable[Answer], start: float, end: float) -> list[Answer]:
    return [a for a in answers if start <= a.at < end]


def shares(answers: Sequence[Answer], delivery: Delivery, *, settle: float = 0.25) -> list[StepShare]:
    """The share of the delivery's version at each of its steps; `settle` seconds at both ends belong to no step."""
    found = []
    for step in delivery.steps:
        seen = answers_within(answers, step.start + settle, step.end - settle)
        served = [a for a in seen if not a.lost]
        if served:
            mine = sum(a.version == delivery.version for a in served)
            found.append(StepShare(int(step.name), 100 * mine / len(served), len(served)))
    return found


def covered(spans: Iterable[Span], start: float, end: float) -> float:
    """Seconds between `start` and `end` in which at least one span was going on."""
    total, reached = 0.0, start
    for span in sorted(spans, key=lambda s: s.start):
        begin, finish = max(span.start, reached), min(span.end, end)
        if finish > begin:
            total += finish - begin
            reached = finish
    return total


def platform_share(delivery: Delivery) -> float:
    """Seconds between push and end in which nothing of the team's own ran: the platform's own work."""
    whole = delivery.ended - delivery.pushed
    return max(whole - covered(delivery.users_time, delivery.pushed, delivery.ended), 0.0)


def commit_row(delivery: Delivery, answers: Sequence[Answer]) -> dict[str, object]:
    """One entry of `commits` in the demo's JSON answer."""
    seen = answers_within(answers, delivery.pushed, delivery.ended)
    return {
        "sha": delivery.sha,
        "version": delivery.version,
        "digest": delivery.digest,
        "outcome": delivery.outcome,
        "commit_to_production_s": round(delivery.ended - delivery.pushed, 2),
        "requests": len(seen),
        "failed": sum(a.failed for a in seen),
        "on_this_version": sum(a.version == delivery.version for a in seen),
        "shares": [
            {"weight": s.weight, "share": round(s.share, 2), "requests": s.requests} for s in shares(answers, delivery)
        ],
        "phases_s": {name: round(seconds, 2) for name, seconds in delivery.phases.items()},
        "platform_share_s": round(platform_share(delivery), 2),
    }
