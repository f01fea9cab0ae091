"""`fairway ci list`: workflows, their events and jobs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.ci.files import FOLDER, read, snapshot_of
from fairway.cli.errors import FAILED
from fairway.cli.output import machine, output_option, table

if TYPE_CHECKING:
    from fairway.ci.workflow_files import WorkflowFile


@click.command("list")
@click.argument("path", type=FOLDER, default=".")
@click.option("--gitlab-file", default=".gitlab-ci.yml", show_default=True, help="GitLab's configuration file.")
@output_option
def list_command(path: Path, gitlab_file: str, output: str) -> None:
    """The workflows below PATH, their events and jobs. Of GitLab's file, the jobs of a push to the branch here."""
    rows = [_gitlab(path, file) if file.is_gitlab else _github(file) for file in read(path, gitlab_file)]
    if not machine(rows, output):
        click.echo(table(("WORKFLOW", "NAME", "EVENTS", "JOBS"), [
            (row["path"], row.get("name", ""), ", ".join(row.get("events", ())),
             "does not parse" if "error" in row else ", ".join(job["id"] for job in row["jobs"])) for row in rows]))
    broken = [row["error"] for row in rows if "error" in row]
    for error in broken:
        click.echo(error, err=True)
    if broken:
        sys.exit(FAILED)


def _github(file: WorkflowFile) -> dict[str, Any]:
    if file.workflow is None:
        return {"path": file.path, "error": file.error}
    return {
        "path": file.path,
        "name": file.workflow.name,
        "events": [trigger.event for trigger in file.workflow.on],
        "jobs": [{"id": job.id, "needs": list(job.needs)} for job in file.workflow.jobs.values()],
    }


def _gitlab(path: Path, file: WorkflowFile) -> dict[str, Any]:
    from fairway.ci.gitlab.local_tree import pipeline_of
    from fairway.ci.said_event import event_of
    from fairway.ci.spec import WorkflowError
    from fairway.ci.wish import Wish

    wish = Wish()
    with snapshot_of(path) as snapshot:
        try:
            pipeline = pipeline_of(path, snapshot, file.path, "list", event_of(snapshot, wish), wish)
        except WorkflowError as error:
            return {"path": file.path, "error": str(error)}
    jobs = [{"id": leg.name, "stage": leg.job.stage, "when": leg.when, "needs":
             None if leg.needs is None else [other.name for need in leg.needs if (other := pipeline.leg(need.leg))],
             "why": leg.why} for leg in (*pipeline.legs, *pipeline.left_out)]
    return {"path": file.path, "name": pipeline.name, "events": ["GitLab"],
            "jobs": [job for job in jobs if job["when"] != "never"], "leftOut": [job for job in jobs if job["when"] == "never"]}
