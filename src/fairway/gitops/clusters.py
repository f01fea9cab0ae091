"""The clusters that Applications may be delivered to: Secrets of the namespace `argocd`, as Argo CD reads them. Pure.

    argocd.argoproj.io/secret-type: cluster

    name, server        how destinations name it; `server` is the address of its API
    namespaces          only these are looked at and written to, separated by commas; all where there are none
    clusterResources    "true": with `namespaces`, objects that belong to no namespace as well
    project             the AppProject that it belongs to
    config              JSON: bearerToken, username and password, tlsClientConfig (caData, certData, keyData, insecure,
                        serverName), execProviderConfig (command, args, env, apiVersion)

The cluster that Fairway itself serves is `in-cluster`, https://kubernetes.default.svc. A Secret with that server gives it
another name, or limits.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fairway.gitops.repository_secrets import SECRET_TYPE, text_of
from fairway.gitops.spec import HERE, IN_CLUSTER
from fairway.gitops.tracking import HOME
from fairway.kube.kubeconfig import Connection, ExecPlugin
from fairway.kube.objects import Obj, labels_of, meta_of

_REFUSED = {
    "awsAuthConfig": "use execProviderConfig with `aws eks get-token`",
    "proxyUrl": "no proxy is used on the way to a cluster",
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """`connection` is None for the cluster that Fairway serves, and where `mistake` says why the Secret cannot be used."""

    name: str
    server: str
    namespaces: tuple[str, ...] = ()
    cluster_resources: bool = False
    project: str = ""
    connection: Connection | None = None
    mistake: str = ""
    secret: str = ""

    @property
    def is_here(self) -> bool:
        return self.server == HERE

    def refusal(self, obj: Obj, *, namespaced: bool) -> str:
        """Why the object may not be managed here; "" where it may."""
        if not self.namespaces:
            return ""
        kind, namespace = str(obj.get("kind")), str(meta_of(obj).get("namespace") or "")
        if not namespaced:
            if self.cluster_resources:
                return ""
            return f'cluster level {kind} "{meta_of(obj).get("name")}" can not be managed when in namespaced mode'
        if namespace in self.namespaces:
            return ""
        return f'namespace "{namespace}" for {kind} "{meta_of(obj).get("name")}" is not managed'


OURS = Cluster(IN_CLUSTER, HERE)


class UnknownCluster(ValueError):
    """No cluster, or more than one, is meant by a destination; the text is Argo CD's."""


def is_cluster_secret(obj: Obj) -> bool:
    return meta_of(obj).get("namespace") == HOME and labels_of(obj).get(SECRET_TYPE) == "cluster"


def choose(server: str, name: str, known: Iterable[Cluster], *, here: bool = True) -> Cluster:
    """The cluster that a destination means; neither a server nor a name means the one that Fairway serves. `UnknownCluster`.

    `here`: whether that one may be delivered to (`cluster.inClusterEnabled` of argocd-cm).
    """
    wanted = server.rstrip("/")
    clusters = list(known)
    if all(not cluster.is_here for cluster in clusters):
        clusters.append(OURS)
    if wanted and name:
        raise UnknownCluster(f"application destination can't have both name and server defined: {name} {server}")
    if wanted or not name:
        found = [cluster for cluster in clusters if cluster.server == (wanted or HERE)][:1]
        if not found:
            raise UnknownCluster(f'error getting cluster by server "{wanted}": cluster "{wanted}" not found')
    else:
        found = [cluster for cluster in clusters if cluster.name == name or (cluster.is_here and name == IN_CLUSTER)]
        if not found:
            raise UnknownCluster(f"there are no clusters with this name: {name}")
        if len(found) > 1:
            servers = " ".join(sorted(cluster.server for cluster in found))
            raise UnknownCluster(f"there are {len(found)} clusters with the same name: [{servers}]")
    if found[0].is_here and not here:
        raise UnknownCluster(f"cluster {HERE} is disabled: argocd-cm says cluster.inClusterEnabled: \"false\"")
    if found[0].mistake:
        raise UnknownCluster(f"cluster {found[0].name} cannot be used: {found[0].mistake}")
    return found[0]


