"""Whatever people, metrics and crashes do in whatever order: the promises hold, and in the end it settles."""

from __future__ import annotations

import asyncio
import random

import pytest

from fairway.kube.clock import Clock, run_virtual
from fairway.kube.objects import dig
from tests.rollouts.world import World, a_world, analysis, rollout, success_rate

DEEDS = ("image", "image", "abort", "retry", "promote", "kill", "bad", "good", "scale", "slow")


@pytest.mark.parametrize("seed", range(10))
def test_any_order_of_events_keeps_the_promises(seed: int) -> None:
    async def story(clock: Clock) -> None:
        chance = random.Random(seed)
        async with a_world(clock) as world:
            await world.api.create(success_rate())
            await world.api.create(rollout(analysis=analysis(), maxUnavailable=1))
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
