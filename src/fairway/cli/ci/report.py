"""What `fairway ci run` says at the end: how each job ended, what was pointed at, summaries, and where the rest lies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from fairway.cli.output import Colour, paint, table

_COLOURS: dict[str, Colour] = {"error": "red", "warning": "yellow", "notice": "blue"}
_SUMMARY_LINES = 40


def report(results: list[dict[str, Any]]) -> None:
    click.echo()
    click.echo(table(("WORKFLOW", "JOB", "RESULT", "TIME", "WHY"), [row for result in results for row in _rows(result)]))
    for result in results:
        folder = Path(result.get("folder", ""))
        for line in (*_annotations(result["jobs"]), *_summaries(result["jobs"], folder), *_files(result, folder)):
            click.echo(line)


def _rows(result: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    if not result["jobs"]:
        yield result["workflow"], "-", result["phase"], "", result["message"]
    for job in result["jobs"]:
        seconds = f"{job['seconds']:.1f}s" if job["seconds"] is not None else ""
        why = job.get("message", "")
        if job["phase"] == "Failed" and job.get("allowedToFail"):
            why = f"may fail: {why}"
        if "coverage" in job:
            why = f"coverage {job['coverage']:g} %{f'; {why}' if why else ''}"
        yield result["workflow"], job["name"], job["phase"], seconds, why


def _annotations(jobs: list[dict[str, Any]]) -> Iterator[str]:
    for job in jobs:
        for note in job.get("annotations", ()):
            place = ":".join(str(part) for part in (note.get("file"), note.get("line"), note.get("column")) if part)
            said = ": ".join(part for part in (note.get("title"), note["message"]) if part)
            yield f"{paint(note['level'], _COLOURS.get(note['level']))}  {f'{place}  ' if place else ''}{said}  ({job['name']})"


def _summaries(jobs: list[dict[str, Any]], folder: Path) -> Iterator[str]:
    for job in jobs:
        file = folder / "jobs" / job["id"] / "summary.md"
        if not file.is_file():
            continue
        lines = file.read_text(errors="replace").strip().splitlines()
        yield ""
        yield paint(f"summary of {job['name']}", "cyan")
        yield from (f"  {line}" for line in lines[:_SUMMARY_LINES])
        if len(lines) > _SUMMARY_LINES:
            yield f"  … {len(lines) - _SUMMARY_LINES} more lines in {file}"


def _files(result: dict[str, Any], folder: Path) -> Iterator[str]:
    """Where logs and artifacts lie, once there is a reason to look at them."""
    kept = folder / "artifacts"
    names = sorted(entry.name for entry in kept.iterdir() if not entry.name.startswith(".")) if kept.is_dir() else []
    if names:
        yield f"\nartifacts: {', '.join(names)}  in {kept}"
    if result["phase"] == "Failed" and result["jobs"]:
        yield f"\nlogs: {folder / 'jobs'}"
