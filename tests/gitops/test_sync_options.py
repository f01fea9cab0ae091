"""Sync options that change what a sync does to an object."""

from __future__ import annotations

import asyncio

from fairway.kube.objects import dig, uid_of
from fairway.kube.resources import CONFIG_MAPS
from tests.gitops.conftest import Play
from tests.gitops.world import World, config_map


def test_apply_out_of_sync_only_leaves_the_rest_alone(perform: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(prod__a=config_map("a"), prod__b=config_map("b"))
        await world.create_app(options=("ApplyOutOfSyncOnly=true",))
        await world.settled(first)
        second = world.push(prod__b=config_map("b", "2"))
        app = await world.settled(second)
        assert [r["name"] for r in app["status"]["operationState"]["syncResult"]["resources"]] == ["b"]

    perform(story)


def test_replace_removes_what_others_have_added(perform: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(prod__a=config_map("a", annotations="argocd.argoproj.io/sync-options: Replace=true"))
        await world.create_app()
        await world.settled(first)
        before = await world.get(CONFIG_MAPS, "a")
        await world.edit(CONFIG_MAPS, "a", {"data": {"other": "theirs"}})
        second = world.push(prod__a=config_map("a", "2", annotations="argocd.argoproj.io/sync-options: Replace=true"))
        await world.settled(second)
        live = await world.get(CONFIG_MAPS, "a")
        assert live is not None and before is not None
        assert live["data"] == {"value": "2"} and uid_of(live) == uid_of(before)

    perform(story)


def test_force_makes_the_object_anew(perform: Play) -> None:
    async def story(world: World) -> None:
        text = "argocd.argoproj.io/sync-options: Force=true,Replace=true"
        first = world.push(prod__a=config_map("a", annotations=text))
        await world.create_app(policy={"retry": {"limit": 5}})
        await world.settled(first)
        before = await world.get(CONFIG_MAPS, "a")
        second = world.push(prod__a=config_map("a", "2", annotations=text))
        await world.settled(second)
        live = await world.get(CONFIG_MAPS, "a")
        assert live is not None and before is not None and uid_of(live) != uid_of(before)

    perform(story)


def test_an_object_of_another_application_fails_the_sync_where_that_is_asked_for(perform: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(prod__a=config_map("a"), other__a=config_map("a", "other"))
        await world.create_app()
        await world.settled(first)
        await world.create_app("second", path="other", options=("FailOnSharedResource=true",), policy={"retry": {"limit": 0}})
        app = await world.until(lambda o: dig(o, "status", "operationState", "phase") == "Failed", name="second")
        assert "is part of applications second and shop" in app["status"]["operationState"]["message"]
        live = await world.get(CONFIG_MAPS, "a")
        assert live is not None and live["data"] == {"value": "1"}

    perform(story)


def test_the_history_is_as_long_as_is_asked_for(perform: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(prod__a=config_map("a", "0"))
        await world.create_app(revisionHistoryLimit=2)
        await world.settled(first)
        for n in range(1, 4):
            await world.settled(world.push(prod__a=config_map("a", str(n))))
            await asyncio.sleep(1)
        assert [h["id"] for h in (await world.app())["status"]["history"]] == [2, 3]

    perform(story)
