"""Date functions: parts of a time given in seconds since 1970, in UTC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairway.metrics.series import Floats

Moments = NDArray[Any]
"""datetime64[s], or whole numbers of a unit."""

_SECONDS = np.dtype("datetime64[s]")


def _moments(seconds: Floats) -> tuple[Moments, Moments]:
    """(times, where the number is no time)."""
    bad = ~np.isfinite(seconds) | (np.abs(seconds) > 1e14)
    return np.where(bad, 0, seconds).astype(np.int64).astype(_SECONDS), bad


def _part(compute: Callable[[Moments], Moments]) -> Callable[[Floats], Floats]:
    def function(seconds: Floats) -> Floats:
        moments, bad = _moments(seconds)
        return np.where(bad, np.nan, compute(moments).astype(np.float64))

    return function


def _since(moments: Moments, unit: str, within: str) -> Moments:
    return np.asarray(moments.astype(f"datetime64[{unit}]") - moments.astype(f"datetime64[{within}]")).astype(np.int64)


def _days_in_month(moments: Moments) -> Moments:
    months = moments.astype("datetime64[M]")
    return np.asarray((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(np.int64)


DATE_FUNCTIONS: dict[str, Callable[[Floats], Floats]] = {
    "minute": _part(lambda t: _since(t, "m", "h")),
    "hour": _part(lambda t: _since(t, "h", "D")),
    "day_of_week": _part(lambda t: (t.astype("datetime64[D]").astype(np.int64) + 4) % 7),  # 1970-01-01 was a Thursday
    "day_of_month": _part(lambda t: _since(t, "D", "M") + 1),
    "day_of_year": _part(lambda t: _since(t, "D", "Y") + 1),
    "days_in_month": _part(_days_in_month),
    "month": _part(lambda t: _since(t, "M", "Y") + 1),
    "year": _part(lambda t: t.astype("datetime64[Y]").astype(np.int64) + 1970),
}
