"""The routing model in Envoy's words: a bootstrap, and four files that Envoy follows.

Listeners (LDS), clusters with their endpoints inline (CDS), and two route tables (RDS): `ingress`, chosen by host name, and
`services`, chosen by the listener that a request came in on. Each file lies in a directory of its own, because Envoy
re-reads a file on any rename beside it, and is replaced by rename, because Envoy does not notice a file written in
place. Endpoints are inline because every watched file costs one of the user's 128 inotify instances.

Each file carries the hash of its content as `version_info`: that is how a change is confirmed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from fairway.traffic.model import (
    UNCHANGED,
    Answer,
    Backend,
    Cluster,
    CookieMatch,
    Fault,
    HeaderChange,
    HeaderChanges,
    HeaderMatch,
    IngressListener,
    Model,
    QueryMatch,
    Redirect,
    Retries,
    Route,
    ServiceListener,
    VirtualHost,
)

Json = dict[str, Any]
_Part = TypeVar("_Part", bound=Hashable)

INGRESS_TABLE = "ingress"
SERVICES_TABLE = "services"
LISTENER_HEADER = "x-fairway-listener"
"""Set on every request that comes in on a Service listener, whatever the client sent, and removed again before the
request leaves: it names the virtual host, so that one route table serves all Service listeners."""

MAX_RETRIES = 1024
"""Concurrent retries per cluster. Envoy's default of 3 makes retries useless in an outage."""
MANY = 100_000  # connections, pending and active requests per cluster: not a limit on one machine
UPSTREAM_IDLE = "1.5s"
"""Idle upstream connections are closed before servers do it (gunicorn 2 s, uvicorn and Node 5 s), so that no request
meets a connection that is being closed."""
HISTOGRAM_MS = (0.5, 1, 2, 3, 4, 5, 7.5, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1000, 2000, 5000, 10000,
                30000, 60000)
"""Bounds of request times: a p99 of a local service lies between 1 and 50 ms, where Envoy's own have six bounds."""

STATS_FLUSH = "0.2s"
"""How often histograms are merged: so late the native gate hears of slow answers. Takes 0.3 % of a core (2 % with 200 apps), of
Envoy's main thread, which serves no requests."""
CLUSTER_STATS = r"cluster\.[^.]+\.(upstream_rq|upstream_cx_(active|total|connect_fail)|membership_)"
"""Of the 128 statistics that Envoy keeps for a cluster and the 24 for a listener, these are read by somebody; each of the
others would cost a hundred bytes. They are made when a cluster is first used."""
_OWN_STATS = ("listener_manager", "cluster_manager", "http", "server")

_TYPE = "type.googleapis.com/envoy."
_CONNECTION_MANAGER = _TYPE + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = _TYPE + "extensions.filters.http.router.v3.Router"
_TCP_PROXY = _TYPE + "extensions.filters.network.tcp_proxy.v3.TcpProxy"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_EARLY_MUTATION = _TYPE + "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
_FAULT = "envoy.filters.http.fault"
_FAULT_TYPE = _TYPE + "extensions.filters.http.fault.v3.HTTPFault"
_SAFE_METHODS = "GET|HEAD|OPTIONS"


@dataclass(frozen=True, slots=True)
class Folders:
    """Where Envoy finds its files, as absolute paths."""

    listeners: str
    clusters: str
    ingress_routes: str
    service_routes: str

    @staticmethod
    def below(root: str) -> Folders:
        return Folders(*(f"{root}/{name}" for name in ("lds", "cds", "rds-ingress", "rds-services")))


@dataclass(frozen=True, slots=True)
class File:
    """One discovery response. `text` is what the file holds."""

    version: str
    text: str


_encode = msgspec.json.Encoder(order="sorted").encode
Text = msgspec.Raw
"""JSON that is written already."""


def text_of(resource: Json) -> Text:
    return Text(_encode(resource))


