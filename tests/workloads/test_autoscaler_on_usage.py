"""From what the node measures to a Deployment that grows: meter, series, query, autoscaler, in virtual time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fairway.container_series import ContainerSeries
from fairway.kube.clock import Clock, run_virtual
from fairway.kube.objects import is_true, meta_of, status_of
from fairway.kube.resources import DEPLOYMENTS, HORIZONTAL_POD_AUTOSCALERS, PODS
from fairway.metrics.querier import EmbeddedQuerier
from fairway.metrics.store import Store
from fairway.node.attempt import Attempt
from fairway.node.processes import Held
from fairway.node.spec import decode
from fairway.node.usage import LOOK_EVERY_S, UsageMeter
from fairway.pod_metrics import PodMetrics
from tests.workloads.test_autoscalers import autoscaler
from tests.workloads.world import deployment, world

_BEGUN = datetime(2026, 3, 1, tzinfo=UTC)
MEMORY = {"type": "ContainerResource", "containerResource": {
    "name": "memory", "container": "app", "target": {"type": "AverageValue", "averageValue": "64Mi"}}}  # fmt: skip


class _Running:
    """A simulated pod as the meter sees one; its pid stands for its name."""

    def __init__(self, pod: Any, pid: int) -> None:
        self.pod, self.uid = pod, meta_of(pod)["uid"]
        self._pid = pid

    def running(self) -> list[Any]:
        one = decode(self.pod).containers[0]
        return [(one, Attempt(0, self._pid, "1", _BEGUN))]


def test_pods_that_burn_get_company_and_lose_it_when_they_rest() -> None:
    async def main(clock: Clock) -> None:
        store, seconds, load = Store(), dict[int, float](), {"cores": 3.0, "memory": 32 << 20}
        meter = UsageMeter("fairway", lambda pid: Held(1, 1, seconds.get(pid, 0.0), 0, int(load["memory"])))
        meter.on_look(ContainerSeries(store, meter, Path("/")).record)
        async with world(clock, metrics=PodMetrics(EmbeddedQuerier(store), clock)) as made:

            async def measured() -> None:
                while True:
                    pods = [pod for pod in await made.list(PODS) if is_true(pod, "Ready")]
                    found = [_Running(pod, hash(meta_of(pod)["uid"])) for pod in pods]
                    for one in found:
                        seconds[one._pid] = seconds.get(one._pid, 0.0) + load["cores"] * LOOK_EVERY_S / len(found)
                    meter.look(found, clock.now())  # type: ignore[arg-type]
                    await asyncio.sleep(LOOK_EVERY_S)

            measuring = asyncio.create_task(measured())
            made_of = deployment(replicas=1)
            made_of["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1"}}
            await made.api.create(made_of)
            cpu = autoscaler()["spec"]["metrics"][0]
            await made.api.create(autoscaler(cpu, MEMORY, maxReplicas=8))

            async def replicas() -> int:
                return int((await made.get(DEPLOYMENTS, "web"))["spec"]["replicas"])

            async def seconds_until(count: int) -> int:
                for passed in range(0, 600, 5):
                    if await replicas() == count:
                        return passed
                    await asyncio.sleep(5)
                raise AssertionError(f"{await replicas()} replicas after 10 minutes, not {count}")

            assert await seconds_until(6) < 180, "3 cores, half a core for each"
            await asyncio.sleep(60)
            shown = status_of(await made.get(HORIZONTAL_POD_AUTOSCALERS, "web"))["currentMetrics"]
            assert (shown[0]["resource"]["current"]["averageUtilization"], await replicas()) == (50, 6)
            assert shown[1]["containerResource"]["current"] == {"averageValue": str(32 << 20)}
            load["memory"] = 80 << 20
            assert await seconds_until(8) < 60, "memory asks for more than CPU"
            load.update(cores=0.2, memory=8 << 20)
            assert 300 <= await seconds_until(1) < 420
            measuring.cancel()

    run_virtual(main, limit=timedelta(hours=2))
