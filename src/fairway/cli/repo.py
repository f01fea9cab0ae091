"""`fairway repo`: the git repositories of the platform."""

from __future__ import annotations

import click

from fairway.cli.output import machine, output_option, table
from fairway.kube.objects import dig, meta_of
from fairway.kube.resources import REPOSITORIES
from fairway.state import StateDir

_NAMESPACE = "fairway"


@click.group()
def command() -> None:
    """Git repositories of the platform: create, list."""


@command.command()
@click.argument("name")
@click.option("--url", "urls", multiple=True, metavar="URL",
              help="Another URL that means this repository, as Applications write it. May be given again.")
@output_option
@click.pass_obj
def create(state: StateDir, name: str, urls: tuple[str, ...], output: str) -> None:
    """Make the platform know the repository NAME, such as shop/app, and say how to push to it."""
    from fairway.cli.client import Client
    from fairway.git.repositories import BadName, checked_name

    try:
        checked_name(name)
    except BadName as error:
        from fairway.cli.errors import Misused

        raise Misused(str(error)) from error
    client = Client.of(state)
    body = {
        "apiVersion": REPOSITORIES.api_version, "kind": REPOSITORIES.kind,
        "metadata": {"name": name.lower().replace("/", "-").replace("_", "-"), "namespace": _NAMESPACE},
        "spec": {"name": name, "urls": list(urls)},
    }  # fmt: skip
    made = client.apply(REPOSITORIES, body)
    remote = f"{client.addresses.web_url}/git/{name}.git"
    if machine({"name": name, "remote": remote, "urls": list(urls), "object": meta_of(made)["name"]}, output):
        return
    click.echo(f"git remote add fairway {remote}")
    click.echo(f"# the password is the token in {state.token}; the user name does not matter", err=True)


@command.command("list")
@output_option
@click.pass_obj
def list_(state: StateDir, output: str) -> None:
    """List the repositories that the platform knows."""
    from fairway.cli.client import Client

    client = Client.of(state)
    rows = client.list(REPOSITORIES, _NAMESPACE)
    found = [
        {"name": dig(row, "spec", "name", default=""), "urls": dig(row, "spec", "urls", default=[]),
         "remote": f"{client.addresses.web_url}/git/{dig(row, 'spec', 'name', default='')}.git",
         "refs": dig(row, "status", "refs", default={})}
        for row in rows
    ]
    if not machine(found, output):
        click.echo(table(("NAME", "REMOTE", "ALSO"), [(r["name"], r["remote"], " ".join(r["urls"])) for r in found]))
