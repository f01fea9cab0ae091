"""`fairway demo`: three commits of the example shop to production, on a platform of its own."""

from __future__ import annotations

import json
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from fairway.cli.errors import CommandError
from fairway.state import StateDir


@click.command()
@click.option("--keep", is_flag=True, help="Leave the platform running at the end.")
@click.option("--rate", default=220, show_default=True, help="Requests a second on the ingress.")
@click.option("--no-pauses", is_flag=True, help="Steps follow each other at once: for measuring the platform itself.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="How to print the answer.")
@click.pass_context
def command(ctx: click.Context, keep: bool, rate: int, no_pauses: bool, output: str) -> None:
    """Take three commits of an example service to production, under load, in about a minute.

    A first version, a good one that is promoted step by step, and a bad one that is stopped and taken back. Uses a
    new folder for its state unless the global option --state names one.
    """
    from fairway.cli.demo.report import answer_of, as_expected, print_page
    from fairway.cli.demo.stage import Stage
    from fairway.cli.demo.story import Story
    from fairway.cli.platform_process import start_platform

    chosen = ctx.find_root().params.get("folder")
    state = StateDir(chosen.absolute() if chosen else Path(tempfile.mkdtemp(prefix="fairway-demo-")))
    if (state.git / "shop").exists():
        raise CommandError(f"a demo has already run in {state.root}",
                           mend=f"choose another folder with --state, or look at it: fairway --state {state.root} up")
    stage = Stage()
    stage.say(f"state folder: {state.root}")
    ended = False
    work = Path(tempfile.mkdtemp(prefix="fairway-demo-work-"))
    try:
        start_platform(state)
        stage.say("platform ready")
        told = Story(state, stage, rate=rate, pauses=not no_pauses, work=work).tell()
        answer = answer_of(told, _dora(state))
        ended = True
        if output == "json":
            click.echo(json.dumps(answer))
        else:
            print_page(answer, str(state.root), kept=keep)
        wrong = as_expected(answer)
        for line in wrong:
            click.echo(f"not as promised: {line}", err=True)
        ctx.exit(1 if wrong else 0)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        _clean_up(state, keep=keep, remove=ended and not chosen)


def _clean_up(state: StateDir, *, keep: bool, remove: bool) -> None:
    """Stop the platform unless it is to be kept; a demo that broke off leaves its folder behind, to be looked at."""
    from fairway.cli.client import Addresses
    from fairway.cli.platform_process import stop_platform

    if keep:
        return
    if Addresses.read(state) is not None:
        stop_platform(state)
    if remove:
        shutil.rmtree(state.root, ignore_errors=True)
    else:
        click.echo(f"the state is kept in {state.root}; look at it with: fairway --state {state.root} up", err=True)


def _dora(state: StateDir) -> dict[str, Any]:
    from fairway.cli.client import Client
    from fairway.kube.resources import RELEASES
    from fairway.releases.dora import dora

    return dora(Client.of(state).list(RELEASES), datetime.now(UTC), timedelta(days=30)).as_json()
