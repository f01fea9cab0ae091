"""DaemonSets in virtual time, on one node."""

from __future__ import annotations

import asyncio
from typing import Any

from fairway.kube.objects import Obj, is_deleting, is_true, meta_of, status_of
from fairway.kube.resources import CONTROLLER_REVISIONS, DAEMON_SETS, PODS
from tests.workloads.world import World, image_patch, play, template


def daemon_set(**spec: Any) -> Obj:
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent", "namespace": "default"},
            "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": template("agent", "agent:1"), **spec}}


async def _settled(world: World) -> bool:
    found = await world.get(DAEMON_SETS, "agent")
    status = status_of(found)
    return (status.get("observedGeneration") == meta_of(found)["generation"] and status.get("numberAvailable") == 1
            and status.get("updatedNumberScheduled") == 1)


def _image(pod: Obj) -> str:
    return str(pod["spec"]["containers"][0]["image"])


def test_every_node_gets_one_pod_and_a_new_one_when_it_is_lost() -> None:
    async def story(world: World) -> None:
        await world.api.create(daemon_set())
        await world.until(lambda: _settled(world))
        status = status_of(await world.get(DAEMON_SETS, "agent"))
        assert (status["desiredNumberScheduled"], status["currentNumberScheduled"], status["numberReady"]) == (1, 1, 1)
        (pod,) = await world.pods()
        assert pod["spec"]["nodeName"] == "fairway"
        await world.api.delete(PODS, meta_of(pod)["name"], "default")
        await asyncio.sleep(5)
        assert await _settled(world)
        (second,) = await world.pods()
        assert meta_of(second)["name"] != meta_of(pod)["name"]

    play(story)


def test_a_node_that_does_not_fit_gets_none() -> None:
    async def story(world: World) -> None:
        made = daemon_set()
        made["spec"]["template"]["spec"]["nodeSelector"] = {"disk": "ssd"}
        await world.api.create(made)
        await asyncio.sleep(10)
        assert await world.pods() == []
        assert status_of(await world.get(DAEMON_SETS, "agent"))["desiredNumberScheduled"] == 0

    play(story)


def test_a_rolling_update_replaces_the_pod_and_keeps_the_history() -> None:
    async def story(world: World) -> None:
        await world.api.create(daemon_set())
        await world.until(lambda: _settled(world))
        await world.patch(DAEMON_SETS, "agent", image_patch("agent:2"))
        await world.until(lambda: _settled(world))
        assert [_image(pod) for pod in await world.pods()] == ["agent:2"]
        assert sorted(one["revision"] for one in await world.list(CONTROLLER_REVISIONS)) == [1, 2]

    play(story)


def test_with_surge_the_old_pod_goes_when_the_new_one_serves() -> None:
    async def story(world: World) -> None:
        await world.api.create(daemon_set(
            updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}))
        await world.until(lambda: _settled(world))
        ready: list[int] = []

        async def watch() -> None:
            async for _ in world.api.watch(PODS, "default"):
                ready.append(sum(is_true(pod, "Ready") and not is_deleting(pod) for pod in await world.list(PODS)))

        watching = asyncio.create_task(watch())
        await asyncio.sleep(0.1)
        await world.patch(DAEMON_SETS, "agent", image_patch("agent:2"))
        await asyncio.sleep(20)
        watching.cancel()
        assert min(ready) == 1
        assert [_image(pod) for pod in await world.pods()] == ["agent:2"]

    play(story)


def test_on_delete_waits_for_somebody_to_delete_the_pod() -> None:
    async def story(world: World) -> None:
        await world.api.create(daemon_set(updateStrategy={"type": "OnDelete"}))
        await world.until(lambda: _settled(world))
        await world.patch(DAEMON_SETS, "agent", image_patch("agent:2"))
        await asyncio.sleep(20)
        (pod,) = await world.pods()
        assert _image(pod) == "agent:1"
        await world.api.delete(PODS, meta_of(pod)["name"], "default")
        await asyncio.sleep(10)
        assert [_image(pod) for pod in await world.pods()] == ["agent:2"]

    play(story)
