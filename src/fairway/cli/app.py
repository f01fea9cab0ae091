"""`fairway app`: Applications, in the words of the argocd CLI."""

from __future__ import annotations

import asyncio
import difflib
import getpass
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.errors import FAILED, CommandError
from fairway.cli.output import ago, machine, output_option, table
from fairway.cli.progress import waiting
from fairway.kube.objects import Obj, annotations_of, dig, meta_of, parse_time, rfc3339, spec_of, status_of
from fairway.kube.resources import APPLICATIONS
from fairway.state import StateDir

if TYPE_CHECKING:
    from fairway.cli.client import Client
    from fairway.git import GitPort
    from fairway.gitops.spec import Application
    from fairway.kube.resources import ResourceMap

REFRESH = "argocd.argoproj.io/refresh"
ROLLBACK = "fairway.dev/rollback-to"
_ENDED = ("Succeeded", "Failed", "Error")
_namespace = click.option("-N", "--app-namespace", "namespace", default="argocd", show_default=True,
                          help="Where the Application is.")


@click.group(no_args_is_help=True)
def command() -> None:
    """Applications: what git describes, what is live, and how the two become one."""


def _client(state: StateDir) -> Client:
    from fairway.cli.client import Client

    return Client.of(state)


# --- looking ----------------------------------------------------------------------------------------------------------


@command.command("list")
@_namespace
@output_option
@click.pass_obj
def list_(state: StateDir, namespace: str, output: str) -> None:
    """Print all Applications with their sync status and health."""
    found = _client(state).list(APPLICATIONS, namespace)
    if machine(found, output):
        return
    click.echo(table(("NAME", "NAMESPACE", "STATUS", "HEALTH", "REVISION", "REPO", "PATH", "CONDITIONS"),
                     [_row(app) for app in found]))


def _row(app: Obj) -> tuple[str, ...]:
    source, conditions = _main_source(app), status_of(app).get("conditions") or ()
    return (
        meta_of(app)["name"], dig(app, "spec", "destination", "namespace", default="-"),
        dig(app, "status", "sync", "status", default="Unknown"), dig(app, "status", "health", "status", default="Unknown"),
        dig(app, "status", "sync", "revision", default="-")[:7], source.get("repoURL", "-"), source.get("path", "-"),
        ",".join(sorted({c["type"] for c in conditions})) or "<none>",
    )  # fmt: skip


@command.command()
@click.argument("name")
@click.option("--refresh", is_flag=True, help="Look at git first.")
@_namespace
@output_option
@click.pass_obj
def get(state: StateDir, name: str, refresh: bool, namespace: str, output: str) -> None:
    """Print one Application: its state, why it is so, and its resources."""
    client = _client(state)
    if refresh:
        _refresh(client, name, namespace, "normal", wait_s=30)
    app = client.get(APPLICATIONS, name, namespace)
    if machine(app, output):
        return
    _print(app)


def _print(app: Obj) -> None:
    status, source = status_of(app), _main_source(app)
    automated = dig(app, "spec", "syncPolicy", "automated")
    policy = "Manual" if automated is None else "Automated" + (" (Prune)" if automated.get("prune") else "")
    facts = [
        ("Name", f"{meta_of(app).get('namespace')}/{meta_of(app)['name']}"),
        ("Project", spec_of(app).get("project", "default")),
        ("Namespace", dig(app, "spec", "destination", "namespace", default="")),
        ("Repo", source.get("repoURL", "")), ("Target", source.get("targetRevision") or "HEAD"),
        ("Path", source.get("path", "")), ("Sync Policy", policy),
        ("Sync Status", f"{dig(status, 'sync', 'status', default='Unknown')} "
                        f"({dig(status, 'sync', 'revision', default='')[:7] or 'no revision'})"),
        ("Health Status", _joined(dig(status, "health", "status", default="Unknown"), dig(status, "health", "message"))),
        ("Images", ", ".join(dig(status, "summary", "images", default=[]))),
    ]  # fmt: skip
    operation = status.get("operationState")
    if operation:
        facts.append(("Operation", _joined(operation.get("phase", ""), operation.get("message"))))
    click.echo("\n".join(f"{label + ':':<16}{value}" for label, value in facts if value))
    for entry in status.get("conditions") or ():
        click.echo(f"{entry['type'] + ':':<16}{entry['message']}")
    resources = status.get("resources") or ()
    if resources:
        click.echo("\n" + table(("GROUP", "KIND", "NAMESPACE", "NAME", "STATUS", "HEALTH", "MESSAGE"), [
            (r.get("group", ""), r["kind"], r.get("namespace", ""), r["name"], r.get("status", ""),
             dig(r, "health", "status", default=""), dig(r, "health", "message", default="")) for r in resources]))


