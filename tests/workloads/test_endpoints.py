"""EndpointSlices follow Services and pods, and leave other writers' annotations alone."""

from __future__ import annotations

import asyncio
from typing import Any

from fairway.kube.objects import Obj, annotations_of, meta_of
from fairway.kube.resources import DEPLOYMENTS, ENDPOINT_SLICES, ENDPOINTS, PODS, SERVICES
from fairway.node.simulated import Script
from tests.workloads.world import World, deployment, play


def _service(**spec: Any) -> Obj:
    ports = [{"name": "web", "port": 80, "targetPort": "http"}]
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"selector": {"app": "web"}, "ports": ports, **spec}}


async def _slice(world: World) -> Obj:
    (only,) = await world.list(ENDPOINT_SLICES, "kubernetes.io/service-name=web")
    return only


def _conditions(one: Obj) -> list[tuple[bool, bool, bool]]:
    return [tuple(endpoint["conditions"][name] for name in ("ready", "serving", "terminating"))  # type: ignore[misc]
            for endpoint in one["endpoints"]]


def test_endpoints_go_from_unready_to_ready_to_terminating() -> None:
    async def story(world: World) -> None:
        await world.api.create(_service())
        await world.api.create(deployment(replicas=1))
        await asyncio.sleep(1)
        one = await _slice(world)
        assert _conditions(one) == [(False, False, False)]
        assert one["ports"] == [{"name": "web", "protocol": "TCP", "port": 8000}]
        name = meta_of(one)["name"]
        await world.until(lambda: world.rolled_out("web"))
        await asyncio.sleep(0.1)
        one = await _slice(world)
        assert (meta_of(one)["name"], _conditions(one)) == (name, [(True, True, False)])
        (pod,) = await world.pods()
        assert one["endpoints"][0]["targetRef"]["uid"] == meta_of(pod)["uid"]
        await world.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 0}})
        await asyncio.sleep(1)
        assert _conditions(await _slice(world)) == [(False, True, True)]
        await asyncio.sleep(20)
        one = await _slice(world)
        assert (meta_of(one)["name"] != "", one.get("endpoints", [])) == (True, [])

    play(story, Script(stop_s=5))


def test_what_another_writer_notes_on_a_slice_stays() -> None:
    async def story(world: World) -> None:
        await world.api.create(_service())
        await world.api.create(deployment(replicas=2))
        await world.until(lambda: world.rolled_out("web"))
        name = meta_of(await _slice(world))["name"]
        await world.patch(ENDPOINT_SLICES, name, {"metadata": {"annotations": {"fairway.dev/serving": "127.64.0.1"}}})
        await world.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 3}})
        await asyncio.sleep(0.1)
        await world.until(lambda: world.rolled_out("web"))
        await asyncio.sleep(0.1)
        one = await _slice(world)
        assert len(one["endpoints"]) == 3
        assert annotations_of(one)["fairway.dev/serving"] == "127.64.0.1"

    play(story)


def test_a_named_port_that_means_two_numbers_makes_two_slices() -> None:
    async def story(world: World) -> None:
        await world.api.create(_service())
        await world.api.create(deployment("web", replicas=1))
        other = deployment("web2", replicas=1)
        other["spec"]["selector"] = {"matchLabels": {"track": "b"}}
        other["spec"]["template"]["metadata"]["labels"] = {"app": "web", "track": "b"}
        other["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"] = 9000
        await world.api.create(other)
        await asyncio.sleep(10)
        slices = await world.list(ENDPOINT_SLICES, "kubernetes.io/service-name=web")
        assert sorted((one["ports"][0]["port"], len(one["endpoints"])) for one in slices) == [(8000, 1), (9000, 1)]

    play(story)


def test_a_deleted_service_takes_its_slices_along_and_leaves_the_pods() -> None:
    async def story(world: World) -> None:
        await world.api.create(_service())
        await world.api.create(deployment(replicas=1))
        await world.until(lambda: world.rolled_out("web"))
        await world.api.delete(SERVICES, "web", "default")
        await asyncio.sleep(1)
        assert await world.list(ENDPOINT_SLICES) == []
        assert len(await world.list(PODS)) == 1

    play(story)


def test_older_clients_find_endpoints() -> None:
    async def story(world: World) -> None:
        await world.api.create(_service())
        await world.api.create(deployment(replicas=2))
        await asyncio.sleep(1)
        found = await world.get(ENDPOINTS, "web")
        assert [sorted(subset) for subset in found["subsets"]] == [["notReadyAddresses", "ports"]]
        await world.until(lambda: world.rolled_out("web"))
        await asyncio.sleep(1)
        (subset,) = (await world.get(ENDPOINTS, "web"))["subsets"]
        assert subset["ports"] == [{"name": "web", "protocol": "TCP", "port": 8000}]
        pods = {meta_of(pod)["name"]: pod["status"]["podIP"] for pod in await world.pods()}
        assert {one["targetRef"]["name"]: one["ip"] for one in subset["addresses"]} == pods
        await world.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 0}})
        await asyncio.sleep(5)
        assert "subsets" not in await world.get(ENDPOINTS, "web")
        await world.api.delete(SERVICES, "web", "default")
        await asyncio.sleep(1)
        assert await world.list(ENDPOINTS) == []

    play(story)


def test_endpoints_by_hand_become_slices() -> None:
    """A database outside of the cluster: a Service without a selector, and its addresses."""

    async def story(world: World) -> None:
        made = _service(selector=None, ports=[{"port": 5432}])
        await world.api.create(made)
        subsets = [{"addresses": [{"ip": "192.0.2.7"}], "notReadyAddresses": [{"ip": "192.0.2.8"}], "ports": [{"port": 5432}]}]
        by_hand = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web", "namespace": "default"},
                   "subsets": subsets}
        await world.api.create(by_hand)
        await asyncio.sleep(1)
        one = await _slice(world)
        assert meta_of(one)["labels"]["endpointslice.kubernetes.io/managed-by"] == "endpointslicemirroring-controller.k8s.io"
        assert (one["addressType"], one["ports"]) == ("IPv4", [{"name": "", "protocol": "TCP", "port": 5432}])
        assert [(each["addresses"], each["conditions"]) for each in one["endpoints"]] == [
            (["192.0.2.7"], {"ready": True}), (["192.0.2.8"], {"ready": False})]
        assert (await world.get(ENDPOINTS, "web"))["subsets"], "nobody touches what was written by hand"
        await world.patch(ENDPOINTS, "web", {"subsets": None})
        await asyncio.sleep(1)
        assert await world.list(ENDPOINT_SLICES) == []

    play(story)
