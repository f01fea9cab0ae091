"""A world in virtual time: the API in memory, the controllers of this room, a simulated node."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from fairway.kube.api import MergePatch
from fairway.kube.cache import Informers
from fairway.kube.clock import Clock, run_virtual
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.objects import Obj, condition, is_deleting, status_of
from fairway.kube.reconcile import ControllerLoop
from fairway.kube.resources import DEPLOYMENTS, PODS, Resource
from fairway.node.simulated import Behaviour, Script, SimulatedNode
from fairway.workloads.controllers import workload_controllers
from fairway.workloads.metric_source import MetricSource


class World:
    def __init__(self, api: EmbeddedApi, clock: Clock, node: SimulatedNode) -> None:
        self.api, self.clock, self.node = api, clock, node

    async def get(self, resource: Resource, name: str, namespace: str = "default") -> Obj:
        return await self.api.get(resource, name, namespace)

    async def list(self, resource: Resource, labels: str = "", namespace: str = "default") -> list[Obj]:
        return (await self.api.list(resource, namespace, labels=labels)).items

    async def patch(self, resource: Resource, name: str, body: Obj) -> Obj:
        return await self.api.patch(resource, name, "default", MergePatch(body))

    async def until(self, holds: Callable[[], Awaitable[bool]], *, within_s: float = 600.0) -> float:
        """Virtual seconds until `holds`; looks after every event that changes time."""
        start = self.clock.now()
        while not await holds():
            passed = (self.clock.now() - start).total_seconds()
            assert passed <= within_s, f"did not happen within {within_s} virtual seconds"
            await asyncio.sleep(0.05)
        return (self.clock.now() - start).total_seconds()

    async def rolled_out(self, name: str) -> bool:
        deployment = await self.get(DEPLOYMENTS, name)
        status, wanted = status_of(deployment), deployment["spec"]["replicas"]
        return (status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
                and status.get("updatedReplicas") == status.get("replicas") == status.get("availableReplicas") == wanted)

    async def pods(self, labels: str = "") -> list[Obj]:
        return [pod for pod in await self.list(PODS, labels) if not is_deleting(pod)]


@asynccontextmanager
async def world(clock: Clock, script: Behaviour | Script | None = None, metrics: MetricSource | None = None) -> Any:
    api = EmbeddedApi.in_memory(clock)
    informers = Informers(api)
    node = SimulatedNode(informers, clock, script)
    loops = [ControllerLoop(one, informers, clock) for one in workload_controllers(informers, clock, metrics)]
    tasks = [asyncio.create_task(loop.run()) for loop in loops] + [asyncio.create_task(node.run())]
    try:
        yield World(api, clock, node)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await informers.close()


def play(story: Callable[[World], Awaitable[None]], script: Behaviour | Script | None = None,
         metrics: MetricSource | None = None) -> None:
    async def main(clock: Clock) -> None:
        async with world(clock, script, metrics) as made:
            await story(made)

    run_virtual(main, limit=timedelta(days=2))


def deployment(name: str = "web", replicas: int = 3, image: str = "web:1", **spec: Any) -> Obj:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template(name, image),
            **spec,
        },
    }


def template(name: str, image: str) -> Obj:
    ports = [{"name": "http", "containerPort": 8000}]
    return {"metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "app", "image": image, "ports": ports}]}}


def image_patch(image: str) -> Obj:
    return {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}}


def job(name: str = "task", **spec: Any) -> Obj:
    pod = {"restartPolicy": "Never", "containers": [{"name": "work", "image": "task:1"}]}
    pod.update(spec.pop("pod", {}))
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "default"},
            "spec": {"template": {"spec": pod}, **spec}}


def said(obj: Obj, kind: str) -> tuple[str, str]:
    entry = condition(obj, kind) or {}
    return str(entry.get("status")), str(entry.get("reason"))