def file_of(resources: Sequence[Json | Text]) -> File:
    body = _encode(resources)
    version = hashlib.sha256(body).hexdigest()[:16]
    return File(version, f'{{"version_info":"{version}","resources":{body.decode()}}}')


class Files:
    """The files of one model after the other. What is written of a part is kept while the part is in the model and does not
    change: most passes change one of a thousand."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._kept: dict[str, dict[Hashable, Text]] = {}

    def clusters(self, model: Model) -> dict[str, Text]:
        """The resources of the CDS file by their names."""
        return dict(zip((cluster.name for cluster in model.clusters), self._written("cds", model.clusters, _cluster),
                        strict=True))

    def listeners(self, model: Model) -> File:
        return file_of([_ingress_listener(model.ingress, self._folders),
                        *self._written("lds", model.services, lambda found: _service_listener(found, self._folders))])

    def ingress_routes(self, model: Model) -> File:
        hosts = self._written("ingress", [(host, model.ingress.port) for host in model.ingress.hosts],
                              lambda found: _ingress_host(*found))
        return file_of([_table(INGRESS_TABLE, hosts)])

    def service_routes(self, model: Model) -> File:
        hosts = self._written("services", [found for found in model.services if found.protocol != "tcp"], _service_host)
        return file_of([{**_table(SERVICES_TABLE, hosts), "vhost_header": LISTENER_HEADER,
                         "request_headers_to_remove": [LISTENER_HEADER]}])

    def _written(self, what: str, parts: Sequence[_Part], write: Callable[[_Part], Json]) -> list[Text]:
        known = self._kept.get(what, {})
        texts = [known.get(part) or text_of(write(part)) for part in parts]
        self._kept[what] = dict(zip(parts, texts, strict=True))
        return texts


# --- bootstrap ----------------------------------------------------------------------------------------------------


def bootstrap(folders: Folders, *, admin_socket: str, node: str) -> str:
    return json.dumps({
        "node": {"id": node, "cluster": "fairway"},
        "admin": {"address": {"pipe": {"path": admin_socket, "mode": 0o600}}},
        "dynamic_resources": {
            "lds_config": _from_file(folders.listeners, "lds.json"),
            "cds_config": _from_file(folders.clusters, "cds.json"),
        },
        "stats_flush_interval": STATS_FLUSH,
        "stats_config": {
            "stats_matcher": {"inclusion_list": {"patterns": [
                {"safe_regex": {"regex": rf"{CLUSTER_STATS}.*"}}, *({"prefix": f"{prefix}."} for prefix in _OWN_STATS)]}},
            "histogram_bucket_settings": [
                {"match": {"suffix": "upstream_rq_time"}, "buckets": list(HISTOGRAM_MS)},
            ],
        },
        "deferred_stat_options": {"enable_deferred_creation_stats": True},
        # What an update of a thousand routes leaves free goes back to the machine.
        "memory_allocator_manager": {"bytes_to_release": 16 << 20, "memory_release_interval": "1s"},
        "layered_runtime": {"layers": [{"name": "admin", "admin_layer": {}}]},
    }, indent=1, sort_keys=True)


def _from_file(folder: str, name: str) -> Json:
    return {
        "path_config_source": {"path": f"{folder}/{name}", "watched_directory": {"path": folder}},
        "resource_api_version": "V3",
    }


# --- clusters -----------------------------------------------------------------------------------------------------


def _cluster(cluster: Cluster) -> Json:
    limits = {"max_connections": MANY, "max_pending_requests": MANY, "max_requests": MANY, "max_retries": MAX_RETRIES}
    body: Json = {
        "@type": _TYPE + "config.cluster.v3.Cluster",
        "name": cluster.name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {
            "cluster_name": cluster.name,
            "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": _socket(endpoint.address, endpoint.port)}} for endpoint in cluster.endpoints
            ]}] if cluster.endpoints else [],
        },
    }
    if cluster.protocol != "tcp":
        upstream: Json = {"http2_protocol_options": {}} if cluster.protocol == "http2" else {"http_protocol_options": {}}
        if cluster.endpoints:  # a cluster without any is made anew with its first one
            body["outlier_detection"] = _OUTLIERS
        body["typed_extension_protocol_options"] = {_HTTP_OPTIONS: {
            "@type": "type.googleapis.com/" + _HTTP_OPTIONS,
            "common_http_protocol_options": {"idle_timeout": UPSTREAM_IDLE},
            "explicit_http_config": upstream,
        }}
    return body


_OUTLIERS: Json = {
    # Only what Envoy saw itself (refused, reset, timed out) ejects an endpoint. Answers of 5xx never do: they are the
    # evidence by which a version is judged.
    "split_external_local_origin_errors": True,
    "consecutive_local_origin_failure": 2,
    "enforcing_consecutive_local_origin_failure": 100,
    "enforcing_consecutive_5xx": 0,
    "enforcing_consecutive_gateway_failure": 0,
    "enforcing_success_rate": 0,
    "enforcing_local_origin_success_rate": 0,
    "interval": "1s",
    "base_ejection_time": "5s",
    "max_ejection_percent": 100,
}


def _socket(address: str, port: int) -> Json:
    return {"socket_address": {"address": address, "port_value": port}}


# --- listeners ----------------------------------------------------------------------------------------------------


def _ingress_listener(ingress: IngressListener, folders: Folders) -> Json:
    return _listener("ingress", ingress.address, ingress.port, _http(
        "ingress", INGRESS_TABLE, folders.ingress_routes, {"use_remote_address": True, "normalize_path": True},
        faults=({"name": _FAULT, "typed_config": {"@type": _FAULT_TYPE}},)))  # does nothing where no route names one


def serves_http(model: Model) -> bool:
    """Whether some listener follows the route table of Services."""
    return any(listener.protocol != "tcp" for listener in model.services)


def _service_listener(listener: ServiceListener, folders: Folders) -> Json:
    if listener.protocol == "tcp":
        proxy = {"@type": _TCP_PROXY, "stat_prefix": "services", "cluster": listener.backends[0].cluster}
        chain = {"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}
    else:
        chosen = {"append": {
            "header": {"key": LISTENER_HEADER, "value": listener.name},
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
        }}
        chain = _http("services", SERVICES_TABLE, folders.service_routes, {"early_header_mutation_extensions": [{
            "name": "envoy.http.early_header_mutation.header_mutation",
            "typed_config": {"@type": _EARLY_MUTATION, "mutations": [chosen]},
        }]})
    return _listener(listener.name, listener.address, listener.port, chain)


def _listener(name: str, address: str, port: int, network_filter: Json) -> Json:
    return {
        "@type": _TYPE + "config.listener.v3.Listener",
        "name": name,
        "address": _socket(address, port),
        # With it on, a second Envoy on the same port would quietly take half of the connections.
        "enable_reuse_port": False,
        "filter_chains": [{"filters": [network_filter]}],
    }


def _http(prefix: str, table: str, folder: str, more: Json, *, faults: tuple[Json, ...] = ()) -> Json:
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": {
        "@type": _CONNECTION_MANAGER,
        "stat_prefix": prefix,
        "rds": {"route_config_name": table, "config_source": _from_file(folder, "rds.json")},
        "http_protocol_options": {"accept_http_10": True},
        "server_header_transformation": "PASS_THROUGH",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_filters": [*faults, {
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": _ROUTER, "suppress_envoy_headers": True},
        }],
        **more,
    }}


# --- routes -------------------------------------------------------------------------------------------------------


def _ingress_host(host: VirtualHost, port: int) -> Json:
    return _virtual_host(host, _with_port(host, port))


def _with_port(host: VirtualHost, port: int) -> list[str]:
    """A client that names a port in the Host header means the same host."""
    found: list[str] = []
    for domain in host.domains:
        found.append(domain)
        if domain != "*":
            found.append(f"{domain}:{port}" if domain.startswith("*") else f"{domain}:*")
    return found


def _service_host(found: ServiceListener) -> Json:
    return _virtual_host(VirtualHost(found.name, (found.name,), (Route("/", "prefix", found.backends),)), [found.name])


def _table(name: str, hosts: list[Text]) -> Json:
    return {
        "@type": _TYPE + "config.route.v3.RouteConfiguration",
        "name": name,
        "validate_clusters": True,  # a route to a cluster that is not there is refused, instead of answering 503
        "virtual_hosts": hosts,
    }


def _virtual_host(host: VirtualHost, domains: list[str]) -> Json:
    """The host's own retry policy is that of requests that must not be sent twice."""
    return {
        "name": host.name,
        "domains": domains,
        "routes": [entry for found in host.routes for entry in _routes(found)],
        "retry_policy": _retry("reset-before-request"),
    }


