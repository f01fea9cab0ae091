"""The API of a real cluster, behind the same port as the embedded one: every verb as one HTTP request.

    api = await ClusterApi.connect(read_kubeconfig(path))
    ...
    await api.close()

A watch is one request: when it ends, or breaks, the informer above begins the next one where it was.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec

from fairway.kube.api import (
    ApplyPatch,
    DeleteOptions,
    JsonPatch,
    MergePatch,
    ObjList,
    Patch,
    StrategicPatch,
    Subresource,
    WatchEvent,
    WriteOptions,
)
from fairway.kube.credentials import Credentials
from fairway.kube.discovering import discover
from fairway.kube.errors import ApiError, NotFound, Unauthorized, Unavailable
from fairway.kube.kubeconfig import Connection
from fairway.kube.objects import Obj, meta_of
from fairway.kube.resources import CRDS, PODS, Resource, ResourceMap

_ANSWER = aiohttp.ClientTimeout(total=60, sock_connect=10)
_WATCH_S = 290
_STREAM = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_WATCH_S + 10)
"""The server ends a watch after `_WATCH_S`; a connection that is silent for longer is dead, though nobody said so."""
_ESTABLISHED_S = 10.0  # a cluster serves a new kind within a second
_LOOK_EVERY_S = 0.1
_CONTENT_TYPES: dict[type[Any], str] = {
    JsonPatch: "application/json-patch+json",
    MergePatch: "application/merge-patch+json",
    StrategicPatch: "application/strategic-merge-patch+json",
    ApplyPatch: "application/apply-patch+yaml",
}
Query = Mapping[str, str]


class ClusterApi:
    """`Api` over HTTP. Make one with `connect`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._credentials = Credentials(connection)
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._resources = ResourceMap(())

    @classmethod
    async def connect(cls, connection: Connection) -> ClusterApi:
        """A client that knows the cluster's resources. `Unavailable` where the cluster cannot be reached."""
        api = cls(connection)
        try:
            await api.refresh()
        except BaseException:
            await api.close()
            raise
        return api

    async def close(self) -> None:
        """Whoever asks afterwards is answered with `Unavailable`."""
        self._closed = True
        if self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def resources(self) -> ResourceMap:
        return self._resources

    async def refresh(self) -> None:
        """Ask again which resources there are."""
        self._resources = await discover(self._document)

    async def version(self) -> str:
        """What the server says that it is, such as v1.35.0. Says also whether it can be reached and takes our credentials."""
        return str((await self._ask("GET", "/version")).get("gitVersion") or "")

    @property
    def server(self) -> str:
        return self._connection.server

    async def allowed(self, verb: str, resource: Resource) -> bool:
        """Whether we may do this to every object of the resource, in all namespaces."""
        asked = {"verb": verb, "group": resource.group, "version": resource.version, "resource": resource.plural}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                  "spec": {"resourceAttributes": asked}}
        answer = await self._ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", None, review)
        return bool((answer.get("status") or {}).get("allowed"))

    # --- reading ------------------------------------------------------------------------------------------------------

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Obj:
        return await self._ask("GET", _path(resource, namespace, name))

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        limit: int = 0,
        continue_token: str = "",
        resource_version: str = "",
        shared: bool = False,
    ) -> ObjList:
        """A cluster's answers are always one's own."""
        query = _given(labelSelector=labels, fieldSelector=fields, limit=str(limit or ""),
                       resourceVersion=resource_version, **{"continue": continue_token})
        body = await self._ask("GET", _path(resource, namespace), query)
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}  # items of typed lists leave them out
        meta = meta_of(body)
        return ObjList([{**kind, **item} for item in body.get("items") or ()], str(meta.get("resourceVersion", "")),
                       str(meta.get("continue", "")), meta.get("remainingItemCount"))

    async def watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
        bookmarks: bool = False,
        initial_events: bool = False,
    ) -> AsyncIterator[WatchEvent]:
        query = _given(labelSelector=labels, fieldSelector=fields, resourceVersion=resource_version, watch="true",
                       timeoutSeconds=str(_WATCH_S), allowWatchBookmarks="true" if bookmarks or initial_events else "")
        if initial_events:
            query |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        async with self._send("GET", _path(resource, namespace), query, timeout=_STREAM) as response:
            async for line in _lines(response):
                event = msgspec.json.decode(line)
                if event["type"] == "ERROR":
                    raise ApiError.from_status(event["object"])
                yield WatchEvent(event["type"], event["object"])

    async def pod_log(self, namespace: str, pod: str, container: str) -> AsyncIterator[bytes]:
        """The lines of a container's log from its start, as they are said, until the container has ended."""
        path = f"{_path(PODS, namespace, pod)}/log"
        query = {"container": container, "follow": "true"}
        async with self._send("GET", path, query, accept="*/*", timeout=_STREAM) as response:
            async for line in _lines(response):
                yield line

    # --- writing ------------------------------------------------------------------------------------------------------

    async def create(self, obj: Obj, options: WriteOptions | None = None) -> Obj:
        resource = self._resources.of(obj)
        path = _path(resource, meta_of(obj).get("namespace", ""))
        return await self._written(resource, await self._ask("POST", path, _query(options), obj, options=options), options)

    async def replace(self, obj: Obj, options: WriteOptions | None = None, *, subresource: Subresource = "") -> Obj:
        resource, meta = self._resources.of(obj), meta_of(obj)
        path = _path(resource, meta.get("namespace", ""), meta.get("name", ""), subresource)
        return await self._written(resource, await self._ask("PUT", path, _query(options), obj, options=options), options)

    async def patch(
        self,
        resource: Resource,
        name: str,
        namespace: str,
        patch: Patch,
        options: WriteOptions | None = None,
        *,
        subresource: Subresource = "",
    ) -> Obj:
        query = _query(options)
        if isinstance(patch, ApplyPatch) and patch.force:
            query["force"] = "true"
        body: Any = list(patch.operations) if isinstance(patch, JsonPatch) else patch.body
        found = await self._ask("PATCH", _path(resource, namespace, name, subresource), query, body, options=options,
                                content_type=_CONTENT_TYPES[type(patch)])
        return await self._written(resource, found, options)

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        delete: DeleteOptions | None = None,
        options: WriteOptions | None = None,
    ) -> Obj:
        wanted = delete or DeleteOptions()
        before = await self.get(resource, name, namespace)
        body: Obj = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": wanted.propagation}
        if wanted.grace_period_s is not None:
            body["gracePeriodSeconds"] = wanted.grace_period_s
        if options is not None and options.dry_run:
            body["dryRun"] = ["All"]
        conditions = _given(uid=wanted.uid, resourceVersion=wanted.resource_version)
        if conditions:
            body["preconditions"] = conditions
        found = await self._ask("DELETE", _path(resource, namespace, name), {}, body)
        if resource.group_kind == CRDS.group_kind:
            await self.refresh()
        return before if found.get("kind") == "Status" else found

    async def _written(self, resource: Resource, obj: Obj, options: WriteOptions | None) -> Obj:
        """A kind that was just defined is known when the write returns."""
        if resource.group_kind == CRDS.group_kind and not (options is not None and options.dry_run):
            await self._established(obj)
        return obj

    async def _established(self, crd: Obj) -> None:
        spec, loop = crd["spec"], asyncio.get_running_loop()
        served = [version["name"] for version in spec["versions"] if version.get("served", True)]
        end = loop.time() + _ESTABLISHED_S
        while True:
            await self.refresh()
            known = (self._resources.of_plural(spec["group"], name, spec["names"]["plural"]) for name in served)
            if all(row is not None for row in known) or loop.time() > end:
                return
            await asyncio.sleep(_LOOK_EVERY_S)

    # --- HTTP ---------------------------------------------------------------------------------------------------------

    async def _document(self, path: str, accept: str) -> Obj:
        async with self._send("GET", path, {}, accept=accept) as response:
            return _object(await response.read())

    async def _ask(self, method: str, path: str, query: Query | None = None, body: Any = None, *,
                   content_type: str = "application/json", options: WriteOptions | None = None) -> Obj:
        async with self._send(method, path, query or {}, body, content_type=content_type) as response:
            if options is not None:
                options.warnings.extend(_warnings(response))
            return _object(await response.read())

    @contextlib.asynccontextmanager
    async def _send(self, method: str, path: str, query: Query, body: Any = None, *, accept: str = "application/json",
                    content_type: str = "application/json",
                    timeout: aiohttp.ClientTimeout = _ANSWER) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request; credentials that the server refuses are renewed once."""
        headers = {"Accept": accept, "User-Agent": "fairway"}
        data = None
        if body is not None:
            data, headers["Content-Type"] = msgspec.json.encode(body), content_type
        for attempt in (1, 2):
            authorization = await self._credentials.authorization()
            session = self._opened()
            try:
                async with session.request(method, self._connection.server + path, params=query, data=data,
                                           headers={**headers, **authorization}, timeout=timeout,
                                           ssl=self._credentials.tls(),
                                           server_hostname=self._connection.server_name or None) as response:
                    if response.status == Unauthorized.code and attempt == 1 and self._credentials.renewable:
                        self._credentials.forget()
                        continue
                    if response.status >= 400:
                        raise await _refusal(response)
                    yield response
                    return
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise Unavailable(f"the API at {self._connection.server} cannot be reached: {_reason(error)}") from error

    def _opened(self) -> aiohttp.ClientSession:
        if self._closed:
            raise Unavailable(f"the connection to {self._connection.server} is closed")
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self._session


def _reason(error: Exception) -> str:
    """Without what differs from one time to the next."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{error.host}:{error.port}: {error.os_error.strerror or error.os_error}"
    return str(error) or type(error).__name__


