"""`fairway cluster`: the clusters that Applications may be delivered to, in the words of the argocd CLI.

Credentials are never printed.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.cluster_account import as_account
from fairway.cli.destination import clusters
from fairway.cli.errors import CommandError, Misused
from fairway.cli.output import machine, output_option, table
from fairway.kube.objects import Obj, dig
from fairway.kube.resources import APPLICATIONS, SECRETS
from fairway.state import StateDir

if TYPE_CHECKING:
    from fairway.cli.client import Client
    from fairway.gitops.clusters import Cluster
    from fairway.kube.kubeconfig import Connection

_ANSWERS_WITHIN_S = 5.0


@click.group(no_args_is_help=True)
def command() -> None:
    """Clusters that Applications are delivered to: list, get, add, rm."""


def _client(state: StateDir) -> Client:
    from fairway.cli.client import Client

    return Client.of(state)


# --- looking ----------------------------------------------------------------------------------------------------------


@command.command("list")
@output_option
@click.pass_obj
def list_(state: StateDir, output: str) -> None:
    """Print all clusters, whether each can be reached, and how many Applications it has."""
    client = _client(state)
    rows = _rows(client, clusters(client))
    if not machine(rows, output):
        click.echo(table(("SERVER", "NAME", "VERSION", "STATUS", "APPS", "PROJECT", "MESSAGE"), [
            (r["server"], r["name"], r["version"], r["status"], r["applications"], r["project"], r["message"]) for r in rows]))


@command.command()
@click.argument("name")
@output_option
@click.pass_obj
def get(state: StateDir, name: str, output: str) -> None:
    """Print one cluster, by its NAME or its server: what it is limited to, and how it is logged in to."""
    client = _client(state)
    cluster = _one(client, name)
    (row,) = _rows(client, [cluster])
    row |= {"namespaces": list(cluster.namespaces), "clusterResources": cluster.cluster_resources or not cluster.namespaces,
            "login": _login(cluster.connection), "secret": cluster.secret}
    if not machine(row, output):
        shown = {**row, "namespaces": ", ".join(cluster.namespaces) or "all", "secret": cluster.secret or "-",
                 "clusterResources": "yes" if row["clusterResources"] else "no"}
        click.echo("\n".join(f"{key[0].upper() + key[1:] + ':':<18}{value}".rstrip() for key, value in shown.items()))


def _one(client: Client, name: str) -> Cluster:
    found = [cluster for cluster in clusters(client) if name.rstrip("/") in (cluster.name, cluster.server)]
    if not found:
        raise CommandError(f"there is no cluster {name!r}", mend="see: fairway cluster list")
    if len(found) > 1:
        raise CommandError(f"{len(found)} clusters are called {name!r}", mend="name it by its server")
    return found[0]


def _rows(client: Client, found: Sequence[Cluster]) -> list[dict[str, Any]]:
    answers = asyncio.run(_ask([cluster.connection for cluster in found]))
    apps = client.list(APPLICATIONS)
    rows = []
    for cluster, (version, failure) in zip(found, answers, strict=True):
        if cluster.is_here:
            version, failure = str(client.raw("GET", "/version").get("gitVersion", "")), ""
        failure = cluster.mistake or failure
        rows.append({"server": cluster.server, "name": cluster.name, "version": version,
                     "status": "Failed" if failure else "Successful", "message": failure, "project": cluster.project,
                     "applications": sum(_is_of(app, cluster) for app in apps)})
    return rows


def _is_of(app: Obj, cluster: Cluster) -> bool:
    server, name = (str(dig(app, "spec", "destination", key, default="")).rstrip("/") for key in ("server", "name"))
    if server:
        return server == cluster.server
    return name == cluster.name or (cluster.is_here and name in ("", "in-cluster"))


async def _ask(connections: Sequence[Connection | None]) -> list[tuple[str, str]]:
    """(version, why it cannot be reached) of each; all are asked at once."""
    return await asyncio.gather(*(_version(connection) for connection in connections))


async def _version(connection: Connection | None) -> tuple[str, str]:
    from fairway.kube.cluster import ClusterApi
    from fairway.kube.errors import ApiError

    if connection is None:
        return "", ""
    api = ClusterApi(connection)
    try:
        async with asyncio.timeout(_ANSWERS_WITHIN_S):
            return await api.version(), ""
    except TimeoutError:
        return "", f"no answer within {_ANSWERS_WITHIN_S:.0f} s"
    except (ApiError, OSError) as error:
        return "", str(error)
    finally:
        await api.close()


def _login(connection: Connection | None) -> str:
    """In words, without what is secret."""
    if connection is None:
        return "the platform's own"
    plugin = connection.exec
    ways = ((f"exec plugin {plugin.command}" if plugin is not None else "", plugin), ("bearer token", connection.token),
            (f"user {connection.username}", connection.username), ("client certificate", connection.client_certificate))
    tls = "; its certificate is not checked" if connection.insecure else ""
    return (", ".join(words for words, given in ways if given) or "nothing") + tls


# --- changing ---------------------------------------------------------------------------------------------------------


@command.command()
@click.argument("context")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="Where CONTEXT is.  [default: $KUBECONFIG, ~/.kube/config]")
@click.option("--name", default="", help="What destinations call it.  [default: the name of the context]")
@click.option("--namespace", "namespaces", multiple=True, help="Only this namespace. May be given again.")
@click.option("--cluster-resources", is_flag=True, help="With --namespace: objects that belong to no namespace as well.")
@click.option("--project", default="", help="The AppProject that it belongs to.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="For the cluster generator. May be given again.")
@click.option("--upsert", is_flag=True, help="Change it where it is there already.")
@click.option("--service-account/--own-credentials", "account", default=True, show_default=True,
              help="Make the service account argocd-manager there and use its token, or use what stands in the kubeconfig.")
@click.pass_obj
def add(state: StateDir, context: str, kubeconfig: Path | None, name: str, namespaces: tuple[str, ...], cluster_resources: bool,
        project: str, labels: tuple[str, ...], upsert: bool, account: bool) -> None:
    """Register the cluster of a kubeconfig's CONTEXT.

    Whatever the platform does in that cluster it does as a service account that is made there, with the rights of CONTEXT.
    """
    from fairway.kube.kubeconfig import BadKubeconfig, kubeconfig_path, read_kubeconfig

    try:
        connection = read_kubeconfig(kubeconfig or kubeconfig_path(), context)
    except BadKubeconfig as error:
        raise CommandError(str(error)) from error
    if connection.token_file:  # a Secret holds the token itself
        connection = replace(connection, token=Path(connection.token_file).read_text().strip(), token_file="")
    client = _client(state)
    version, failure = asyncio.run(_ask([connection]))[0]
    if failure:
        raise CommandError(f"the cluster is not registered: {failure}",
                           mend=f"check it with: kubectl --context {context} version")
    known = next((cluster for cluster in clusters(client) if cluster.server == connection.server and cluster.secret), None)
    if known is not None and not upsert:
        raise CommandError(f"{connection.server} is registered already, as {known.name!r}", mend="change it with --upsert")
    pairs = dict(_pair(text) for text in labels)
    if account:
        connection = asyncio.run(as_account(connection, namespaces, cluster_resources=cluster_resources))
    client.apply(SECRETS, _secret(known.secret if known else "", connection, name or context, namespaces, pairs, {
        "clusterResources": "true" if cluster_resources else "", "project": project}))
    click.echo(f"cluster {name or context!r} ({connection.server}, {version}) {'changed' if known else 'added'}")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise Misused(f"{text!r}: NAME=VALUE is needed")
    return name, value


def _secret(present: str, connection: Connection, name: str, namespaces: Sequence[str], labels: dict[str, str],
            more: dict[str, str]) -> Obj:
    from fairway.gitops.clusters import config_of, secret_name
    from fairway.gitops.repository_secrets import SECRET_TYPE
    from fairway.gitops.tracking import HOME

    said = {"name": name, "server": connection.server, "namespaces": ",".join(namespaces),
            "config": json.dumps(config_of(connection)), **more}
    return {
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": present or secret_name(connection.server), "namespace": HOME, "labels": {
            **labels, SECRET_TYPE: "cluster"}, "annotations": {"managed-by": "argocd.argoproj.io"}},
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in said.items() if value},
    }  # fmt: skip


@command.command()
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def rm(state: StateDir, name: str, yes: bool) -> None:
    """Forget a cluster, by its NAME or its server. What is in it stays there."""
    from fairway.gitops.tracking import HOME

    client = _client(state)
    cluster = _one(client, name)
    if not cluster.secret:
        raise CommandError("the platform's own cluster cannot be removed",
                           mend='close it with cluster.inClusterEnabled: "false" in the ConfigMap argocd-cm')
    count = sum(_is_of(app, cluster) for app in client.list(APPLICATIONS))
    question = f"Forget {cluster.name}? {count} Applications are delivered to it; their objects stay there"
    if not yes and not click.confirm(question):
        raise CommandError(f"{cluster.name} was not removed", mend="say that it is meant, with --yes")
    client.delete(SECRETS, cluster.secret, HOME)
    click.echo(f"cluster {cluster.name!r} removed; {count} Applications were delivered to it")
