"""`fairway rollout`: Rollouts in the words of `kubectl argo rollouts`."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from fairway.cli.errors import CommandError, Misused
from fairway.cli.output import Colour, coloured, machine, output_option, paint, table
from fairway.kube.objects import Obj, dig, meta_of, parse_time, uid_of
from fairway.kube.resources import ANALYSIS_RUNS, EXPERIMENTS, JOBS, PODS, REPLICA_SETS, ROLLOUTS, Resource
from fairway.state import StateDir

if TYPE_CHECKING:
    from fairway.cli.client import Client
    from fairway.rollouts.commands import Patches
    from fairway.rollouts.tree import Node, Picture

_KINDS: dict[str, Resource] = {
    **dict.fromkeys(("rollouts", "rollout", "ro"), ROLLOUTS),
    **dict.fromkeys(("experiments", "experiment", "exp"), EXPERIMENTS),
}  # fmt: skip
_LOOK_EVERY_S = 0.5
_WORD_COLOURS: dict[str, Colour] = {"✔": "green", "✖": "red", "⚠": "red", "॥": "yellow", "?": "yellow",
                                    "◌": "blue", "◷": "blue"}  # fmt: skip


@click.group()
def command() -> None:
    """Look at Rollouts and move them: get, list, status, promote, abort, retry, undo, pause, restart, set image.

    Words are those of `kubectl argo rollouts`; "rollout" before a name may be left out.
    """


_namespace = click.option("-n", "--namespace", default="", help="Namespace.  [default: where the name is found]")
_name = click.argument("name")
_words = click.argument("words", nargs=-1, required=True, metavar="[rollout|experiment] NAME")


# --- looking ------------------------------------------------------------------------------------------------------


@command.command("list")
@click.argument("kind", default="rollouts", type=click.Choice(list(_KINDS)), metavar="[rollouts|experiments]")
@click.option("-n", "--namespace", default="", help="Only this namespace.")
@output_option
@click.pass_obj
def list_(state: StateDir, kind: str, namespace: str, output: str) -> None:
    """Print every Rollout, or every Experiment, in a line."""
    if _KINDS[kind] is EXPERIMENTS:
        _list_experiments(state, namespace, output)
        return
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


def _list_experiments(state: StateDir, namespace: str, output: str) -> None:
    found = _client(state).list(EXPERIMENTS, namespace)
    if machine(found, output):
        return
    from fairway.rollouts.tree import age

    rows = []
    for experiment in found:
        meta, now = meta_of(experiment), datetime.now(UTC)
        born = parse_time(str(meta["creationTimestamp"]))
        rows.append((meta.get("namespace"), meta["name"], dig(experiment, "status", "phase", default="Pending"),
                     dig(experiment, "spec", "duration", default="-"), age(now, born)))
    click.echo(table(("NAMESPACE", "NAME", "STATUS", "DURATION", "AGE"), rows))


@command.command()
@_words
@_namespace
@click.option("-w", "--watch", is_flag=True, help="Draw it again whenever it changes.")
@output_option
@click.pass_obj
def get(state: StateDir, words: tuple[str, ...], namespace: str, watch: bool, output: str) -> None:
    """Print a Rollout and the tree of its revisions, or an Experiment and what belongs to it."""
    client = _client(state)
    resource, name = _meant(words)
    found = _find(client, name, namespace, resource)
    if machine(found, output):
        return
    before = ""
    while True:
        now, again = datetime.now(UTC), client.get(resource, name, str(meta_of(found).get("namespace", "")))
        lines = _drawn(_picture(client, again), now) if resource is ROLLOUTS else _drawn_experiment(client, again, now)
        drawn = "\n".join(lines)
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
@_words
@_namespace
@click.pass_obj
def retry(state: StateDir, words: tuple[str, ...], namespace: str) -> None:
    """Try an aborted update again from its first step, or run an Experiment once more."""
    from fairway.rollouts import commands

    resource, name = _meant(words)
    if resource is ROLLOUTS:
        _move(state, name, namespace, "retried", commands.retry)
        return
    client = _client(state)
    found = _find(client, name, namespace, EXPERIMENTS)
    client.patch(EXPERIMENTS, name, str(meta_of(found).get("namespace", "")), {"status": None}, subresource="status")
    click.echo(f"experiment {name!r} retried")


@command.command()
@click.argument("kind", type=click.Choice(["analysisrun", "ar", "experiment", "exp"]), metavar="analysisrun|experiment")
@_name
@_namespace
@click.pass_obj
def terminate(state: StateDir, kind: str, name: str, namespace: str) -> None:
    """End an AnalysisRun or an Experiment before its time."""
    resource = ANALYSIS_RUNS if kind in ("analysisrun", "ar") else EXPERIMENTS
    client = _client(state)
    found = _find(client, name, namespace, resource)
    client.patch(resource, name, str(meta_of(found).get("namespace", "")), {"spec": {"terminate": True}})
    click.echo(f"{resource.kind.lower()} {name!r} terminated")


@command.command()
@click.option("-f", "--filename", required=True, type=click.Path(exists=True, dir_okay=False, allow_dash=True),
              help="File with Rollouts, and with what they name.")
def lint(filename: str) -> None:
    """Say what is wrong with the Rollouts of a file; the platform need not run."""
    from fairway.manifests.yaml import load_all
    from fairway.rollouts.lint import lint as mistakes_of

    with click.open_file(filename, "rb") as file:
        placed = [(obj, place) for obj, place in load_all(file.read(), filename) if isinstance(obj, dict)]
    objects, places = [obj for obj, _ in placed], {id(obj): place for obj, place in placed}
    found = mistakes_of(objects)
    for rollout, mistake in found:
        click.echo(f"{places[id(rollout)]}: {mistake}", err=True)
    if found:
        raise CommandError(f"{filename}: {len(found)} mistake{'s' if len(found) > 1 else ''}",
                           mend="correct what is named above")
    if not any(obj.get("kind") == "Rollout" for obj in objects):
        raise CommandError(f"{filename} has no Rollout", mend="name the file that has it")


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


@command.group("set")
def set_() -> None:
    """Change a part of a Rollout: image."""


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


set_.add_command(set_image, "image")


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


def _meant(words: tuple[str, ...]) -> tuple[Resource, str]:
    """`shop`, `rollout shop`, `experiment trial`."""
    if len(words) == 1:
        return ROLLOUTS, words[0]
    if len(words) != 2 or words[0] not in _KINDS:
        raise Misused(f"a name, or rollout or experiment and a name, is needed, found {' '.join(words)!r}")
    return _KINDS[words[0]], words[1]


def _find(client: Client, name: str, namespace: str, resource: Resource = ROLLOUTS) -> Obj:
    kind = resource.kind.lower()
    if namespace:
        return client.get(resource, name, namespace)
    found = client.list(resource, fields=f"metadata.name={name}")
    if len(found) == 1:
        return found[0]
    if found:
        rooms = ", ".join(sorted(str(meta_of(rollout)["namespace"]) for rollout in found))
        raise Misused(f"several namespaces have a {kind} {name!r}: {rooms}")
    known = sorted({str(meta_of(rollout)["name"]) for rollout in client.list(resource)})
    raise CommandError(f"no {kind} is called {name!r}",
                       mend=f"there are: {', '.join(known)}" if known else "there is none at all")


def _again(client: Client, rollout: Obj) -> Obj:
    return client.get(ROLLOUTS, str(meta_of(rollout)["name"]), str(meta_of(rollout).get("namespace", "")))


def _picture(client: Client, rollout: Obj) -> Picture:
    from fairway.rollouts.tree import Picture

    namespace = str(meta_of(rollout).get("namespace", ""))
    experiments = _owned(client.list(EXPERIMENTS, namespace), rollout)
    owners = [rollout, *experiments]
    return Picture(
        rollout=rollout,
        replica_sets=_owned(client.list(REPLICA_SETS, namespace), *owners),
        pods=client.list(PODS, namespace),
        runs=_owned(client.list(ANALYSIS_RUNS, namespace), *owners),
        experiments=experiments,
        jobs=client.list(JOBS, namespace),
    )


def _owned(objects: list[Obj], *owners: Obj) -> list[Obj]:
    uids = {uid_of(owner) for owner in owners}
    return [obj for obj in objects if any(ref.get("uid") in uids for ref in meta_of(obj).get("ownerReferences") or ())]


def _drawn(picture: Picture, now: datetime) -> list[str]:
    from fairway.rollouts.tree import facts, tree

    lines = [f"{name:<16} {_tinted(value)}".rstrip() for name, value in facts(picture)]
    return [*lines, "", *_branches(tree(picture), now)]


def _drawn_experiment(client: Client, experiment: Obj, now: datetime) -> list[str]:
    from fairway.rollouts.tree import Picture, experiment_facts, experiment_node

    namespace = str(meta_of(experiment).get("namespace", ""))
    picture = Picture({}, _owned(client.list(REPLICA_SETS, namespace), experiment), client.list(PODS, namespace),
                      _owned(client.list(ANALYSIS_RUNS, namespace), experiment), (experiment,), client.list(JOBS, namespace))
    lines = [f"{name:<16} {_tinted(value)}".rstrip() for name, value in experiment_facts(picture, experiment)]
    return [*lines, "", *_branches(experiment_node(picture, experiment), now)]


def _branches(node: Node, now: datetime) -> list[str]:
    from fairway.rollouts.tree import rows

    grid = [("NAME", "KIND", "STATUS", "AGE", "INFO"), *rows(node, now)]
    widths = [max(len(row[i]) for row in grid) for i in range(5)]
    lines = []
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
