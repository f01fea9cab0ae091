"""Time intervals: when a route is mute, or active. Pure.

Source: Alertmanager `timeinterval` (behaviour).
"""

from __future__ import annotations

import calendar
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS = ("", *(name.lower() for name in list(calendar.month_name)[1:]))

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Interval:
    """Every kind that is given must hold: minutes of the day, days of the week (0 Sunday) and of the month, months, years."""

    times: tuple[Span, ...] = ()
    weekdays: tuple[Span, ...] = ()
    days: tuple[Span, ...] = ()
    months: tuple[Span, ...] = ()
    years: tuple[Span, ...] = ()
    zone: str = "UTC"

    def holds(self, moment: datetime) -> bool:
        local = moment.astimezone(ZoneInfo(self.zone))
        minute = local.hour * 60 + local.minute
        last = calendar.monthrange(local.year, local.month)[1]
        days = [tuple(max(1, min(last, day if day > 0 else last + day + 1)) for day in span) for span in self.days]
        return (
            (not self.times or any(low <= minute < high for low, high in self.times))
            and _within(self.weekdays, local.isoweekday() % 7) and _within(days, local.day)
            and _within(self.months, local.month) and _within(self.years, local.year)
        )  # fmt: skip


def _within(spans: Sequence[Sequence[int]], value: int) -> bool:
    return not spans or any(span[0] <= value <= span[1] for span in spans)


def decode_intervals(written: Any) -> tuple[Interval, ...]:
    """The value of `time_intervals[].time_intervals`. ValueError says what cannot be read."""
    return tuple(_interval(one) for one in _list(written))


def _list(written: Any) -> Sequence[Any]:
    if not isinstance(written, list):
        raise ValueError(f"a list is needed, not {written!r}")
    return written


def _time(written: Any) -> tuple[int, int]:
    if not isinstance(written, Mapping):
        raise ValueError(f"times: a mapping with start_time and end_time is needed, not {written!r}")
    return _minute(str(written.get("start_time"))), _minute(str(written.get("end_time")))


def _interval(written: Any) -> Interval:
    if not isinstance(written, Mapping):
        raise ValueError("a mapping is needed")
    for field in written:
        if field not in ("times", "weekdays", "days_of_month", "months", "years", "location"):
            raise ValueError(f"unknown field {field!r}")
    zone = str(written.get("location") or "UTC")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"unknown time zone {zone!r}") from None
    return Interval(
        tuple(_time(one) for one in _list(written.get("times") or [])),
        _spans(written.get("weekdays"), _DAYS), _spans(written.get("days_of_month")), _spans(written.get("months"), _MONTHS),
        _spans(written.get("years")), zone,
    )  # fmt: skip


def _minute(text: str) -> int:
    hour, colon, minute = text.partition(":")
    if not (colon and hour.isdecimal() and minute.isdecimal() and int(hour) <= 24 and int(minute) < 60):
        raise ValueError(f"{text!r} is no time of the day, such as 09:30")
    return int(hour) * 60 + int(minute)


def _spans(written: Any, names: Sequence[str] = ()) -> tuple[Span, ...]:
    def number(text: str) -> int:
        plain = text.strip().lower()
        if plain in names and plain:
            return names.index(plain)
        try:
            return int(plain)
        except ValueError:
            raise ValueError(f"{text!r} is not understood") from None

    found = []
    for one in _list(written or []):
        low, colon, high = str(one).partition(":")
        found.append((number(low), number(high) if colon else number(low)))
    return tuple(found)


def any_holds(intervals: Sequence[Interval], moment: datetime) -> bool:
    return any(interval.holds(moment) for interval in intervals)