def _main_source(app: Obj) -> Obj:
    """The source, or the first of several that describes objects."""
    several: list[Obj] = spec_of(app).get("sources") or []
    found: Obj = next((s for s in several if s.get("path") or s.get("chart")), dig(app, "spec", "source", default={}))
    return found


def _joined(word: str, message: str | None) -> str:
    return f"{word} ({message})" if message else word


@command.command()
@click.argument("name")
@_namespace
@output_option
@click.pass_obj
def history(state: StateDir, name: str, namespace: str, output: str) -> None:
    """Print what was deployed, the newest last."""
    entries = status_of(_client(state).get(APPLICATIONS, name, namespace)).get("history") or []
    if machine(entries, output):
        return
    now = datetime.now(UTC)
    click.echo(table(("ID", "DEPLOYED", "REVISION", "BY"), [
        (e["id"], ago(parse_time(e["deployedAt"]), now), e["revision"][:7],
         "automation" if dig(e, "initiatedBy", "automated") else dig(e, "initiatedBy", "username", default="-"))
        for e in entries]))


@command.command()
@click.argument("name")
@click.option("--revision", default="", help="Preview this branch, tag or commit.")
@click.option("--exit-code/--no-exit-code", default=True, show_default=True, help="Exit with 1 where something differs.")
@_namespace
@click.pass_context
@click.pass_obj
def diff(state: StateDir, ctx: click.Context, name: str, revision: str, exit_code: bool, namespace: str) -> None:
    """Print what a sync would change, and where each difference comes from.

    The live objects are compared with a dry-run apply of what git describes. --revision shows what a branch or commit would
    change, and touches nothing.
    """
    client = _client(state)
    app = client.get(APPLICATIONS, name, namespace)
    differences = list(_differences(client, state, app, revision))
    for title, lines in differences:
        click.echo(f"===== {title} ======")
        click.echo("".join(lines), nl=False)
    if differences and exit_code:
        ctx.exit(FAILED)


def _differences(client: Client, state: StateDir, obj: Obj, revision: str) -> Iterator[tuple[str, list[str]]]:
    from fairway.gitops.compare import normalised, object_key
    from fairway.gitops.comparison import MANAGER
    from fairway.gitops.explain import explain
    from fairway.kube.errors import NotFound
    from fairway.kube.resources import BUILT_IN, CUSTOM, ResourceMap

    resources = ResourceMap((*BUILT_IN, *CUSTOM))
    app, targets = _rendered(client, state, obj, revision, resources)
    wanted = set()
    for target in targets:
        key = object_key(target)
        wanted.add(key)
        try:
            resource = resources.of(target)
        except NotFound as error:
            raise CommandError(f"{key}: {error}") from error
        live = client.find(resource, key.name, key.namespace)
        after = client.apply(resource, target, manager=MANAGER, dry_run=True)
        before = normalised(live, app.ignore) if live is not None else None
        found = list(_unified(str(key), before, normalised(after, app.ignore)))
        reasons = explain(target, live, after, app.ignore, MANAGER) if live is not None else []
        if found and live is not None:
            found[0][1].extend(f"# {'(not compared) ' if reason.ignored else ''}{reason}\n" for reason in reasons)
        yield from found
    for entry in status_of(obj).get("resources") or ():
        if entry.get("requiresPruning") or revision:
            gone = resources.of_group_kind(entry.get("group", ""), entry["kind"])
            live = client.find(gone, entry["name"], entry.get("namespace", "")) if gone is not None else None
            if live is not None and object_key(live) not in wanted:
                yield from _unified(str(object_key(live)), normalised(live), None)


