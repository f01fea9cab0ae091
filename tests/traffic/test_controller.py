"""What the controller writes back and when, in virtual time over a simulated data plane."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from fairway.kube.api import MergePatch
from fairway.kube.cache import Informers
from fairway.kube.clock import Clock, run_virtual
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.objects import Obj, annotations_of
from fairway.kube.resources import CORE_EVENTS, ENDPOINT_SLICES, INGRESSES, SERVICES
from fairway.traffic.controller import APPLIED_WEIGHT, SERVING, TrafficController
from fairway.traffic.simulated import SimulatedDataPlane

NGINX = "nginx.ingress.kubernetes.io/"


class World:
    def __init__(self, api: EmbeddedApi, plane: SimulatedDataPlane, controller: TrafficController) -> None:
        self.api, self.plane, self.controller = api, plane, controller

    async def service(self, name: str, *addresses: str) -> None:
        await self.api.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
                               "spec": {"ports": [{"name": "http", "port": 8080}]}})
        await self.api.create({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": f"{name}-1", "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
            "endpoints": endpoints(*addresses), "ports": [{"name": "http", "port": 8000}]})

    async def ingress(self, name: str, to: str, **notes: str) -> None:
        await self.api.create({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": name, "namespace": "default",
                         "annotations": {NGINX + key.replace("_", "-"): value for key, value in notes.items()}},
            "spec": {"ingressClassName": "nginx", "rules": [{"host": "shop.example.com", "http": {"paths": [{
                "path": "/", "pathType": "Prefix",
                "backend": {"service": {"name": to, "port": {"number": 8080}}}}]}}]}})

    async def move(self, service: str, *addresses: str) -> None:
        await self.api.patch(ENDPOINT_SLICES, f"{service}-1", "default", MergePatch({"endpoints": endpoints(*addresses)}))

    async def weight(self, weight: int) -> None:
        body = {"metadata": {"annotations": {NGINX + "canary-weight": str(weight)}}}
        await self.api.patch(INGRESSES, "canary", "default", MergePatch(body))

    async def serving(self, service: str) -> str | None:
        return annotations_of(await self.api.get(ENDPOINT_SLICES, f"{service}-1", "default")).get(SERVING)

    async def applied(self) -> str | None:
        return annotations_of(await self.api.get(INGRESSES, "canary", "default")).get(APPLIED_WEIGHT)


def endpoints(*addresses: str) -> list[Obj]:
    return [{"addresses": [address], "conditions": {"ready": True}} for address in addresses]


def run(story: Callable[[World], Awaitable[None]]) -> None:
    async def main(clock: Clock) -> None:
        api = EmbeddedApi.in_memory(clock)
        informers, plane = Informers(api), SimulatedDataPlane()
        controller = TrafficController(informers, clock, plane, ingress_address="127.0.0.1", ingress_port=8080,
                                       unprivileged_from=0)
        await controller.start()
        running = asyncio.create_task(controller.run())
        await story(World(api, plane, controller))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await informers.close()

    run_virtual(main)


def test_a_weight_is_confirmed_only_when_it_is_in_force() -> None:
    async def story(w: World) -> None:
        await w.service("stable", "127.64.0.1")
        await w.service("next", "127.64.0.2")
        await w.ingress("main", "stable")
        await w.ingress("canary", "next", canary="true", canary_weight="20")
        await asyncio.sleep(1)
        assert await w.applied() == "20"
        assert w.plane.share("shop.example.com", "default|next|8080|-") == 0.2
        w.plane.refusing = "no such thing"
        await w.weight(50)
        await asyncio.sleep(5)
        assert await w.applied() == "20"
        assert w.plane.share("shop.example.com", "default|next|8080|-") == 0.2
        assert [str(reason) for reason in w.controller.reasons] == ["ConfigRejected: no such thing"]
        events = (await w.api.list(CORE_EVENTS, "default")).items
        assert {(one["involvedObject"]["name"], one["reason"]) for one in events} == {
            ("main", "ConfigRejected"), ("canary", "ConfigRejected")}
        w.plane.refusing = ""
        await asyncio.sleep(2)
        assert await w.applied() == "50"
        assert w.controller.reasons == ()

    run(story)


def test_an_address_is_named_before_it_serves_and_until_it_does_not() -> None:
    """At no instant does the data plane send to an address that the annotation does not name."""

    async def story(w: World) -> None:
        await w.service("web", "127.64.0.1", "127.64.0.2")
        watched = asyncio.create_task(always_named(w))
        for step in (("127.64.0.2",), ("127.64.0.2", "127.64.0.3"), ("127.64.0.4",), (), ("127.64.0.5",)):
            await asyncio.sleep(1)
            await w.move("web", *step)
        await asyncio.sleep(1)
        watched.cancel()
        await asyncio.gather(watched, return_exceptions=True)
        assert watched.cancelled()
        assert await w.serving("web") == "127.64.0.5"

    run(story)


async def always_named(w: World) -> None:
    while True:
        named = set((await w.serving("web") or "").split(","))
        for cluster in w.plane.model.clusters if w.plane.model else ():
            sent = {endpoint.address for endpoint in cluster.endpoints}
            assert sent <= named, f"{sent - named} is served and not named"
        await asyncio.sleep(0.0005)


def test_while_changes_are_refused_addresses_stay_named() -> None:
    async def story(w: World) -> None:
        await w.service("web", "127.64.0.1")
        await asyncio.sleep(1)
        w.plane.refusing = "not now"
        await w.move("web", "127.64.0.2")
        await asyncio.sleep(10)
        assert await w.serving("web") == "127.64.0.1,127.64.0.2"
        w.plane.refusing = ""
        await asyncio.sleep(2)
        assert await w.serving("web") == "127.64.0.2"

    run(story)


def test_services_keep_their_address_and_ingresses_get_their_port() -> None:
    async def story(w: World) -> None:
        await w.service("web", "127.64.0.1")
        await w.ingress("main", "web")
        await asyncio.sleep(1)
        service = await w.api.get(SERVICES, "web", "default")
        assert w.controller.in_force is not None
        [listener] = w.controller.in_force.services
        assert listener.address == service["spec"]["clusterIP"]
        ingress = await w.api.get(INGRESSES, "main", "default")
        assert ingress["status"]["loadBalancer"]["ingress"] == [
            {"ip": "127.0.0.1", "ports": [{"port": 8080, "protocol": "TCP"}]}]

    run(story)


def test_nothing_is_written_where_nothing_changed() -> None:
    async def story(w: World) -> None:
        await w.service("web", "127.64.0.1")
        await w.ingress("main", "web")
        await asyncio.sleep(1)
        before = (await w.api.list(SERVICES)).resource_version
        body = {"metadata": {"labels": {"unrelated": "true"}}}
        await w.api.patch(SERVICES, "web", "default", MergePatch(body))
        await asyncio.sleep(60)
        after = (await w.api.list(SERVICES)).resource_version
        assert int(after) == int(before) + 1

    run(story)