def _routes(route: Route) -> Iterable[Json]:
    """Two entries, unless the route says for itself what is retried: requests that may be sent twice are sent again after a
    reset, others only while nothing was sent."""
    match = {**_path(route), **_some(query_parameters=[_named(found) for found in route.queries])}
    headers = [*map(_header, route.headers), *map(_cookie, route.cookies)]
    treatment = route.treatment
    more = {**_around(treatment.changes),
            **_some(typed_per_filter_config=_fault(treatment.fault) if treatment.fault else {})}
    everything = {**match, **_some(headers=headers)}
    match treatment.instead:
        case Redirect() as found:
            yield {"match": everything, "redirect": _redirect(route, found), **more}
        case Answer(status, body):
            yield {"match": everything, "direct_response": {"status": status, **_some(body=_some(inline_string=body))}, **more}
        case None if treatment.retries is not None:
            yield {"match": everything, "route": {**_action(route), "retry_policy": _retries(treatment.retries)}, **more}
        case None:
            action = _action(route)
            safe = {"name": ":method", "string_match": {"safe_regex": {"regex": _SAFE_METHODS}}}
            again = {**action, "retry_policy": _retry("reset")}
            yield {"match": {**match, "headers": [safe, *headers]}, "route": again, **more}
            yield {"match": everything, "route": action, **more}


