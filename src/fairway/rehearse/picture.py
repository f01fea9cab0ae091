"""Weight and error rates as a picture of block characters, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from fairway.rehearse.curve import ceiling, clock, curve
from fairway.rehearse.run import Rehearsal

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_LEFT = 12
ROWS = 5


def picture(run: Rehearsal, width: int = 92) -> str:
    parts = max(width - _LEFT - 2, 20)
    end = max((span.end for span in run.spans), default=1.0)
    points = curve(run.spans, end, parts)
    top = ceiling(points)
    lines = _area([point.weight for point in points], ROWS, "weight", "100%", "0%")
    lines.append("")
    lines += _area([None if p.canary is None else p.canary / top for p in points], 3, "canary", f"{top:.0%}", "errors")
    lines += _area([None if p.stable is None else p.stable / top for p in points], 1, "", "stable", "stable")
    lines.append(" " * _LEFT + "└" + "─" * parts)
    lines.append(_axis(run, end, parts))
    return "\n".join(line.rstrip() for line in lines)


def _area(values: Sequence[float | None], rows: int, name: str, high: str, low: str) -> list[str]:
    """Filled from below; "·" on the ground where there is nothing to show."""
    lines = []
    for row in range(rows - 1, -1, -1):
        label = high if row == rows - 1 else low if row == 0 else name if row == rows // 2 else ""
        cells = []
        for value in values:
            if value is None:
                cells.append("·" if row == 0 else " ")
                continue
            filled = max(0.0, min(value, 1.0)) * rows - row
            eighths = 8 if filled >= 1 else max(int(filled * 8 + 0.5), 0)
            cells.append(_EIGHTHS[max(eighths, 1) if value > 0 and row == 0 else eighths])
        lines.append(f"{label:>{_LEFT - 1}} │{''.join(cells)}")
    return lines


def _axis(run: Rehearsal, end: float, parts: int) -> str:
    """Times at both ends, and where it was decided."""
    row = [" "] * (parts + 12)

    def put(at: float, text: str) -> None:
        start = min(round(at / end * parts), parts - len(text))
        if start >= 0 and all(ch == " " for ch in row[max(start - 1, 0) : start + len(text) + 1]):
            row[start : start + len(text)] = text

    put(run.decided_at, f"▲ {run.outcome} {clock(run.decided_at)}")
    put(0.0, "0:00")
    put(end, clock(end))
    put(end / 2, clock(end / 2))
    return " " * (_LEFT + 1) + "".join(row)
