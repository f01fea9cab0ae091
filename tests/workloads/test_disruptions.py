"""Budgets and the evictions that ask them."""

from __future__ import annotations

import asyncio

import pytest

from fairway.kube.errors import TooManyRequests
from fairway.kube.http.evictions import evict
from fairway.kube.objects import Key, Obj, meta_of, status_of
from fairway.kube.resources import POD_DISRUPTION_BUDGETS, PODS
from fairway.node.simulated import Script
from tests.workloads.world import World, deployment, play


def budget(**spec: object) -> Obj:
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec}}


async def _evict(world: World, pod: Obj) -> Obj:
    name = meta_of(pod)["name"]
    return await evict(world.api, Key("default", name), {"kind": "Eviction", "metadata": {"name": name}}, world.clock.now())


async def _allowed(world: World) -> int:
    return int(status_of(await world.get(POD_DISRUPTION_BUDGETS, "web")).get("disruptionsAllowed", -1))


def test_one_at_a_time_goes_and_the_next_when_the_first_is_replaced() -> None:
    async def story(world: World) -> None:
        await world.api.create(deployment(replicas=3))
        await world.api.create(budget(minAvailable=2))
        await world.until(lambda: world.rolled_out("web"))
        await asyncio.sleep(1)
        assert await _allowed(world) == 1
        first, second, _ = await world.pods()
        assert (await _evict(world, first))["status"] == "Success"
        with pytest.raises(TooManyRequests) as refused:
            await _evict(world, second)
        assert str(refused.value) == "Cannot evict pod as it would violate the pod's disruption budget."
        assert refused.value.details["causes"] == [{
            "reason": "DisruptionBudget", "message": "The disruption budget web needs 2 healthy pods and has 3 currently"}]
        await asyncio.sleep(10)
        assert await _allowed(world) == 1
        assert "disruptedPods" not in status_of(await world.get(POD_DISRUPTION_BUDGETS, "web"))
        await _evict(world, second)

    play(story)


def test_a_share_is_one_of_what_the_deployment_wants() -> None:
    async def story(world: World) -> None:
        await world.api.create(deployment(replicas=4))
        await world.api.create(budget(maxUnavailable="50%"))
        await world.until(lambda: world.rolled_out("web"))
        await asyncio.sleep(1)
        status = status_of(await world.get(POD_DISRUPTION_BUDGETS, "web"))
        assert (status["expectedPods"], status["desiredHealthy"], status["disruptionsAllowed"]) == (4, 2, 2)
        for pod in (await world.pods())[:2]:
            await _evict(world, pod)
        assert await _allowed(world) == 0

    play(story)


def test_a_pod_that_is_not_ready_may_go_where_the_budget_says_so() -> None:
    async def story(world: World) -> None:
        await world.api.create(deployment(replicas=2))
        await world.api.create(budget(minAvailable=2))
        await asyncio.sleep(10)
        (pod, _) = await world.pods()
        with pytest.raises(TooManyRequests):
            await _evict(world, pod)
        await world.patch(POD_DISRUPTION_BUDGETS, "web", {"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}})
        await asyncio.sleep(1)
        await _evict(world, pod)
        await asyncio.sleep(2)
        assert meta_of(pod)["name"] not in [meta_of(one)["name"] for one in await world.list(PODS)]

    play(story, Script(ready_s=None))
