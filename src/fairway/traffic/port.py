"""The port behind which requests are moved: Envoy, or the slow proxy where there is no Envoy."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Protocol

from fairway.traffic.model import Model

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Applied:
    """The model is in force: every request that arrives from now on is routed by it.

    `refused` names Service listeners that could not be opened, each with the reason; the rest of the model serves.
    """

    version: str
    refused: tuple[tuple[str, str], ...] = ()


class TrafficError(Exception):
    """The data plane cannot do what was asked. `reason` is a CamelCase word for Events and status."""

    reason = "DataPlaneFailed"


class Rejected(TrafficError):
    """The data plane refused the model and goes on with the one before."""

    reason = "ConfigRejected"


class Unconfirmed(TrafficError):
    """The data plane did not say in time whether it took the model: it may be serving the old one or the new one."""

    reason = "ConfigUnconfirmed"


class PortTaken(TrafficError):
    """The ingress port belongs to another process."""

    reason = "IngressPortTaken"

    def __init__(self, address: str, port: int) -> None:
        super().__init__(
            f"the ingress port {address}:{port} is taken by another process; stop that process, or choose another "
            "port with --ingress-port"
        )


def check_free(address: Address | None) -> None:
    """Raises `PortTaken`. Between this and listening the port may still be lost; then `apply` says so."""
    if address is None:
        return
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise PortTaken(*address) from error


class DataPlane(Protocol):
    """`apply` returns when the model is in force, or raises a `TrafficError`."""

    @property
    def description(self) -> str:
        """One line for people: what this is, and what it cannot do."""
        ...

    async def start(self, ingress: Address | None = None) -> bool:
        """Start, or adopt what still runs; True where a running one was adopted.

        Raises `PortTaken` where nothing was adopted and `ingress` belongs to another process.
        """
        ...

    async def apply(self, model: Model) -> Applied: ...

    async def stop(self) -> None:
        """End it and everything it serves."""
        ...

    async def detach(self) -> None:
        """Let go of it, so that it outlives this process where it can."""
        ...

    async def stats(self) -> str:
        """Prometheus text of the upstream statistics, per cluster, without those never touched."""
        ...
