"""Sync options that change what a sync does to an object."""

from __future__ import annotations

import asyncio

from fairway.kube.objects import dig, uid_of
from fairway.kube.resources import CONFIG_MAPS, JOBS
from tests.gitops.conftest import Play
from tests.gitops.world import World, config_map, hook


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


def test_what_is_to_be_skipped_is_left_alone(perform: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(prod__a=config_map("a"))
        await world.create_app()
        await world.settled(first)
        note = "argocd.argoproj.io/skip-reconcile"
        await world.edit_app({"metadata": {"annotations": {note: "true"}}})
        second = world.push(prod__a=config_map("a", "2"))
        await asyncio.sleep(60)
        assert (await world.app())["status"]["sync"]["revision"] == first and world.why() == ["SkipReconcile"]
        await world.edit_app({"metadata": {"annotations": {note: None}}})
        await world.settled(second)

    perform(story)


def test_a_retry_may_take_the_newest_commit(perform: Play) -> None:
    """`retry.refresh`: also for a sync by hand, which a newer commit does not supersede."""

    async def story(world: World) -> None:
        world.push(prod__a=config_map("a"), prod__first=hook("first", "PreSync", outcome="Failed"))
        await world.create_app(automated=False)
        await world.until(lambda o: dig(o, "status", "sync", "status") == "OutOfSync")
        retry = {"limit": 3, "refresh": True, "backoff": {"duration": "30s"}}
        await world.edit_app({"operation": {"sync": {}, "retry": retry, "initiatedBy": {"username": "ann"}}})
        await world.until(lambda o: "Retrying attempt" in dig(o, "status", "operationState", "message", default=""))
        fixed = world.push(prod__first=hook("first", "PreSync"))
        await world.settled(fixed)

    perform(story)


def test_only_what_is_asked_for_is_made_anew(perform: Play) -> None:
    """A field that the API does not let change: refused without force; with it the object is made anew."""

    async def story(world: World) -> None:
        job = "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: once}}\nspec: {{template: {{spec: {{restartPolicy: Never, " \
              "containers: [{{name: main, image: 'tools:{0}'}}]}}}}}}\n"
        await world.settled(await begin(world, job.format(1)))
        born = (await world.get(JOBS, "once") or {})["metadata"]["uid"]
        world.push(prod__once=job.format(2))
        await world.until(lambda o: dig(o, "status", "sync", "status") == "OutOfSync")
        for force in (False, True):
            sync = {"syncStrategy": {"hook": {"force": True}}} if force else {}
            await world.edit_app({"operation": {"sync": sync, "initiatedBy": {"username": "ann"}}})
            wanted = "Succeeded" if force else "Failed"
            await world.until(lambda o, w=wanted: dig(o, "status", "operationState", "phase") == w and "operation" not in o)
        made = await world.get(JOBS, "once") or {}
        assert made["metadata"]["uid"] != born
        assert made["spec"]["template"]["spec"]["containers"][0]["image"] == "tools:2"

    async def begin(world: World, text: str) -> str:
        sha = world.push(prod__once=text)
        await world.create_app(automated=False)
        await world.until(lambda o: dig(o, "status", "sync", "status") == "OutOfSync")
        await world.edit_app({"operation": {"sync": {}, "initiatedBy": {"username": "ann"}}})
        return sha

    perform(story)


def test_without_hooks_where_that_is_asked_for(perform: Play) -> None:
    async def story(world: World) -> None:
        world.push(prod__a=config_map("a"), prod__first=hook("first", "PreSync"))
        await world.create_app(automated=False)
        await world.until(lambda o: dig(o, "status", "sync", "status") == "OutOfSync")
        await world.edit_app({"operation": {"sync": {"syncStrategy": {"apply": {}}}, "initiatedBy": {"username": "ann"}}})
        await world.until(lambda o: dig(o, "status", "operationState", "phase") == "Succeeded")
        assert await world.get(JOBS, "first") is None and await world.get(CONFIG_MAPS, "a") is not None

    perform(story)
