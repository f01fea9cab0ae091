"""Claims and their volumes, in virtual time."""

from __future__ import annotations

import asyncio

from fairway.kube.objects import Obj, is_deleting, meta_of, spec_of, status_of, uid_of
from fairway.kube.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, STORAGE_CLASSES
from tests.workloads.world import World, play


def claim(name: str = "data", **spec: object) -> Obj:
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "default"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec}}


def test_a_claim_is_bound_to_a_volume_of_its_own_which_goes_with_it() -> None:
    async def story(world: World) -> None:
        await world.api.create(claim())
        await asyncio.sleep(1)
        found = await world.get(PERSISTENT_VOLUME_CLAIMS, "data")
        assert status_of(found) == {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}}
        assert spec_of(found)["storageClassName"] == "local"
        volume = await world.get(PERSISTENT_VOLUMES, f"pvc-{uid_of(found)}", "")
        assert spec_of(found)["volumeName"] == meta_of(volume)["name"]
        assert status_of(volume)["phase"] == "Bound" and spec_of(volume)["claimRef"]["uid"] == uid_of(found)
        assert [meta_of(one)["name"] for one in await world.list(STORAGE_CLASSES, namespace="")] == ["local"]
        await world.api.delete(PERSISTENT_VOLUME_CLAIMS, "data", "default")
        await asyncio.sleep(1)
        assert await world.list(PERSISTENT_VOLUME_CLAIMS) == await world.list(PERSISTENT_VOLUMES, namespace="") == []

    play(story)


def test_a_claim_stays_while_a_pod_uses_it() -> None:
    async def story(world: World) -> None:
        await world.api.create(claim(storageClassName="fast"))
        volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
        await world.api.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "db", "namespace": "default"},
                                "spec": {"containers": [{"name": "db", "image": "db:1"}], "volumes": [volume]}})
        await asyncio.sleep(2)
        assert spec_of(await world.get(PERSISTENT_VOLUME_CLAIMS, "data"))["storageClassName"] == "fast"
        await world.api.delete(PERSISTENT_VOLUME_CLAIMS, "data", "default")
        await asyncio.sleep(30)
        assert is_deleting(await world.get(PERSISTENT_VOLUME_CLAIMS, "data"))
        await world.api.delete(PODS, "db", "default")
        await asyncio.sleep(5)
        assert await world.list(PERSISTENT_VOLUME_CLAIMS) == []

    play(story)


def test_a_volume_that_is_to_be_kept_is_released() -> None:
    async def story(world: World) -> None:
        await world.api.create(claim())
        await asyncio.sleep(1)
        (volume,) = await world.list(PERSISTENT_VOLUMES, namespace="")
        await world.patch(PERSISTENT_VOLUMES, meta_of(volume)["name"], {"spec": {"persistentVolumeReclaimPolicy": "Retain"}})
        await world.api.delete(PERSISTENT_VOLUME_CLAIMS, "data", "default")
        await asyncio.sleep(1)
        (kept,) = await world.list(PERSISTENT_VOLUMES, namespace="")
        assert status_of(kept)["phase"] == "Released"

    play(story)
