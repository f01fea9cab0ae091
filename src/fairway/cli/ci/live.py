"""What a local run shows while it runs: every line with its job before it, or one line a job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.output import Colour, paint

if TYPE_CHECKING:
    from rich.live import Live

    from fairway.ci.states import JobRow

_MARKS: tuple[tuple[str, Colour], ...] = (("##[group]", "cyan"), ("##[error]", "red"), ("##[warning]", "yellow"),
                                          ("##[notice]", "blue"), ("##[debug]", "bright_black"))
_SIGNS = {"Pending": "·", "Waiting": "?", "Running": "▸", "Succeeded": "✓", "Failed": "✗", "Cancelled": "■", "Skipped": "-"}
_STYLES = {"Running": "cyan", "Succeeded": "green", "Failed": "red", "Cancelled": "yellow", "Waiting": "yellow"}
_WIDEST = 24


def printer(rows: Sequence[JobRow]) -> Callable[[str, str], None]:
    """Groups as headings, errors in red."""
    names = {row.id: row.name for row in rows}
    width = min(max(map(len, names.values()), default=4), _WIDEST)

    def heard(job: str, line: str) -> None:
        if line == "##[endgroup]":
            return
        shown = line
        for mark, colour in _MARKS:
            if line.startswith(mark):
                word = "" if mark == "##[group]" else f"{mark[3:-1]}: "
                shown = paint(f"{word or '▸ '}{line.removeprefix(mark)}", colour)
        name = names.get(job, job)
        cut = name if len(name) <= _WIDEST else f"{name[: _WIDEST - 1]}…"
        click.echo(f"{paint(cut.ljust(width), 'bright_black')} │ {shown}")

    return heard


class Board:
    """One line a job with its step and its time, redrawn in place; what failed is printed in full at the end."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._rows: tuple[JobRow, ...] = ()
        self._tails: dict[str, list[str]] = {}
        self._live: Live = Live(console=Console(), refresh_per_second=8, get_renderable=self._drawn, transient=False)

    def __enter__(self) -> Board:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        for row in self._rows:
            if row.phase == "Failed":
                click.echo(paint(f"── {row.name}", "red"))
                for line in self._tails.get(row.id, ())[-20:]:
                    click.echo(f"   {line}")

    def heard(self, job: str, line: str) -> None:
        tail = self._tails.setdefault(job, [])
        tail.append(line)
        del tail[:-40]

    def changed(self, rows: tuple[JobRow, ...]) -> None:
        self._rows = rows

    def _drawn(self) -> Any:
        from datetime import UTC, datetime

        from rich.text import Text

        now = datetime.now(UTC)
        lines = []
        for row in self._rows:
            since = ((row.finished_at or now) - row.started_at).total_seconds() if row.started_at else None
            step = next((step.name for step in reversed(row.steps) if step.phase == "Running"), "") \
                if row.phase == "Running" else row.message
            took = "" if since is None else f"{since:6.1f}s"
            lines.append(Text(f"{_SIGNS[row.phase]} {row.name[:40]:<40} {took}  {step[:70]}",
                              style=_STYLES.get(row.phase, "dim")))
        return Text("\n").join(lines)
