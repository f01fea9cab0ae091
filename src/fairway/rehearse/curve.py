"""The course of a rehearsal, cut into equal parts of time, for whoever draws it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fairway.rehearse.users import Span


@dataclass(frozen=True, slots=True)
class Point:
    """`weight` is the mean share of the new version; an error rate is None where nobody asked that version."""

    start: float
    weight: float
    canary: float | None
    stable: float | None


def curve(spans: Sequence[Span], end: float, parts: int) -> list[Point]:
    width = end / parts if end > 0 else 1.0
    weight = [0.0] * parts
    counts = [[0.0, 0.0, 0.0, 0.0] for _ in range(parts)]
    for span in spans:
        length = span.end - span.start
        first, last = int(span.start / width), min(math.ceil(span.end / width), parts)
        for i in range(max(first, 0), last):
            inside = min(span.end, (i + 1) * width) - max(span.start, i * width)
            if inside <= 0 or length <= 0:
                continue
            weight[i] += span.weight * inside / width
            for k, value in enumerate((span.canary, span.canary_errors, span.stable, span.stable_errors)):
                counts[i][k] += value * inside / length
    return [Point(i * width, weight[i], _rate(counts[i][1], counts[i][0]), _rate(counts[i][3], counts[i][2]))
            for i in range(parts)]


def _rate(bad: float, of: float) -> float | None:
    return bad / of if of >= 0.5 else None


def ceiling(points: Sequence[Point]) -> float:
    """A round number at or above every error rate, at least 1 %."""
    highest = max([0.01, *(rate for point in points for rate in (point.canary, point.stable) if rate is not None)])
    return next(top for top in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if top >= highest - 1e-9)


def clock(seconds: float) -> str:
    """1:05, 12:30, 1:02:03."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
