"""A world for Canaries in virtual time: the real API, Deployments and proxy model; webhooks and metrics are scripts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from fairway.kube.api import MergePatch
from fairway.kube.cache import Informers
from fairway.kube.clock import Clock
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.objects import Obj, annotations_of, dig, spec_of, status_of
from fairway.kube.reconcile import Controller, ControllerLoop
from fairway.kube.resources import CANARIES, CORE_EVENTS, DEPLOYMENTS, INGRESSES, SERVICES
from fairway.node.simulated import Script, SimulatedNode
from fairway.rollouts.flagger.controller import CanaryController
from fairway.traffic.controller import TrafficController
from fairway.traffic.simulated import SimulatedDataPlane
from fairway.workloads.controllers import DeploymentController, ReplicaSetController
from fairway.workloads.endpoints import EndpointSliceController

NS = "default"


def deployment(image: str = "shop:1", replicas: int = 2, **pod: Any) -> Obj:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop", "namespace": NS},
            "spec": {"replicas": replicas, "progressDeadlineSeconds": 60, "selector": {"matchLabels": {"app": "shop"}},
                     "template": {"metadata": {"labels": {"app": "shop"}},
                                  "spec": {"containers": [{"name": "shop", "image": image}], **pod}}}}


def canary(analysis: Obj | None = None, **spec: Any) -> Obj:
    steps = {"interval": "30s", "threshold": 2, "stepWeight": 20, "maxWeight": 40,
             "metrics": [{"name": "request-success-rate", "thresholdRange": {"min": 99}, "interval": "1m"}]}
    return {"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {"name": "shop", "namespace": NS},
            "spec": {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
                     "service": {"port": 80, "targetPort": 8000}, "analysis": {**steps, **(analysis or {})}, **spec}}


def ingress() -> Obj:
    backend = {"service": {"name": "shop", "port": {"number": 80}}}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "shop", "namespace": NS},
            "spec": {"rules": [{"host": "shop.example.com", "http": {"paths": [
                {"path": "/", "pathType": "Prefix", "backend": backend}]}}]}}


@dataclass
class FlaggerWorld:
    """`answer` gives a query's value (None: no series); `hook` a webhook's error by name. `posts` is all that went out."""

    clock: Clock
    api: EmbeddedApi
    answer: Callable[[str, datetime], float | None] = lambda text, at: 100.0
    hook: Callable[[str, datetime], str] = lambda name, at: ""
    posts: list[tuple[str, str, Obj]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    script: Callable[[Obj], Script] = lambda pod: Script()
    plane: SimulatedDataPlane = field(default_factory=SimulatedDataPlane)
    _tested: list[asyncio.Task[None]] = field(default_factory=list)
    _informers: Informers | None = None

    async def query(self, text: str, at: datetime) -> float | list[float]:
        self.asked.append(text)
        found = self.answer(text, at)
        return [] if found is None else [found]

    async def post(self, url: str, body: str, *, timeout: timedelta, insecure: bool = False, name: str = "",
                   kind: str = "") -> str:
        self.posts.append((kind, name, json.loads(body)))
        return self.hook(name, self.clock.now())

    async def start(self) -> None:
        self._informers = informers = Informers(self.api)
        made = CanaryController(informers, self.clock, query=lambda address: self, post=self.post, own_metrics=True,
                                verify_weights=True)
        self._tested = [asyncio.create_task(ControllerLoop(made, informers, self.clock).run())]
        await informers.synced()

    async def kill(self) -> None:
        for task in self._tested:
            task.cancel()
        await asyncio.gather(*self._tested, return_exceptions=True)
        if self._informers:
            await self._informers.close()

    async def until(self, phase: str, *, limit_s: float = 3600) -> Obj:
        """The Canary when it is in this phase."""
        for _ in range(int(limit_s)):
            found = await self.canary()
            if status_of(found).get("phase") == phase:
                return found
            await asyncio.sleep(1.0)
        raise AssertionError(f"never {phase}: {status_of(await self.canary())}")

    async def canary(self) -> Obj:
        return await self.api.get(CANARIES, "shop", NS)

    async def new_version(self, image: str = "shop:2") -> None:
        await self.api.patch(DEPLOYMENTS, "shop", NS, MergePatch({"spec": {"template": {"spec": {
            "containers": [{"name": "shop", "image": image}]}}}}))

    async def weight(self) -> str:
        return annotations_of(await self.api.get(INGRESSES, "shop-canary", NS))["nginx.ingress.kubernetes.io/canary-weight"]

    async def until_weight(self, weight: str) -> None:
        for _ in range(3600):
            if await self.weight() == weight:
                return
            await asyncio.sleep(1.0)
        raise AssertionError(f"the weight is never {weight}")

    async def image(self, name: str) -> str:
        return str(dig(await self.api.get(DEPLOYMENTS, name, NS), "spec", "template", "spec", "containers", 0, "image"))

    async def replicas(self, name: str) -> int:
        return int(spec_of(await self.api.get(DEPLOYMENTS, name, NS))["replicas"])

    async def apex(self) -> Obj:
        found: Obj = spec_of(await self.api.get(SERVICES, "shop", NS))["selector"]
        return found

    async def said(self) -> list[str]:
        events = (await self.api.list(CORE_EVENTS, NS)).items
        return [e["message"] for e in sorted(events, key=lambda e: int(e["metadata"]["resourceVersion"]))
                if e["involvedObject"]["kind"] == "Canary"]


@asynccontextmanager
async def flagger_world(clock: Clock, *objects: Obj, **more: Any) -> AsyncIterator[FlaggerWorld]:
    api = EmbeddedApi.in_memory(clock)
    world = FlaggerWorld(clock, api, **more)
    for obj in objects:
        await api.create(obj)
    outside = Informers(api)
    node = SimulatedNode(outside, clock, lambda pod: world.script(pod))
    traffic = TrafficController(outside, clock, world.plane, ingress_address="127.0.0.1", ingress_port=8080,
                                unprivileged_from=0)
    controllers: list[Controller] = [DeploymentController(outside, clock), ReplicaSetController(outside, clock),
                                     EndpointSliceController(outside)]
    runs = [node.run, traffic.run, *(ControllerLoop(c, outside, clock).run for c in controllers)]
    tasks = [asyncio.ensure_future(run()) for run in runs]
    await outside.synced()
    try:
        await world.start()
        yield world
    finally:
        await world.kill()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await outside.close()
