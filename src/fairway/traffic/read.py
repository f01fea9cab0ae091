"""Services, EndpointSlices, Ingresses and Pods as this room sees them: parsed once, then trusted.

Annotations are those of ingress-nginx. What cannot be understood becomes a `Reason` instead of a guess.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fairway.kube.decision import Reason
from fairway.kube.objects import Key, Obj, annotations_of, key_of, labels_of, meta_of, spec_of
from fairway.traffic.model import PathKind, Protocol

NGINX = "nginx.ingress.kubernetes.io/"
HASH_LABEL = "rollouts-pod-template-hash"
SERVICE_LABEL = "kubernetes.io/service-name"
NGINX_READ_TIMEOUT_S = 60  # ingress-nginx's own default of proxy-read-timeout

_HTTP_WORDS = ("http", "web", "ws")
_HTTP2_WORDS = ("grpc", "http2", "h2c")
_HTTP_PORTS = frozenset({80, 8000, 8080})


@dataclass(frozen=True, slots=True)
class ServicePort:
    name: str
    port: int
    protocol: Protocol


@dataclass(frozen=True, slots=True)
class Service:
    """`address` is "" while none is given and "None" for a headless Service."""

    key: Key
    address: str
    listens: bool
    ports: tuple[ServicePort, ...]


@dataclass(frozen=True, slots=True)
class SliceEndpoint:
    address: str
    pod: str
    usable: bool


@dataclass(frozen=True, slots=True)
class Slice:
    """`ports` maps the Service port's name to the number behind it."""

    key: Key
    service: str
    ports: tuple[tuple[str, int], ...]
    endpoints: tuple[SliceEndpoint, ...]


@dataclass(frozen=True, slots=True)
class Canary:
    """What the annotations of a canary Ingress ask for. `weight` of `total`."""

    weight: int
    total: int
    header: str = ""
    header_value: str = ""
    header_pattern: str = ""
    cookie: str = ""


@dataclass(frozen=True, slots=True)
class IngressPath:
    """`port` is a number or a name of the Service's."""

    host: str
    path: str
    kind: PathKind
    service: str
    port: int | str


@dataclass(frozen=True, slots=True)
class Ingress:
    key: Key
    created: str
    paths: tuple[IngressPath, ...]
    canary: Canary | None
    rewrite: str
    idle_timeout_s: int


def read_service(obj: Obj) -> Service:
    spec = spec_of(obj)
    address = str(spec.get("clusterIP") or "")
    kind = spec.get("type", "ClusterIP")
    ports = tuple(
        ServicePort(str(port.get("name") or ""), int(port["port"]), _protocol(port))
        for port in spec.get("ports") or ()
        if port.get("protocol", "TCP") == "TCP"
    )
    return Service(key_of(obj), address, kind != "ExternalName" and address != "None", ports)


def _protocol(port: Obj) -> Protocol:
    """`appProtocol`, else the first word of the port's name, else well-known HTTP ports; anything else is plain TCP."""
    said = str(port.get("appProtocol") or "").removeprefix("kubernetes.io/").lower()
    word = said or str(port.get("name") or "").lower().partition("-")[0]
    if word in _HTTP2_WORDS:
        return "http2"
    if word in _HTTP_WORDS:
        return "http"
    if word:
        return "tcp"
    return "http" if port["port"] in _HTTP_PORTS else "tcp"


def read_slice(obj: Obj) -> Slice:
    endpoints = []
    for endpoint in obj.get("endpoints") or ():
        conditions = endpoint.get("conditions") or {}
        ready = conditions.get("ready") is not False and not conditions.get("terminating")
        target = endpoint.get("targetRef") or {}
        pod = str(target.get("name", "")) if target.get("kind") == "Pod" else ""
        for address in endpoint.get("addresses") or ():
            endpoints.append(SliceEndpoint(str(address), pod, ready))
    ports = tuple((str(port.get("name") or ""), int(port["port"])) for port in obj.get("ports") or () if port.get("port"))
    return Slice(key_of(obj), labels_of(obj).get(SERVICE_LABEL, ""), ports, tuple(endpoints))


