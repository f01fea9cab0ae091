"""`fairway proj windows`: when the Applications of a project may sync."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from fairway.cli.errors import CommandError
from fairway.cli.output import machine, output_option, table
from fairway.kube.objects import Obj, annotations_of, meta_of, spec_of
from fairway.kube.resources import APP_PROJECTS
from fairway.state import StateDir

if TYPE_CHECKING:
    from fairway.cli.client import Client

_HOME = "argocd"
_TRACKING = "argocd.argoproj.io/tracking-id"


def _project(state: StateDir, name: str) -> tuple[Client, Obj, list[Obj]]:
    from fairway.cli.client import Client

    client = Client.of(state)
    project = client.get(APP_PROJECTS, name, _HOME)
    return client, project, [dict(window) for window in spec_of(project).get("syncWindows") or ()]


def _write(client: Client, project: Obj, windows: list[Obj]) -> None:
    owner = annotations_of(project).get(_TRACKING, "").partition(":")[0]
    if owner:
        raise CommandError(f"project {meta_of(project)['name']!r} is part of application {owner!r}, which would take this back",
                           mend="change it in git")
    client.patch(APP_PROJECTS, str(meta_of(project)["name"]), _HOME, {
        "metadata": {"resourceVersion": meta_of(project).get("resourceVersion")}, "spec": {"syncWindows": windows or None}})


@click.group(no_args_is_help=True)
def windows() -> None:
    """Sync windows of a project: list, add, delete, enable-manual-sync, disable-manual-sync."""


@windows.command("list")
@click.argument("project")
@output_option
@click.pass_obj
def list_windows(state: StateDir, project: str, output: str) -> None:
    """Print the windows of PROJECT, and which of them are open now."""
    from fairway.gitops.windows import decode_window, denies_allow_overrun

    _, _, found = _project(state, project)
    if machine(found, output):
        return
    now = datetime.now(UTC)
    decoded = [decode_window(window) for window in found]
    click.echo(table(("ID", "STATUS", "KIND", "SCHEDULE", "DURATION", "APPLICATIONS", "NAMESPACES", "CLUSTERS", "MANUALSYNC",
                      "SYNCOVERRUN", "TIMEZONE"), [
        (n, "Active" if w.active(now) else "Inactive", w.kind, w.schedule, w.duration, _joined(w.applications),
         _joined(w.namespaces), _joined(w.clusters), "Enabled" if w.manual_sync else "Disabled",
         "Enabled" if w.sync_overrun else "Disabled", w.time_zone or "UTC") for n, w in enumerate(decoded)]))
    denying = [window for window in decoded if window.is_deny and window.active(now)]
    if denying:
        click.echo("a sync that began before goes on" if denies_allow_overrun(denying) else
                   "a sync that began before is held, too: not every deny window that is open has syncOverrun")


def _joined(words: tuple[str, ...]) -> str:
    return ",".join(words) or "-"


@windows.command("add")
@click.argument("project")
@click.option("-k", "--kind", type=click.Choice(["allow", "deny"]), required=True, help="What it does.")
@click.option("--schedule", required=True, help="When it opens, as cron says it: '0 22 * * *'.")
@click.option("--duration", required=True, help="How long it is open: 1h30m.")
@click.option("--applications", default="", help="Names and patterns, separated by commas.")
@click.option("--namespaces", default="", help="Of destinations.")
@click.option("--clusters", default="", help="By name or server.")
@click.option("--manual-sync", is_flag=True, help="A sync by hand is allowed all the same.")
@click.option("--sync-overrun", is_flag=True, help="A sync that began before goes on.")
@click.option("--time-zone", default="", help="Such as Europe/Berlin.  [default: UTC]")
@click.option("--use-and-operator", "both", is_flag=True, help="All that is named has to fit, not one of it.")
@click.pass_obj
def add_window(state: StateDir, project: str, kind: str, schedule: str, duration: str, applications: str, namespaces: str,
               clusters: str, manual_sync: bool, sync_overrun: bool, time_zone: str, both: bool) -> None:
    """Add a window to PROJECT."""
    from fairway.gitops.windows import InvalidWindow, decode_window, may_be_added

    client, obj, found = _project(state, project)
    lists = {"applications": applications, "namespaces": namespaces, "clusters": clusters}
    window: Obj = {"kind": kind, "schedule": schedule, "duration": duration, "manualSync": manual_sync, **{
        key: [word.strip() for word in text.split(",") if word.strip()] for key, text in lists.items() if text}}
    more = {"syncOverrun": sync_overrun, "timeZone": time_zone, "andOperator": both}
    window |= {key: value for key, value in more.items() if value}
    try:
        may_be_added(decode_window(window))
    except InvalidWindow as error:
        raise CommandError(str(error)) from error
    if any(all(one.get(key) == window[key] for key in ("kind", "schedule", "duration")) for one in found):
        raise CommandError(f"window '{kind}':'{schedule}':'{duration}' already exists, update or edit")
    _write(client, obj, [*found, window])
    click.echo(f"window {len(found)} added to project {project!r}")


@windows.command("delete")
@click.argument("project")
@click.argument("number", type=int)
@click.pass_obj
def delete_window(state: StateDir, project: str, number: int) -> None:
    """Delete a window of PROJECT, by its number in the list."""
    client, obj, found = _project(state, project)
    window = _numbered(found, number, project)
    _write(client, obj, [one for one in found if one is not window])
    click.echo(f"window {number} of project {project!r} deleted")


def _numbered(found: list[Obj], number: int, project: str) -> Obj:
    if not 0 <= number < len(found):
        raise CommandError(f"project {project!r} has no window {number}", mend=f"see: fairway proj windows list {project}")
    return found[number]


def _manual(name: str, *, allowed: bool) -> click.Command:
    @windows.command(name, help=f"{'Allow' if allowed else 'Forbid'} syncs by hand in a window of PROJECT, by its number.")
    @click.argument("project")
    @click.argument("number", type=int)
    @click.pass_obj
    def change(state: StateDir, project: str, number: int) -> None:
        client, obj, found = _project(state, project)
        _numbered(found, number, project)["manualSync"] = allowed
        _write(client, obj, found)
        click.echo(f"window {number} of project {project!r}: manual sync {'enabled' if allowed else 'disabled'}")

    return change


enable_manual_sync = _manual("enable-manual-sync", allowed=True)
disable_manual_sync = _manual("disable-manual-sync", allowed=False)
