"""`fairway app`: Applications, in the words of the argocd CLI."""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.app_actions import actions
from fairway.cli.app_diff import diff
from fairway.cli.app_live import client_of, live_objects, logs, manifests, namespace_option, resources, tree
from fairway.cli.app_printing import facts, main_source, operation_table, summary
from fairway.cli.app_write import create, delete, set_
from fairway.cli.errors import CommandError, Misused
from fairway.cli.output import ago, machine, output_option, table
from fairway.cli.progress import waiting
from fairway.kube.objects import Obj, annotations_of, dig, labels_of, meta_of, parse_time, rfc3339, spec_of, status_of
from fairway.kube.resources import APPLICATIONS
from fairway.state import StateDir

if TYPE_CHECKING:
    from fairway.cli.client import Client

REFRESH = "argocd.argoproj.io/refresh"
ROLLBACK = "fairway.dev/rollback-to"
_ENDED = ("Succeeded", "Failed", "Error")
_namespace = namespace_option


@click.group(no_args_is_help=True)
def command() -> None:
    """Applications: what git describes, what is live, and how the two become one."""


for _other in (actions, create, delete, diff, logs, manifests, resources, set_):
    command.add_command(_other)


# --- looking ----------------------------------------------------------------------------------------------------------


@command.command("list")
@click.option("-l", "--selector", default="", help="Only those with these labels.")
@click.option("-p", "--project", default="", help="Only those of this project.")
@click.option("-r", "--repo", default="", help="Only those of this repository.")
@_namespace
@click.option("-o", "--output", type=click.Choice(["wide", "name", "json", "yaml"]), default="wide", help="How to print it.")
@click.pass_obj
def list_(state: StateDir, selector: str, project: str, repo: str, namespace: str, output: str) -> None:
    """Print all Applications with their sync status and health."""
    found = [app for app in client_of(state).list(APPLICATIONS, namespace, labels=selector)
             if project in ("", spec_of(app).get("project", "default")) and repo in ("", main_source(app).get("repoURL"))]
    if output == "name":
        click.echo("\n".join(f"{meta_of(app)['namespace']}/{meta_of(app)['name']}" for app in found))
    elif not machine(found, output):
        headings = ("NAME", "CLUSTER", "NAMESPACE", "PROJECT", "STATUS", "HEALTH", "SYNCPOLICY", "CONDITIONS", "REPO", "PATH",
                    "TARGET", "REVISION")
        click.echo(table(headings, [_row(app) for app in found]))


def _row(app: Obj) -> tuple[str, ...]:
    source, conditions = main_source(app), status_of(app).get("conditions") or ()
    destination = dig(app, "spec", "destination", default={})
    return (
        meta_of(app)["name"], destination.get("name") or destination.get("server") or "in-cluster",
        destination.get("namespace") or "-", spec_of(app).get("project", "default"),
        dig(app, "status", "sync", "status", default="Unknown"), dig(app, "status", "health", "status", default="Unknown"),
        _policy(app), ",".join(sorted({c["type"] for c in conditions})) or "<none>",
        source.get("repoURL", "-"), source.get("path", "-"), source.get("targetRevision") or "HEAD",
        dig(app, "status", "sync", "revision", default="-")[:7],
    )  # fmt: skip


def _policy(app: Obj) -> str:
    automated = dig(app, "spec", "syncPolicy", "automated")
    if automated is None or automated.get("enabled") is False:
        return "Manual"
    return "Auto-Prune" if automated.get("prune") else "Auto"


@command.command()
@click.argument("name")
@click.option("--refresh", is_flag=True, help="Look at git first.")
@click.option("--hard-refresh", is_flag=True, help="Look at git first, and forget what is known of it.")
@click.option("--show-operation", is_flag=True, help="The last sync, object by object.")
@_namespace
@click.option("-o", "--output", type=click.Choice(["wide", "tree", "json", "yaml"]), default="wide", help="How to print it.")
@click.pass_obj
def get(state: StateDir, name: str, refresh: bool, hard_refresh: bool, show_operation: bool, namespace: str,
        output: str) -> None:
    """Print one Application: its state, why it is so, and its resources."""
    client = client_of(state)
    if refresh or hard_refresh:
        _refresh(client, name, namespace, "hard" if hard_refresh else "normal", wait_s=30)
    app = client.get(APPLICATIONS, name, namespace)
    if machine(app, output):
        return
    click.echo(summary(app) if output == "wide" else f"{facts(app)}\n\n{tree(client, app)}")
    if show_operation and (operation := operation_table(app)):
        click.echo("\n" + operation)


