"""`fairway app diff`: what a sync would change, and where each difference comes from."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from fairway.cli.app_live import client_of, namespace_option
from fairway.cli.destination import cluster_of, destination_of
from fairway.cli.errors import FAILED, CommandError
from fairway.kube.objects import Obj, spec_of, status_of
from fairway.kube.resources import APPLICATIONS
from fairway.state import StateDir

if TYPE_CHECKING:
    from fairway.cli.client import Client
    from fairway.git import GitPort
    from fairway.gitops.spec import Application
    from fairway.kube.resources import ResourceMap
    from fairway.manifests.helm.repository import ChartRepository


@click.command()
@click.argument("name")
@click.option("--revision", default="", help="Preview this branch, tag or commit.")
@click.option("--exit-code/--no-exit-code", default=True, show_default=True, help="Exit with 1 where something differs.")
@namespace_option
@click.pass_context
@click.pass_obj
def diff(state: StateDir, ctx: click.Context, name: str, revision: str, exit_code: bool, namespace: str) -> None:
    """Print what a sync would change, and where each difference comes from.

    The live objects are compared with a dry-run apply of what git describes. --revision shows what a branch or commit would
    change, and touches nothing.
    """
    client = client_of(state)
    app = client.get(APPLICATIONS, name, namespace)
    differences = list(_differences(client, state, app, revision))
    for title, lines in differences:
        click.echo(f"===== {title} ======")
        click.echo("".join(lines), nl=False)
    if differences and exit_code:
        ctx.exit(FAILED)


def _differences(client: Client, state: StateDir, obj: Obj, revision: str) -> Iterator[tuple[str, list[str]]]:
    from fairway.gitops.compare import MANAGER, normalised, object_key
    from fairway.gitops.delegated import with_delegated
    from fairway.gitops.explain import explain
    from fairway.gitops.taking_over import taken_over
    from fairway.kube.errors import NotFound

    there = destination_of(client, obj)
    resources = there.resources()
    app, targets = rendered(client, state, obj, revision, resources)
    wanted = set()
    for target in targets:
        key = object_key(target)
        wanted.add(key)
        try:
            resource = resources.of(target)
        except NotFound as error:
            raise CommandError(f"{key}: {error}") from error
        live = there.find(resource, key.name, key.namespace)
        target = with_delegated(target, live)
        after = there.apply(resource, target, manager=MANAGER, dry_run=True)
        after = taken_over(app, target, after)
        before = normalised(live, app.ignore) if live is not None else None
        found = list(_unified(str(key), before, normalised(after, app.ignore)))
        reasons = explain(target, live, after, app.ignore, MANAGER) if live is not None else []
        if found and live is not None:
            found[0][1].extend(f"# {'(not compared) ' if reason.ignored else ''}{reason}\n" for reason in reasons)
        yield from found
    for entry in status_of(obj).get("resources") or ():
        if entry.get("requiresPruning") or revision:
            gone = resources.of_group_kind(entry.get("group", ""), entry["kind"])
            live = there.find(gone, entry["name"], entry.get("namespace", "")) if gone is not None else None
            if live is not None and object_key(live) not in wanted:
                yield from _unified(str(object_key(live)), normalised(live), None)


def rendered(client: Client, state: StateDir, obj: Obj, revision: str,
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
        sources = Sources(_Repositories(client, state), Settings(), permits=lambda app, repo_url: True)
        commits = [resolve_revision(sources.port(source), revision if revision and source is app.source
                                    else source.target_revision) for source in app.sources]
        server = cluster_of(client, obj).server
        rendered = asyncio.run(sources.objects(app, ",".join(commits)))
        return app, prepare(app, rendered, resources, excluded=lambda one: settings.excluded(one, server)).objects
    except (GitError, ManifestError, InvalidSpec) as error:
        raise CommandError(str(error)) from error


class _Repositories:
    """The repositories as the platform sees them."""

    def __init__(self, client: Client, state: StateDir) -> None:
        self._client = client
        self._state = state

    def of(self, repo_url: str) -> GitPort:
        return _port(self._client, self._state, repo_url)

    def chart(self, repo_url: str, chart: str, *, pass_credentials: bool = False) -> ChartRepository:
        from fairway.gitops.repository_secrets import chart_login_for
        from fairway.gitops.tracking import HOME
        from fairway.kube.resources import SECRETS
        from fairway.manifests.helm.repository import chart_repository

        login = chart_login_for(repo_url, self._client.list(SECRETS, HOME))
        cache = self._state.root / "cache" / "charts"
        return chart_repository(repo_url, chart, cache, login, pass_credentials=pass_credentials)


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
