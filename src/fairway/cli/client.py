"""The platform as a command sees it: raw objects of its API and answers of its web port, over the standard library.

    client = Client.of(state)                      # NoPlatform where none runs
    rollout = client.get(ROLLOUTS, "shop", "shop")
    client.patch(ROLLOUTS, "shop", "shop", {"spec": {"paused": True}})
    for kind, obj in client.watch(ROLLOUTS, "shop", fields="metadata.name=shop"): ...
    answer = client.web("/api/v1/query", {"query": "up"})

Errors of the API are `fairway.kube.errors.ApiError`s; the group prints them in one line. A client is for one thread;
each stream has a connection of its own.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from fairway.cli.errors import CommandError, NoPlatform
from fairway.kube.errors import ApiError, NotFound, Unauthorized
from fairway.kube.objects import Obj
from fairway.kube.resources import Resource
from fairway.state import StateDir

if TYPE_CHECKING:
    from fairway.cli.cluster_access import ClusterAccess
    from fairway.kube.kubeconfig import Connection
    from fairway.kube.resources import ResourceMap

MERGE, JSON_PATCH, STRATEGIC, APPLY = (
    "application/merge-patch+json", "application/json-patch+json", "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)  # fmt: skip
AUTH_TOKEN = "FAIRWAY_AUTH_TOKEN"
_TIMEOUT_S = 30.0  # for one answer; streams have none
Query = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Addresses:
    """What a running daemon says about itself in `daemon.json`."""

    pid: int
    api_url: str
    web_url: str
    ingress_port: int
    data_plane: str = ""
    """What moves the requests, in one line for people."""
    kubeconfig: str = ""
    """In cluster mode: how the cluster is reached; with `context`, "" for the current one."""
    context: str = ""
    without: tuple[str, ...] = ()
    """Parts that are switched off."""
    identity: str = ""
    """In cluster mode: under which name the daemon holds Leases."""
    prometheus: str = ""
    """Who is asked instead of the platform's own metrics, without a login; "" where nobody is."""

    @property
    def ingress_url(self) -> str:
        """"" where no ingress of ours answers."""
        return f"http://127.0.0.1:{self.ingress_port}" if self.ingress_port else ""

    @staticmethod
    def read(state: StateDir) -> Addresses | None:
        """None where no daemon runs. A file that a killed daemon left behind counts as none, even where its pid was given
        to somebody else."""
        from fairway.traffic.detached import started_of

        try:
            facts = json.loads(state.daemon.read_text())
            found = Addresses(int(facts["pid"]), facts["api_url"], facts["web_url"], int(facts["ingress_port"]),
                              str(facts.get("data_plane", "")), str(facts.get("kubeconfig", "")),
                              str(facts.get("context", "")), tuple(facts.get("without", ())),
                              str(facts.get("identity", "")), str(facts.get("prometheus", "")))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        same = facts.get("process") in (None, started_of(found.pid))
        return found if same and is_alive(found.pid) else None


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 (no pathlib needed for one read)
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


