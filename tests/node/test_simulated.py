"""The simulated node keeps its script."""

from __future__ import annotations

import asyncio

from fairway.kube.objects import Obj, dig, is_true, status_of
from fairway.kube.resources import DEPLOYMENTS, PODS
from fairway.node.simulated import Script
from tests.workloads.world import World, deployment, play


async def _pod(world: World) -> Obj:
    (only,) = await world.list(PODS)
    return only


def test_a_pod_starts_gets_ready_and_loses_readiness_for_a_while() -> None:
    async def story(world: World) -> None:
        await world.api.create(deployment(replicas=1))
        seen: dict[int, tuple[str, bool]] = {}
        await asyncio.sleep(0.5)
        for second in range(12):
            pod = await _pod(world)
            seen[second] = (status_of(pod)["phase"], is_true(pod, "Ready"))
            await asyncio.sleep(1)
        assert seen[0] == ("Pending", False) and seen[2] == ("Running", False) and seen[4] == ("Running", True)
        assert seen[7] == ("Running", False) and seen[11] == ("Running", True)

    play(story, Script(start_s=1, ready_s=2, unready=((5, 8),)))


def test_crashes_back_off_as_on_a_real_node_and_then_end() -> None:
    async def story(world: World) -> None:
        await world.api.create(deployment(replicas=1))
        await asyncio.sleep(5)
        waiting = dig(status_of(await _pod(world)), "containerStatuses", 0, "state", "waiting", "reason")
        assert waiting == "CrashLoopBackOff"
        await asyncio.sleep(60)
        pod = await _pod(world)
        assert status_of(pod)["containerStatuses"][0]["restartCount"] == 3
        assert is_true(pod, "Ready")

    play(story, Script(start_s=0, ready_s=0, crash_s=1, crashes=3))


def test_an_image_that_cannot_be_had_stays_pending() -> None:
    async def story(world: World) -> None:
        await world.api.create(deployment(replicas=1))
        await asyncio.sleep(30)
        pod = await _pod(world)
        assert status_of(pod)["phase"] == "Pending"
        assert dig(status_of(pod), "containerStatuses", 0, "state", "waiting") == {
            "reason": "ErrImagePull", "message": "no such image"}

    play(story, Script(image_error="no such image"))


def test_two_worlds_from_one_script_are_alike() -> None:
    runs: list[list[tuple[str, str, bool]]] = []

    async def story(world: World) -> None:
        history: list[tuple[str, str, bool]] = []

        async def watch() -> None:
            async for event in world.api.watch(PODS, "default"):
                pod = event.object
                history.append((world.clock.now().isoformat(), pod["metadata"]["name"], is_true(pod, "Ready")))

        watching = asyncio.create_task(watch())
        await world.api.create(deployment(replicas=5))
        await world.until(lambda: world.rolled_out("web"))
        await world.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 2}})
        await asyncio.sleep(20)
        watching.cancel()
        runs.append(history)

    for _ in range(2):
        play(story, Script())
    assert runs[0] == runs[1] and len(runs[0]) > 20
