"""ReplicaSets: as many pods as asked for, and which one goes first."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fairway.kube.objects import Obj, controller_of, meta_of, status_of
from fairway.kube.resources import PODS, REPLICA_SETS
from fairway.node.simulated import Script
from fairway.workloads.pods import deletion_order
from tests.workloads.world import World, play, template


def _replica_set(replicas: int) -> Obj:
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
                     "template": template("web", "web:1")}}


def _pod(name: str, **facts: Any) -> Obj:
    since = facts.get("since", "2030-01-01T00:00:00Z")
    ready = [{"type": "Ready", "status": "True", "lastTransitionTime": since}] if facts.get("ready", True) else []
    return {
        "metadata": {"name": name, "creationTimestamp": facts.get("created", "2030-01-01T00:00:00Z"),
                     "annotations": {"controller.kubernetes.io/pod-deletion-cost": str(facts.get("cost", 0))}},
        "spec": {"nodeName": facts.get("node", "fairway")},
        "status": {"phase": facts.get("phase", "Running"), "conditions": ready,
                   "containerStatuses": [{"restartCount": facts.get("restarts", 0)}]},
    }


@pytest.mark.parametrize(("first", "second"), [
    ({"node": ""}, {}),
    ({"phase": "Pending"}, {"phase": "Unknown"}),
    ({"phase": "Unknown"}, {}),
    ({"ready": False}, {}),
    ({"cost": -5}, {"cost": 3}),
    ({"since": "2030-01-01T00:05:00Z"}, {}),
    ({"restarts": 2}, {"restarts": 1}),
    ({"created": "2030-01-01T00:05:00Z"}, {}),
    ({"ready": False, "cost": 9}, {"cost": 1}),
])
def test_the_pod_that_is_missed_least_goes_first(first: dict[str, Any], second: dict[str, Any]) -> None:
    pods = [_pod("b", **second), _pod("c", **first)]
    assert [meta_of(pod)["name"] for pod in deletion_order(pods)] == ["c", "b"]


def test_pods_are_replaced_and_names_are_not_used_twice() -> None:
    async def story(world: World) -> None:
        await world.api.create(_replica_set(3))
        await asyncio.sleep(10)
        names = {meta_of(pod)["name"] for pod in await world.pods()}
        assert len(names) == 3 and all(len(name) == len("web-") + 5 for name in names)
        victim = sorted(names)[0]
        await world.api.delete(PODS, victim, "default")
        await asyncio.sleep(10)
        after = {meta_of(pod)["name"] for pod in await world.pods()}
        assert len(after) == 3 and victim not in after
        status = status_of(await world.get(REPLICA_SETS, "web"))
        assert (status["replicas"], status["readyReplicas"], status["availableReplicas"]) == (3, 3, 3)

    play(story)


def test_scaling_down_takes_the_pods_that_are_not_ready() -> None:
    broken: set[str] = set()

    def behaviour(pod: Obj) -> Script:
        if len(broken) < 2:
            broken.add(meta_of(pod)["name"])
            return Script(ready_s=None)
        return Script()

    async def story(world: World) -> None:
        await world.api.create(_replica_set(5))
        await asyncio.sleep(10)
        await world.patch(REPLICA_SETS, "web", {"spec": {"replicas": 3}})
        await asyncio.sleep(10)
        assert not broken & {meta_of(pod)["name"] for pod in await world.pods()}

    play(story, behaviour)


def test_an_orphan_is_adopted_and_a_pod_that_was_relabelled_is_released() -> None:
    async def story(world: World) -> None:
        orphan: Obj = {"apiVersion": "v1", "kind": "Pod", **template("web", "web:1")}
        orphan["metadata"] = {**orphan["metadata"], "name": "orphan", "namespace": "default"}
        await world.api.create(orphan)
        await world.api.create(_replica_set(2))
        await asyncio.sleep(10)
        assert controller_of(await world.get(PODS, "orphan")) is not None
        assert len(await world.pods()) == 2
        await world.patch(PODS, "orphan", {"metadata": {"labels": {"app": "looked-at"}}})
        await asyncio.sleep(10)
        assert controller_of(await world.get(PODS, "orphan")) is None
        assert len(await world.pods("app=web")) == 2

    play(story)


def test_pods_that_end_are_replaced() -> None:
    async def story(world: World) -> None:
        await world.api.create(_replica_set(2))
        await asyncio.sleep(5)
        victim = meta_of((await world.pods())[0])["name"]
        world.node.crash("default", victim, 1)
        await asyncio.sleep(5)
        found = await world.get(PODS, victim)
        assert status_of(found)["containerStatuses"][0]["restartCount"] == 1
        assert len(await world.pods()) == 2

    play(story)
