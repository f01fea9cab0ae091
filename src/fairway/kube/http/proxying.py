"""The proxy subresource of pods, services and nodes: a request to what they run, through the API.

A name may carry a scheme and a port, `[http:|https:]NAME[:PORT]`, the port by number or name. Source: kubernetes
`pkg/registry/core/{pod,service,node}`; message texts only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from fairway.kube.api import Api
from fairway.kube.errors import BadRequest, Unavailable
from fairway.kube.http.paths import ObjectPath
from fairway.kube.objects import Obj, dig, spec_of, status_of
from fairway.kube.resources import ENDPOINT_SLICES, NODES, PODS, SERVICES

_LIMIT = aiohttp.ClientTimeout(total=None, sock_connect=10)
_HOP = {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailers", "transfer-encoding",
        "upgrade", "host", "authorization", "content-length", "accept-encoding"}
"""Headers of one connection, and the credential, which is for the API alone."""


@dataclass(frozen=True, slots=True)
class Asked:
    scheme: str
    name: str
    port: str

    @staticmethod
    def of(text: str) -> Asked:
        parts = text.split(":")
        match parts:
            case [name]:
                return Asked("http", name, "")
            case [name, port]:
                return Asked("http", name, port)
            case [scheme, name, port] if scheme in ("", "http", "https"):
                return Asked(scheme or "http", name, port)
        raise BadRequest(f'invalid {"pod" if len(parts) < 3 else "proxy"} request "{text}"')


async def proxy(api: Api, request: web.Request, path: ObjectPath) -> web.StreamResponse:
    asked = Asked.of(path.name)
    if path.plural == PODS.plural:
        host, port = _of_pod(await api.get(PODS, asked.name, path.namespace), asked.port)
    elif path.plural == SERVICES.plural:
        service = await api.get(SERVICES, asked.name, path.namespace)
        slices = await api.list(ENDPOINT_SLICES, path.namespace, labels=f"kubernetes.io/service-name={asked.name}")
        host, port = _of_service(service, slices.items, asked.port)
    else:
        host, port = _of_node(await api.get(NODES, asked.name), asked.port)
    return await _passed_on(request, f"{asked.scheme}://{host}:{port}{path.rest or '/'}")


def _of_pod(pod: Obj, port: str) -> tuple[str, int]:
    address = status_of(pod).get("podIP")
    if not address:
        raise Unavailable("address not allowed: the pod has no address yet")
    ports = [row for container in spec_of(pod).get("containers") or () for row in container.get("ports") or ()]
    if not port:
        return address, int(ports[0]["containerPort"]) if ports else 80
    named = next((int(row["containerPort"]) for row in ports if row.get("name") == port), None)
    return address, named if named is not None else _number(port)


def _of_service(service: Obj, slices: Iterable[Obj], port: str) -> tuple[str, int]:
    name = service["metadata"]["name"]
    ports = spec_of(service).get("ports") or []
    wanted = ports[:1] if not port else [row for row in ports if port in (row.get("name"), str(row.get("port")))]
    if not wanted:
        raise Unavailable(f'no service port "{port}" found for service "{name}"')
    port_name = wanted[0].get("name") or ""
    for one in slices:
        number = next((row["port"] for row in one.get("ports") or () if (row.get("name") or "") == port_name), None)
        ready = [end for end in one.get("endpoints") or () if dig(end, "conditions", "ready", default=True)]
        if number is not None and ready:
            return ready[0]["addresses"][0], int(number)
    raise Unavailable(f'no endpoints available for service "{service["metadata"]["name"]}"')


def _of_node(node: Obj, port: str) -> tuple[str, int]:
    addresses = {row["type"]: row["address"] for row in status_of(node).get("addresses") or ()}
    host = addresses.get("InternalIP") or addresses.get("Hostname") or node["metadata"]["name"]
    kubelet = dig(node, "status", "daemonEndpoints", "kubeletEndpoint", "Port", default=10250)
    return host, _number(port) if port else int(kubelet)


def _number(port: str) -> int:
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise BadRequest(f"invalid port {port!r}: a number or the name of a port is needed")
    return int(port)


async def _passed_on(request: web.Request, url: str) -> web.StreamResponse:
    """The answer as it comes, without waiting for its end."""
    headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
    body = await request.read()
    try:
        async with (
            aiohttp.ClientSession(auto_decompress=False, timeout=_LIMIT) as session,
            session.request(request.method, url, params=request.query, data=body or None, headers=headers,
                            allow_redirects=False, ssl=False) as answer,
        ):
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for part in answer.content.iter_any():
                await response.write(part)
            await response.write_eof()
            return response
    except (aiohttp.ClientConnectorError, aiohttp.ServerDisconnectedError, TimeoutError) as error:
        raise Unavailable(f"error trying to reach service: {error or type(error).__name__}") from error