class Client:
    def __init__(self, addresses: Addresses, *, token: str, ca_file: str, cluster: ClusterAccess | None = None,
                 registered: bool = False) -> None:
        """`cluster` where the objects are not in the platform's own API; `registered`: in one that it delivers to besides."""
        self._registered = registered
        self._served: ResourceMap | None = None
        self.addresses = addresses
        self._cluster = cluster
        self._token = token
        self._ca_file = ca_file
        self._tls: ssl.SSLContext | None = None
        self._kept: dict[str, http.client.HTTPConnection] = {}

    @staticmethod
    def of(state: StateDir) -> Client:
        """The client of the platform over `state`; `NoPlatform` where none runs. As the holder of the token in the environment,
        else as the platform's administrator."""
        addresses = Addresses.read(state)
        if addresses is None:
            raise NoPlatform(f"no platform is running in {state.root}", mend="start it with: fairway up")
        try:
            token = os.environ.get(AUTH_TOKEN) or state.token.read_text().strip()
        except OSError as error:
            raise CommandError(f"cannot read the platform's token {state.token}: {error.strerror}",
                               mend="run the command as the user who started the platform") from error
        cluster = None
        if addresses.kubeconfig:
            from fairway.cli.cluster_access import ClusterAccess

            cluster = ClusterAccess.of_kubeconfig(addresses.kubeconfig, addresses.context)
        return Client(addresses, token=token, ca_file=str(state.pki / "ca.crt"), cluster=cluster)

    def elsewhere(self, connection: Connection) -> Client:
        """A client of the same platform's whose objects are in another cluster."""
        from fairway.cli.cluster_access import ClusterAccess

        return Client(replace(self.addresses, api_url=connection.server), token=self._token, ca_file=self._ca_file,
                      cluster=ClusterAccess(connection), registered=True)

    def resources(self) -> ResourceMap:
        """Every kind that the API serves now."""
        if self._served is None:
            import asyncio

            from fairway.kube.discovering import discover

            turn = asyncio.Lock()  # there is one connection

            async def fetch(path: str, accept: str) -> Obj:
                async with turn:
                    return await asyncio.to_thread(self._object, "GET", path, accept=accept)

            self._served = asyncio.run(discover(fetch))
        return self._served

    # --- objects ------------------------------------------------------------------------------------------------------

    def get(self, resource: Resource, name: str, namespace: str = "", *, subresource: str = "") -> Obj:
        return self._object("GET", path_of(resource, namespace, name, subresource))

    def find(self, resource: Resource, name: str, namespace: str = "") -> Obj | None:
        """`get`, or None where there is no such object."""
        try:
            return self.get(resource, name, namespace)
        except NotFound:
            return None

    def list(self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Obj]:
        """All namespaces where `namespace` is ""; each item has its apiVersion and kind."""
        query = {k: v for k, v in (("labelSelector", labels), ("fieldSelector", fields)) if v}
        body = self._object("GET", path_of(resource, namespace), query)
        return [{"apiVersion": resource.api_version, "kind": resource.kind, **item} for item in body["items"]]

    def watch(self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = "",
              resource_version: str = "", timeout_s: int = 0) -> Iterator[tuple[str, Obj]]:
        """(event type, object) pairs; present objects come first as ADDED unless a version is given.

        Ends when the server ends the stream (`timeout_s`, or its own limit). An ERROR event is raised as an ApiError.
        """
        asked: dict[str, str | int] = {"labelSelector": labels, "fieldSelector": fields,
                                       "resourceVersion": resource_version, "timeoutSeconds": timeout_s}
        query = {"watch": "true", **{key: value for key, value in asked.items() if value}}
        for line in self.stream(path_of(resource, namespace), query):
            event = json.loads(line)
            if event["type"] == "ERROR":
                raise ApiError.from_status(event["object"])
            yield event["type"], event["object"]

    def create(self, resource: Resource, obj: Obj, *, manager: str = "fairway-cli") -> Obj:
        namespace = obj["metadata"].get("namespace", "")
        return self._object("POST", path_of(resource, namespace), {"fieldManager": manager}, obj)

    def replace(self, resource: Resource, obj: Obj, *, subresource: str = "", manager: str = "fairway-cli") -> Obj:
        meta = obj["metadata"]
        path = path_of(resource, meta.get("namespace", ""), meta["name"], subresource)
        return self._object("PUT", path, {"fieldManager": manager}, obj)

    def patch(self, resource: Resource, name: str, namespace: str, body: Any, *, kind: str = MERGE,
              subresource: str = "", manager: str = "fairway-cli") -> Obj:
        """`kind` is one of the content types at the top of this module; a merge patch where nothing is said."""
        path = path_of(resource, namespace, name, subresource)
        return self._object("PATCH", path, {"fieldManager": manager}, body, content_type=kind)

    def apply(self, resource: Resource, obj: Obj, *, manager: str = "fairway-cli", force: bool = True,
              dry_run: bool = False) -> Obj:
        """Server-side apply: creates the object where it is absent. With `dry_run` only says what it would become."""
        meta = obj["metadata"]
        query = {"fieldManager": manager, "force": "true" if force else "false", **({"dryRun": "All"} if dry_run else {})}
        return self._object("PATCH", path_of(resource, meta.get("namespace", ""), meta["name"]), query, obj,
                            content_type=APPLY)

    def delete(self, resource: Resource, name: str, namespace: str = "", *, propagation: str = "Background") -> Obj:
        return self._object("DELETE", path_of(resource, namespace, name), {},
                            {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation})

    # --- raw ----------------------------------------------------------------------------------------------------------

    def raw(self, method: str, path: str, query: Query | None = None, body: Any = None) -> Any:
        """Any path of the API; the decoded JSON, or the text where the answer is none."""
        return _decoded(*self._ask(self.addresses.api_url, method, path, query, body))

    def stream(self, path: str, query: Query | None = None) -> Iterator[bytes]:
        """Lines of a streamed answer of the API (watches, followed logs), without their line ends."""
        return self._lines(self.addresses.api_url, path, query)

    def web(self, path: str, query: Query | None = None, *, method: str = "GET", body: Any = None) -> Any:
        """An answer of the web port (PromQL, health, run logs): decoded JSON, or text."""
        return _decoded(*self._ask(self.addresses.web_url, method, path, query, body))

    def web_stream(self, path: str, query: Query | None = None) -> Iterator[bytes]:
        return self._lines(self.addresses.web_url, path, query)

    def close(self) -> None:
        for connection in self._kept.values():
            connection.close()
        self._kept.clear()

    # --- HTTP ---------------------------------------------------------------------------------------------------------

    def _object(self, method: str, path: str, query: Query | None = None, body: Any = None, *,
                content_type: str = "application/json", accept: str = "application/json") -> Obj:
        found = _decoded(*self._ask(self.addresses.api_url, method, path, query, body, content_type, accept))
        if not isinstance(found, dict):
            raise CommandError(f"the API answered {method} {path} with something that is not an object: {found!r}")
        return found

    def _ask(self, base: str, method: str, path: str, query: Query | None, body: Any,
             content_type: str = "application/json", accept: str = "application/json") -> tuple[int, str, bytes]:
        connection = self._kept.get(base) or self._kept.setdefault(base, self._connection(base, _TIMEOUT_S))
        data, target = None if body is None else json.dumps(body).encode(), _target(base, path, query)
        try:
            answer = self._send(connection, method, target, data, content_type, self._cluster_of(base), accept)
            if answer.status == Unauthorized.code and (cluster := self._cluster_of(base)) is not None and cluster.renew():
                answer.read()
                answer = self._send(connection, method, target, data, content_type, cluster, accept)
            return answer.status, answer.headers.get_content_type(), answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._kept.pop(base).close()
            raise _unreachable(base, error, registered=self._registered) from error

    def _lines(self, base: str, path: str, query: Query | None) -> Iterator[bytes]:
        connection = self._connection(base, None)
        try:
            answer = self._send(connection, "GET", _target(base, path, query), None, "application/json", self._cluster_of(base))
            if answer.status >= 400:
                _decoded(answer.status, answer.headers.get_content_type(), answer.read())
            while line := answer.readline():
                yield line.rstrip(b"\n")
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(base, error, registered=self._registered) from error
        finally:
            connection.close()

    def _send(self, connection: http.client.HTTPConnection, method: str, target: str, data: bytes | None,
              content_type: str, cluster: ClusterAccess | None,
              accept: str = "application/json") -> http.client.HTTPResponse:
        who = cluster.authorization() if cluster is not None else {"Authorization": f"Bearer {self._token}"}
        headers = {**who, "Accept": accept, "User-Agent": "fairway"}
        if data is not None:
            headers["Content-Type"] = content_type
        try:
            connection.request(method, target, body=data, headers=headers)
            return connection.getresponse()
        except (http.client.RemoteDisconnected, ssl.SSLEOFError, BrokenPipeError):
            # A kept connection that the server closed meanwhile: nothing was processed, ask once more on a new one.
            connection.close()
            connection.request(method, target, body=data, headers=headers)
            return connection.getresponse()

    def _cluster_of(self, base: str) -> ClusterAccess | None:
        """The web port is the platform's own, whoever holds the objects."""
        return self._cluster if base == self.addresses.api_url else None

    def _connection(self, base: str, timeout: float | None) -> http.client.HTTPConnection:
        if (cluster := self._cluster_of(base)) is not None:
            return cluster.connection(timeout)
        url = urlsplit(base)
        if url.hostname is None:
            raise CommandError(f"the platform announces an address that is none: {base!r}")
        if url.scheme != "https":
            return http.client.HTTPConnection(url.hostname, url.port, timeout=timeout)
        if self._tls is None:
            self._tls = ssl.create_default_context(cafile=self._ca_file)
        return http.client.HTTPSConnection(url.hostname, url.port, timeout=timeout, context=self._tls)


