"""`fairway proj`: AppProjects, the tokens of their roles, and their sync windows, in the words of the argocd CLI.

What a project permits is best said in git; tokens cannot be, so they are made here.
"""

from __future__ import annotations

import base64
import secrets
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.errors import CommandError, Misused
from fairway.cli.output import machine, output_option, table
from fairway.cli.proj_windows import windows
from fairway.kube.objects import Obj, dig, meta_of, spec_of
from fairway.kube.resources import APP_PROJECTS, SECRETS
from fairway.state import StateDir

if TYPE_CHECKING:
    from fairway.cli.client import Client
    from fairway.gitops.project_tokens import Listed

_HOME = "argocd"


def _client(state: StateDir) -> Client:
    from fairway.cli.client import Client

    return Client.of(state)


@click.group(no_args_is_help=True)
def command() -> None:
    """AppProjects: list, get; their roles and tokens; their sync windows."""


command.add_command(windows)


@command.command("list")
@output_option
@click.pass_obj
def list_(state: StateDir, output: str) -> None:
    """Print all projects."""
    found = _client(state).list(APP_PROJECTS, _HOME)
    if not machine(found, output):
        click.echo(table(("NAME", "DESCRIPTION", "DESTINATIONS", "SOURCES", "ROLES", "WINDOWS"), [
            (meta_of(p)["name"], spec_of(p).get("description", ""), _some(spec_of(p).get("destinations"), _destination),
             _some(spec_of(p).get("sourceRepos"), str), len(spec_of(p).get("roles") or ()),
             len(spec_of(p).get("syncWindows") or ())) for p in found]))


def _destination(item: Obj) -> str:
    return f"{item.get('server') or item.get('name') or ''},{item.get('namespace', '')}"


def _some(items: Any, text: Any) -> str:
    found = [text(item) for item in items or ()]
    return "<none>" if not found else found[0] if len(found) == 1 else f"{len(found)}"


@command.command()
@click.argument("name")
@output_option
@click.pass_obj
def get(state: StateDir, name: str, output: str) -> None:
    """Print one project: what it permits."""
    project = _client(state).get(APP_PROJECTS, name, _HOME)
    if machine(project, output):
        return
    spec = spec_of(project)
    rows: list[tuple[str, list[str]]] = [
        ("Name", [name]), ("Description", [spec.get("description", "")]),
        ("Destinations", [_destination(item) for item in spec.get("destinations") or ()]),
        ("Repositories", list(spec.get("sourceRepos") or ())),
        ("Cluster kinds", _kinds(spec.get("clusterResourceWhitelist"), "none")),
        ("Denied kinds", _kinds(spec.get("namespaceResourceBlacklist"), "none")),
        ("Roles", [str(role.get("name")) for role in spec.get("roles") or ()]),
        ("Sync windows", [f"{w.get('kind')} {w.get('schedule')} {w.get('duration')}" for w in spec.get("syncWindows") or ()]),
    ]
    for title, values in rows:
        for n, value in enumerate(values or ["<none>"]):
            click.echo(f"{title + ':' if n == 0 else '':<15} {value}".rstrip())


def _kinds(items: Any, nothing: str) -> list[str]:
    return [f"{item.get('group', '')}/{item.get('kind', '')}" for item in items or ()] or [f"<{nothing}>"]


# --- roles ----------------------------------------------------------------------------------------------------------------


@command.group(no_args_is_help=True)
def role() -> None:
    """Roles of a project, and their tokens."""


def _role_of(project: Obj, name: str) -> Obj:
    for found in spec_of(project).get("roles") or ():
        if found.get("name") == name:
            return dict(found)
    raise CommandError(f"role {name!r} does not exist in project {meta_of(project)['name']!r}",
                       mend="describe it under spec.roles of the AppProject")


@role.command("list")
@click.argument("project")
@output_option
@click.pass_obj
def list_roles(state: StateDir, project: str, output: str) -> None:
    """Print the roles of PROJECT."""
    found = spec_of(_client(state).get(APP_PROJECTS, project, _HOME)).get("roles") or []
    if not machine(found, output):
        click.echo(table(("ROLE-NAME", "DESCRIPTION"), [(one.get("name"), one.get("description", "")) for one in found]))


@role.command("get")
@click.argument("project")
@click.argument("name")
@output_option
@click.pass_obj
def get_role(state: StateDir, project: str, name: str, output: str) -> None:
    """Print one role of PROJECT: its policies, its groups and its tokens."""
    from fairway.gitops.project_tokens import listed

    obj = _client(state).get(APP_PROJECTS, project, _HOME)
    found, tokens = _role_of(obj, name), listed(obj, name)
    if machine({**found, "jwtTokens": [token.as_object() for token in tokens]}, output):
        return
    click.echo(f"Role Name:   {name}\nDescription: {found.get('description', '')}\nPolicies:")
    click.echo("\n".join([f"p, proj:{project}:{name}, projects, get, {project}, allow", *(found.get("policies") or ())]))
    click.echo(f"Groups:      {', '.join(found.get('groups') or ()) or '-'}\nTokens:")
    click.echo(_token_table(tokens))


