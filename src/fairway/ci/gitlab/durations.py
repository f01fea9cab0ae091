"""Times as people write them: `1h 30m`, `3 hours`, `2 weeks and 3 days`, `never`. Pure."""

from __future__ import annotations

import re
from typing import Any

_UNITS = {"s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hr": 3600, "hour": 3600, "d": 86400,
          "day": 86400, "w": 604800, "wk": 604800, "week": 604800, "mo": 2592000, "mos": 2592000, "month": 2592000,
          "y": 31557600, "yr": 31557600, "year": 31557600}
_PART = re.compile(r"\s*(?:and\s+|,\s*)?(\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.IGNORECASE)


class DurationError(Exception):
    """A text that is no time."""


def seconds(value: Any) -> float:
    """A number alone is seconds. Raises `DurationError`."""
    text = str(value).strip()
    total, at = 0.0, 0
    while at < len(text):
        part = _PART.match(text, at)
        unit = part[2].lower() if part else ""
        known = _UNITS.get(unit) or _UNITS.get(unit.removesuffix("s")) or (1 if part and not unit else None)
        if part is None or known is None:
            raise DurationError(f"should be a duration such as `1h 30m` or `3 days`, not {text!r}")
        total += float(part[1]) * known
        at = part.end()
    if not text:
        raise DurationError("should be a duration such as `1h 30m`")
    return total
