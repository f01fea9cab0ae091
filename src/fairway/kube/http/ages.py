"""Lengths of time as tables show them: 5s, 3m12s, 4h20m, 2d3h, 1y40d. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from fairway.kube.objects import parse_time


def age(since: str | None, now: datetime) -> str:
    """How long ago `since` (RFC 3339) is; `<unknown>` where it is absent or no time."""
    if not since:
        return "<unknown>"
    try:
        return human(now - parse_time(since))
    except ValueError:
        return "<invalid>"


def human(length: timedelta) -> str:
    """Two units while the smaller one still says something, as kubectl prints durations."""
    seconds = int(length.total_seconds())
    if seconds < -1:
        return "<invalid>"
    seconds = max(seconds, 0)
    if seconds < 120:
        return f"{seconds}s"
    minutes, s = divmod(seconds, 60)
    if minutes < 10:
        return f"{minutes}m{s}s" if s else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours, m = divmod(minutes, 60)
    if hours < 8:
        return f"{hours}h{m}m" if m else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days, h = divmod(hours, 24)
    if days < 8:
        return f"{days}d{h}h" if h else f"{days}d"
    if days < 730:
        return f"{days}d"
    years, d = divmod(days, 365)
    return f"{years}y{d}d" if years < 8 and d else f"{years}y"
