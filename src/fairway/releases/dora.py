"""The four DORA figures, computed from Release objects. What is not known is None, never zero.

| figure                | from                                                            | elite   | high    | medium   |
|-----------------------|-----------------------------------------------------------------|---------|---------|----------|
| deployment frequency  | promoted releases per day                                       | >= 1/d  | >= 1/7d | >= 1/30d |
| lead time for changes | median of commit to promotion                                   | < 1 d   | < 7 d   | < 30 d   |
| change failure rate   | rolled back or failed, of those that ended (or were aborted)    | <= 5 %  | <= 10 % | <= 15 %  |
| time to restore       | median of first exposure to the end of a release that failed    | < 1 h   | < 1 d   | < 7 d    |

Levels: DORA, Accelerate State of DevOps 2023. A release that failed before any user saw it needed no restoring.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any, Literal

from fairway.kube.objects import Obj
from fairway.releases.record import Release, read_release

Level = Literal["elite", "high", "medium", "low"]
_DAY_S, _HOUR_S = 86_400.0, 3_600.0
SHORTEST_RECORD = timedelta(days=1)
"""A frequency is per day; a record of ten minutes does not say more about a day than a day does."""


@dataclass(frozen=True, slots=True)
class Figure:
    """`value` in `unit`; `samples` is how many releases it rests on. None where there is nothing to compute it from."""

    value: float | None
    unit: str
    level: Level | None
    samples: int


@dataclass(frozen=True, slots=True)
class Dora:
    """`window_days` is what the figures cover: the window asked for, or as much of it as there is a record of.

    `unrestored` counts failures that users saw and that are not ended yet.
    """

    deployment_frequency: Figure
    lead_time: Figure
    change_failure_rate: Figure
    time_to_restore: Figure
    window_days: float
    unrestored: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def dora(releases: Iterable[Obj], now: datetime, window: timedelta) -> Dora:
    """`releases` are Release objects of one environment (or of all, mixed as they come)."""
    known = [read_release(obj) for obj in releases]
    recent = [release for release in known if (at := _when(release)) is not None and now - window <= at <= now]
    covered = _covered(known, now, window)
    return Dora(
        deployment_frequency=_frequency(recent, covered),
        lead_time=_lead_time(recent),
        change_failure_rate=_failure_rate(recent),
        time_to_restore=_restore(recent),
        window_days=covered / timedelta(days=1),
        unrestored=sum(1 for release in recent if _failed(release) and release.exposed_at and release.finished_at is None),
    )


def _when(release: Release) -> datetime | None:
    return release.finished_at or release.aborted_at or release.synced_at or release.created_at


def _covered(known: Sequence[Release], now: datetime, window: timedelta) -> timedelta:
    starts = [at for release in known if (at := release.created_at or release.synced_at) is not None]
    return min(window, max(now - min(starts), SHORTEST_RECORD)) if starts else window


def _failed(release: Release) -> bool:
    """Ended badly, or stopped and on its way there."""
    return release.outcome in ("RolledBack", "Failed") or (release.outcome == "InProgress" and release.aborted_at is not None)


def _frequency(recent: Sequence[Release], covered: timedelta) -> Figure:
    promoted = [release for release in recent if release.outcome == "Promoted"]
    if not recent:
        return Figure(None, "per day", None, 0)
    value = len(promoted) / (covered / timedelta(days=1))
    level: Level = "elite" if value >= 1 else "high" if value >= 1 / 7 else "medium" if value >= 1 / 30 else "low"
    return Figure(value, "per day", level, len(promoted))


def _lead_time(recent: Sequence[Release]) -> Figure:
    times = [(end - release.committed_at).total_seconds() for release in recent
             if release.outcome == "Promoted" and release.committed_at
             and (end := release.promoted_at or release.finished_at) and end >= release.committed_at]
    if not times:
        return Figure(None, "seconds", None, 0)
    value = float(median(times))
    return Figure(value, "seconds", _by_limits(value, (_DAY_S, 7 * _DAY_S, 30 * _DAY_S)), len(times))


def _failure_rate(recent: Sequence[Release]) -> Figure:
    ended = [release for release in recent if release.ended or _failed(release)]
    if not ended:
        return Figure(None, "share", None, 0)
    value = sum(map(_failed, ended)) / len(ended)
    level: Level = "elite" if value <= 0.05 else "high" if value <= 0.10 else "medium" if value <= 0.15 else "low"
    return Figure(value, "share", level, len(ended))


def _restore(recent: Sequence[Release]) -> Figure:
    times = [(release.finished_at - release.exposed_at).total_seconds() for release in recent
             if _failed(release) and release.exposed_at and release.finished_at]
    if not times:
        return Figure(None, "seconds", None, 0)
    value = float(median(times))
    return Figure(value, "seconds", _by_limits(value, (_HOUR_S, _DAY_S, 7 * _DAY_S)), len(times))


def _by_limits(value: float, limits: tuple[float, float, float]) -> Level:
    elite, high, medium = limits
    return "elite" if value < elite else "high" if value < high else "medium" if value < medium else "low"
