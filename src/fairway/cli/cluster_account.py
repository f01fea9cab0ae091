"""A service account in a cluster that is to be registered, so that the platform need not go by somebody's own credentials.

`argocd-manager` in `kube-system`, as the argocd CLI makes it: with all rights, or with all rights in some namespaces.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fairway.cli.errors import CommandError
from fairway.kube.objects import Obj

if TYPE_CHECKING:
    from fairway.kube.kubeconfig import Connection

NAME, NAMESPACE = "argocd-manager", "kube-system"
_RBAC, _GROUP = "rbac.authorization.k8s.io/v1", "rbac.authorization.k8s.io"
_EVERYTHING = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
_TOKEN_WITHIN_S = 30.0


def objects(namespaces: Sequence[str], *, cluster_resources: bool) -> Iterator[Obj]:
    """The account, its token, and its rights."""
    home = {"namespace": NAMESPACE}
    subjects = [{"kind": "ServiceAccount", "name": NAME, **home}]
    yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, **home}}
    yield {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
           "metadata": {"name": f"{NAME}-token", **home, "annotations": {"kubernetes.io/service-account.name": NAME}}}
    for space in namespaces:
        about = {"namespace": space}
        yield {"apiVersion": _RBAC, "kind": "Role", "metadata": {"name": f"{NAME}-role", **about}, "rules": [_EVERYTHING]}
        yield {"apiVersion": _RBAC, "kind": "RoleBinding", "metadata": {"name": f"{NAME}-role-binding", **about},
               "roleRef": {"apiGroup": _GROUP, "kind": "Role", "name": f"{NAME}-role"}, "subjects": subjects}
    if not namespaces or cluster_resources:
        paths = {"nonResourceURLs": ["*"], "verbs": ["*"]}
        yield {"apiVersion": _RBAC, "kind": "ClusterRole", "metadata": {"name": f"{NAME}-role"}, "rules": [_EVERYTHING, paths]}
        yield {"apiVersion": _RBAC, "kind": "ClusterRoleBinding", "metadata": {"name": f"{NAME}-role-binding"},
               "roleRef": {"apiGroup": _GROUP, "kind": "ClusterRole", "name": f"{NAME}-role"}, "subjects": subjects}


async def as_account(connection: Connection, namespaces: Sequence[str], *, cluster_resources: bool) -> Connection:
    """Make the account with the rights of `connection`; the connection that it has. Raises `ApiError`."""
    from fairway.kube.api import apply
    from fairway.kube.cluster import ClusterApi
    from fairway.kube.resources import SECRETS

    api = await ClusterApi.connect(connection)
    try:
        for obj in objects(namespaces, cluster_resources=cluster_resources):
            await apply(api, obj, manager="fairway-cli")
        token = ""
        try:
            async with asyncio.timeout(_TOKEN_WITHIN_S):
                async for event in api.watch(SECRETS, NAMESPACE, fields=f"metadata.name={NAME}-token"):
                    if token := (event.object.get("data") or {}).get("token", ""):
                        break
        except TimeoutError:
            raise CommandError(f"the cluster has made no token for the service account {NAME} within {_TOKEN_WITHIN_S:.0f} s",
                               mend=f"see: kubectl -n {NAMESPACE} describe secret {NAME}-token") from None
    finally:
        await api.close()
    return replace(connection, token=base64.b64decode(token).decode(), token_file="", username="", password="",
                   client_certificate="", client_key="", exec=None)
