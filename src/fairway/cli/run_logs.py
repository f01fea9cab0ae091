"""The logs of a pipeline run, every line with its job before it; followed, until the run is over."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from fairway.ci.trigger import NAMESPACE
from fairway.cli.ci.live import Lines
from fairway.cli.output import WORDS, paint
from fairway.kube.objects import Obj, status_of
from fairway.kube.resources import PIPELINE_RUNS

if TYPE_CHECKING:
    from fairway.cli.client import Client


def print_run(client: Client, name: str, job: str, *, follow: bool, tail: int | None, timestamps: bool) -> None:
    """`job` is a job's id or name, "" for all."""
    run = client.find(PIPELINE_RUNS, name, NAMESPACE)
    query = {"follow": "true"} if follow else {}
    if job:
        query["job"] = next((entry["id"] for entry in _jobs(run) if entry["name"] == job), job)
    spoken = _spoken(client.web_stream(f"/logs/runs/{name}", query or None), query.get("job", ""))
    lines: Iterable[tuple[str, str]] = spoken if tail is None or follow else deque(spoken, maxlen=tail)
    shown = Lines()
    shown.named(_names(run))
    known = set(_names(run))
    try:
        for speaker, line in lines:
            if speaker not in known:
                known.add(speaker)
                shown.named(_names(client.find(PIPELINE_RUNS, name, NAMESPACE)))
            time, _, text = line.partition(" ")
            shown.heard(speaker, text, before=f"{time} " if timestamps else "")
    except KeyboardInterrupt:
        return  # the way to stop following
    if follow and (ended := client.find(PIPELINE_RUNS, name, NAMESPACE)) is not None:
        phase = str(status_of(ended).get("phase", ""))
        click.echo(f"\n{name} {paint(phase, WORDS.get(phase))}: {status_of(ended).get('message', '')}")


def _spoken(lines: Iterator[bytes], job: str) -> Iterator[tuple[str, str]]:
    """Each line with the job that says it."""
    for line in lines:
        text = line.decode(errors="replace")
        if not job and text.startswith("=== "):
            speaker = text.removeprefix("=== ")
        else:
            yield job or speaker, text


def _jobs(run: Obj | None) -> list[Obj]:
    return status_of(run).get("jobs") or [] if run is not None else []


def _names(run: Obj | None) -> dict[str, str]:
    return {entry["id"]: entry["name"] for entry in _jobs(run)}