def _rendered(client: Client, state: StateDir, obj: Obj, revision: str,
              resources: ResourceMap) -> tuple[Application, Sequence[Obj]]:
    """What git describes for the Application, with the settings of argocd-cm; `revision` is that of its main source."""
    from fairway.git import GitError
    from fairway.gitops.customizations import NONE, decode_customizations
    from fairway.gitops.settings import Settings
    from fairway.gitops.sources import Sources, resolve_revision
    from fairway.gitops.spec import InvalidSpec, decode
    from fairway.gitops.surroundings import with_settings
    from fairway.gitops.targets import prepare
    from fairway.kube.resources import CONFIG_MAPS
    from fairway.manifests import ManifestError

    settings_map = client.find(CONFIG_MAPS, "argocd-cm", "argocd")
    settings = decode_customizations(settings_map.get("data") or {}) if settings_map is not None else NONE
    try:
        app = with_settings(decode(obj), settings)
        sources = Sources(_Repositories(client, state), Settings())
        commits = [resolve_revision(sources.port(source), revision if revision and source is app.source
                                    else source.target_revision) for source in app.sources]
        rendered = asyncio.run(sources.objects(app, ",".join(commits)))
        return app, prepare(app, rendered, resources, excluded=settings.excluded).objects
    except (GitError, ManifestError, InvalidSpec) as error:
        raise CommandError(str(error)) from error


class _Repositories:
    """The repositories as the platform sees them."""

    def __init__(self, client: Client, state: StateDir) -> None:
        self._client = client
        self._state = state

    def of(self, repo_url: str) -> GitPort:
        return _port(self._client, self._state, repo_url)

    def chart(self, repo_url: str, chart: str, *, pass_credentials: bool = False) -> GitPort:
        from fairway.manifests.helm.repository import chart_repository

        return chart_repository(repo_url, chart, self._state.root / "cache" / "charts", pass_credentials=pass_credentials)


def _unified(title: str, before: Obj | None, after: Obj | None) -> Iterator[tuple[str, list[str]]]:
    from fairway.manifests.yaml import dump

    def text(value: Obj | None) -> list[str]:
        return dump(value).splitlines(keepends=True) if value is not None else []

    lines = list(difflib.unified_diff(text(before), text(after), "live", "git"))
    if lines:
        yield title, lines


def _port(client: Client, state: StateDir, url: str) -> GitPort:
    """The repository as the platform sees it: from its folder on this machine, or by its URL."""
    from fairway.git import RemoteRepository, Repositories
    from fairway.gitops.repository_secrets import login_for
    from fairway.gitops.tracking import HOME
    from fairway.kube.resources import REPOSITORIES, SECRETS

    for repository in client.list(REPOSITORIES, "fairway"):
        spec = spec_of(repository)
        if url == spec.get("name") or url.removesuffix(".git") in [u.removesuffix(".git") for u in spec.get("urls") or ()]:
            return Repositories(state.git).open(spec["name"])
    prefix = f"{client.addresses.web_url}/git/"
    if url.startswith(prefix):
        return Repositories(state.git).open(url.removeprefix(prefix).removesuffix(".git"))
    return RemoteRepository(url, state.root / "cache" / "git", login_for(url, client.list(SECRETS, HOME)))


# --- doing ------------------------------------------------------------------------------------------------------------


@command.command()
@click.argument("name")
@click.option("--revision", default="", help="A branch, tag or commit other than the target revision.")
@click.option("--prune", is_flag=True, help="Delete what git no longer describes.")
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.option("--resource", "resources", multiple=True, metavar="GROUP:KIND:NAME", help="Only these; no hooks run.")
@click.option("--async", "detached", is_flag=True, help="Do not wait for the end.")
@click.option("--timeout", default=600, show_default=True, metavar="SECONDS", help="Wait at most so long.")
@_namespace
@click.pass_obj
def sync(state: StateDir, name: str, revision: str, prune: bool, dry_run: bool, resources: tuple[str, ...],
         detached: bool, timeout: int, namespace: str) -> None:
    """Make the live objects as git says, now."""
    client = _client(state)
    app = client.get(APPLICATIONS, name, namespace)
    if app.get("operation"):
        raise CommandError(f"another operation is already in progress on {name}",
                           mend=f"wait for it (fairway app wait {name} --operation) or stop it (fairway app terminate-op)")
    automated = dig(app, "spec", "syncPolicy", "automated") is not None
    if revision and automated and revision != _main_source(app).get("targetRevision"):
        raise CommandError(f"{name} syncs automatically to {_main_source(app).get('targetRevision') or 'HEAD'}: "
                           f"another revision would be taken back at once", mend="commit the change, or use app rollback")
    asked: Obj = {key: value for key, value in (("revision", revision), ("prune", prune), ("dryRun", dry_run)) if value}
    if resources:
        asked["resources"] = [_resource(text, app) for text in resources]
    before = dig(app, "status", "operationState", "startedAt")
    client.patch(APPLICATIONS, name, namespace, {"operation": {"sync": asked, "initiatedBy": {"username": _user()}}})
    if detached:
        return
    done = _until(client, name, namespace, lambda o: _has_ended(o) and "operation" not in o and (
        dig(o, "status", "operationState", "startedAt") != before or not before), timeout, "sync")
    _print(done)
    phase = dig(done, "status", "operationState", "phase")
    if phase != "Succeeded":
        raise CommandError(f"sync {phase}: {dig(done, 'status', 'operationState', 'message')}")


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
    _client(state).patch(APPLICATIONS, name, namespace, approved)
    click.echo(f"{name}: deletions are confirmed")


