"""Garbage collection and namespaces: what goes with its owner, what stays, and that nothing goes on doubt."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fairway.kube.api import DeleteOptions, Propagation
from fairway.kube.errors import NotFound
from fairway.kube.objects import Obj, meta_of, owner_reference
from fairway.kube.resources import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, PODS, REPLICA_SETS, SECRETS
from tests.workloads.world import World, deployment, play


def _config(name: str, *owners: Obj, block: bool = True) -> Obj:
    refs = [{**owner_reference(owner, controller=False), "blockOwnerDeletion": block} for owner in owners]
    return {"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "default", "ownerReferences": refs}}


async def _names(world: World, resource: Any = CONFIG_MAPS) -> set[str]:
    return {meta_of(obj)["name"] for obj in await world.list(resource)}


@pytest.mark.parametrize(("propagation", "pods_left"), [("Background", 0), ("Foreground", 0), ("Orphan", 2)])
def test_propagation(propagation: Propagation, pods_left: int) -> None:
    async def story(world: World) -> None:
        await world.api.create(deployment(replicas=2))
        await world.until(lambda: world.rolled_out("web"))
        await world.api.delete(DEPLOYMENTS, "web", "default", DeleteOptions(propagation))
        await asyncio.sleep(10)
        assert await world.list(DEPLOYMENTS) == []
        assert len(await world.list(REPLICA_SETS)) == (1 if pods_left else 0)
        assert len(await world.list(PODS)) == pods_left

    play(story)


def test_foreground_keeps_the_owner_until_its_dependents_are_gone() -> None:
    async def story(world: World) -> None:
        await world.api.create(deployment(replicas=2))
        await world.until(lambda: world.rolled_out("web"))
        await world.api.delete(DEPLOYMENTS, "web", "default", DeleteOptions("Foreground"))
        seen: list[tuple[int, int, int]] = []
        for _ in range(200):
            counts = [len(await world.list(kind)) for kind in (DEPLOYMENTS, REPLICA_SETS, PODS)]
            seen.append((counts[0], counts[1], counts[2]))
            await asyncio.sleep(0.01)
        assert seen[-1] == (0, 0, 0)
        assert not any(pods and not (sets and owners) for owners, sets, pods in seen)

    play(story)


def test_an_object_with_another_owner_stays_and_loses_the_reference() -> None:
    async def story(world: World) -> None:
        one, two = [await world.api.create(_config(name)) for name in ("one", "two")]
        await world.api.create(_config("shared", one, two))
        await world.api.create(_config("single", one))
        await asyncio.sleep(1)
        await world.api.delete(CONFIG_MAPS, "one", "default")
        await asyncio.sleep(1)
        assert await _names(world) == {"two", "shared"}
        shared = await world.get(CONFIG_MAPS, "shared")
        assert [ref["name"] for ref in meta_of(shared)["ownerReferences"]] == ["two"]

    play(story)


def test_an_owner_that_never_was_is_no_reason_to_keep_an_object() -> None:
    async def story(world: World) -> None:
        ghost = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ghost", "uid": "0-0-0"}}
        await world.api.create(_config("haunted", ghost))
        await asyncio.sleep(1)
        assert await _names(world) == set()

    play(story)


def test_an_owner_of_an_unknown_kind_is_doubt_and_nothing_goes() -> None:
    async def story(world: World) -> None:
        alien = {"apiVersion": "example.com/v1", "kind": "Alien", "metadata": {"name": "x", "uid": "1-1-1"}}
        await world.api.create(_config("kept", alien))
        await asyncio.sleep(60)
        assert await _names(world) == {"kept"}

    play(story)


def test_the_same_name_with_another_uid_is_another_owner() -> None:
    async def story(world: World) -> None:
        first = await world.api.create(_config("owner"))
        await world.api.create(_config("old", first))
        await world.api.delete(CONFIG_MAPS, "owner", "default")
        second = await world.api.create(_config("owner"))
        await world.api.create(_config("new", second))
        await asyncio.sleep(5)
        assert await _names(world) == {"owner", "new"}

    play(story)


def test_a_namespace_empties_before_it_goes() -> None:
    async def story(world: World) -> None:
        await world.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
        made = deployment(replicas=2)
        made["metadata"]["namespace"] = "team"
        await world.api.create(made)
        held = _config("held")
        held["metadata"] |= {"namespace": "team", "finalizers": ["example.com/hold"]}
        await world.api.create(held)
        await world.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "team"}})
        await asyncio.sleep(5)
        await world.api.delete(NAMESPACES, "team")
        await asyncio.sleep(10)
        found = await world.api.get(NAMESPACES, "team")
        remaining = {entry["type"]: entry["message"] for entry in found["status"]["conditions"]}
        assert found["status"]["phase"] == "Terminating"
        assert remaining["NamespaceContentRemaining"] == (
            "Some resources are remaining: configmaps has 1 resource instances")
        assert "example.com/hold in 1" in remaining["NamespaceFinalizersRemaining"]
        assert await world.list(PODS, namespace="team") == await world.list(SECRETS, namespace="team") == []
        held = await world.api.get(CONFIG_MAPS, "held", "team")
        from fairway.kube.api import MergePatch

        await world.api.patch(CONFIG_MAPS, "held", "team", MergePatch({"metadata": {"finalizers": None}}))
        await asyncio.sleep(2)
        with pytest.raises(NotFound):
            await world.api.get(NAMESPACES, "team")

    play(story)


def test_owners_of_a_kind_that_came_later_are_followed_too() -> None:
    async def story(world: World) -> None:
        schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
        names = {"plural": "widgets", "singular": "widget", "kind": "Widget"}
        await world.api.create({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                                "metadata": {"name": "widgets.example.com"},
                                "spec": {"group": "example.com", "scope": "Namespaced", "names": names,
                                         "versions": [version]}})
        await asyncio.sleep(1)
        widget = await world.api.create({"apiVersion": "example.com/v1", "kind": "Widget",
                                         "metadata": {"name": "w", "namespace": "default"}})
        await world.api.create(_config("part", widget))
        await asyncio.sleep(30)
        assert await _names(world) == {"part"}
        await world.api.delete(world.api.resources.of(widget), "w", "default")
        await asyncio.sleep(30)
        assert await _names(world) == set()

    play(story)
