"""Services, EndpointSlices, Ingresses and Pods as this room sees them: parsed once, then trusted.

Annotations are those of ingress-nginx. What cannot be understood becomes a `Reason` instead of a guess.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Generic, Literal, TypeVar

from fairway.kube.decision import Reason
from fairway.kube.objects import Key, Obj, annotations_of, key_of, labels_of, meta_of, spec_of
from fairway.traffic.model import PathKind, Protocol

NGINX = "nginx.ingress.kubernetes.io/"
HASH_LABEL = "rollouts-pod-template-hash"
SERVICE_LABEL = "kubernetes.io/service-name"
NGINX_READ_TIMEOUT_S = 60  # ingress-nginx's own default of proxy-read-timeout

T = TypeVar("T")

_HTTP_WORDS = ("http", "web", "ws")
_HTTP2_WORDS = ("grpc", "http2", "h2c")
_HTTP_PORTS = frozenset({80, 8000, 8080})


TOKEN = re.compile(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")  # RFC 9110: what a header or cookie may be called
_NOT_RE2 = re.compile(r"\(\?(?:[=!]|<[=!])|\\[1-9]")  # looking around and back references


RemarkKind = Literal["Ingress", "Service", "VirtualService", "HTTPRoute"]


@dataclass(frozen=True, slots=True)
class Remark:
    """Something to say about one object."""

    kind: RemarkKind
    key: Key
    reason: Reason

    @staticmethod
    def on(kind: RemarkKind, key: Key, code: str, message: str) -> Remark:
        return Remark(kind, key, Reason(code, f"{kind.lower()} {key}: {message}"))


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


class Readings(Generic[T]):
    """What was read of each object, kept while the object stays as it is: most passes bring one of a thousand."""

    def __init__(self, read: Callable[[Obj], T]) -> None:
        self._read = read
        self._kept: dict[Key, tuple[Obj, T]] = {}

    def of(self, objects: Iterable[Obj]) -> tuple[T, ...]:
        now: dict[Key, tuple[Obj, T]] = {}
        for obj in objects:
            key = key_of(obj)
            known = self._kept.get(key)
            now[key] = known if known is not None and known[0] is obj else (obj, self._read(obj))
        self._kept = now
        return tuple(found for _, found in now.values())


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
    for endpoint in obj.get("endpoints") or () if obj.get("addressType") != "FQDN" else ():
        conditions = endpoint.get("conditions") or {}
        ready = conditions.get("ready") is not False and not conditions.get("terminating")
        target = endpoint.get("targetRef") or {}
        pod = str(target.get("name", "")) if target.get("kind") == "Pod" else ""
        for address in endpoint.get("addresses") or ():
            if _is_address(str(address)):
                endpoints.append(SliceEndpoint(str(address), pod, ready))
    ports = tuple((str(port.get("name") or ""), int(port["port"])) for port in obj.get("ports") or () if port.get("port"))
    return Slice(key_of(obj), labels_of(obj).get(SERVICE_LABEL, ""), ports, tuple(endpoints))


def hashes_of_pods(pods: Iterable[Obj]) -> dict[Key, str]:
    """The pod template hash of every pod that carries one."""
    return {key_of(pod): labels_of(pod)[HASH_LABEL] for pod in pods if HASH_LABEL in labels_of(pod)}


def ingress_class(obj: Obj) -> str:
    return str(spec_of(obj).get("ingressClassName") or annotations_of(obj).get("kubernetes.io/ingress.class") or "")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def read_ingress(obj: Obj) -> tuple[Ingress | None, tuple[Remark, ...]]:
    """None for an Ingress that is not ours, or that cannot be followed; the remarks say why."""
    key = key_of(obj)
    chosen = ingress_class(obj)
    if chosen not in ("", "nginx"):
        other = f"its class is {chosen!r}; served here are nginx and alb"
        return None, (Remark.on("Ingress", key, "OtherIngressClass", other),)
    try:
        return _read(obj, key), ()
    except Unusable as error:
        return None, (Remark.on("Ingress", key, error.code, error.message),)


class Unusable(Exception):
    """This Ingress cannot be followed; the rest of the platform goes on without it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def _read(obj: Obj, key: Key) -> Ingress:
    notes = annotations_of(obj)
    canary = _read_canary(notes) if notes.get(NGINX + "canary") == "true" else None
    rewrite = notes.get(NGINX + "rewrite-target", "")
    use_regex = notes.get(NGINX + "use-regex") == "true" or "$" in rewrite
    timeout = _whole(notes, "proxy-read-timeout", NGINX_READ_TIMEOUT_S)
    return Ingress(key, str(meta_of(obj).get("creationTimestamp", "")), tuple(_paths(obj, use_regex)), canary,
                   _numbered_groups(rewrite), max(timeout, 1))


