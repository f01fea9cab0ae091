"""A server with the controllers of workloads and a node of real processes behind it: all that a cluster is to kubectl."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fairway.container_series import ContainerSeries
from fairway.kube.cache import Informers
from fairway.kube.clock import WallClock
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.housekeeping import NamespaceAccounts, QuotaStatus
from fairway.kube.http.pki import server_context
from fairway.kube.http.server import KubeServer
from fairway.kube.reconcile import ControllerLoop
from fairway.metrics.querier import EmbeddedQuerier
from fairway.metrics.store import Store
from fairway.node.controller import NodeController
from fairway.node.exec import NodeExec
from fairway.node.logs import ShimLogs
from fairway.node.settings import NodeSettings
from fairway.pod_metrics import PodMetrics
from fairway.workloads.controllers import workload_controllers
from tests.kube_http.serving import Served
from tests.node.no_images import NoImages


class Whole(Served):
    async def _start(self) -> None:
        clock = WallClock()
        self.api = EmbeddedApi.in_memory(clock)
        self.informers = Informers(self.api)
        settings = NodeSettings(self.folder / "node")
        self.node = NodeController(self.informers, clock, settings, NoImages())
        store = Store()
        self.node.usage.on_look(ContainerSeries(store, self.node.usage, settings.claims).record)
        self.server = KubeServer(self.api, clock, logs=ShimLogs(self.informers, clock, settings.pods),
                                 tls=server_context(self.pki), token=self.pki.token, exec=NodeExec(self.node.pod),
                                 measurements=self.node.usage)
        await self.server.start("127.0.0.1", 0)
        controllers = [NamespaceAccounts(self.informers, self.pki.ca), QuotaStatus(self.informers),
                       *workload_controllers(self.informers, clock, PodMetrics(EmbeddedQuerier(store), clock))]
        loops = [ControllerLoop(one, self.informers, clock) for one in controllers]
        self._tasks = [asyncio.create_task(loop.run()) for loop in loops]
        self._tasks.append(asyncio.create_task(self.node.run()))

    def stop(self) -> None:
        self.run(self._stop_controllers())
        super().stop()

    async def _stop_controllers(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.informers.close()
        await self.node.stop_all(0.0)


@contextmanager
def whole(folder: Path) -> Iterator[Whole]:
    running = Whole(folder)
    running.start()
    try:
        yield running
    finally:
        running.stop()