@command.command()
@click.argument("name")
@_namespace
@output_option
@click.pass_obj
def history(state: StateDir, name: str, namespace: str, output: str) -> None:
    """Print what was deployed, the newest last."""
    entries = status_of(client_of(state).get(APPLICATIONS, name, namespace)).get("history") or []
    if machine(entries, output):
        return
    now = datetime.now(UTC)
    click.echo(table(("ID", "DEPLOYED", "REVISION", "BY"), [
        (e["id"], ago(parse_time(e["deployedAt"]), now), e["revision"][:7],
         "automation" if dig(e, "initiatedBy", "automated") else dig(e, "initiatedBy", "username", default="-"))
        for e in entries]))


# --- doing ------------------------------------------------------------------------------------------------------------


@command.command()
@click.argument("names", nargs=-1)
@click.option("-l", "--selector", default="", help="All with these labels.")
@click.option("--revision", default="", help="A branch, tag or commit other than the target revision.")
@click.option("--prune", is_flag=True, help="Delete what git no longer describes.")
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.option("--resource", "resources", multiple=True, metavar="GROUP:KIND:NAME", help="Only these; no hooks run.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Only objects with this label; no hooks run.")
@click.option("--strategy", type=click.Choice(["apply", "hook"]), default="hook", show_default=True,
              help="apply: without hooks.")
@click.option("--force", is_flag=True, help="Make anew what the API does not let change.")
@click.option("--replace", is_flag=True, help="Replace objects instead of applying them.")
@click.option("--apply-out-of-sync-only", "changed_only", is_flag=True, help="Leave alone what is synced.")
@click.option("--retry-limit", type=int, default=None, help="Try a failed sync again so often.")
@click.option("--info", "info", multiple=True, metavar="NAME=VALUE", help="A note that stays with the operation.")
@click.option("--async", "detached", is_flag=True, help="Do not wait for the end.")
@click.option("--timeout", default=600, show_default=True, metavar="SECONDS", help="Wait at most so long.")
@_namespace
@click.pass_obj
def sync(state: StateDir, /, names: tuple[str, ...], selector: str, namespace: str, detached: bool, timeout: int,
         **asked: Any) -> None:
    """Make the live objects as git says, now."""
    client = client_of(state)
    found = [client.get(APPLICATIONS, name, namespace) for name in names]
    if selector:
        found += client.list(APPLICATIONS, namespace, labels=selector)
    if not found:
        raise Misused("a name, or a selector that finds something, is needed")
    begun = [(app, _begin_sync(client, app, asked)) for app in found]
    for app, before in () if detached else begun:
        name = str(meta_of(app)["name"])
        done = _until(client, name, namespace, lambda o, b=before: _has_ended(o) and "operation" not in o and (  # type: ignore[misc]
            dig(o, "status", "operationState", "startedAt") != b or not b), timeout, "sync")
        click.echo(summary(done))
        phase = dig(done, "status", "operationState", "phase")
        if phase != "Succeeded":
            raise CommandError(f"sync {phase}: {dig(done, 'status', 'operationState', 'message')}")


def _begin_sync(client: Client, app: Obj, asked: Mapping[str, Any]) -> str | None:
    """Ask for the operation; when the one before began."""
    name, revision = str(meta_of(app)["name"]), asked["revision"]
    if app.get("operation"):
        raise CommandError(f"another operation is already in progress on {name}",
                           mend=f"wait for it (fairway app wait {name} --operation) or stop it (fairway app terminate-op)")
    automated = dig(app, "spec", "syncPolicy", "automated")
    target = main_source(app).get("targetRevision") or "HEAD"
    if revision and automated is not None and automated.get("enabled") is not False and revision != target:
        raise CommandError(f"{name} syncs automatically to {target}: another revision would be taken back at once",
                           mend="commit the change, or use app rollback")
    sync: Obj = {key: value for key, value in (
        ("revision", revision), ("prune", asked["prune"]), ("dryRun", asked["dry_run"])) if value}
    chosen = [_resource(text, app) for text in asked["resources"]] + _labelled(client, app, asked["labels"])
    if chosen:
        sync["resources"] = chosen
    elif asked["labels"]:
        raise CommandError(f"{name} has no object with the label {', '.join(asked['labels'])}")
    if asked["strategy"] == "apply" or asked["force"]:
        sync["syncStrategy"] = {asked["strategy"]: {"force": True} if asked["force"] else {}}
    options = [option for option, given in (("Replace=true", asked["replace"]),
                                            ("ApplyOutOfSyncOnly=true", asked["changed_only"])) if given]
    if options:
        sync["syncOptions"] = [*dig(app, "spec", "syncPolicy", "syncOptions", default=[]), *options]
    operation: Obj = {"sync": sync, "initiatedBy": {"username": _user()}}
    if asked["retry_limit"] is not None:
        operation["retry"] = {"limit": asked["retry_limit"]}
    if asked["info"]:
        operation["info"] = [{"name": n, "value": v} for n, _, v in (text.partition("=") for text in asked["info"])]
    client.patch(APPLICATIONS, name, str(meta_of(app)["namespace"]), {"operation": operation})
    before: str | None = dig(app, "status", "operationState", "startedAt")
    return before


