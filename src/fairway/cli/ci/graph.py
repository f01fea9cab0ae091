"""`fairway ci graph`: which jobs wait for which."""

from __future__ import annotations

from pathlib import Path

import click

from fairway.cli.ci.files import FOLDER, chosen, event_options, payload_of, read, snapshot_of
from fairway.cli.errors import CommandError, Misused
from fairway.cli.output import paint


@click.command("graph")
@click.argument("path", type=FOLDER, default=".")
@click.option("-w", "--workflow", default="", help="File name of one workflow.")
@click.option("-f", "--format", "form", type=click.Choice(["text", "mermaid", "svg"]), default="text", show_default=True)
@event_options
def graph_command(path: Path, workflow: str, form: str, event: str, ref: str, base: str, payload: Path | None,
                  gitlab_file: str) -> None:
    """Which jobs wait for which: one line a job, a Mermaid flowchart, or a picture. Of GitLab's file, for the event."""
    from fairway.ci.gitlab.local_tree import pipeline_of
    from fairway.ci.graph import as_mermaid, as_svg, as_text, graph_of_pipeline, graph_of_workflow
    from fairway.ci.said_event import event_of
    from fairway.ci.spec import WorkflowError
    from fairway.ci.wish import Wish

    files = chosen(read(path, gitlab_file), workflow)
    if form == "svg" and len(files) > 1:
        raise Misused("one picture shows one workflow", mend=f"add --workflow {Path(files[0].path).name}")
    for file in files:
        if file.is_gitlab:
            wish = Wish(event=event, ref=ref, base=base, payload=payload_of(payload))
            with snapshot_of(path) as snapshot:
                try:
                    pipeline = pipeline_of(path, snapshot, file.path, "graph", event_of(snapshot, wish), wish)
                except WorkflowError as error:
                    raise CommandError(str(error)) from None
            graph = graph_of_pipeline(pipeline)
        elif file.workflow is None:
            raise CommandError(file.error)
        else:
            graph = graph_of_workflow(file.workflow)
        if form == "text":
            click.echo(paint(graph.title, "cyan"))
            for line in as_text(graph):
                click.echo(f"  {line}")
        else:
            click.echo(as_mermaid(graph) if form == "mermaid" else as_svg(graph), nl=False)