def path_of(resource: Resource, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """Where the API serves this: `/apis/apps/v1/namespaces/shop/deployments/web/scale`."""
    parts = ["apis", resource.group, resource.version] if resource.group else ["api", resource.version]
    if namespace and resource.namespaced:
        parts += ["namespaces", namespace]
    parts += [resource.plural, *(part for part in (name, subresource) if part)]
    return "/" + "/".join(quote(part, safe="") for part in parts)


def _target(base: str, path: str, query: Query | None) -> str:
    prefix = urlsplit(base).path.rstrip("/")
    return f"{prefix}{path}" + (f"?{urlencode(query)}" if query else "")


def _decoded(status: int, content_type: str, body: bytes) -> Any:
    found: Any = body.decode(errors="replace")
    if content_type == "application/json" and body:
        found = json.loads(body)
    if status < 400:
        return found
    if isinstance(found, dict) and found.get("kind") == "Status":
        raise ApiError.from_status(found)
    said = found.get("error") if isinstance(found, dict) else found
    message = str(said or found).strip() or http.client.responses.get(status, "")
    raise ApiError.from_status({"message": message, "code": status, "reason": "NotFound" if status == 404 else ""})


def _unreachable(base: str, error: Exception, *, registered: bool) -> CommandError:
    if registered:
        return CommandError(f"the cluster at {base} cannot be reached: {error}", mend="see: fairway cluster list")
    if isinstance(error, TimeoutError):
        return CommandError(f"the platform at {base} did not answer in time", mend="see its log: logs/daemon.log")
    return NoPlatform(f"the platform at {base} cannot be reached: {error}",
                      mend="see: fairway status; start it again with: fairway up")