def hashes_of_pods(pods: Iterable[Obj]) -> dict[Key, str]:
    """The pod template hash of every pod that carries one."""
    return {key_of(pod): labels_of(pod)[HASH_LABEL] for pod in pods if HASH_LABEL in labels_of(pod)}


def ingress_class(obj: Obj) -> str:
    return str(spec_of(obj).get("ingressClassName") or annotations_of(obj).get("kubernetes.io/ingress.class") or "")


def read_ingress(obj: Obj) -> tuple[Ingress | None, tuple[Reason, ...]]:
    """None for an Ingress that is not ours, or that cannot be followed; the reasons say which and why."""
    key = key_of(obj)
    chosen = ingress_class(obj)
    if chosen not in ("", "nginx"):
        return None, (Reason("OtherIngressClass", f"ingress {key} is of class {chosen!r}; this platform serves nginx"),)
    notes = annotations_of(obj)
    reasons: list[Reason] = []
    canary = None
    if notes.get(NGINX + "canary") == "true":
        canary = _read_canary(key, notes, reasons)
        if canary is None:
            return None, tuple(reasons)
    rewrite = notes.get(NGINX + "rewrite-target", "")
    use_regex = notes.get(NGINX + "use-regex") == "true" or "$" in rewrite
    timeout = _whole(key, notes, "proxy-read-timeout", NGINX_READ_TIMEOUT_S, reasons)
    paths = tuple(_paths(obj, use_regex))
    found = Ingress(key, str(meta_of(obj).get("creationTimestamp", "")), paths, canary, _envoy_groups(rewrite),
                    max(timeout or 0, 1))
    return found, tuple(reasons)


def _paths(obj: Obj, use_regex: bool) -> Iterable[IngressPath]:
    spec = spec_of(obj)
    default = (spec.get("defaultBackend") or {}).get("service")
    for rule in spec.get("rules") or ():
        for path in (rule.get("http") or {}).get("paths") or ():
            backend = (path.get("backend") or {}).get("service")
            if backend:
                kind: PathKind = "exact" if path.get("pathType") == "Exact" else "regex" if use_regex else "prefix"
                yield IngressPath(str(rule.get("host") or "*"), str(path.get("path") or "/"), kind, backend["name"],
                                  _port(backend))
    if default:
        yield IngressPath("*", "/", "prefix", default["name"], _port(default))


def _port(backend: Obj) -> int | str:
    port = backend.get("port") or {}
    return int(port["number"]) if port.get("number") else str(port.get("name", ""))


def _envoy_groups(rewrite: str) -> str:
    """`/$2` as nginx writes groups is `/\\2` in RE2."""
    return rewrite.replace("$", "\\") if rewrite else ""


def _read_canary(key: Key, notes: dict[str, str], reasons: list[Reason]) -> Canary | None:
    total = _whole(key, notes, "canary-weight-total", 100, reasons)
    weight = _whole(key, notes, "canary-weight", 0, reasons)
    if total is None or weight is None or total <= 0:
        if not reasons:
            reasons.append(Reason("CanaryIgnored", f"ingress {key}: canary-weight-total must be above 0, found {total}"))
        return None
    return Canary(
        weight=min(weight, total),
        total=total,
        header=notes.get(NGINX + "canary-by-header", ""),
        header_value=notes.get(NGINX + "canary-by-header-value", ""),
        header_pattern=notes.get(NGINX + "canary-by-header-pattern", ""),
        cookie=notes.get(NGINX + "canary-by-cookie", ""),
    )


def _whole(key: Key, notes: dict[str, str], name: str, default: int, reasons: list[Reason]) -> int | None:
    text = notes.get(NGINX + name)
    if text is None:
        return default
    if text.strip().isascii() and text.strip().isdigit():
        return int(text)
    reasons.append(
        Reason("AnnotationInvalid", f"ingress {key}: {NGINX}{name} must be a whole number of 0 or more, found {text!r}"))
    return None
