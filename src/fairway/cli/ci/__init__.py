"""`fairway ci`: the workflows of a working tree, listed, explained, drawn and run here without the platform."""

from __future__ import annotations

import click

from fairway.cli.ci.explain import explain_command
from fairway.cli.ci.graph import graph_command
from fairway.cli.ci.listing import list_command
from fairway.cli.ci.run import run_command
from fairway.cli.ci.start import cancel_command, rerun_command, start_command


@click.group()
def command() -> None:
    """Run GitHub workflows and GitLab pipelines here, from the working tree."""


for _command in (list_command, explain_command, graph_command, run_command, start_command, rerun_command,
                 cancel_command):
    command.add_command(_command)
