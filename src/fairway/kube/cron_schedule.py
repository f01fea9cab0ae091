"""When a schedule of a CronJob or a workflow is due: `minute hour day month weekday`, `@daily` and its kin, `@every 1h30m`.

A field is `*`, `?`, a number or name, a range, a list of them, each with a step. Where both days are given, either is
enough. Times are those of a wall clock in the CronJob's zone: an hour that is skipped in spring is skipped here, one that
comes twice in autumn comes twice.

Source: `robfig/cron` v3 (ParseStandard), which kube-controller-manager uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from fairway.kube.durations import parse_duration

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_NICKNAMES = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip
_NEVER = timedelta(days=5 * 366)
"""Upstream gives up after five years: the 30th of February does not come."""
_MINUTE, _FIRST_WINDOW = timedelta(minutes=1), timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    first: int
    last: int
    words: tuple[str, ...] = ()

    def parse(self, text: str) -> frozenset[int]:
        found: set[int] = set()
        for part in text.split(","):
            found |= self._part(part)
        return frozenset(found)

    def _part(self, part: str) -> set[int]:
        span, slash, step = part.partition("/")
        low, dash, high = span.partition("-")
        if span in ("*", "?"):
            first, last = self.first, self.last
        else:
            first = self._number(low, part)
            last = self._number(high, part) if dash else self.last if slash else first
        every = int(step) if step.isdigit() else 1 if not slash else 0
        if every < 1:
            raise ValueError(f"{self.name}: {part!r}: the step must be a number above 0")
        if first > last:
            raise ValueError(f"{self.name}: {part!r}: the range ends before it begins")
        return set(range(first, last + 1, every))

    def _number(self, text: str, part: str) -> int:
        if text.lower() in self.words:
            return self.words.index(text.lower()) + self.first
        if not text.isdigit():
            raise ValueError(f"{self.name}: {part!r} is no number{' or name' if self.words else ''}")
        if not self.first <= int(text) <= self.last:
            raise ValueError(f"{self.name}: {part!r} is outside of {self.first}-{self.last}")
        return int(text)


_FIELDS = (_Field("minute", 0, 59), _Field("hour", 0, 23), _Field("day of month", 1, 31),
           _Field("month", 1, 12, tuple(_MONTHS)), _Field("day of week", 0, 6, tuple(_DAYS)))


@dataclass(frozen=True, slots=True)
class Every:
    """`@every`: counted from the last time, in whole seconds."""

    step: timedelta

    def next(self, after: datetime) -> datetime | None:
        return after.replace(microsecond=0) + self.step

    def latest(self, earliest: datetime, now: datetime) -> datetime | None:
        """The last time in (earliest, now]."""
        turns = (now - earliest) // self.step
        return earliest + turns * self.step if turns > 0 else None


@dataclass(frozen=True, slots=True)
class Cron:
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool
    zone: tzinfo

    def next(self, after: datetime) -> datetime | None:
        """The first time after `after`, in UTC; None where there is none in the next five years."""
        moment = after.astimezone(UTC).replace(second=0, microsecond=0) + _MINUTE
        end = moment + _NEVER
        while moment < end:
            local = moment.astimezone(self.zone)
            if local.month not in self.months:
                year, month = (local.year, local.month + 1) if local.month < 12 else (local.year + 1, 1)
                moment = datetime(year, month, 1, tzinfo=self.zone).astimezone(UTC)
            elif not self._day(local):
                tomorrow = local.replace(hour=0, minute=0, fold=0) + timedelta(days=1)  # of the wall clock
                moment = tomorrow.astimezone(UTC)
            elif local.hour not in self.hours:
                moment += timedelta(minutes=60 - local.minute)
            elif local.minute not in self.minutes:
                moment += _MINUTE
            else:
                return moment
        return None

    def latest(self, earliest: datetime, now: datetime) -> datetime | None:
        """The last time in (earliest, now]. Looks back in growing windows: an old CronJob costs no more than a new one."""
        window = _FIRST_WINDOW
        while True:
            start = max(earliest, now - window)
            found, moment = None, self.next(start)
            while moment is not None and moment <= now:
                found, moment = moment, self.next(moment)
            if found is not None or start <= earliest:
                return found
            window *= 8

    def _day(self, local: datetime) -> bool:
        by_month, by_week = local.day in self.days, (local.weekday() + 1) % 7 in self.weekdays
        return by_month or by_week if self.either_day else by_month and by_week


Schedule = Cron | Every


@lru_cache(maxsize=1024)
def parse_schedule(text: str, zone: str = "") -> Schedule:
    """ValueError names the field and the mistake; an unknown zone is a `zoneinfo.ZoneInfoNotFoundError` (a KeyError)."""
    words = text.strip()
    if words.startswith(("TZ=", "CRON_TZ=")):
        raise ValueError("a zone in the schedule is not supported: it has a field of its own (timeZone, timezone)")
    if words.startswith("@every "):
        step = timedelta(seconds=int(parse_duration(words.removeprefix("@every ").strip()).total_seconds()))
        if step < timedelta(seconds=1):
            raise ValueError(f"{text!r}: at least a second must lie between two runs")
        return Every(step)
    if words.startswith("@") and words.lower() not in _NICKNAMES:
        raise ValueError(f"{text!r} is none of {', '.join(_NICKNAMES)} and @every <duration>")
    parts = _NICKNAMES.get(words.lower(), words).split()
    if len(parts) != len(_FIELDS):
        raise ValueError(f"{text!r} has {len(parts)} fields where 5 are needed: minute, hour, day of month, month, day of week")
    minutes, hours, days, months, weekdays = (field.parse(part) for field, part in zip(_FIELDS, parts, strict=True))
    either = not any(part.startswith(("*", "?")) for part in (parts[2], parts[4]))
    return Cron(minutes, hours, days, months, weekdays, either, ZoneInfo(zone) if zone else UTC)