def _labelled(client: Client, app: Obj, labels: Sequence[str]) -> list[Obj]:
    """The objects that have all of these labels, live ones."""
    wanted = dict(text.split("=", 1) for text in labels if "=" in text)
    if not wanted:
        return []
    return [{key: entry.get(key, "") for key in ("group", "kind", "namespace", "name")}
            for entry, obj in live_objects(client, app) if wanted.items() <= labels_of(obj).items()]


def _resource(text: str, app: Obj) -> Obj:
    parts = text.split(":")
    if len(parts) != 3:
        raise click.BadParameter(f"{text!r}: GROUP:KIND:NAME is needed, such as apps:Deployment:web", param_hint="--resource")
    namespace, _, name = parts[2].rpartition("/")
    return {"group": parts[0], "kind": parts[1], "name": name,
            "namespace": namespace or dig(app, "spec", "destination", "namespace", default="")}


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "cli"


def _has_ended(app: Obj) -> bool:
    return dig(app, "status", "operationState", "phase") in _ENDED


@command.command("confirm-deletion")
@click.argument("name")
@_namespace
@click.pass_obj
def confirm_deletion(state: StateDir, name: str, namespace: str) -> None:
    """Agree to the deletion of objects that ask for it (Prune=confirm, Delete=confirm)."""
    approved = {"metadata": {"annotations": {"argocd.argoproj.io/deletion-approved": rfc3339(datetime.now(UTC))}}}
    client_of(state).patch(APPLICATIONS, name, namespace, approved)
    click.echo(f"{name}: deletions are confirmed")


@command.command()
@click.argument("name")
@click.argument("history_id", type=int, required=False)
@click.option("--timeout", default=600, show_default=True, metavar="SECONDS", help="Wait at most so long.")
@_namespace
@click.pass_obj
def rollback(state: StateDir, name: str, history_id: int | None, timeout: int, namespace: str) -> None:
    """Go back to the images of an earlier deployment (by default the one before), by a commit to its branch."""
    client = client_of(state)
    app = client.get(APPLICATIONS, name, namespace)
    entries = status_of(app).get("history") or []
    if history_id is None:
        if len(entries) < 2:
            raise CommandError(f"{name} has no earlier deployment", mend=f"see: fairway app history {name}")
        history_id = int(entries[-2]["id"])
    if not any(e.get("id") == history_id for e in entries):
        raise CommandError(f"{name} has no deployment with id {history_id}", mend=f"see: fairway app history {name}")
    before = dig(app, "status", "sync", "revision")
    client.patch(APPLICATIONS, name, namespace, {"metadata": {"annotations": {ROLLBACK: str(history_id)}}})
    done = _until(client, name, namespace, lambda o: ROLLBACK not in annotations_of(o), timeout, "rollback")
    deadline = time.monotonic() + 10
    while dig(done, "status", "sync", "revision") == before and time.monotonic() < deadline:
        time.sleep(0.2)
        done = client.get(APPLICATIONS, name, namespace)
    after = dig(done, "status", "sync", "revision")
    if after == before:
        raise CommandError(f"{name} was not rolled back: {_last_word(client, namespace, name)}")
    click.echo(f"{name}: commit {after[:7]} sets the images of history id {history_id}")


def _last_word(client: Client, namespace: str, name: str) -> str:
    from fairway.kube.errors import Forbidden
    from fairway.kube.resources import CORE_EVENTS

    try:
        listed = client.list(CORE_EVENTS, namespace)
    except Forbidden:  # the role of a project sees its Applications, and nothing else
        listed = []
    events = [e for e in listed if dig(e, "involvedObject", "name") == name
              and e.get("reason") in ("RollbackRefused",)]
    newest = max(events, key=lambda e: str(e.get("lastTimestamp")), default=None)
    return str(newest.get("message")) if newest else "see: fairway app get " + name


