"""StatefulSets in virtual time: names, order, claims, updates and their history."""

from __future__ import annotations

import asyncio
from typing import Any

from fairway.kube.objects import Obj, is_true, labels_of, meta_of, status_of
from fairway.kube.resources import CONTROLLER_REVISIONS, PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS
from fairway.node.simulated import Script
from tests.workloads.world import World, image_patch, play, template


def stateful_set(replicas: int = 3, image: str = "db:1", **spec: Any) -> Obj:
    claim = {"metadata": {"name": "data"},
             "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "default"},
            "spec": {"serviceName": "db", "replicas": replicas, "selector": {"matchLabels": {"app": "db"}},
                     "template": template("db", image), "volumeClaimTemplates": [claim], **spec}}


async def _settled(world: World) -> bool:
    found = await world.get(STATEFUL_SETS, "db")
    status, wanted = status_of(found), found["spec"]["replicas"]
    return (status.get("observedGeneration") == meta_of(found)["generation"]
            and status.get("availableReplicas", 0) == status.get("replicas") == wanted
            and status.get("currentRevision") == status.get("updateRevision"))


async def _names(world: World) -> list[str]:
    return [meta_of(pod)["name"] for pod in await world.pods()]


def _images(pods: list[Obj]) -> list[str]:
    return [pod["spec"]["containers"][0]["image"] for pod in pods]


def test_pods_come_in_order_each_when_the_one_before_is_ready() -> None:
    async def story(world: World) -> None:
        seen: list[tuple[str, int]] = []

        async def watch() -> None:
            async for event in world.api.watch(PODS, "default"):
                if event.type == "ADDED":
                    ready = sum(is_true(pod, "Ready") for pod in await world.pods())
                    seen.append((meta_of(event.object)["name"], ready))

        watching = asyncio.create_task(watch())
        await world.api.create(stateful_set())
        await world.until(lambda: _settled(world))
        watching.cancel()
        assert seen == [("db-0", 0), ("db-1", 1), ("db-2", 2)]
        pod = await world.get(PODS, "db-1")
        assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("db-1", "db")
        assert labels_of(pod)["statefulset.kubernetes.io/pod-name"] == "db-1"
        assert pod["spec"]["volumes"] == [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-1"}}]
        claims = [meta_of(one)["name"] for one in await world.list(PERSISTENT_VOLUME_CLAIMS)]
        assert claims == ["data-db-0", "data-db-1", "data-db-2"]

    play(story)


def test_parallel_pods_come_at_once_and_a_lost_one_gets_its_name_back() -> None:
    async def story(world: World) -> None:
        await world.api.create(stateful_set(podManagementPolicy="Parallel"))
        assert await world.until(lambda: _settled(world)) < 3
        await world.api.delete(PODS, "db-1", "default")
        await asyncio.sleep(5)
        assert await _settled(world)
        assert await _names(world) == ["db-0", "db-1", "db-2"]

    play(story)


def test_an_update_goes_from_the_last_pod_to_the_first_and_stops_at_the_partition() -> None:
    async def story(world: World) -> None:
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
        await world.api.create(stateful_set(updateStrategy=strategy))
        await world.until(lambda: _settled(world))
        gone: list[str] = []

        async def watch() -> None:
            async for event in world.api.watch(PODS, "default"):
                if event.type == "DELETED":
                    gone.append(meta_of(event.object)["name"])

        watching = asyncio.create_task(watch())
        await world.patch(STATEFUL_SETS, "db", image_patch("db:2"))
        await asyncio.sleep(30)
        assert gone == ["db-2", "db-1"]
        assert _images(await world.pods()) == ["db:1", "db:2", "db:2"]
        found = status_of(await world.get(STATEFUL_SETS, "db"))
        assert (found["currentReplicas"], found["updatedReplicas"]) == (1, 2)
        await world.api.delete(PODS, "db-0", "default")
        await asyncio.sleep(10)
        assert _images(await world.pods()) == ["db:1", "db:2", "db:2"], "below the partition the old template stays"
        await world.patch(STATEFUL_SETS, "db", {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}})
        await world.until(lambda: _settled(world))
        watching.cancel()
        assert _images(await world.pods()) == ["db:2"] * 3

    play(story)


def test_an_undo_gives_the_old_revision_a_new_number() -> None:
    async def story(world: World) -> None:
        await world.api.create(stateful_set(replicas=1))
        await world.until(lambda: _settled(world))
        for image in ("db:2", "db:3", "db:2"):
            await world.patch(STATEFUL_SETS, "db", image_patch(image))
            await asyncio.sleep(0.01)
            await world.until(lambda: _settled(world))
        revisions = await world.list(CONTROLLER_REVISIONS)
        assert sorted(one["revision"] for one in revisions) == [1, 3, 4]
        newest = max(revisions, key=lambda one: int(one["revision"]))
        assert newest["data"]["spec"]["template"]["spec"]["containers"][0]["image"] == "db:2"

    play(story)


def test_on_delete_replaces_only_what_somebody_deletes() -> None:
    async def story(world: World) -> None:
        await world.api.create(stateful_set(updateStrategy={"type": "OnDelete"}))
        await asyncio.sleep(20)
        await world.patch(STATEFUL_SETS, "db", image_patch("db:2"))
        await asyncio.sleep(20)
        assert _images(await world.pods()) == ["db:1"] * 3
        await world.api.delete(PODS, "db-1", "default")
        await asyncio.sleep(20)
        assert _images(await world.pods()) == ["db:1", "db:2", "db:1"]

    play(story)


def test_claims_stay_unless_the_retention_policy_says_delete() -> None:
    async def story(world: World) -> None:
        policy = {"whenScaled": "Delete", "whenDeleted": "Delete"}
        await world.api.create(stateful_set(persistentVolumeClaimRetentionPolicy=policy))
        await world.until(lambda: _settled(world))
        await world.patch(STATEFUL_SETS, "db", {"spec": {"replicas": 1}})
        await asyncio.sleep(20)
        assert await _names(world) == ["db-0"]
        assert [meta_of(one)["name"] for one in await world.list(PERSISTENT_VOLUME_CLAIMS)] == ["data-db-0"]
        await world.api.delete(STATEFUL_SETS, "db", "default")
        await asyncio.sleep(20)
        assert await world.list(PERSISTENT_VOLUME_CLAIMS) == []

    play(story)


def test_a_pod_that_never_gets_ready_holds_the_next_one_back() -> None:
    async def story(world: World) -> None:
        await world.api.create(stateful_set())
        await asyncio.sleep(60)
        assert await _names(world) == ["db-0", "db-1"]

    play(story, lambda pod: Script(ready_s=None if meta_of(pod)["name"] == "db-1" else 1.0))
