"""`fairway kubeconfig`: how kubectl finds the platform."""

from __future__ import annotations

import shlex

import click

from fairway.cli.errors import NoPlatform
from fairway.state import StateDir


@click.command()
@click.option("--export", is_flag=True, help='Print a line for the shell: eval "$(fairway kubeconfig --export)".')
@click.pass_obj
def command(state: StateDir, export: bool) -> None:
    """Print where the kubeconfig of the platform is."""
    if not state.kubeconfig.exists():
        raise NoPlatform(f"no platform has run in {state.root}", mend="start one with: fairway up")
    click.echo(f"export KUBECONFIG={shlex.quote(str(state.kubeconfig))}" if export else str(state.kubeconfig))
