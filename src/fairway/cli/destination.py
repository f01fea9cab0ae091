"""How a command reaches the cluster that an Application is delivered to: as the platform does, by the cluster's Secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairway.cli.errors import CommandError
from fairway.kube.objects import Obj, dig

if TYPE_CHECKING:
    from fairway.cli.client import Client
    from fairway.gitops.clusters import Cluster

_OURS = ("", "https://kubernetes.default.svc", "in-cluster")


def clusters(client: Client) -> list[Cluster]:
    """Those that are registered, and the platform's own."""
    from fairway.gitops.clusters import OURS, decode_cluster
    from fairway.gitops.repository_secrets import SECRET_TYPE
    from fairway.gitops.tracking import HOME
    from fairway.kube.resources import SECRETS

    found = [decode_cluster(secret) for secret in client.list(SECRETS, HOME, labels=f"{SECRET_TYPE}=cluster")]
    return [*(() if any(cluster.is_here for cluster in found) else (OURS,)), *found]


def cluster_of(client: Client, app: Obj) -> Cluster:
    """Where the Application is delivered to."""
    from fairway.gitops.clusters import OURS, UnknownCluster, choose

    server, name = (str(dig(app, "spec", "destination", key, default="")) for key in ("server", "name"))
    if server in _OURS and name in _OURS:
        return OURS
    try:
        return choose(server, name, clusters(client))
    except UnknownCluster as error:
        raise CommandError(str(error), mend="see: fairway cluster list") from error


def destination_of(client: Client, app: Obj) -> Client:
    """The client of the cluster where the Application's objects are."""
    cluster = cluster_of(client, app)
    return client if cluster.connection is None else client.elsewhere(cluster.connection)
