"""What a local run shows while it runs: every line with its job before it, or one line a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from fairway.ci.joblog import STEP
from fairway.cli.output import Colour, paint

if TYPE_CHECKING:
    from rich.live import Live

    from fairway.ci.states import JobRow

_MARKS: tuple[tuple[str, Colour], ...] = (("##[group]", "cyan"), ("##[error]", "red"), ("##[warning]", "yellow"),
                                          ("##[notice]", "blue"), ("##[cluster]", "blue"), ("##[debug]", "bright_black"))
_SIGNS = {"Pending": "·", "Waiting": "?", "Running": "▸", "Succeeded": "✓", "Failed": "✗", "Cancelled": "■", "Skipped": "-"}
_STYLES = {"Running": "cyan", "Succeeded": "green", "Failed": "red", "Cancelled": "yellow", "Waiting": "yellow"}
_WIDEST = 24


class Lines:
    """Every line with its job before it. A step's name is a heading; what is run stands dim below it."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._width = 0
        self._fresh: dict[str, str] = {}
        """Jobs whose last line named a step: the group that follows shows what the step runs."""
        self._dim: set[str] = set()
        self._stepped: set[str] = set()
        """Jobs that name their steps: their groups stand within a step."""

    def changed(self, rows: Sequence[JobRow]) -> None:
        """Matrices and called workflows become known as the run gets on; the column only ever gets wider."""
        self.named({row.id: row.name for row in rows})

    def named(self, names: Mapping[str, str]) -> None:
        self._names = dict(names)
        self._width = max(self._width, min(max(map(len, names.values()), default=0), _WIDEST))

    def heard(self, job: str, line: str, *, before: str = "") -> None:
        shown = self.shown(job, line)
        if shown is not None:
            name = self._names.get(job, job.replace("..", " / "))
            cut = name if len(name) <= _WIDEST else f"{name[:8]}…{name[9 - _WIDEST :]}"  # legs differ at their end
            self._width = max(self._width, len(cut))
            click.echo(f"{before}{paint(cut.ljust(self._width), 'bright_black')} │ {shown}")

    def shown(self, job: str, line: str) -> str | None:
        """The line as a person reads it; None for one that only ends a group."""
        title = self._fresh.pop(job, None)
        if line.startswith(STEP):
            self._fresh[job] = line.removeprefix(STEP)
            self._stepped.add(job)
            return paint(f"▸ {line.removeprefix(STEP)}", "cyan")
        if line == "##[endgroup]":
            self._dim.discard(job)
            return None
        if title is not None and line.startswith("##[group]Run "):
            self._dim.add(job)
            return None if line == f"##[group]{title}" else paint(f"  {line.removeprefix('##[group]')}", "bright_black")
        if job in self._dim:
            return paint(f"  {line}", "bright_black")
        if line.startswith("##[group]") and job in self._stepped:
            return paint(f"  ▸ {line.removeprefix('##[group]')}", "cyan")
        return next((_marked(line, mark, colour) for mark, colour in _MARKS if line.startswith(mark)), line)


def _marked(line: str, mark: str, colour: Colour) -> str:
    """A group's heading, or a word and what it says."""
    return paint(f"{'▸ ' if mark == '##[group]' else f'{mark[3:-1]}: '}{line.removeprefix(mark)}", colour)


class Board:
    """One line a job with its step and its time, redrawn in place; what failed is printed in full at the end."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._rows: tuple[JobRow, ...] = ()
        self._tails: dict[str, list[str]] = {}
        self._lines = Lines()
        self._live: Live = Live(console=Console(), refresh_per_second=8, get_renderable=self._drawn, transient=False)

    def __enter__(self) -> Board:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        for row in self._rows:
            if row.phase == "Failed":
                click.echo(paint(f"── {row.name}", "red"))
                for line in self._tails.get(row.id, ()):
                    click.echo(f"   {line}")

    def heard(self, job: str, line: str) -> None:
        shown = self._lines.shown(job, line)
        if shown is not None:
            tail = self._tails.setdefault(job, [])
            tail.append(shown)
            del tail[:-20]

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
        return Text("\n", no_wrap=True, overflow="ellipsis").join(lines)
