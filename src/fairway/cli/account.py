"""`fairway account`: who asks, and what they may do with Applications, in the words of the argocd CLI.

The token in FAIRWAY_AUTH_TOKEN says who asks; without one it is the platform's administrator.
"""

from __future__ import annotations

import click

from fairway.cli.errors import FAILED, Misused
from fairway.cli.output import machine, output_option
from fairway.kube.objects import dig
from fairway.state import StateDir

_RESOURCES = {"applications": "applications", "applicationsets": "applicationsets", "projects": "appprojects"}


@click.group(no_args_is_help=True)
def command() -> None:
    """Who I am to the platform, and what I may do."""


@command.command("get-user-info")
@output_option
@click.pass_obj
def get_user_info(state: StateDir, output: str) -> None:
    """Print who asks: a name, and groups."""
    from fairway.cli.client import Client

    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = Client.of(state).raw("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=review)
    info = dig(answer, "status", "userInfo", default={})
    if not machine(info, output):
        click.echo(f"Username: {info.get('username', '')}\nGroups:   {', '.join(info.get('groups') or ()) or '-'}")


@command.command("can-i")
@click.argument("action")
@click.argument("resource")
@click.argument("subresource")
@click.pass_context
@click.pass_obj
def can_i(state: StateDir, ctx: click.Context, action: str, resource: str, subresource: str) -> None:
    """Say whether ACTION is allowed, such as: can-i sync applications 'shop/web'. Exits with 1 where it is not.

    RESOURCE is one of applications, applicationsets and projects; SUBRESOURCE is PROJECT/NAME, or a project's name.
    """
    from fairway.cli.client import Client

    if resource not in _RESOURCES:
        raise Misused(f"{resource!r} is none of {', '.join(_RESOURCES)}")
    asked = {"group": "argoproj.io", "version": "v1alpha1", "resource": _RESOURCES[resource], "verb": action,
             "namespace": "argocd", "name": subresource}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": asked}}
    answer = Client.of(state).raw("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=review)
    allowed = bool(dig(answer, "status", "allowed"))
    click.echo("yes" if allowed else "no")
    if not allowed:
        ctx.exit(FAILED)
