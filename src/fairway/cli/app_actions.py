"""`fairway app actions`: what can be done to a live object by hand. The platform does it, where the object is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from fairway.cli.app_live import client_of, live_objects, namespace_option
from fairway.cli.errors import CommandError, Misused
from fairway.cli.output import machine, output_option, table
from fairway.kube.objects import Obj, annotations_of, meta_of
from fairway.kube.resources import APPLICATIONS
from fairway.state import StateDir

if TYPE_CHECKING:
    from fairway.cli.client import Client
    from fairway.gitops.action_request import ActionResult
    from fairway.gitops.actions import Action


@click.group()
def actions() -> None:
    """What can be done to an object by hand: restart, pause, resume, promote, and what argocd-cm adds."""


@actions.command("list")
@click.argument("name")
@click.option("--kind", default="", help="Only objects of this kind.")
@click.option("--group", default="", help="Only objects of this API group.")
@click.option("--resource-name", "of", default="", help="Only the object of this name.")
@namespace_option
@output_option
@click.pass_obj
def list_actions(state: StateDir, name: str, kind: str, group: str, of: str, namespace: str, output: str) -> None:
    """Print what is possible now."""
    client = client_of(state)
    app = client.get(APPLICATIONS, name, namespace)
    wanted = [(entry, obj) for entry, obj in live_objects(client, app)
              if kind in ("", entry["kind"]) and group in ("", entry.get("group", "")) and of in ("", entry["name"])]
    rows = [{"group": entry.get("group", ""), "kind": entry["kind"], "name": entry["name"], "action": action.name,
             "disabled": action.disabled, "parameters": list(action.parameters)}
            for entry, obj in wanted for action in _possible(client, obj).values()]
    if not machine(rows, output):
        headings = ("GROUP", "KIND", "NAME", "ACTION", "DISABLED", "PARAMETERS")
        click.echo(table(headings, [(r["group"], r["kind"], r["name"], r["action"], str(r["disabled"]).lower(),
                                     " ".join(r["parameters"])) for r in rows]))


def _possible(client: Client, obj: Obj) -> Mapping[str, Action]:
    from fairway.gitops.customizations import CONFIG_MAP, NONE, decode_customizations
    from fairway.gitops.tracking import HOME
    from fairway.kube.resources import CONFIG_MAPS
    from fairway.rollout_actions import of_rollouts

    config = client.find(CONFIG_MAPS, CONFIG_MAP, HOME)
    settings = decode_customizations(config.get("data") or {}) if config is not None else NONE
    return settings.actions_of(obj, of_rollouts)


@actions.command("run")
@click.argument("name")
@click.argument("action")
@click.option("--kind", required=True, help="Kind of the object.")
@click.option("--group", default=None, help="Its API group, where several have this kind.")
@click.option("--resource-name", "of", default="", help="Name of the object, where there are several.")
@click.option("--all", "every", is_flag=True, help="All objects of that kind.")
@click.option("--param", "parameters", multiple=True, metavar="NAME=VALUE", help="What the action needs to know.")
@click.option("--timeout", default=60, show_default=True, metavar="SECONDS", help="Wait at most so long.")
@namespace_option
@click.pass_obj
def run_action(state: StateDir, name: str, action: str, kind: str, group: str | None, of: str, every: bool,
               parameters: tuple[str, ...], timeout: int, namespace: str) -> None:
    """Do ACTION to an object of the Application NAME, such as: run shop restart --kind Deployment.

    The platform does it, and refuses what self-heal would take back: that is for a commit to say.
    """
    from fairway.kube.objects import status_of

    client = client_of(state)
    app = client.get(APPLICATIONS, name, namespace)
    chosen = [entry for entry in status_of(app).get("resources") or () if entry["kind"] == kind and of in ("", entry["name"])
              and group in (None, entry.get("group", ""))]
    if not chosen:
        raise CommandError(f"{name} has no {kind}" + (f" called {of}" if of else ""),
                           mend=f"see what it has with: fairway app resources {name}")
    if len(chosen) > 1 and not every:
        raise CommandError(f"{name} has {len(chosen)} objects of kind {kind}", mend="choose one with --resource-name, or --all")
    given = dict(_pair(text) for text in parameters)
    for entry in chosen:
        result = _ask(client, app, action, entry, given, timeout)
        if not result.done:
            raise CommandError(result.message, mend=f"see: fairway app actions list {name} --kind {kind}")
        click.echo(result.message)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise Misused(f"{text!r}: NAME=VALUE is needed")
    return name, value


def _ask(client: Client, app: Obj, action: str, entry: Obj, parameters: Mapping[str, str], timeout: float) -> ActionResult:
    """Write the request, and wait for its result."""
    from fairway.gitops.action_request import REQUEST, RESULT, ActionRequest, read_result

    name, namespace = str(meta_of(app)["name"]), str(meta_of(app)["namespace"])
    request = ActionRequest(action, entry.get("group", ""), entry["kind"], entry.get("namespace", ""), entry["name"],
                            f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}", parameters)
    if REQUEST in annotations_of(client.get(APPLICATIONS, name, namespace)):
        raise CommandError(f"another action is under way on {name}", mend="try again in a moment")
    client.patch(APPLICATIONS, name, namespace, {"metadata": {"annotations": {REQUEST: request.text()}}})
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        notes = annotations_of(client.get(APPLICATIONS, name, namespace))
        result = read_result(notes.get(RESULT, ""))
        if result is not None and result.id == request.id:
            return result
        time.sleep(0.1)
    raise CommandError(f"{action} of {request.kind}/{request.name} was not done within {timeout:g} s",
                       mend=f"see: fairway app get {name}")