# --- reading a Secret -----------------------------------------------------------------------------------------------------


def decode_cluster(secret: Obj) -> Cluster:
    """Whatever is wrong with it is its `mistake`, which names the key and never shows a value."""
    data, own = text_of(secret), str(meta_of(secret)["name"])
    server = data.get("server", "").rstrip("/")
    name = data.get("name", "") or server or own
    spaces = tuple(word for part in data.get("namespaces", "").split(",") if (word := part.strip()))
    connection, mistake = None, ""
    if not server:
        mistake = f"Secret {HOME}/{own}: data.server is missing; it is the address of the cluster's API"
    elif server != HERE:
        try:
            connection = _connection(server, data.get("config", ""))
        except ValueError as error:
            mistake = f"Secret {HOME}/{own}: data.config{error}"
    return Cluster(name, server, spaces, data.get("clusterResources", "") == "true", data.get("project", ""), connection,
                   mistake, own)


def _connection(server: str, config: str) -> Connection:
    """`ValueError` with the path below `config`."""
    try:
        said = json.loads(config) if config else {}
    except ValueError:
        raise ValueError(" is not JSON") from None
    if not isinstance(said, dict):
        raise ValueError(" is not a JSON object")
    for key, mend in _REFUSED.items():
        if said.get(key):
            raise ValueError(f".{key} is not supported; {mend}")
    tls = _mapping(said, "tlsClientConfig")
    if tls.get("insecure") and tls.get("caData"):
        raise ValueError(".tlsClientConfig: insecure and caData exclude each other")
    return Connection(
        server, ca=_pem(tls, "caData"), insecure=bool(tls.get("insecure")), token=str(said.get("bearerToken") or ""),
        username=str(said.get("username") or ""), password=str(said.get("password") or ""),
        client_certificate=_pem(tls, "certData"), client_key=_pem(tls, "keyData"), server_name=str(tls.get("serverName") or ""),
        exec=_plugin(_mapping(said, "execProviderConfig")),
    )  # fmt: skip


def _mapping(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = parent.get(key) or {}
    if not isinstance(found, dict):
        raise ValueError(f".{key} is not an object")
    return found


def _pem(tls: Mapping[str, Any], key: str) -> str:
    try:
        return base64.b64decode(str(tls.get(key) or ""), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ValueError(f".tlsClientConfig.{key} is not base64 of a PEM") from None


def _plugin(said: Mapping[str, Any]) -> ExecPlugin | None:
    if not said:
        return None
    if not said.get("command"):
        raise ValueError(".execProviderConfig.command is missing")
    return ExecPlugin(
        str(said["command"]), tuple(str(argument) for argument in said.get("args") or ()),
        tuple((str(name), str(value)) for name, value in (said.get("env") or {}).items()),
        str(said.get("apiVersion") or "client.authentication.k8s.io/v1"),
    )  # fmt: skip


# --- writing one ----------------------------------------------------------------------------------------------------------


def secret_name(server: str) -> str:
    """As Argo CD calls the Secret of a cluster: the same one for each server."""
    host = (urlsplit(server).hostname or "cluster").lower()
    return f"cluster-{host}-{zlib.crc32(server.encode())}"


def config_of(connection: Connection) -> Obj:
    """What `config` says, as JSON; the reverse of reading it."""
    found: Obj = {key: value for key, value in (("bearerToken", connection.token), ("username", connection.username),
                                                ("password", connection.password)) if value}
    tls: Obj = {key: base64.b64encode(pem.encode()).decode() for key, pem in (
        ("caData", connection.ca), ("certData", connection.client_certificate), ("keyData", connection.client_key)) if pem}
    tls |= {"serverName": connection.server_name} if connection.server_name else {}
    found["tlsClientConfig"] = {"insecure": connection.insecure, **tls}
    if (plugin := connection.exec) is not None:
        found["execProviderConfig"] = {"command": plugin.command, "args": list(plugin.arguments),
                                       "env": dict(plugin.environment), "apiVersion": plugin.api_version}
    return found
