"""What holds a sync back, and what lets it go: windows, other Applications, confirmation, a time limit."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from fairway.gitops.windows import Window
from fairway.kube.objects import dig, rfc3339
from fairway.kube.resources import CONFIG_MAPS, JOBS
from tests.gitops.conftest import Play
from tests.gitops.test_projects import team
from tests.gitops.world import World, config_map, hook


def test_a_deny_window_holds_the_sync_until_it_shuts(perform: Play) -> None:
    async def story(world: World) -> None:
        now = world.clock.now()
        window = {"kind": "deny", "schedule": f"{now.minute} {now.hour} * * *", "duration": "5m", "applications": ["shop"]}
        first = world.push(prod__a=config_map("a"))
        await world.api.create(team(syncWindows=[window]))
        await world.create_app(project="team")
        await world.until(lambda o: "SyncWindow" in world.why())
        assert await world.get(CONFIG_MAPS, "a") is None
        await world.settled(first, within=400)
        assert world.clock.now() - now >= timedelta(minutes=4)

    perform(story)


def test_a_sync_by_hand_waits_in_a_window_that_does_not_allow_it(perform: Play) -> None:
    async def story(world: World) -> None:
        world.push(prod__a=config_map("a"))
        await world.api.create(team(syncWindows=[
            {"kind": "deny", "schedule": "* * * * *", "duration": "1h", "applications": ["*"]}]))
        await world.create_app(project="team", automated=False)
        await world.until(lambda o: dig(o, "status", "sync", "status"))
        await world.edit_app({"operation": {"sync": {}}})
        app = await world.until(lambda o: "blocked by sync window" in dig(o, "status", "operationState", "message", default=""))
        assert app["status"]["operationState"]["phase"] == "Running"
        await world.edit_project({"spec": {"syncWindows": [{"kind": "deny", "schedule": "* * * * *", "duration": "1h",
                                                            "applications": ["*"], "manualSync": True}]}})
        await world.until(lambda o: dig(o, "status", "operationState", "phase") == "Succeeded")

    perform(story)


def test_an_application_waits_for_those_it_depends_on(perform: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(prod__a=config_map("a"), db__schema=hook("schema", "Sync", seconds=20), db__b=config_map("b"))
        await world.create_app(metadata={"annotations": {"fairway.dev/depends-on": "database"}})
        await world.until(lambda o: world.why() == ["WaitingForDependency"])
        await world.create_app("database", path="db")
        await world.until(lambda o: dig(o, "status", "health", "status") == "Healthy", name="database")
        await world.settled(first)
        assert world.applied.index("+ConfigMap/b") < world.applied.index("+ConfigMap/a")
        second = world.push(prod__a=config_map("a", "2"), db__b=config_map("b", "2"))
        await world.settled(second)
        database = await world.app("database")
        assert database["status"]["sync"]["revision"] == second

    perform(story)


def test_a_circle_of_dependencies_is_refused(perform: Play) -> None:
    async def story(world: World) -> None:
        world.push(prod__a=config_map("a"))
        await world.create_app("b", metadata={"annotations": {"fairway.dev/depends-on": "shop"}})
        await world.create_app(metadata={"annotations": {"fairway.dev/depends-on": "b"}})
        app = await world.until(lambda o: dig(o, "status", "conditions"))
        assert "argocd/shop -> argocd/b -> argocd/shop" in app["status"]["conditions"][0]["message"]

    perform(story)


def test_pruning_waits_for_confirmation(perform: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(prod__a=config_map("a"),
                           prod__b=config_map("b", annotations="argocd.argoproj.io/sync-options: Prune=confirm"))
        await world.create_app()
        await world.settled(first)
        second = world.push(prod__b=None)
        await world.until(lambda o: "pruning confirmation" in dig(o, "status", "operationState", "message", default=""))
        assert await world.get(CONFIG_MAPS, "b") is not None
        await world.edit_app({"metadata": {"annotations": {
            "argocd.argoproj.io/deletion-approved": rfc3339(world.clock.now() + timedelta(seconds=1))}}})
        await world.settled(second)
        await asyncio.sleep(1)
        assert await world.get(CONFIG_MAPS, "b") is None

    perform(story)


def test_an_operation_has_a_time_limit(perform: Play) -> None:
    async def story(world: World) -> None:
        world.push(prod__a=config_map("a"), prod__m=hook("m", "PreSync", outcome="Never"))
        await world.create_app(metadata={"annotations": {"fairway.dev/sync-timeout": "5m"}}, policy={"retry": {"limit": 0}})
        app = await world.until(lambda o: dig(o, "status", "operationState", "phase") == "Failed", within=400)
        assert app["status"]["operationState"]["message"] == "operation terminated: it did not end within 0:05:00"
        await world.until(lambda o: True)
        assert await world.get(JOBS, "m") is None, "the hook is stopped with its operation"

    perform(story)


def test_hooks_around_a_deletion(perform: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(prod__a=config_map("a"), prod__backup=hook("backup", "PreDelete", seconds=5, policy="HookSucceeded"),
                           prod__bye=hook("bye", "PostDelete", seconds=5, policy="HookSucceeded"))
        await world.create_app(metadata={"finalizers": ["resources-finalizer.argocd.argoproj.io"]})
        app = await world.settled(first)
        assert "+Job/backup" not in world.applied
        app = await world.until(lambda o: len(o["metadata"]["finalizers"]) == 5)
        assert app["metadata"]["finalizers"][1:] == [
            "pre-delete-finalizer.argocd.argoproj.io", "pre-delete-finalizer.argocd.argoproj.io/cleanup",
            "post-delete-finalizer.argocd.argoproj.io", "post-delete-finalizer.argocd.argoproj.io/cleanup"]
        await world.delete_app()
        await world.until_gone()
        assert world.applied[1:] == ["+Job/backup", "-Job/backup", "-ConfigMap/a", "+Job/bye", "-Job/bye"]

    perform(story)


def test_a_failing_predelete_hook_stops_the_deletion(perform: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(prod__a=config_map("a"), prod__backup=hook("backup", "PreDelete", outcome="Failed"))
        await world.create_app(metadata={"finalizers": ["resources-finalizer.argocd.argoproj.io"]})
        await world.settled(first)
        await world.until(lambda o: len(o["metadata"]["finalizers"]) == 3)
        await world.delete_app()
        app = await world.until(lambda o: dig(o, "status", "conditions"))
        assert app["status"]["conditions"][0]["type"] == "DeletionError"
        assert await world.get(CONFIG_MAPS, "a") is not None

    perform(story)


def test_deletion_that_asks_for_confirmation(perform: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(prod__a=config_map("a", annotations="argocd.argoproj.io/sync-options: Delete=confirm"),
                           prod__b=config_map("b", annotations="argocd.argoproj.io/sync-options: Delete=false"))
        await world.create_app(metadata={"finalizers": ["resources-finalizer.argocd.argoproj.io"]})
        await world.settled(first)
        await world.delete_app()
        await world.until(lambda o: "WaitingForConfirmation" in world.why())
        await world.edit_app({"metadata": {"annotations": {
            "argocd.argoproj.io/deletion-approved": rfc3339(world.clock.now() + timedelta(seconds=1))}}})
        await world.until_gone()
        assert await world.get(CONFIG_MAPS, "a") is None and await world.get(CONFIG_MAPS, "b") is not None

    perform(story)


@pytest.mark.parametrize(("text", "after", "wanted"), [
    ("0 2 * * *", "2026-03-01T02:00:00", "2026-03-02T02:00:00"),
    ("*/15 * * * *", "2026-03-01T02:07:30", "2026-03-01T02:15:00"),
    ("0 0 29 2 *", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
    ("0 9 13 * fri", "2026-02-14T00:00:00", "2026-02-20T09:00:00"),
    ("@weekly", "2026-03-03T00:00:00", "2026-03-08T00:00:00"),
])
def test_cron(text: str, after: str, wanted: str) -> None:
    found = Window("allow", text, "1m").openings().next(datetime.fromisoformat(after).replace(tzinfo=UTC))
    assert found == datetime.fromisoformat(wanted).replace(tzinfo=UTC)


def test_a_window_keeps_its_hour_when_the_clocks_change() -> None:
    window = Window("deny", "0 8 * * *", "1h", time_zone="America/New_York")
    winter, summer = datetime(2026, 3, 7, 13, 30, tzinfo=UTC), datetime(2026, 3, 9, 12, 30, tzinfo=UTC)
    assert window.active(winter) and window.active(summer)