def _paths(obj: Obj, use_regex: bool) -> Iterable[IngressPath]:
    spec = spec_of(obj)
    default = (spec.get("defaultBackend") or {}).get("service")
    for rule in spec.get("rules") or ():
        for path in (rule.get("http") or {}).get("paths") or ():
            backend = (path.get("backend") or {}).get("service")
            if backend:
                kind: PathKind = "exact" if path.get("pathType") == "Exact" else "regex" if use_regex else "prefix"
                text = str(path.get("path") or "/")
                if kind == "regex":
                    check_regex(text, "path")
                elif not text.startswith("/") or "?" in text or "#" in text:
                    raise Unusable("PathInvalid", f"a path must start with / and have no ? or #, found {text!r}")
                yield IngressPath(str(rule.get("host") or "*").lower(), text, kind, backend["name"], _port(backend))
    if default:
        yield IngressPath("*", "/", "prefix", default["name"], _port(default))


def _port(backend: Obj) -> int | str:
    port = backend.get("port") or {}
    return int(port["number"]) if port.get("number") else str(port.get("name", ""))


def _numbered_groups(rewrite: str) -> str:
    """`/$2` as nginx writes groups is `/\\2` in RE2."""
    return rewrite.replace("$", "\\")


def _read_canary(notes: dict[str, str]) -> Canary:
    total, weight = _whole(notes, "canary-weight-total", 100), _whole(notes, "canary-weight", 0)
    if total <= 0:
        raise Unusable("AnnotationInvalid", f"{NGINX}canary-weight-total must be above 0, found {total}")
    pattern = notes.get(NGINX + "canary-by-header-pattern", "")
    check_regex(pattern, NGINX + "canary-by-header-pattern")
    return Canary(
        weight=min(weight, total),
        total=total,
        header=_token(notes, "canary-by-header"),
        header_value=notes.get(NGINX + "canary-by-header-value", ""),
        header_pattern=pattern,
        cookie=_token(notes, "canary-by-cookie"),
    )


def _token(notes: dict[str, str], name: str) -> str:
    text = notes.get(NGINX + name, "")
    if text and not TOKEN.match(text):
        raise Unusable("AnnotationInvalid", f"{NGINX}{name} must be the name of a header or cookie, found {text!r}")
    return text


def check_regex(pattern: str, where: str) -> None:
    """One expression that the data plane refuses would hold back every other change too."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise Unusable("RegexInvalid", f"{where}: {pattern!r} is not a regular expression: {error}") from error
    if _NOT_RE2.search(pattern):
        raise Unusable("RegexInvalid", f"{where}: {pattern!r} looks around or back, which RE2 cannot")


def _whole(notes: dict[str, str], name: str, default: int) -> int:
    text = notes.get(NGINX + name)
    if text is None:
        return default
    if not re.fullmatch(r"\s*[0-9]{1,9}\s*", text):
        raise Unusable("AnnotationInvalid", f"{NGINX}{name} must be a whole number of 0 or more, found {text!r}")
    return int(text)
