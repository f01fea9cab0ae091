"""Durations as Go programs read and write them: "1h30m", "250ms", "10s"."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")


_LONGEST_S = 2**63 / 1e9  # nanoseconds in 64 bits


def parse_duration(text: str) -> timedelta:
    """`time.ParseDuration`: ValueError names what is wrong."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return timedelta(0)
    parts = list(_PART.finditer(rest))
    if not parts or "".join(m[0] for m in parts) != rest:
        raise ValueError(f"invalid duration {text!r}: numbers with units are needed, such as 90s, 5m or 1h30m")
    seconds = sum(float(m[1]) * _UNITS[m[2]] for m in parts)
    if seconds > _LONGEST_S:
        raise ValueError(f"invalid duration {text!r}: it is longer than 292 years")
    return timedelta(seconds=sign * seconds)


def format_duration(delta: timedelta) -> str:
    """As Go prints it, to the second: "1h2m3s", "45s", "0s"."""
    seconds = round(delta.total_seconds())
    sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
    hours, rest = divmod(seconds, 3600)
    minutes, secs = divmod(rest, 60)
    if hours:
        return f"{sign}{hours}h{minutes}m{secs}s"
    return f"{sign}{minutes}m{secs}s" if minutes else f"{sign}{secs}s"
