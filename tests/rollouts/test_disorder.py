"""Whatever people, metrics and crashes do in whatever order: the promises hold, and in the end it settles."""

from __future__ import annotations

import asyncio
import random

import pytest

from fairway.kube.clock import Clock, run_virtual
from fairway.kube.objects import Obj, dig
from tests.rollouts.world import World, a_world, analysis, blue_green, rollout, success_rate

DEEDS = ("image", "image", "abort", "retry", "promote", "kill", "bad", "good", "scale", "slow")


@pytest.mark.parametrize("seed", range(10))
def test_any_order_of_events_keeps_the_promises(seed: int) -> None:
    disorder(seed, rollout(analysis=analysis(), maxUnavailable=1))


@pytest.mark.parametrize("seed", range(8))
def test_any_order_of_events_keeps_the_promises_of_blue_green(seed: int) -> None:
    disorder(seed, blue_green(prePromotionAnalysis=analysis(), postPromotionAnalysis=analysis(), scaleDownDelaySeconds=20,
                              **({"previewReplicaCount": 1} if seed % 2 else {"autoPromotionSeconds": 5})))


def disorder(seed: int, made: Obj) -> None:
    """Ten kinds of deeds in an order by chance; then all is well again, and it has to settle."""

    async def story(clock: Clock) -> None:
        chance = random.Random(seed)
        async with a_world(clock) as world:
            await world.api.create(success_rate(count=3, inconclusiveLimit=3) if "blueGreen" in made["spec"]["strategy"]
                                   else success_rate())
            await world.api.create(made)
            await world.healthy()
            for _ in range(14):
                await deed(world, chance)
                await asyncio.sleep(chance.uniform(0.1, 25))
            world.metrics.answer = lambda text, at: [1.0]
            await world.patch({"status": {"abort": False}}, status=True)
            done = await world.healthy(within=400)
            assert dig(done, "status", "availableReplicas") >= dig(done, "spec", "replicas")

    run_virtual(story)


async def deed(world: World, chance: random.Random) -> None:
    match chance.choice(DEEDS):
        case "image":
            await world.image(f"shop:{chance.randint(1, 4)}")
        case "abort":
            if dig(await world.get(), "status", "currentPodHash") != dig(await world.get(), "status", "stableRS"):
                await world.patch({"status": {"abort": True}}, status=True)
        case "retry":
            await world.patch({"status": {"abort": False}}, status=True)
        case "promote":
            await world.patch({"status": {"pauseConditions": None}}, status=True)
        case "kill":
            await world.kill()
            await asyncio.sleep(chance.uniform(0, 5))
            await world.start()
        case "bad":
            world.metrics.answer = lambda text, at: [0.5]
        case "good":
            world.metrics.answer = lambda text, at: [1.0]
        case "scale":
            await world.patch({"spec": {"replicas": chance.randint(2, 6)}})
        case "slow":
            world.ready_after = chance.choice((0.1, 2.0, 12.0))
