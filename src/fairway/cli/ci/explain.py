"""`fairway ci explain`: which jobs an event starts, and why the others do not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.ci.files import FOLDER, chosen, event_options, payload_of, read, snapshot_of
from fairway.cli.output import machine, output_option, paint, table

if TYPE_CHECKING:
    from fairway.ci.events import Event
    from fairway.ci.snapshot import Snapshot
    from fairway.ci.spec import Workflow
    from fairway.ci.wish import Wish
    from fairway.ci.workflow_files import WorkflowFile


@click.command("explain")
@click.argument("path", type=FOLDER, default=".")
@click.option("-w", "--workflow", default="", help="File name of one workflow.  [default: all]")
@event_options
@output_option
def explain_command(path: Path, workflow: str, event: str, ref: str, base: str, payload: Path | None, gitlab_file: str,
                    output: str) -> None:
    """Which jobs an event starts, and why the others do not. Nothing is run."""
    from fairway.ci.said_event import event_of
    from fairway.ci.wish import Wish

    wish = Wish(event=event, ref=ref, base=base, payload=payload_of(payload))
    with snapshot_of(path) as snapshot:
        happened = event_of(snapshot, wish)
        answers = [_explained(path, snapshot, file, happened, wish) for file in chosen(read(path, gitlab_file), workflow)]
    if machine(answers, output):
        return
    count = "unknown" if happened.changed is None else str(len(happened.changed))
    click.echo(f"{event} of {happened.ref} at {happened.sha[:7]}, changed paths: {count}")
    for answer in answers:
        click.echo()
        click.echo(paint(answer["workflow"], "cyan") + (f": {answer['why']}" if answer["why"] else ""))
        if answer["jobs"]:
            click.echo(table(("  JOB", "STARTS", "WHY"), [(f"  {job['name']}", job["starts"], job["why"])
                                                          for job in answer["jobs"]]))


def _explained(path: Path, snapshot: Snapshot, file: WorkflowFile, event: Event, wish: Wish) -> dict[str, Any]:
    from fairway.ci.events import why_not
    from fairway.ci.gitlab.local_tree import pipeline_of
    from fairway.ci.said_event import github_event
    from fairway.ci.spec import WorkflowError

    answer: dict[str, Any] = {"workflow": file.path, "why": "", "jobs": []}
    try:
        if file.is_gitlab:
            pipeline = pipeline_of(path, snapshot, file.path, "explain", event, wish)
            answer["why"] = pipeline.refused.message if pipeline.refused else ""
            if pipeline.refused is None:
                answer["jobs"] = [{"name": leg.name, "starts": leg.when, "why": leg.why or f"stage {leg.job.stage}"}
                                  for leg in (*pipeline.legs, *pipeline.left_out)]
                answer["why"] = "; ".join(mistake.message for mistake in pipeline.unmet)
        elif file.workflow is None:
            answer["why"] = f"does not parse: {file.error}"
        else:
            refused = why_not(file.workflow, github_event(event))
            answer["why"] = f"does not run: {refused.message}" if refused else ""
            answer["jobs"] = [] if refused else _jobs(file.workflow, github_event(event), wish)
    except WorkflowError as error:
        answer["why"] = str(error)
    return answer


def _jobs(workflow: Workflow, event: Event, wish: Wish) -> list[dict[str, str]]:
    """A job's `if` is decided as far as it can be before anything has run: as if all needs had succeeded."""
    from fairway.ci.foresight import foreseen

    return [{"name": job.name, "starts": job.starts, "why": job.why} for job in foreseen(workflow, event, wish.variables)]
