"""`fairway rollout`: Rollouts in the words of `kubectl argo rollouts`."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from fairway.cli.errors import CommandError, Misused
from fairway.cli.output import Colour, coloured, machine, output_option, paint, table
from fairway.kube.objects import Obj, dig, meta_of, uid_of
from fairway.kube.resources import ANALYSIS_RUNS, PODS, REPLICA_SETS, ROLLOUTS
from fairway.state import StateDir

if TYPE_CHECKING:
    from fairway.cli.client import Client
    from fairway.rollouts.commands import Patches
    from fairway.rollouts.tree import Picture

_LOOK_EVERY_S = 0.5
_WORD_COLOURS: dict[str, Colour] = {"✔": "green", "✖": "red", "⚠": "red", "॥": "yellow", "?": "yellow", "◌": "blue"}


@click.group()
def command() -> None:
    """Look at Rollouts and move them: get, list, status, promote, abort, retry, undo, pause, restart, set-image."""


_namespace = click.option("-n", "--namespace", default="", help="Namespace.  [default: where the name is found]")
_name = click.argument("name")


# --- looking ------------------------------------------------------------------------------------------------------


@command.command("list")
@click.option("-n", "--namespace", default="", help="Only this namespace.")
@output_option
@click.pass_obj
def list_(state: StateDir, namespace: str, output: str) -> None:
    """Print every Rollout in a line."""
    found = _client(state).list(ROLLOUTS, namespace)
    if machine(found, output):
        return
    from fairway.rollouts.tree import Picture, facts, phase_shown

    rows = []
    for rollout in found:
        shown = {name.strip(" :"): value for name, value in facts(Picture(rollout))}
        rows.append((meta_of(rollout).get("namespace"), meta_of(rollout)["name"], shown["Strategy"], phase_shown(rollout)[0],
                     shown.get("Step", "-"), shown.get("SetWeight", "-"), f"{shown['Ready']}/{shown['Current']}",
                     shown["Desired"], shown["Updated"], shown["Available"]))
    click.echo(table(("NAMESPACE", "NAME", "STRATEGY", "STATUS", "STEP", "SET-WEIGHT", "READY", "DESIRED", "UP-TO-DATE",
                      "AVAILABLE"), rows))


@command.command()
@_name
@_namespace
@click.option("-w", "--watch", is_flag=True, help="Draw it again whenever it changes.")
@output_option
@click.pass_obj
def get(state: StateDir, name: str, namespace: str, watch: bool, output: str) -> None:
    """Print a Rollout and the tree of its revisions."""
    client = _client(state)
    rollout = _find(client, name, namespace)
    if machine(rollout, output):
        return
    before = ""
    while True:
        drawn = "\n".join(_drawn(_picture(client, _again(client, rollout)), datetime.now(UTC)))
        if drawn != before:
            if watch and coloured():
                click.clear()
            click.echo(drawn if not before or coloured() else f"\n{drawn}")
            before = drawn
        if not watch:
            return
        time.sleep(_LOOK_EVERY_S)


@command.command()
@_name
@_namespace
@click.option("--watch/--no-watch", default=True, help="Wait until it is Healthy or Degraded.", show_default=True)
@click.option("--timeout", default="0s", help="Give up waiting after this (0s: never).", show_default=True)
@click.pass_context
def status(ctx: click.Context, name: str, namespace: str, watch: bool, timeout: str) -> None:
    """Print phase and message. Exit code 1 where it is Degraded, or was not Healthy in time."""
    from fairway.rollouts.tree import phase_shown

    client = _client(ctx.obj)
    rollout, limit = _find(client, name, namespace), _duration(timeout)
    end = time.monotonic() + limit.total_seconds() if limit else None
    said = ""
    while True:
        phase, message = phase_shown(_again(client, rollout))
        line = f"{phase} - {message}" if message else phase
        if line != said:
            click.echo(line)
            said = line
        if not watch or phase in ("Healthy", "Degraded", "Error"):
            break
        if end is not None and time.monotonic() >= end:
            raise CommandError(f"rollout {name!r} is {phase} after {timeout}", mend=f"see: fairway rollout get {name}")
        time.sleep(_LOOK_EVERY_S)
    if phase in ("Degraded", "Error"):
        ctx.exit(1)


# --- moving -------------------------------------------------------------------------------------------------------


@command.command()
@_name
@_namespace
@click.option("--full", is_flag=True, help="Past all steps, pauses and analysis.")
@click.option("--skip-current-step", is_flag=True, help="Past the current step only.")
@click.option("--skip-all-steps", is_flag=True, help="Past all remaining steps.")
@click.pass_obj
def promote(state: StateDir, name: str, namespace: str, full: bool, skip_current_step: bool, skip_all_steps: bool) -> None:
    """Go past the current pause or step."""
    from fairway.rollouts import commands

    if full + skip_current_step + skip_all_steps > 1:
        raise Misused("--full, --skip-current-step and --skip-all-steps exclude each other")
    done = "fully promoted" if full else "promoted"
    _move(state, name, namespace, done, lambda rollout: commands.promote(
        rollout, full=full, skip_step=skip_current_step, skip_all=skip_all_steps))


@command.command()
@_name
@_namespace
@click.pass_obj
def abort(state: StateDir, name: str, namespace: str) -> None:
    """Stop the update: no traffic for the new version, the stable one serves."""
    from fairway.rollouts import commands

    _move(state, name, namespace, "aborted", commands.abort)


@command.command()
@_name
@_namespace
@click.pass_obj
def retry(state: StateDir, name: str, namespace: str) -> None:
    """Try an aborted update again from its first step."""
    from fairway.rollouts import commands

    _move(state, name, namespace, "retried", commands.retry)


@command.command()
@_name
@_namespace
@click.pass_obj
def pause(state: StateDir, name: str, namespace: str) -> None:
    """Hold the update where it is, until it is promoted."""
    from fairway.rollouts import commands

    _move(state, name, namespace, "paused", commands.pause)


@command.command()
@_name
@_namespace
@click.option("--in", "delay", default="0s", help="Begin after this.", show_default=True)
@click.pass_obj
def restart(state: StateDir, name: str, namespace: str, delay: str) -> None:
    """Replace the pods, a few at a time."""
    from fairway.rollouts import commands

    at = datetime.now(UTC) + _duration(delay)
    _move(state, name, namespace, f"restarts in {delay}", lambda rollout: commands.restart(rollout, at))


@command.command()
@_name
@_namespace
@click.option("--to-revision", type=click.IntRange(0), default=0, help="Which revision (0: the one before).", show_default=True)
@click.pass_obj
def undo(state: StateDir, name: str, namespace: str, to_revision: int) -> None:
    """Ask for an older revision again. Where an Application owns the Rollout, this is done in git."""
    from fairway.rollouts import commands

    client = _client(state)

    def older(rollout: Obj) -> Patches:
        sets = client.list(REPLICA_SETS, str(meta_of(rollout)["namespace"]))
        return commands.undo(rollout, _owned(sets, rollout), to_revision)

    _move(state, name, namespace, "undo", older)


@command.command("set-image")
@_name
@click.argument("images", nargs=-1, required=True, metavar="CONTAINER=IMAGE…")
@_namespace
@click.pass_obj
def set_image(state: StateDir, name: str, images: tuple[str, ...], namespace: str) -> None:
    """Run another image. Where an Application owns the Rollout, this is done in git."""
    from fairway.rollouts import commands

    pairs = [image.partition("=") for image in images]
    if not all(container and reference for container, _, reference in pairs):
        raise Misused("images are given as CONTAINER=IMAGE, such as shop=registry.example.com/shop/app:1.2")
    wanted = {container: reference for container, _, reference in pairs}
    _move(state, name, namespace, "image updated", lambda rollout: commands.set_image(rollout, wanted))


def _move(state: StateDir, name: str, namespace: str, done: str, patches: Callable[[Obj], Patches]) -> None:
    from fairway.rollouts.commands import Refused

    client = _client(state)
    rollout = _find(client, name, namespace)
    try:
        wanted = patches(rollout)
    except Refused as refusal:
        raise CommandError(str(refusal), mend=refusal.mend) from refusal
    room = str(meta_of(rollout).get("namespace", ""))
    if wanted.spec is not None:
        client.patch(ROLLOUTS, name, room, wanted.spec)
    if wanted.status is not None:
        client.patch(ROLLOUTS, name, room, wanted.status, subresource="status")
    click.echo(f"rollout {name!r} {done}" + (" (it already is)" if wanted.nothing else ""))


# --- reading ------------------------------------------------------------------------------------------------------


def _client(state: StateDir) -> Client:
    from fairway.cli.client import Client

    return Client.of(state)


def _find(client: Client, name: str, namespace: str) -> Obj:
    if namespace:
        return client.get(ROLLOUTS, name, namespace)
    found = client.list(ROLLOUTS, fields=f"metadata.name={name}")
    if len(found) == 1:
        return found[0]
    if found:
        rooms = ", ".join(sorted(str(meta_of(rollout)["namespace"]) for rollout in found))
        raise Misused(f"several namespaces have a rollout {name!r}: {rooms}")
    known = sorted({str(meta_of(rollout)["name"]) for rollout in client.list(ROLLOUTS)})
    raise CommandError(f"no rollout is called {name!r}",
                       mend=f"there are: {', '.join(known)}" if known else "there is none at all")


def _again(client: Client, rollout: Obj) -> Obj:
    return client.get(ROLLOUTS, str(meta_of(rollout)["name"]), str(meta_of(rollout).get("namespace", "")))


def _picture(client: Client, rollout: Obj) -> Picture:
    from fairway.rollouts.tree import Picture

    namespace = str(meta_of(rollout).get("namespace", ""))
    selector = dig(rollout, "spec", "selector", "matchLabels", default={})
    labels = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
    return Picture(
        rollout=rollout,
        replica_sets=_owned(client.list(REPLICA_SETS, namespace), rollout),
        pods=client.list(PODS, namespace, labels=labels),
        runs=_owned(client.list(ANALYSIS_RUNS, namespace), rollout),
    )


def _owned(objects: list[Obj], rollout: Obj) -> list[Obj]:
    uid = uid_of(rollout)
    return [obj for obj in objects if any(ref.get("uid") == uid for ref in meta_of(obj).get("ownerReferences") or ())]


def _drawn(picture: Picture, now: datetime) -> list[str]:
    from fairway.rollouts.tree import facts, rows, tree

    lines = [f"{name:<16} {_tinted(value)}".rstrip() for name, value in facts(picture)]
    grid = [("NAME", "KIND", "STATUS", "AGE", "INFO"), *rows(tree(picture), now)]
    widths = [max(len(row[i]) for row in grid) for i in range(5)]
    lines.append("")
    for row in grid:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        cells[2] = _tinted(cells[2])
        lines.append("  ".join(cells).rstrip())
    return lines


def _tinted(text: str) -> str:
    colour = _WORD_COLOURS.get(text[:1])
    return paint(text, colour)


def _duration(text: str) -> timedelta:
    from fairway.kube.durations import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise Misused(str(error)) from error