@command.command()
@click.argument("name")
@click.option("--sync", "synced", is_flag=True, help="Until it is synced.")
@click.option("--health", "healthy", is_flag=True, help="Until it is healthy.")
@click.option("--operation", "ended", is_flag=True, help="Until no operation runs.")
@click.option("--suspended", is_flag=True, help="Until it is suspended: a Rollout waits for somebody.")
@click.option("--degraded", is_flag=True, help="Until it is degraded.")
@click.option("--delete", "gone", is_flag=True, help="Until it is gone.")
@click.option("--revision", default="", help="Until this commit is the one that is synced.")
@click.option("--timeout", default=600, show_default=True, metavar="SECONDS", help="Wait at most so long.")
@_namespace
@output_option
@click.pass_obj
def wait(state: StateDir, name: str, synced: bool, healthy: bool, ended: bool, suspended: bool, degraded: bool, gone: bool,
         revision: str, timeout: int, namespace: str, output: str) -> None:
    """Wait until an Application is synced, healthy and idle (or what the options name)."""
    client = client_of(state)
    if gone:
        _until_gone(client, name, namespace, timeout)
        return
    states = [word for word, given in (("Healthy", healthy), ("Suspended", suspended), ("Degraded", degraded)) if given]
    everything = not (synced or states or ended)
    checks: list[Callable[[Obj], bool]] = []
    if synced or everything:
        checks.append(lambda o: dig(o, "status", "sync", "status") == "Synced")
    if states or everything:
        checks.append(lambda o: dig(o, "status", "health", "status") in (states or ["Healthy"]))
    if ended or everything:
        checks.append(lambda o: "operation" not in o and (_has_ended(o) or "operationState" not in status_of(o)))
    if revision:
        checks.append(lambda o: str(dig(o, "status", "sync", "revision", default="")).startswith(revision))
    done = _until(client, name, namespace, lambda o: all(check(o) for check in checks), timeout, "wait")
    if not machine(done, output):
        click.echo(summary(done))


def _until_gone(client: Client, name: str, namespace: str, timeout: float) -> None:
    start = time.monotonic()
    with waiting(f"wait {name}") as tick:
        while client.find(APPLICATIONS, name, namespace) is not None:
            if time.monotonic() - start >= timeout:
                raise CommandError(f"wait: {name} is still there after {timeout:g} s", mend=f"see: fairway app get {name}")
            time.sleep(0.2)
            tick(time.monotonic() - start)


@command.command()
@click.argument("name")
@click.option("--hard", is_flag=True, help="Forget what is known of git and of comparisons.")
@_namespace
@click.pass_obj
def refresh(state: StateDir, name: str, hard: bool, namespace: str) -> None:
    """Look at git and at the live objects now."""
    _refresh(client_of(state), name, namespace, "hard" if hard else "normal", wait_s=30)


def _refresh(client: Client, name: str, namespace: str, how: str, *, wait_s: int) -> None:
    client.patch(APPLICATIONS, name, namespace, {"metadata": {"annotations": {REFRESH: how}}})
    _until(client, name, namespace, lambda o: REFRESH not in annotations_of(o), wait_s, "refresh")


@command.command("terminate-op")
@click.argument("name")
@_namespace
@click.pass_obj
def terminate_op(state: StateDir, name: str, namespace: str) -> None:
    """Stop the running operation."""
    client = client_of(state)
    app = client.get(APPLICATIONS, name, namespace)
    if dig(app, "status", "operationState", "phase") != "Running":
        raise CommandError(f"no operation is in progress on {name}")
    client.patch(APPLICATIONS, name, namespace, {"status": {"operationState": {"phase": "Terminating"}}})


def _until(client: Client, name: str, namespace: str, check: Callable[[Obj], Any], timeout: float, what: str) -> Obj:
    """The Application once `check` holds, asked five times a second; after `timeout` seconds a CommandError."""
    end = time.monotonic() + timeout
    app = client.get(APPLICATIONS, name, namespace)
    start = time.monotonic()
    with waiting(f"{what} {name}") as tick:
        while not check(app):
            if time.monotonic() >= end:
                state = dig(app, "status", "operationState", "message", default="") or dig(
                    app, "status", "conditions", 0, "message", default="")
                now = f"{dig(app, 'status', 'sync', 'status')}, {dig(app, 'status', 'health', 'status')}"
                raise CommandError(f"{what}: {name} is not there after {timeout:g} s ({now}): {state}")
            time.sleep(0.2)
            tick(time.monotonic() - start)
            app = client.get(APPLICATIONS, name, namespace)
    return app