def _token_table(tokens: list[Listed]) -> str:
    def moment(seconds: int) -> str:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}" if seconds else "never"

    return table(("ID", "ISSUED-AT", "EXPIRES-AT"), [(one.id, moment(one.issued), moment(one.expires)) for one in tokens])


@role.command("list-tokens")
@click.argument("project")
@click.argument("name")
@output_option
@click.pass_obj
def list_tokens(state: StateDir, project: str, name: str, output: str) -> None:
    """Print which tokens a role has; what they are is shown once, when they are made."""
    from fairway.gitops.project_tokens import listed

    obj = _client(state).get(APP_PROJECTS, project, _HOME)
    _role_of(obj, name)
    found = listed(obj, name)
    if not machine([one.as_object() for one in found], output):
        click.echo(_token_table(found))


@role.command("create-token")
@click.argument("project")
@click.argument("name")
@click.option("-e", "--expires-in", default="0s", show_default=True, metavar="DURATION", help="Such as 12h or 30d; 0s: never.")
@click.option("-i", "--id", "identity", default="", help="What the token is called.  [default: a random one]")
@click.option("-t", "--token-only", is_flag=True, help="Print nothing but the token.")
@click.pass_obj
def create_token(state: StateDir, project: str, name: str, expires_in: str, identity: str, token_only: bool) -> None:
    """Make a token for a role of PROJECT. It is shown now and never again."""
    from fairway.gitops.project_tokens import Listed, listed, signed, subject_of, with_tokens

    client = _client(state)
    obj = client.get(APP_PROJECTS, project, _HOME)
    _role_of(obj, name)
    present, now = listed(obj, name), int(time.time())
    life = _seconds(expires_in)
    token = Listed(identity or str(uuid.uuid4()), now, now + life if life else 0)
    if any(one.id == token.id for one in present):
        raise CommandError(f"Token id {token.id!r} has been used", mend="choose another one with --id")
    text = signed(project, name, token, _key(client))
    client.patch(APP_PROJECTS, project, _HOME, with_tokens(obj, name, [token, *present]))
    if token_only:
        click.echo(text)
        return
    ends = f"{datetime.fromtimestamp(token.expires, UTC):%Y-%m-%d %H:%M:%S} UTC" if token.expires else "never"
    click.echo(f"Create token succeeded for {subject_of(project, name)}.\n  ID: {token.id}\n  Expires: {ends}\n  Token: {text}")


def _seconds(text: str) -> int:
    from fairway.kube.durations import parse_duration

    days = text.removesuffix("d")
    try:
        found = timedelta(days=int(days)) if days != text and days.isdigit() else parse_duration(text)
    except ValueError as error:
        raise Misused(f"--expires-in: {error}") from error
    return int(found.total_seconds())


def _key(client: Client) -> bytes:
    """The key that tokens are signed with; made with the first token."""
    from fairway.gitops.project_tokens import KEY, SECRET

    found = client.find(SECRETS, SECRET, _HOME)
    encoded = (found or {}).get("data", {}).get(KEY, "")
    if not encoded:
        encoded = base64.b64encode(base64.b64encode(secrets.token_bytes(32))).decode()
        about = {"name": SECRET, "namespace": _HOME}
        made = {"apiVersion": "v1", "kind": "Secret", "metadata": about, "data": {KEY: encoded}}
        if found is None:
            client.create(SECRETS, made)
        else:
            client.patch(SECRETS, SECRET, _HOME, {"data": {KEY: encoded}})
    return base64.b64decode(encoded)


@role.command("delete-token")
@click.argument("project")
@click.argument("name")
@click.argument("token")
@click.pass_obj
def delete_token(state: StateDir, project: str, name: str, token: str) -> None:
    """Revoke a token of a role, by its ID, or by the second at which it was issued. It is worth nothing from now on."""
    from fairway.gitops.project_tokens import listed, with_tokens

    client = _client(state)
    obj = client.get(APP_PROJECTS, project, _HOME)
    present = listed(obj, name)
    kept = [one for one in present if token not in (one.id, str(one.issued))]
    if len(kept) == len(present):
        raise CommandError(f"role {name!r} of project {project!r} has no token {token!r}",
                           mend=f"see: fairway proj role list-tokens {project} {name}")
    client.patch(APP_PROJECTS, project, _HOME, with_tokens(obj, name, kept))
    click.echo(f"{len(present) - len(kept)} token of {name} revoked: {dig(obj, 'metadata', 'name')}/{token}")