def _some(**fields: Any) -> Json:
    """Those that say something."""
    return {name: value for name, value in fields.items() if value}


def _redirect(route: Route, found: Redirect) -> Json:
    codes = {301: "MOVED_PERMANENTLY", 302: "FOUND", 303: "SEE_OTHER", 307: "TEMPORARY_REDIRECT", 308: "PERMANENT_REDIRECT"}
    body: Json = {"response_code": codes[found.status],
                  **_some(scheme_redirect=found.scheme, host_redirect=found.host, port_redirect=found.port)}
    if "\\" in route.rewrite:
        body["regex_rewrite"] = _rewrite(route)
    elif route.rewrite:
        body["path_redirect"] = route.rewrite
    return body


def _retries(wanted: Retries) -> Json:
    if not wanted.attempts:
        return {"num_retries": 0}
    on = ",".join(filter(None, (wanted.on, "retriable-status-codes" if wanted.statuses else "")))
    body = {**_retry("reset-before-request"), "retry_on": on, "num_retries": wanted.attempts,
            **_some(retriable_status_codes=list(wanted.statuses))}
    if wanted.per_try_s:
        body["per_try_timeout"] = f"{wanted.per_try_s}s"
    return body


def _fault(fault: Fault) -> Json:
    body: Json = {"@type": _FAULT_TYPE}
    if fault.delay_percent and fault.delay_s:
        body["delay"] = {"fixed_delay": f"{fault.delay_s}s", "percentage": _percentage(fault.delay_percent)}
    if fault.status_percent:
        body["abort"] = {"http_status": fault.status, "percentage": _percentage(fault.status_percent)}
    return {_FAULT: body}


