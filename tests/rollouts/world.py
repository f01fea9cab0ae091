"""A small world for Rollouts in virtual time: the real API, the real ReplicaSet controller, and fakes for what is outside.

The fake node makes a pod ready some seconds after it appears. The fake proxy confirms weights on canary Ingresses. Metrics
are a function of the pod-template hash and the time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from fairway.kube.api import Api, DeleteOptions, JsonPatch, MergePatch
from fairway.kube.cache import Informers
from fairway.kube.clock import Clock
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.errors import NotFound
from fairway.kube.objects import Obj, annotations_of, dig, labels_of, rfc3339, status_of
from fairway.kube.reconcile import Controller, ControllerLoop
from fairway.kube.resources import ANALYSIS_RUNS, INGRESSES, PODS, REPLICA_SETS, ROLLOUTS, SERVICES, Resource
from fairway.rehearse.judge import Judge
from fairway.rollouts.analysis_controller import AnalysisRunController
from fairway.rollouts.controller import RolloutController
from fairway.rollouts.experiment_controller import ExperimentController
from fairway.rollouts.keys import APPLIED_WEIGHT, HASH_LABEL
from fairway.rollouts.prometheus import PrometheusProvider, Queriers
from fairway.workloads.controllers import ReplicaSetController

NS = "default"
STEPS: list[Obj] = [
    {"setWeight": 5}, {"pause": {"duration": "20s"}},
    {"setWeight": 20}, {"pause": {"duration": "20s"}},
    {"setWeight": 50}, {"pause": {"duration": "20s"}},
    {"setWeight": 80}, {"pause": {"duration": "20s"}},
]  # fmt: skip


def rollout(*, image: str = "shop:1", replicas: int = 4, steps: list[Obj] | None = None, **canary: Any) -> Obj:
    strategy = {"stableService": "shop-stable", "canaryService": "shop-canary", "steps": STEPS if steps is None else steps,
                "trafficRouting": {"nginx": {"stableIngress": "shop"}}, **canary}
    return {
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "shop", "namespace": NS},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "shop"}}, "template": template(image),
                 "strategy": {"canary": {k: v for k, v in strategy.items() if v is not None}}},
    }  # fmt: skip


def blue_green(*, image: str = "shop:1", replicas: int = 2, **strategy: Any) -> Obj:
    found = rollout(image=image, replicas=replicas)
    found["spec"]["strategy"] = {"blueGreen": {"activeService": "shop-stable", "previewService": "shop-canary", **strategy}}
    return found


def template(image: str) -> Obj:
    return {"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": [{"name": "shop", "image": image}]}}


def service(name: str) -> Obj:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": NS},
            "spec": {"selector": {"app": "shop"}, "ports": [{"port": 80, "targetPort": 8000}]}}


def ingress() -> Obj:
    backend = {"service": {"name": "shop-stable", "port": {"number": 80}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "shop", "namespace": NS},
            "spec": {"rules": [{"host": "shop.local", "http": {"paths": [path]}}]}}


class Scripted:
    """A querier whose answer is a function of the pod-template hash in the query and the time; it counts what it is asked."""

    def __init__(self, answer: Callable[[str, datetime], float | list[float]]) -> None:
        self.answer = answer
        self.asked: list[tuple[datetime, str]] = []

    async def query(self, text: str, at: datetime) -> float | list[float]:
        self.asked.append((at, text))
        return self.answer(text, at)


def success_rate(name: str = "success-rate", **metric: Any) -> Obj:
    """Measures `rate{hash="…"}` every 2 s and fails below 95 %; no data yet is no evidence, so it is inconclusive and waits."""
    settings = {"name": "success-rate", "interval": "2s", "inconclusiveLimit": 1000,
                "successCondition": "len(result) > 0 && result[0] >= 0.95",
                "failureCondition": "len(result) > 0 && result[0] < 0.95",
                "provider": {"prometheus": {"query": 'rate{hash="{{args.hash}}"}'}}, **metric}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate", "metadata": {"name": name, "namespace": NS},
            "spec": {"args": [{"name": "hash"}], "metrics": [settings]}}


def analysis(name: str = "success-rate", **more: Any) -> Obj:
    args = [{"name": "hash", "valueFrom": {"podTemplateHashValue": "Latest"}}]
    return {"templates": [{"templateName": name}], "args": args, **more}


@dataclass
class World:
    """The controllers under test can be killed and started again at any time.

    `confirm_after` None: nobody confirms weights, and nobody waits for it.
    """

    clock: Clock
    api: EmbeddedApi
    ready_after: float = 2.0
    confirm_after: float | None = 0.05
    metrics: Scripted = field(default_factory=lambda: Scripted(lambda text, at: [1.0]))
    weights: list[tuple[datetime, str]] = field(default_factory=list)
    judge: Judge = field(default_factory=Judge)
    mortal: Api | None = None
    """Stands between the controllers under test and the API, where a test lets them die."""
    _tested: list[asyncio.Task[None]] = field(default_factory=list)
    _informers: Informers | None = None

    async def start(self) -> None:
        self._informers = Informers(self.seen_by_tested)
        self._tested = [asyncio.create_task(ControllerLoop(c, self._informers, self.clock).run())
                        for c in self.under_test(self._informers)]

    def under_test(self, informers: Informers) -> list[Controller]:
        providers = {"prometheus": PrometheusProvider(Queriers(self.metrics, lambda server: self.metrics), self.clock)}
        return [RolloutController(informers, verify_weights=self.confirm_after is not None), ExperimentController(informers),
                AnalysisRunController(informers, self.clock, providers)]

    @property
    def seen_by_tested(self) -> Api:
        return self.mortal or self.api

    async def kill(self) -> None:
        """As kill -9: whatever a pass had not written yet is lost."""
        for task in self._tested:
            task.cancel()
        await asyncio.gather(*self._tested, return_exceptions=True)
        if self._informers:
            await self._informers.close()

    async def get(self, name: str = "shop") -> Obj:
        return await self.api.get(ROLLOUTS, name, NS)

    async def patch(self, body: Obj, *, status: bool = False) -> None:
        await self.api.patch(ROLLOUTS, "shop", NS, MergePatch(body), subresource="status" if status else "")

    async def image(self, image: str) -> None:
        await self.patch({"spec": {"template": template(image)}})

    async def until(self, holds: Callable[[Obj], bool], *, within: float = 300, what: str = "", every: float = 0.05) -> Obj:
        """The Rollout once `holds` of it, looked at every 50 ms of virtual time."""
        end = self.clock.now() + timedelta(seconds=within)
        while True:
            found = await self.get()
            if holds(found):
                return found
            if self.clock.now() > end:
                raise AssertionError(f"{what or 'condition'} not reached in {within} s: {status_of(found)}")
            await asyncio.sleep(every)

    async def healthy(self, within: float = 300) -> Obj:
        def settled(found: Obj) -> bool:
            generation = str(found["metadata"]["generation"])
            return dig(found, "status", "phase") == "Healthy" and dig(found, "status", "observedGeneration") == generation

        return await self.until(settled, within=within, what="Healthy", every=0.25)

    async def sets(self) -> dict[str, Obj]:
        """ReplicaSets by image."""
        listed = await self.api.list(REPLICA_SETS, NS)
        return {dig(rs, "spec", "template", "spec", "containers", 0, "image"): rs for rs in listed.items}

    async def runs(self) -> list[Obj]:
        return (await self.api.list(ANALYSIS_RUNS, NS)).items

    async def canary_ingress(self) -> Obj:
        return await self.api.get(INGRESSES, "shop-shop-canary", NS)

    async def selects(self, name: str) -> str:
        found = await self.api.get(SERVICES, name, NS)
        return str(dig(found, "spec", "selector", HASH_LABEL, default=""))


async def fake_node(world: World) -> None:
    """Every pod becomes ready `ready_after` seconds after it was seen."""

    async def ready(name: str) -> None:
        await asyncio.sleep(world.ready_after)
        at = rfc3339(world.clock.now())
        conditions = [{"type": kind, "status": "True", "lastTransitionTime": at} for kind in ("ContainersReady", "Ready")]
        patch = MergePatch({"status": {"phase": "Running", "conditions": conditions}})
        with contextlib.suppress(NotFound):
            await world.api.patch(PODS, name, NS, patch, subresource="status")

    tasks = set()
    async for event in world.api.watch(PODS, NS):
        pod = event.object
        if event.type == "ADDED":
            tasks.add(asyncio.create_task(ready(pod["metadata"]["name"])))
        elif event.type == "MODIFIED" and "deletionTimestamp" in pod["metadata"]:
            with contextlib.suppress(NotFound):
                await world.api.delete(PODS, pod["metadata"]["name"], NS, DeleteOptions(grace_period_s=0))


async def fake_proxy(world: World) -> None:
    """Confirms the weight of a canary Ingress after a moment, and keeps a record of every weight it served."""
    async for event in world.api.watch(INGRESSES, NS):
        notes = annotations_of(event.object)
        weight = notes.get("nginx.ingress.kubernetes.io/canary-weight")
        if weight is None or event.type == "DELETED":
            continue
        if not world.weights or world.weights[-1][1] != weight:
            world.weights.append((world.clock.now(), weight))
        if world.confirm_after is not None and notes.get(APPLIED_WEIGHT) != weight:
            await asyncio.sleep(world.confirm_after)
            patch = JsonPatch([{"op": "add", "path": f"/metadata/annotations/{APPLIED_WEIGHT.replace('/', '~1')}",
                                "value": weight}])
            await world.api.patch(INGRESSES, event.object["metadata"]["name"], NS, patch)


async def watched(world: World, resource: Resource) -> None:
    """Everything that changes is shown to the second judge."""
    async for event in world.api.watch(resource, NS):
        world.judge.saw(event.type, event.object)


@asynccontextmanager
async def a_world(clock: Clock, **settings: Any) -> AsyncIterator[World]:
    """A world whose second judge had nothing to say by the time it ends."""
    world = World(clock, EmbeddedApi.in_memory(clock), **settings)
    for obj in (service("shop-stable"), service("shop-canary"), ingress()):
        await world.api.create(obj)
    others = Informers(world.api)
    outside: list[Awaitable[None]] = [fake_node(world), fake_proxy(world)]
    outside.append(ControllerLoop(ReplicaSetController(others, clock), others, clock).run())
    outside += [watched(world, resource) for resource in (ROLLOUTS, REPLICA_SETS, INGRESSES, ANALYSIS_RUNS)]
    tasks = [asyncio.ensure_future(task) for task in outside]
    try:
        await world.start()
        yield world
        assert not world.judge.broken, world.judge.broken
    finally:
        await world.kill()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await others.close()


def owned_hash(obj: Obj) -> str:
    return labels_of(obj).get(HASH_LABEL, "")