@command.command()
@click.argument("name")
@click.argument("history_id", type=int, required=False)
@click.option("--timeout", default=600, show_default=True, metavar="SECONDS", help="Wait at most so long.")
@_namespace
@click.pass_obj
def rollback(state: StateDir, name: str, history_id: int | None, timeout: int, namespace: str) -> None:
    """Go back to the images of an earlier deployment (by default the one before), by a commit to its branch."""
    client = _client(state)
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
    from fairway.kube.resources import CORE_EVENTS

    events = [e for e in client.list(CORE_EVENTS, namespace) if dig(e, "involvedObject", "name") == name
              and e.get("reason") in ("RollbackRefused",)]
    newest = max(events, key=lambda e: str(e.get("lastTimestamp")), default=None)
    return str(newest.get("message")) if newest else "see: fairway app get " + name


@command.command()
@click.argument("name")
@click.option("--sync", "synced", is_flag=True, help="Until it is synced.")
@click.option("--health", "healthy", is_flag=True, help="Until it is healthy.")
@click.option("--operation", "ended", is_flag=True, help="Until no operation runs.")
@click.option("--revision", default="", help="Until this commit is the one that is synced.")
@click.option("--timeout", default=600, show_default=True, metavar="SECONDS", help="Wait at most so long.")
@_namespace
@output_option
@click.pass_obj
def wait(state: StateDir, name: str, synced: bool, healthy: bool, ended: bool, revision: str, timeout: int,
         namespace: str, output: str) -> None:
    """Wait until an Application is synced, healthy and idle (or what the options name)."""
    everything = not (synced or healthy or ended)
    checks: list[Callable[[Obj], bool]] = []
    if synced or everything:
        checks.append(lambda o: dig(o, "status", "sync", "status") == "Synced")
    if healthy or everything:
        checks.append(lambda o: dig(o, "status", "health", "status") == "Healthy")
    if ended or everything:
        checks.append(lambda o: "operation" not in o and (_has_ended(o) or "operationState" not in status_of(o)))
    if revision:
        checks.append(lambda o: str(dig(o, "status", "sync", "revision", default="")).startswith(revision))
    done = _until(_client(state), name, namespace, lambda o: all(check(o) for check in checks), timeout, "wait")
    if not machine(done, output):
        _print(done)


@command.command()
@click.argument("name")
@click.option("--hard", is_flag=True, help="Forget what is known of git and of comparisons.")
@_namespace
@click.pass_obj
def refresh(state: StateDir, name: str, hard: bool, namespace: str) -> None:
    """Look at git and at the live objects now."""
    _refresh(_client(state), name, namespace, "hard" if hard else "normal", wait_s=30)


def _refresh(client: Client, name: str, namespace: str, how: str, *, wait_s: int) -> None:
    client.patch(APPLICATIONS, name, namespace, {"metadata": {"annotations": {REFRESH: how}}})
    _until(client, name, namespace, lambda o: REFRESH not in annotations_of(o), wait_s, "refresh")


@command.command("terminate-op")
@click.argument("name")
@_namespace
@click.pass_obj
def terminate_op(state: StateDir, name: str, namespace: str) -> None:
    """Stop the running operation."""
    client = _client(state)
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