def _path(resource: Resource, namespace: str = "", name: str = "", subresource: str = "") -> str:
    parts = ["apis", resource.group, resource.version] if resource.group else ["api", resource.version]
    if namespace and resource.namespaced:
        parts += ["namespaces", namespace]
    parts += [resource.plural, *(part for part in (name, subresource) if part)]
    return "/" + "/".join(quote(part, safe="") for part in parts)


def _given(**query: str) -> dict[str, str]:
    return {key: value for key, value in query.items() if value}


def _query(options: WriteOptions | None) -> dict[str, str]:
    chosen = options or WriteOptions()
    return _given(fieldManager=chosen.manager, dryRun="All" if chosen.dry_run else "", fieldValidation=chosen.validation)


def _object(data: bytes) -> Obj:
    try:
        found = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise ApiError(f"the API's answer is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ApiError("the API's answer is not an object")
    return found


async def _refusal(response: aiohttp.ClientResponse) -> ApiError:
    """The Status in the body; a proxy before the API may answer with any text."""
    data = await response.read()
    try:
        body = msgspec.json.decode(data)
    except msgspec.DecodeError:
        body = None
    if isinstance(body, dict) and body.get("kind") == "Status":
        return ApiError.from_status(body)
    if response.status == NotFound.code:
        return NotFound("the server could not find the requested resource")
    text = data[:200].decode(errors="replace").strip() or response.reason or ""
    return ApiError(f"the API answered {response.status}: {text}", code=response.status)


def _warnings(response: aiohttp.ClientResponse) -> list[str]:
    """Texts of the `Warning: 299 - "..."` headers."""
    found = []
    for header in response.headers.getall("Warning", []):
        text = header.partition('"')[2].rpartition('"')[0]
        found.append(text.replace('\\"', '"').replace("\\\\", "\\"))
    return found


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Lines of any length: an event may be larger than the reader's own limit for a line."""
    rest = b""
    async for chunk in response.content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line:
                yield line
    if rest.strip():
        yield rest
