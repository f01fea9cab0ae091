"""`fairway down`: stop the platform and all that it runs."""

from __future__ import annotations

import click

from fairway.cli.errors import CommandError
from fairway.state import StateDir


@click.command()
@click.pass_obj
def command(state: StateDir) -> None:
    """Stop the platform, its pods and its traffic. What it knows stays in the state folder."""
    from fairway.cli.platform_process import stop_platform
    from fairway.cli.progress import waiting

    with waiting("stopping the platform") as tick:
        left = stop_platform(state, tick=tick)
    if left:
        rows = "\n  ".join(f"{process.pid} {process.command[:100]}" for process in left)
        raise CommandError(f"the platform was told to stop, but {len(left)} of its processes still run:\n  {rows}",
                           mend=f"see why: {state.logs / 'daemon.log'}")
    click.echo("The platform has stopped; nothing of it runs any more.")
