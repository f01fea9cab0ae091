"""What a pod asks of the node, as frozen values: handlers, probes, containers."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Any, Literal

from fairway.kube.objects import Obj, dig, spec_of
from fairway.node.environment import quantity

RestartPolicy = Literal["Always", "OnFailure", "Never"]
DEFAULT_GRACE_S = 30
_SIGNALS = {one.name: int(one) for one in signal.Signals}


@dataclass(frozen=True, slots=True)
class ExecHandler:
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HttpHandler:
    """`host` "" means the pod's address. `port` may be the name of a container port."""

    path: str
    port: int | str
    host: str
    scheme: str
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class TcpHandler:
    port: int | str
    host: str


@dataclass(frozen=True, slots=True)
class GrpcHandler:
    port: int
    service: str


@dataclass(frozen=True, slots=True)
class SleepHandler:
    seconds: int


Handler = ExecHandler | HttpHandler | TcpHandler | GrpcHandler | SleepHandler


@dataclass(frozen=True, slots=True)
class Probe:
    handler: Handler
    initial_delay_s: int
    timeout_s: int
    period_s: int
    success_threshold: int
    failure_threshold: int
    grace_s: int | None


@dataclass(frozen=True, slots=True)
class Container:
    """`sidecar`: an init container with restartPolicy Always. `ports`: by name."""

    name: str
    image: str
    init: bool
    sidecar: bool
    startup: Probe | None
    liveness: Probe | None
    readiness: Probe | None
    post_start: Handler | None
    pre_stop: Handler | None
    ports: dict[str, int]
    memory_limit: int
    """Bytes; 0 without one."""
    cpu_limit: float
    """Cores; 0 without one."""
    streams: tuple[str, ...]
    """What its standard streams are, and its stop signal, in the words of the shim's `start`."""
    raw: Obj


@dataclass(frozen=True, slots=True)
class PodSpec:
    init: tuple[Container, ...]
    containers: tuple[Container, ...]
    ephemeral: tuple[Container, ...]
    """Added to a running pod to look into it (`kubectl debug`): started once, and nothing else of the pod waits for them."""
    restart_policy: RestartPolicy
    grace_s: int
    active_deadline_s: int | None

    @property
    def all(self) -> tuple[Container, ...]:
        return (*self.init, *self.containers, *self.ephemeral)

    def named(self, name: str) -> Container:
        return next(one for one in self.all if one.name == name)


def decode(pod: Obj) -> PodSpec:
    spec = spec_of(pod)
    grace = spec.get("terminationGracePeriodSeconds")
    deadline = spec.get("activeDeadlineSeconds")
    return PodSpec(
        init=tuple(_container(one, init=True) for one in spec.get("initContainers") or ()),
        containers=tuple(_container(one, init=False) for one in spec.get("containers") or ()),
        ephemeral=tuple(_container(one, init=False) for one in spec.get("ephemeralContainers") or ()),
        restart_policy=spec.get("restartPolicy") or "Always",
        grace_s=DEFAULT_GRACE_S if grace is None else int(grace),
        active_deadline_s=None if deadline is None else int(deadline),
    )


def _container(raw: Obj, *, init: bool) -> Container:
    ports = {port["name"]: int(port["containerPort"]) for port in raw.get("ports") or () if port.get("name")}
    return Container(
        name=raw["name"],
        image=raw.get("image") or "",
        init=init,
        sidecar=init and raw.get("restartPolicy") == "Always",
        startup=_probe(raw.get("startupProbe")),
        liveness=_probe(raw.get("livenessProbe")),
        readiness=_probe(raw.get("readinessProbe")),
        post_start=_handler(dig(raw, "lifecycle", "postStart")),
        pre_stop=_handler(dig(raw, "lifecycle", "preStop")),
        ports=ports,
        memory_limit=int(quantity(str(dig(raw, "resources", "limits", "memory", default="0")))),
        cpu_limit=quantity(str(dig(raw, "resources", "limits", "cpu", default="0"))),
        streams=_streams(raw),
        raw=raw,
    )


def _streams(raw: Obj) -> tuple[str, ...]:
    words = [word for word, field in (("stdin", "stdin"), ("once", "stdinOnce"), ("tty", "tty")) if raw.get(field)]
    name = str(dig(raw, "lifecycle", "stopSignal", default=""))
    if name and (number := _SIGNALS.get(name)) is not None:
        words.append(f"signal={number}")
    return tuple(words)


def _probe(raw: Obj | None) -> Probe | None:
    handler = _handler(raw)
    if raw is None or handler is None:
        return None

    def number(name: str, default: int) -> int:
        return int(raw.get(name) or default)

    grace = raw.get("terminationGracePeriodSeconds")
    return Probe(handler, number("initialDelaySeconds", 0), number("timeoutSeconds", 1), number("periodSeconds", 10),
                 number("successThreshold", 1), number("failureThreshold", 3), None if grace is None else int(grace))


def _handler(raw: Any) -> Handler | None:
    if not raw:
        return None
    if "exec" in raw:
        return ExecHandler(tuple(raw["exec"].get("command") or ()))
    if "httpGet" in raw:
        get = raw["httpGet"]
        headers = tuple((one["name"], one.get("value") or "") for one in get.get("httpHeaders") or ())
        return HttpHandler(get.get("path") or "/", get["port"], get.get("host") or "", get.get("scheme") or "HTTP",
                           headers)
    if "tcpSocket" in raw:
        return TcpHandler(raw["tcpSocket"]["port"], raw["tcpSocket"].get("host") or "")
    if "sleep" in raw:
        return SleepHandler(int(raw["sleep"].get("seconds") or 0))
    if "grpc" in raw:
        return GrpcHandler(int(raw["grpc"]["port"]), raw["grpc"].get("service") or "")
    return None


def port_number(port: int | str, container: Container) -> int | None:
    """The number of a port that may be given by name; None where the container names no such port."""
    if isinstance(port, int):
        return port
    if port in container.ports:
        return container.ports[port]
    return int(port) if port.isdigit() else None
