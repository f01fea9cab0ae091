"""Whole blue-green updates in virtual time: preview, switch, and the way back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fairway.kube.clock import Clock, run_virtual
from fairway.kube.objects import Obj, dig, status_of
from tests.rollouts.world import World, a_world, analysis, blue_green, success_rate


async def first_version(world: World, **strategy: Any) -> str:
    """Deploy shop:1 and return its hash."""
    await world.api.create(success_rate(count=3, inconclusiveLimit=0))
    await world.api.create(blue_green(**strategy))
    return str((await world.healthy())["status"]["stableRS"])


def paused(found: Obj) -> bool:
    return bool(dig(found, "status", "message") == "BlueGreenPause")


async def replicas(world: World) -> dict[str, int]:
    return {image: rs["spec"]["replicas"] for image, rs in (await world.sets()).items()}


def test_the_new_version_is_shown_first_and_takes_over_when_somebody_promotes_it() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock) as world:
            old = await first_version(world, autoPromotionEnabled=False)
            assert await world.selects("shop-stable") == await world.selects("shop-canary") == old
            await world.image("shop:2")
            found = await world.until(paused)
            assert found["status"]["phase"] == "Paused"
            new = found["status"]["currentPodHash"]
            assert (await world.selects("shop-stable"), await world.selects("shop-canary")) == (old, new)
            counts = {name: found["status"][name] for name in ("replicas", "updatedReplicas", "availableReplicas")}
            assert counts == {"replicas": 4, "updatedReplicas": 2, "availableReplicas": 2}
            await world.patch({"status": {"pauseConditions": None}}, status=True)
            done = await world.healthy()
            assert done["status"]["stableRS"] == await world.selects("shop-stable") == new
            assert await replicas(world) == {"shop:1": 2, "shop:2": 2}, "the old pods stay for scaleDownDelaySeconds"
            await asyncio.sleep(31)
            assert await replicas(world) == {"shop:1": 0, "shop:2": 2}

    run_virtual(story)


def test_going_back_to_a_version_whose_pods_are_still_there_needs_no_pause_and_no_analysis() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock) as world:
            old = await first_version(world, autoPromotionEnabled=False, scaleDownDelaySeconds=300,
                                      prePromotionAnalysis=analysis(), postPromotionAnalysis=analysis())
            await world.image("shop:2")
            await world.until(paused)
            await world.patch({"status": {"pauseConditions": None}}, status=True)
            await world.healthy()
            measured = len(world.metrics.asked)
            await world.image("shop:1")
            done = await world.until(lambda r: dig(r, "status", "stableRS") == old, within=5)
            assert await world.selects("shop-stable") == old
            assert not done["status"].get("pauseConditions") and len(world.metrics.asked) == measured

    run_virtual(story)


def test_users_stay_on_the_old_version_when_the_analysis_before_the_switch_fails() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock) as world:
            old = await first_version(world, prePromotionAnalysis=analysis(), previewReplicaCount=1,
                                      abortScaleDownDelaySeconds=5)
            world.metrics.answer = lambda text, at: [0.5]
            await world.image("shop:2")
            found = await world.until(lambda r: dig(r, "status", "abort") is True)
            assert found["status"]["phase"] == "Degraded"
            assert await world.selects("shop-stable") == old
            assert (await replicas(world))["shop:2"] == 1, "the preview was small"
            await asyncio.sleep(8)
            assert await replicas(world) == {"shop:1": 2, "shop:2": 0}
            run, = await world.runs()
            assert run["metadata"]["labels"]["rollout-type"] == "PrePromotion"
            assert run["metadata"]["name"].endswith("-2-pre")

    run_virtual(story)


def test_users_go_back_at_once_when_the_analysis_after_the_switch_fails() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock) as world:
            old = await first_version(world, postPromotionAnalysis=analysis())
            await world.image("shop:2")
            await world.until(lambda r: dig(r, "status", "blueGreen", "activeSelector") not in (None, old))
            assert (await world.get())["status"]["message"] == "waiting for analysis to complete"
            world.metrics.answer = lambda text, at: [0.5]
            await world.until(lambda r: dig(r, "status", "abort") is True, within=10)
            assert await world.selects("shop-stable") == old
            found = await world.get()
            assert found["status"]["stableRS"] == old and await world.selects("shop-canary") != old
            run, = await world.runs()
            assert status_of(run)["phase"] == "Failed" and run["metadata"]["name"].endswith("-2-post")

    run_virtual(story)


def test_a_small_preview_grows_before_the_switch_and_the_time_of_the_pause_survives_a_restart() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock) as world:
            await first_version(world, previewReplicaCount=1, autoPromotionSeconds=60)
            await world.image("shop:2")
            await world.until(paused)
            began = clock.now()
            await asyncio.sleep(20)
            await world.kill()
            await asyncio.sleep(10)
            await world.start()
            assert (await replicas(world))["shop:2"] == 1
            done = await world.until(lambda r: dig(r, "status", "stableRS") == dig(r, "status", "currentPodHash"))
            assert 60 <= (clock.now() - began).total_seconds() < 65
            assert (await replicas(world))["shop:2"] == 2
            assert "scaleUpPreviewCheckPoint" not in done["status"]["blueGreen"]

    run_virtual(story)


@pytest.mark.parametrize("promoted", [False, True])
def test_a_second_try_after_an_abort_pauses_again(promoted: bool) -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock) as world:
            first = await first_version(world, previewReplicaCount=1, autoPromotionEnabled=False)
            await world.image("shop:2")
            await world.until(paused)
            if promoted:
                await world.patch({"status": {"pauseConditions": None}}, status=True)
                await world.until(lambda r: dig(r, "status", "blueGreen", "scaleUpPreviewCheckPoint", default=False))
            await world.patch({"status": {"abort": True}}, status=True)
            await asyncio.sleep(5)
            assert await world.selects("shop-stable") == first
            await world.patch({"status": {"abort": False}}, status=True)
            await asyncio.sleep(60)
            assert paused(await world.get()) and await world.selects("shop-stable") == first

    run_virtual(story)