def _percentage(percent: float) -> Json:
    return {"numerator": round(percent * 10_000), "denominator": "MILLION"}


def _around(changes: HeaderChanges) -> Json:
    """What is done to headers; Envoy makes a backend's changes before its route's."""
    return _some(
        request_headers_to_add=_added(changes.request), request_headers_to_remove=_removed(changes.request),
        response_headers_to_add=_added(changes.response), response_headers_to_remove=_removed(changes.response),
    )


def _added(changes: tuple[HeaderChange, ...]) -> list[Json]:
    actions = {"set": "OVERWRITE_IF_EXISTS_OR_ADD", "add": "APPEND_IF_EXISTS_OR_ADD"}
    return [{"header": {"key": change.name, "value": change.value.replace("%", "%%")}, "append_action": actions[change.how]}
            for change in changes if change.how in actions]


def _removed(changes: tuple[HeaderChange, ...]) -> list[str]:
    return [change.name for change in changes if change.how == "remove"]


def _retry(after: str) -> Json:
    return {
        "retry_on": f"connect-failure,refused-stream,{after}",
        "num_retries": 2,
        "retry_host_predicate": [{
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {"@type": _TYPE + "extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
        }],
        "host_selection_retry_max_attempts": 10,  # of two endpoints each try finds the other one half of the time
        "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.050s"},
    }


def _path(route: Route) -> Json:
    match route.path_kind:
        case "exact":
            return {"path": route.path}
        case "regex":
            return {"safe_regex": {"regex": f"{route.path}.*"}}
        case "prefix":
            path = route.path.rstrip("/")
            return {"path_separated_prefix": path} if path else {"prefix": "/"}


def _header(header: HeaderMatch) -> Json:
    found = _named(header)
    if header.inverted:
        found["invert_match"] = True
        if header.kind != "present":
            found["treat_missing_header_as_empty"] = True
    return found


def _named(wanted: HeaderMatch | QueryMatch) -> Json:
    match wanted.kind:
        case "exact":
            return {"name": wanted.name, "string_match": {"exact": wanted.value}}
        case "regex":
            return {"name": wanted.name, "string_match": {"safe_regex": {"regex": wanted.value}}}
        case "present":
            return {"name": wanted.name, "present_match": True}


def _cookie(cookie: CookieMatch) -> Json:
    pattern = rf"(?:.*;\s*)?{re.escape(cookie.name)}={re.escape(cookie.value)}(?:\s*;.*)?"
    return {"name": "cookie", "string_match": {"safe_regex": {"regex": pattern}}}


def _action(route: Route) -> Json:
    action: Json = {
        # Unless asked for, no limit on the whole answer, only on silence: streams live as long as they speak.
        "timeout": f"{route.treatment.timeout_s or 0}s",
        "idle_timeout": f"{route.idle_timeout_s}s",
        **_split(route.backends),
    }
    if route.rewrite:
        action["regex_rewrite"] = _rewrite(route)
    if route.treatment.host:
        action["host_rewrite_literal"] = route.treatment.host
    if route.mirrors:
        action["request_mirror_policies"] = [{
            "cluster": mirror.cluster,
            "runtime_fraction": {"default_value": _percentage(mirror.percent)},
        } for mirror in route.mirrors]
    return action


def _rewrite(route: Route) -> Json:
    # ingress-nginx without a regex replaces the whole path.
    pattern = f"{route.path}.*" if route.path_kind == "regex" else "^/.*"
    return {"pattern": {"regex": pattern}, "substitution": route.rewrite}


def _split(backends: tuple[Backend, ...]) -> Json:
    used = [backend for backend in backends if backend.weight > 0]
    if len(used) == 1 and used[0].changes == UNCHANGED:
        return {"cluster": used[0].cluster}
    return {"weighted_clusters": {"clusters": [
        {"name": found.cluster, "weight": found.weight, **_around(found.changes)} for found in used]}}
