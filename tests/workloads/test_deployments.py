"""Deployments in virtual time: rolling updates within their bounds, and the words that `kubectl rollout` reads."""

from __future__ import annotations

import asyncio

from fairway.kube.objects import Obj, annotations_of, condition, is_deleting, is_true, meta_of, status_of
from fairway.kube.resources import DEPLOYMENTS, PODS, REPLICA_SETS
from fairway.node.simulated import Script
from tests.workloads.world import World, deployment, image_patch, play, said


def _image(pod: Obj) -> str:
    return str(pod["spec"]["containers"][0]["image"])


def _bad_is_never_ready(pod: Obj) -> Script:
    return Script(ready_s=None if _image(pod).endswith("bad") else 1.0)


def test_a_new_deployment_becomes_available_and_says_so() -> None:
    async def story(world: World) -> None:
        await world.api.create(deployment())
        await world.until(lambda: world.rolled_out("web"))
        await asyncio.sleep(1)
        found = await world.get(DEPLOYMENTS, "web")
        assert said(found, "Available") == ("True", "MinimumReplicasAvailable")
        assert said(found, "Progressing") == ("True", "NewReplicaSetAvailable")
        (only,) = await world.list(REPLICA_SETS)
        assert condition(found, "Progressing")["message"] == (  # type: ignore[index]
            f'ReplicaSet "{meta_of(only)["name"]}" has successfully progressed.')
        assert annotations_of(found)["deployment.kubernetes.io/revision"] == "1"
        assert len(await world.pods("app=web")) == 3

    play(story)


def test_a_rolling_update_of_fifty_pods_stays_within_its_bounds() -> None:
    """replicas + maxSurge at most, replicas - maxUnavailable ready at least, at every change of any pod."""

    async def story(world: World) -> None:
        strategy = {"rollingUpdate": {"maxSurge": "20%", "maxUnavailable": 3}}
        await world.api.create(deployment(replicas=50, strategy=strategy))
        await world.until(lambda: world.rolled_out("web"))
        most, least = 0, 50

        async def watch() -> None:
            nonlocal most, least
            async for event in world.api.watch(PODS, "default"):
                if event.type == "MODIFIED":
                    pods = await world.list(PODS)
                    most = max(most, sum(not is_deleting(pod) for pod in pods))
                    least = min(least, sum(is_true(pod, "Ready") and not is_deleting(pod) for pod in pods))

        watching = asyncio.create_task(watch())
        await world.patch(DEPLOYMENTS, "web", image_patch("web:2"))
        await asyncio.sleep(0.01)
        await world.until(lambda: world.rolled_out("web"))
        watching.cancel()
        assert (most, least) == (60, 47)
        assert {_image(pod) for pod in await world.pods()} == {"web:2"}

    play(story)


def test_a_bad_version_stops_at_its_bound_and_exceeds_its_deadline() -> None:
    async def story(world: World) -> None:
        await world.api.create(deployment(replicas=4, progressDeadlineSeconds=60))
        await world.until(lambda: world.rolled_out("web"))
        await world.patch(DEPLOYMENTS, "web", image_patch("web:bad"))

        async def stuck() -> bool:
            return said(await world.get(DEPLOYMENTS, "web"), "Progressing") == ("False", "ProgressDeadlineExceeded")

        took = await world.until(stuck)
        assert 59 <= took < 75
        pods = await world.pods()
        assert sum(_image(pod) == "web:1" and is_true(pod, "Ready") for pod in pods) == 3
        assert sum(_image(pod) == "web:bad" for pod in pods) == 2
        await world.patch(DEPLOYMENTS, "web", image_patch("web:1"))
        await asyncio.sleep(0.01)
        await world.until(lambda: world.rolled_out("web"))
        assert annotations_of(await world.get(DEPLOYMENTS, "web"))["deployment.kubernetes.io/revision"] == "3"

    play(story, _bad_is_never_ready)


def test_recreate_stops_every_old_pod_before_the_first_new_one() -> None:
    async def story(world: World) -> None:
        await world.api.create(deployment(replicas=3, strategy={"type": "Recreate"}))
        await world.until(lambda: world.rolled_out("web"))
        mixed: list[set[str]] = []

        async def watch() -> None:
            async for _ in world.api.watch(PODS, "default"):
                mixed.append({_image(pod) for pod in await world.list(PODS)})

        watching = asyncio.create_task(watch())
        await world.patch(DEPLOYMENTS, "web", image_patch("web:2"))
        await asyncio.sleep(0.01)
        await world.until(lambda: world.rolled_out("web"))
        watching.cancel()
        assert {"web:1", "web:2"} not in mixed
        assert mixed[-1] == {"web:2"}

    play(story, Script(stop_s=5))


