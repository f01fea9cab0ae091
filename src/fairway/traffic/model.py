"""One routing model, whatever it was read from and whoever carries it out.

A listener answers on an address; an HTTP listener picks a virtual host by name, the first route that matches, and one of
its backends by weight. A TCP listener has one cluster. Everything is frozen and ordered, so that equal models are equal
values and a model's JSON is its identity.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

PathKind = Literal["prefix", "exact", "regex"]
MatchKind = Literal["exact", "regex", "present"]
Protocol = Literal["http", "http2", "tcp"]


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Cluster:
    """The ready endpoints of one Service port, of one pod template hash ("" where pods carry none)."""

    namespace: str
    service: str
    port: int
    subset: str
    endpoints: tuple[Endpoint, ...] = ()
    protocol: Protocol = "http"

    @property
    def name(self) -> str:
        return cluster_name(self.namespace, self.service, self.port, self.subset)


def cluster_name(namespace: str, service: str, port: int, subset: str = "") -> str:
    """`<namespace>|<service>|<port>|<hash or ->`: metrics takes this name apart."""
    return f"{namespace}|{service}|{port}|{subset or '-'}"


@dataclass(frozen=True, slots=True)
class HeaderChange:
    """`set` puts a value in the place of what is there, `add` beside it, `remove` takes the header out."""

    how: Literal["set", "add", "remove"]
    name: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class HeaderChanges:
    request: tuple[HeaderChange, ...] = ()
    response: tuple[HeaderChange, ...] = ()


UNCHANGED = HeaderChanges()


@dataclass(frozen=True, slots=True)
class Backend:
    """`changes` are made to the requests that this backend gets, and to its answers."""

    cluster: str
    weight: int
    changes: HeaderChanges = UNCHANGED


@dataclass(frozen=True, slots=True)
class HeaderMatch:
    """A regex matches the whole value (RE2). `inverted`: everything but that, no such header at all included."""

    name: str
    value: str = ""
    kind: MatchKind = "exact"
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class QueryMatch:
    """A parameter of the query; a regex matches the whole value (RE2)."""

    name: str
    value: str = ""
    kind: MatchKind = "exact"


@dataclass(frozen=True, slots=True)
class CookieMatch:
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Mirror:
    """A copy of `percent` of the requests, whose answers nobody waits for."""

    cluster: str
    percent: float = 100.0


@dataclass(frozen=True, slots=True)
class Redirect:
    """Where the client is sent: "" and None keep what it asked for; the path is the route's `rewrite`."""

    status: int
    scheme: str = ""
    host: str = ""
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered without asking anybody."""

    status: int
    body: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """A trial of what clients do: so many percent of the requests wait, or are answered with `status` by the data plane."""

    delay_s: float = 0.0
    delay_percent: float = 0.0
    status: int = 503
    status_percent: float = 0.0


RETRY_WORDS = frozenset({"5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "refused-stream",
                         "retriable-4xx", "unavailable", "cancelled", "deadline-exceeded", "resource-exhausted", "internal",
                         "retriable-status-codes"})


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a request is sent again, and after what, in Envoy's words; each try may take `per_try_s` (0: no limit)."""

    attempts: int
    per_try_s: float = 0.0
    on: str = "connect-failure,refused-stream"
    statuses: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Treatment:
    """What happens to a request beside going to a backend, or `instead` of it. `host`: the name under which the backend is
    asked ("": the client's own). `retries` None: the data plane's own, which are safe for every request. `timeout_s`: for the
    whole answer (0: no limit)."""

    host: str = ""
    changes: HeaderChanges = UNCHANGED
    instead: Redirect | Answer | None = None
    fault: Fault | None = None
    retries: Retries | None = None
    timeout_s: float = 0.0


UNTREATED = Treatment()


@dataclass(frozen=True, slots=True)
class Route:
    """A prefix matches whole path elements: `/shop` takes `/shop` and `/shop/x`, not `/shopping`.

    `backends` is empty only where something else is done `instead`; where it has several, their weights have a sum above zero.
    `rewrite` replaces the matched part of the path ("" leaves it); for a regex it may name groups as \\1. `idle_timeout_s`:
    nothing moves for so long.
    """

    path: str
    path_kind: PathKind
    backends: tuple[Backend, ...]
    headers: tuple[HeaderMatch, ...] = ()
    cookies: tuple[CookieMatch, ...] = ()
    queries: tuple[QueryMatch, ...] = ()
    mirrors: tuple[Mirror, ...] = ()
    rewrite: str = ""
    idle_timeout_s: int = 300
    treatment: Treatment = UNTREATED


@dataclass(frozen=True, slots=True)
class VirtualHost:
    """`domains` as Envoy reads them: a name, `*.suffix`, or `*`."""

    name: str
    domains: tuple[str, ...]
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class IngressListener:
    """The one port on which every Ingress answers, by host name."""

    address: str
    port: int
    hosts: tuple[VirtualHost, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceListener:
    """A Service port on the Service's own address. `backends` has one entry for TCP."""

    namespace: str
    service: str
    service_port: int
    address: str
    port: int
    protocol: Protocol
    backends: tuple[Backend, ...]

    @property
    def name(self) -> str:
        return f"{self.namespace}|{self.service}|{self.service_port}"


@dataclass(frozen=True, slots=True)
class Model:
    ingress: IngressListener
    services: tuple[ServiceListener, ...] = ()
    clusters: tuple[Cluster, ...] = field(default=())

    def referenced(self) -> frozenset[str]:
        """Clusters that some listener can send a request to."""
        found = {backend.cluster for listener in self.services for backend in listener.backends if backend.weight > 0}
        for host in self.ingress.hosts:
            for route in host.routes:
                found.update(backend.cluster for backend in route.backends if backend.weight > 0)
                found.update(mirror.cluster for mirror in route.mirrors)
        return frozenset(found)
