"""`fairway kubeconfig`: how kubectl finds the platform."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from fairway.cli.errors import NoPlatform
from fairway.state import StateDir


@click.command()
@click.option("--export", is_flag=True, help='Print a line for the shell: eval "$(fairway kubeconfig --export)".')
@click.pass_obj
def command(state: StateDir, export: bool) -> None:
    """Print where the kubeconfig of the platform is."""
    from fairway.cli.client import Addresses

    running = Addresses.read(state)
    file = running.kubeconfig if running is not None and running.kubeconfig else str(state.kubeconfig)
    if not Path(file).exists():
        raise NoPlatform(f"no platform has run in {state.root}", mend="start one with: fairway up")
    click.echo(f"export KUBECONFIG={shlex.quote(file)}" if export else file)
