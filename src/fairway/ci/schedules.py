"""When `on: schedule` and the schedules of a repository start a run. Pure.

Each schedule remembers the last time that it has dealt with; the newest time since then is due. A time that was missed
(the platform did not run) is made up for within the hour, once, as GitHub starts runs late when it is busy; what is older
is dropped. A schedule that is new begins to count when it is first seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from fairway.kube.cron_schedule import parse_schedule
from fairway.kube.decision import Reason, earliest

LATE = timedelta(hours=1)
SHORTEST = timedelta(minutes=5)
"""GitHub's shortest interval; a schedule that comes more often is run as often as that."""


@dataclass(frozen=True)
class Timer:
    """`ref` and `variables` are those of a schedule that a `Repository` names; a workflow's own runs on the default branch."""

    workflow: str
    cron: str
    zone: str = ""
    ref: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What it is remembered by."""
        return " ".join(part for part in (self.workflow, self.ref, self.cron, self.zone) if part)


@dataclass(frozen=True, slots=True)
class Due:
    timer: Timer
    at: datetime


@dataclass(frozen=True)
class Rung:
    """`last` is what is to be remembered."""

    due: tuple[Due, ...]
    last: Mapping[str, datetime]
    reasons: tuple[Reason, ...] = ()
    wake_at: datetime | None = None


def ring(timers: Iterable[Timer], last: Mapping[str, datetime], now: datetime) -> Rung:
    """Which timers are due."""
    due: list[Due] = []
    kept: dict[str, datetime] = {}
    reasons: list[Reason] = []
    wake: list[datetime | None] = []
    for timer in timers:
        mistake = cron_mistake(timer.cron) or zone_mistake(timer.zone)
        if mistake:
            reasons.append(Reason("InvalidSchedule", f"{timer.key}: {mistake}"))
            continue
        schedule = parse_schedule(timer.cron, timer.zone)
        before = kept[timer.key] = last.get(timer.key, now)
        at = schedule.latest(before, now)
        following = schedule.next(at) if at is not None else None
        if at is not None and at - before < SHORTEST and following is not None and following - at < SHORTEST:
            wake.append(before + SHORTEST)
            continue
        if at is not None:
            kept[timer.key] = at
            if now - at <= LATE:
                due.append(Due(timer, at))
            else:
                reasons.append(Reason("MissedSchedule", f"{timer.key}: {at:%Y-%m-%d %H:%M} UTC was missed and is dropped"))
        wake.append(schedule.next(now))
    return Rung(tuple(due), kept, tuple(reasons), earliest(*wake))


def cron_mistake(cron: str) -> str:
    """What is wrong with a cron expression, in words; "" where nothing is."""
    if cron.strip().startswith("@"):
        return f"{cron!r} is no cron expression: five fields are needed, such as '30 5 * * 1-5'"
    try:
        parse_schedule(cron)
    except ValueError as error:
        return str(error)
    return ""


def zone_mistake(zone: str) -> str:
    try:
        ZoneInfo(zone or "UTC")
    except (KeyError, ValueError, OSError):  # a folder of the zone database is an OSError
        return f"time zone {zone!r} is not known: write an IANA name, such as Europe/Berlin"
    return ""
