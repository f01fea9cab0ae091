"""Whether a cron expression and a time zone mean something, and what is wrong where they do not. Pure.

Source: the parser that Kubernetes uses (robfig/cron, `ParseStandard`); its error texts, which the API passes on.
"""

from __future__ import annotations

from functools import lru_cache
from zoneinfo import available_timezones

_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 6))
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec"
_DAYS = "sun mon tue wed thu fri sat"
_NAMES = {
    "month": {name: number for number, name in enumerate(_MONTHS.split(), 1)},
    "day of week": {name: number for number, name in enumerate(_DAYS.split())},
}
_WORDS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")


def schedule_mistake(text: str) -> str:
    """"" for a good schedule."""
    if text.startswith("@"):
        every = text.removeprefix("@every ")
        return "" if text in _WORDS or (every != text and every[:1].isdigit()) else f"unrecognized descriptor: {text}"
    parts = text.split()
    if len(parts) != len(_FIELDS):
        return f"expected exactly 5 fields, found {len(parts)}: [{' '.join(parts)}]"
    for part, field in zip(parts, _FIELDS, strict=True):
        for expression in part.split(","):
            if mistake := _range_mistake(expression, *field):
                return mistake
    return ""


def _range_mistake(expression: str, name: str, least: int, most: int) -> str:
    bounds, *steps = expression.split("/")
    if len(steps) > 1:
        return f"too many slashes: {expression}"
    low, *high = bounds.split("-")
    if len(high) > 1:
        return f"too many hyphens: {expression}"
    start, end = least, most
    if low not in ("*", "?"):
        for text in (low, *high):
            if (_NAMES.get(name, {}).get(text.lower()) is None) and not text.isdigit():
                return f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax'
        start, *ends = (_NAMES.get(name, {}).get(text.lower(), int(text) if text.isdigit() else 0) for text in (low, *high))
        end = ends[0] if ends else most if steps else start
    if steps and not steps[0].isdigit():
        return f'failed to parse int from {steps[0]}: strconv.Atoi: parsing "{steps[0]}": invalid syntax'
    if start < least:
        return f"beginning of range ({start}) below minimum ({least}): {expression}"
    if end > most:
        return f"end of range ({end}) above maximum ({most}): {expression}"
    if start > end:
        return f"beginning of range ({start}) beyond end of range ({end}): {expression}"
    if steps and int(steps[0]) == 0:
        return f"step of range should be a positive number: {expression}"
    return ""


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def time_zone_mistake(name: str) -> str:
    """"" for a good one."""
    if not name:
        return "timeZone must be nil or non-empty string"
    if name.lower() == "local":
        return "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
    return "" if name in _zones() else f"unknown time zone {name}"
