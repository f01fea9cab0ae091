"""Pods that a Rollout takes over from a Deployment, and what its own pods carry while they have a role."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fairway.kube.api import MergePatch
from fairway.kube.clock import Clock, run_virtual
from fairway.kube.objects import Obj, annotations_of, dig, labels_of
from fairway.kube.resources import DEPLOYMENTS, PODS, ROLLOUTS, SERVICES
from fairway.rollouts.anti_affinity import with_anti_affinity
from fairway.rollouts.keys import HASH_LABEL, MANAGED_BY
from tests.rollouts.world import NS, World, a_world, blue_green, rollout, template

STEPS: list[Obj] = [{"setWeight": 50}, {"pause": {}}]


def deployment(replicas: int = 3) -> Obj:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop", "namespace": NS},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "shop"}}, "template": template("shop:1")}}


def referring(scale_down: str, **spec: Any) -> Obj:
    found = rollout(replicas=3, steps=STEPS)
    del found["spec"]["template"], found["spec"]["selector"]
    ref = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop", "scaleDown": scale_down}
    found["spec"] |= {"workloadRef": ref, **spec}
    return found


async def left(world: World) -> int:
    return int(dig(await world.api.get(DEPLOYMENTS, "shop", NS), "spec", "replicas"))


@pytest.mark.parametrize(("scale_down", "during", "after"), [("never", 3, 3), ("onsuccess", 3, 0), ("progressively", 2, 0)])
def test_a_deployment_gives_up_its_pods_as_scale_down_says(scale_down: str, during: int, after: int) -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock) as world:
            await world.api.create(deployment())
            await world.api.create(referring(scale_down))
            await world.until(lambda r: dig(r, "status", "availableReplicas", default=0) >= 1)
            await asyncio.sleep(0.2)
            assert await left(world) in (during, after)
            done = await world.healthy()
            await asyncio.sleep(0.5)
            assert await left(world) == after
            assert done["status"]["workloadObservedGeneration"] and "template" not in done["spec"]
            await world.api.patch(DEPLOYMENTS, "shop", NS, MergePatch({"spec": {"template": template("shop:2")}}))
            await world.until(lambda r: dig(r, "status", "phase") == "Paused", what="the template is that of the Deployment")
            assert await left(world) == after, "later it is left alone"

    run_virtual(story)


def test_a_deployment_gets_its_pods_back_when_the_rollout_fails_to_take_over() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock, ready_after=0.5) as world:
            await world.api.create(deployment())
            await world.api.create(referring("progressively", progressDeadlineSeconds=5))
            world.ready_after = 3600.0
            await world.until(lambda r: dig(r, "status", "phase") == "Degraded", within=30)
            await asyncio.sleep(0.5)
            assert await left(world) == 3

    run_virtual(story)


def test_a_workload_that_is_not_there_is_said_and_waited_for() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock) as world:
            await world.api.create(referring("never"))
            found = await world.until(lambda r: dig(r, "status", "phase") == "Degraded")
            assert found["status"]["message"].endswith(
                'spec.workloadRef.name: Invalid value: "shop": deployments.apps "shop" not found')
            await world.api.create(deployment())
            await world.healthy()

    run_virtual(story)


def test_pods_carry_the_metadata_of_their_role_and_lose_it_with_the_role() -> None:
    async def roles(world: World) -> dict[str, str]:
        pods = (await world.api.list(PODS, NS)).items
        return {dig(pod, "spec", "containers", 0, "image"): labels_of(pod).get("role", "-") for pod in pods}

    async def story(clock: Clock) -> None:
        async with a_world(clock) as world:
            await world.api.create(rollout(steps=STEPS, canaryMetadata={"labels": {"role": "canary"}},
                                           stableMetadata={"labels": {"role": "stable"}, "annotations": {"team": "a"}}))
            await world.healthy()
            await asyncio.sleep(0.5)
            assert await roles(world) == {"shop:1": "stable"}
            await world.image("shop:2")
            await world.until(lambda r: dig(r, "status", "phase") == "Paused")
            await asyncio.sleep(0.5)
            assert await roles(world) == {"shop:1": "stable", "shop:2": "canary"}
            assert len(await world.sets()) == 2, "metadata makes no new revision"
            await world.patch({"status": {"pauseConditions": None}}, status=True)
            await world.healthy()
            await asyncio.sleep(0.5)
            assert (await roles(world))["shop:2"] == "stable"

    run_virtual(story)


def test_services_are_given_back_when_the_rollout_no_longer_names_them() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock) as world:
            await world.api.create(blue_green())
            await world.healthy()
            assert await world.selects("shop-canary")
            await world.patch({"spec": {"strategy": {"blueGreen": {"previewService": None}}}})
            await world.healthy()
            service = await world.api.get(SERVICES, "shop-canary", NS)
            assert service["spec"]["selector"] == {"app": "shop"} and MANAGED_BY not in annotations_of(service)
            await world.api.delete(ROLLOUTS, "shop", NS)
            await asyncio.sleep(1)
            assert await world.selects("shop-stable") == ""

    run_virtual(story)


def test_new_pods_are_kept_off_the_nodes_of_stable() -> None:
    hard = with_anti_affinity(template("shop:2"), {"requiredDuringSchedulingIgnoredDuringExecution": {}}, "abc")
    term, = dig(hard, "spec", "affinity", "podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    assert term["labelSelector"]["matchExpressions"] == [{"key": HASH_LABEL, "operator": "In", "values": ["abc"]}]
    soft = with_anti_affinity(template("shop:2"), {"preferredDuringSchedulingIgnoredDuringExecution": {"weight": 7}}, "abc")
    assert dig(soft, "spec", "affinity", "podAntiAffinity", "preferredDuringSchedulingIgnoredDuringExecution", 0, "weight") == 7
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {}}
    assert with_anti_affinity(template("shop:2"), required, "") == template("shop:2")
