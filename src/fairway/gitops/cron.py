"""Five-field cron expressions as sync windows use them. Pure.

The calendar is the one of the window's own time zone, so a window at 02:00 stays at 02:00 when the clocks change. Day of
month and day of week are alternatives where both are restricted, as cron has always done it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (("minute", 0, 59, ()), ("hour", 0, 23, ()), ("day of month", 1, 31, ()), ("month", 1, 12, _MONTHS),
           ("day of week", 0, 6, _DAYS))
_NAMED = {"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
          "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *"}
_YEARS = 5  # as far as the search goes: a 29th of February is at most eight years off, and then it is no window


@dataclass(frozen=True, slots=True)
class Cron:
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool

    @staticmethod
    def parse(text: str) -> Cron:
        """ValueError names the field that is wrong."""
        fields = _NAMED.get(text.strip().lower(), text).split()
        if len(fields) != len(_FIELDS):
            raise ValueError(f"expected exactly 5 fields, found {len(fields)}: {text!r}")
        sets = [_values(field, *row) for field, row in zip(fields, _FIELDS, strict=True)]
        minutes, hours, days, months, weekdays = sets
        return Cron(minutes, hours, days, months, weekdays, fields[2][0] in "*?", fields[4][0] in "*?")

    def next_after(self, moment: datetime, zone: tzinfo) -> datetime | None:
        """The first time after `moment` (UTC), in UTC; None where there is none in the next years."""
        local = moment.astimezone(zone).replace(second=0, microsecond=0, tzinfo=None) + timedelta(minutes=1)
        end = local.replace(year=local.year + _YEARS, day=1)
        while local < end:
            if local.month not in self.months:
                local = (local.replace(day=1, hour=0, minute=0) + timedelta(days=32)).replace(day=1)
            elif not self._on(local):
                local = local.replace(hour=0, minute=0) + timedelta(days=1)
            elif local.hour not in self.hours:
                local = local.replace(minute=0) + timedelta(hours=1)
            elif local.minute not in self.minutes:
                local += timedelta(minutes=1)
            else:
                found = local.replace(tzinfo=zone).astimezone(UTC)
                if found > moment:
                    return found
                local += timedelta(minutes=1)  # the hour that the clocks repeat
        return None

    def _on(self, local: datetime) -> bool:
        day, weekday = local.day in self.days, (local.isoweekday() % 7) in self.weekdays
        return day and weekday if self.any_day or self.any_weekday else day or weekday


def _values(field: str, name: str, low: int, high: int, words: tuple[str, ...]) -> frozenset[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, slash, step_text = part.partition("/")
        step = _number(step_text, name, ()) if slash else 1
        first, dash, last = span.partition("-")
        if first in ("*", "?"):
            start, stop = low, high
        else:
            start = _number(first, name, words)
            stop = _number(last, name, words) if dash else (high if slash else start)
        if not (low <= start <= stop <= high) or step < 1:
            raise ValueError(f"{name} {part!r} is not within {low}-{high}")
        found.update(range(start, stop + 1, step))
    return frozenset(found)


def _number(text: str, name: str, words: tuple[str, ...]) -> int:
    if text.lower() in words:
        return words.index(text.lower()) + (1 if words is _MONTHS else 0)
    if not text.isdigit():
        raise ValueError(f"failed to parse {name} {text!r}: a number is needed")
    return int(text)