def test_a_paused_deployment_is_resized_but_not_updated() -> None:
    async def story(world: World) -> None:
        await world.api.create(deployment(replicas=2))
        await world.until(lambda: world.rolled_out("web"))
        await world.patch(DEPLOYMENTS, "web", {"spec": {"paused": True, **image_patch("web:2")["spec"]}})
        await world.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 4}})
        await asyncio.sleep(30)
        assert said(await world.get(DEPLOYMENTS, "web"), "Progressing") == ("Unknown", "DeploymentPaused")
        assert [_image(pod) for pod in await world.pods()] == ["web:1"] * 4
        await world.patch(DEPLOYMENTS, "web", {"spec": {"paused": None}})
        await asyncio.sleep(0.01)
        await world.until(lambda: world.rolled_out("web"))
        assert [_image(pod) for pod in await world.pods()] == ["web:2"] * 4

    play(story)


def test_old_replica_sets_are_kept_up_to_the_history_limit() -> None:
    async def story(world: World) -> None:
        await world.api.create(deployment(replicas=1, revisionHistoryLimit=2))
        for version in range(2, 7):
            await world.until(lambda: world.rolled_out("web"))
            await world.patch(DEPLOYMENTS, "web", image_patch(f"web:{version}"))
            await asyncio.sleep(0.01)
        await world.until(lambda: world.rolled_out("web"))
        await asyncio.sleep(5)
        revisions = {annotations_of(rs)["deployment.kubernetes.io/revision"] for rs in await world.list(REPLICA_SETS)}
        assert revisions == {"4", "5", "6"}

    play(story)


def test_min_ready_seconds_hold_availability_back() -> None:
    async def story(world: World) -> None:
        await world.api.create(deployment(replicas=1, minReadySeconds=20))

        async def ready() -> bool:
            return status_of(await world.get(DEPLOYMENTS, "web")).get("readyReplicas") == 1

        await world.until(ready)
        assert not status_of(await world.get(DEPLOYMENTS, "web")).get("availableReplicas")
        assert 18 <= await world.until(lambda: world.rolled_out("web")) <= 21

    play(story)


def test_a_resize_in_the_middle_of_an_update_is_shared_in_proportion() -> None:
    async def story(world: World) -> None:
        strategy = {"rollingUpdate": {"maxSurge": 2, "maxUnavailable": 2}}
        await world.api.create(deployment(replicas=10, strategy=strategy))
        await world.until(lambda: world.rolled_out("web"))
        await world.patch(DEPLOYMENTS, "web", image_patch("web:bad"))
        await asyncio.sleep(20)
        await world.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 20}})
        await asyncio.sleep(20)
        sizes = sorted(rs["spec"]["replicas"] for rs in await world.list(REPLICA_SETS))
        assert sum(sizes) == 22
        assert sizes == [7, 15]

    play(story, _bad_is_never_ready)


def test_a_deleted_deployment_takes_its_replica_sets_and_pods_along() -> None:
    async def story(world: World) -> None:
        await world.api.create(deployment())
        await world.until(lambda: world.rolled_out("web"))
        await world.api.delete(DEPLOYMENTS, "web", "default")

        async def gone() -> bool:
            return not await world.list(REPLICA_SETS) and not await world.list(PODS)

        await world.until(gone, within_s=5)

    play(story)


def test_a_name_that_somebody_elses_replica_set_has_moves_the_hash_on() -> None:
    async def story(world: World) -> None:
        await world.api.create(deployment())
        await world.until(lambda: world.rolled_out("web"))
        (only,) = await world.list(REPLICA_SETS)
        name = str(meta_of(only)["name"])
        await world.api.delete(DEPLOYMENTS, "web", "default")
        await asyncio.sleep(30)
        assert await world.list(REPLICA_SETS) == []
        labels = {"app": "other"}
        await world.api.create({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": name, "namespace": "default", "labels": labels},
            "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "other:1"}]}}}})
        await world.api.create(deployment())
        await world.until(lambda: world.rolled_out("web"))
        assert status_of(await world.get(DEPLOYMENTS, "web"))["collisionCount"] == 1
        assert len(await world.list(REPLICA_SETS)) == 2

    play(story)
