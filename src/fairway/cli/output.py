"""What commands print: aligned tables for people, JSON or YAML for programs, colours only where somebody sees them."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, ParamSpec, TypeVar

import click

Format = Literal["text", "json", "yaml"]
Colour = Literal["red", "green", "yellow", "blue", "cyan", "bright_black"]

P = ParamSpec("P")
R = TypeVar("R")

WORDS: dict[str, Colour] = {
    **dict.fromkeys(("Healthy", "Synced", "Succeeded", "Promoted", "Running", "Ready", "Successful"), "green"),
    **dict.fromkeys(("Progressing", "Pending", "InProgress"), "blue"),
    **dict.fromkeys(("Paused", "OutOfSync", "Suspended", "Unknown", "Missing", "Inconclusive", "Cancelled"), "yellow"),
    **dict.fromkeys(("RolledBack", "Degraded", "Failed", "Error", "Aborted"), "red"),
}  # fmt: skip
"""The colour of a word of state, wherever it stands in a table."""


def output_option(command: Callable[P, R]) -> Callable[P, R]:
    """`-o text|json|yaml`, given to the command as `output`."""
    option = click.option("-o", "--output", type=click.Choice(["text", "json", "yaml"]), default="text",
                          help="How to print the answer.")
    return functools.wraps(command)(option(command))


def coloured() -> bool:
    """Colours on standard output: a terminal, and nobody said no (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and sys.stdout.isatty()


def paint(text: str, colour: Colour | None) -> str:
    return click.style(text, fg=colour) if colour and coloured() else text


def machine(value: Any, output: str) -> bool:
    """Print `value` as JSON or YAML where that was asked for; False where the command has to print text."""
    if output == "json":
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
    elif output == "yaml":
        import yaml

        dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
        click.echo(yaml.dump(value, Dumper=dumper, sort_keys=False, allow_unicode=True), nl=False)
    else:
        return False
    return True


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns two spaces apart; words of state in their colour. Only the headings where there are no rows."""
    cells = [[_text(cell) for cell in row] for row in rows]
    grid = [list(headings), *cells]
    widths = [max(len(row[i]) for row in grid) for i in range(len(headings))]
    lines = []
    for number, row in enumerate(grid):
        parts = []
        for i, cell in enumerate(row):
            padded = cell if i == len(row) - 1 else cell.ljust(widths[i])
            parts.append(paint(padded, "bright_black") if number == 0 else paint(padded, WORDS.get(cell)))
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def _text(cell: object) -> str:
    return "" if cell is None else str(cell)


def ago(moment: datetime | None, now: datetime) -> str:
    """How long ago, in the largest unit that says enough: 42s, 7m, 3h, 5d; "-" where unknown."""
    return "-" if moment is None else span(now - moment)


def span(length: timedelta) -> str:
    seconds = max(int(length.total_seconds()), 0)
    for size, letter in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{letter}"
    return f"{seconds}s"
