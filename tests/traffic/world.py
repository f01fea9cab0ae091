"""A small cluster for traffic tests: the real API in memory, a real data plane, and pods that are servers of the test."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fairway.kube.api import MergePatch
from fairway.kube.cache import Informers
from fairway.kube.clock import WallClock
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.objects import Key, Obj, annotations_of, status_of
from fairway.kube.resources import ENDPOINT_SLICES, INGRESSES, SERVICES, Resource
from fairway.traffic.controller import APPLIED_WEIGHT, SERVING, TrafficController
from fairway.traffic.envoy import EnvoyDataPlane, find_binary
from fairway.traffic.port import DataPlane
from fairway.traffic.prober import Answer, Prober, Target
from fairway.traffic.proxy import ProxyDataPlane
from tests.traffic.backends import Backend, free_port, own_address

HOST = "shop.example.com"
NGINX = "nginx.ingress.kubernetes.io/"
PATIENCE_S = 30.0

DATA_PLANES = ["envoy", "proxy"]


def data_plane(kind: str, folder: Path) -> DataPlane:
    if kind == "proxy":
        return ProxyDataPlane(seed=1)
    binary = find_binary()
    if binary is None:
        pytest.skip("there is no Envoy on this machine")
    return EnvoyDataPlane(folder, binary, concurrency=1)


@dataclass
class World:
    api: EmbeddedApi
    informers: Informers
    controller: TrafficController
    port: int
    backends: list[Backend] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    async def pod(self, name: str, version: str, pod_hash: str, *, port: int = 0, delay_s: float = 0.0) -> Backend:
        """A running server, and the Pod that stands for it."""
        address = own_address()
        backend = await Backend(version, address, port or free_port(address), delay_s=delay_s).start()
        self.backends.append(backend)
        labels = {"rollouts-pod-template-hash": pod_hash} if pod_hash else {}
        await self.api.create({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": labels},
            "spec": {"containers": [{"name": "app", "image": "registry.example.com/shop/app"}]},
        })
        return backend

    async def service(self, name: str, pods: dict[str, Backend], *, app_protocol: str = "http", port: int = 80) -> None:
        await self.api.create({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
            "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": port, "appProtocol": app_protocol}]},
        })
        await self.api.create({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": f"{name}-1", "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
            "endpoints": _endpoints(pods), "ports": _ports(pods),
        })

    async def endpoints(self, service: str, pods: dict[str, Backend]) -> None:
        await self.patch(ENDPOINT_SLICES, f"{service}-1", {"endpoints": _endpoints(pods), "ports": _ports(pods)})

    async def ingress(self, name: str, service: str, annotations: dict[str, str] | None = None, *, path: str = "/") -> None:
        await self.api.create({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": name, "namespace": "default", "annotations": annotations or {}},
            "spec": {"ingressClassName": "nginx", "rules": [{"host": HOST, "http": {"paths": [{
                "path": path, "pathType": "Prefix",
                "backend": {"service": {"name": service, "port": {"name": "http"}}}}]}}]},
        })

    async def canary_weight(self, weight: int) -> None:
        """Ask for a weight, and wait until the platform says that it serves it."""
        await self.patch(INGRESSES, "shop-canary", {"metadata": {"annotations": {NGINX + "canary-weight": str(weight)}}})
        await self.until(lambda: self.note(INGRESSES, "shop-canary", APPLIED_WEIGHT) == str(weight))

    async def patch(self, resource: Resource, name: str, body: Obj) -> None:
        await self.api.patch(resource, name, "default", MergePatch(body))

    def note(self, resource: Resource, name: str, annotation: str) -> str | None:
        obj = self.informers.of(resource).get(Key("default", name))
        return annotations_of(obj).get(annotation) if obj else None

    def serving(self, service: str) -> set[str]:
        return set((self.note(ENDPOINT_SLICES, f"{service}-1", SERVING) or "").split(",")) - {""}

    async def until(self, holds: Callable[[], bool]) -> float:
        """Seconds until it holds; fails after `PATIENCE_S`."""
        began = time.perf_counter()
        changed = asyncio.Event()
        for resource in (ENDPOINT_SLICES, INGRESSES, SERVICES):
            self.informers.of(resource).on_change(lambda _old, _new: changed.set())
        while not holds():
            left = began + PATIENCE_S - time.perf_counter()
            assert left > 0, f"did not come to hold; traffic says: {[str(reason) for reason in self.controller.reasons]}"
            changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), min(left, 0.05))
        return time.perf_counter() - began

    async def served(self) -> None:
        """Until the ingress `shop` is in force."""
        await self.until(lambda: bool(status_of(self.informers.of(INGRESSES).get(Key("default", "shop")) or {})
                                      .get("loadBalancer")))

    @contextlib.asynccontextmanager
    async def load(self, rate: float) -> AsyncIterator[list[Answer]]:
        stop = asyncio.Event()
        target = Target.of(f"http://127.0.0.1:{self.port}/", host=HOST)
        answers: list[Answer] = []
        task = asyncio.create_task(Prober(target, rate, answers.append).run(stop=stop))
        try:
            yield answers
        finally:
            stop.set()
            await task

    async def more(self, answers: list[Answer], count: int) -> list[Answer]:
        """The next `count` answers of a running load, to requests that were due after this moment: on a busy machine those
        before it may still wait in line."""
        start, now = len(answers), time.time()
        deadline = time.perf_counter() + PATIENCE_S
        while len(found := [answer for answer in answers[start:] if answer.at >= now]) < count:
            assert time.perf_counter() < deadline, f"only {len(found)} answers of {count}"
            await asyncio.sleep(0.01)
        return found


def _endpoints(pods: dict[str, Backend]) -> list[Obj]:
    return [{"addresses": [backend.address], "conditions": {"ready": True, "serving": True, "terminating": False},
             "targetRef": {"kind": "Pod", "name": name, "namespace": "default"}} for name, backend in pods.items()]


def _ports(pods: dict[str, Backend]) -> list[Obj]:
    return [{"name": "http", "port": backend.port, "protocol": "TCP"} for backend in list(pods.values())[:1]]


@contextlib.asynccontextmanager
async def world(plane: DataPlane, *, port: int = 0) -> AsyncIterator[World]:
    port = port or free_port()
    api = EmbeddedApi.in_memory(WallClock(), address_seed=str(port))
    informers = Informers(api)
    controller = TrafficController(informers, WallClock(), plane, ingress_address="127.0.0.1", ingress_port=port,
                                   unprivileged_from=1024)
    for resource in (ENDPOINT_SLICES, INGRESSES, SERVICES):
        informers.of(resource)
    await controller.start()
    running = asyncio.create_task(controller.run())
    made = World(api, informers, controller, port)
    try:
        yield made
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await controller.stop(workloads=True)
        await informers.close()
        for backend in made.backends:
            backend.kill()


def failed(answers: list[Answer]) -> list[Answer]:
    return [answer for answer in answers if answer.status != 200]


def share(answers: list[Answer], version: str) -> float:
    return sum(answer.version == version for answer in answers) / len(answers)
