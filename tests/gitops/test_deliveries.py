"""Whole deliveries in virtual time: a push becomes live objects, in order, and nothing else does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fairway.kube.clock import Clock, run_virtual
from fairway.kube.objects import dig
from fairway.kube.resources import CONFIG_MAPS, JOBS, NAMESPACES
from tests.gitops.world import World, config_map, hook

Story = Callable[[World], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Story], None]:
    def run(story: Story) -> None:
        async def main(clock: Clock) -> None:
            world = World(clock, tmp_path)
            world.start()
            try:
                await story(world)
            finally:
                await world.kill()

        run_virtual(main)

    return run


Play = Callable[[Story], None]


def test_a_push_is_synced_and_the_next_one_too(play: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(prod__a=config_map("a"))
        await world.create_app()
        app = await world.settled(first)
        assert app["status"]["sync"] == {
            "status": "Synced", "revision": first,
            "comparedTo": {"source": app["spec"]["source"], "destination": app["spec"]["destination"]}}
        assert app["status"]["health"]["status"] == "Healthy"
        assert "operation" not in app
        live = await world.get(CONFIG_MAPS, "a")
        assert live is not None and live["data"] == {"value": "1"}
        assert live["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"] == "shop:/ConfigMap:default/a"
        second = world.push(prod__a=config_map("a", "2"))
        app = await world.settled(second)
        live = await world.get(CONFIG_MAPS, "a")
        assert live is not None and live["data"] == {"value": "2"}
        assert [h["revision"] for h in app["status"]["history"]] == [first, second]
        assert [h["id"] for h in app["status"]["history"]] == [0, 1]
        assert "OperationCompleted" in await world.event_reasons()

    play(story)


def test_what_git_no_longer_has_is_pruned_and_only_then(play: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(prod__a=config_map("a"), prod__b=config_map("b"))
        await world.create_app(prune=False)
        await world.settled(first)
        world.push(prod__b=None)
        await world.until(lambda o: dig(o, "status", "sync", "status") == "OutOfSync")
        assert await world.get(CONFIG_MAPS, "b") is not None and "PruneOff" in world.why()
        await world.edit_app({"spec": {"syncPolicy": {"automated": {"prune": True}}}})
        await world.until(lambda o: dig(o, "status", "sync", "status") == "Synced")
        assert await world.get(CONFIG_MAPS, "b") is None and await world.get(CONFIG_MAPS, "a") is not None

    play(story)


def test_drift_is_healed_and_the_heals_back_off(play: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(prod__a=config_map("a"))
        await world.create_app()
        await world.settled(first)
        for _ in range(3):
            await world.edit(CONFIG_MAPS, "a", {"data": {"value": "mine"}})
            await world.until_live(CONFIG_MAPS, "a", lambda o: o["data"]["value"] == "1")
        app = await world.until(lambda o: dig(o, "status", "sync", "status") == "Synced")
        assert len(app["status"]["history"]) == 1, "healing is no deployment"

    play(story)


def test_without_self_heal_drift_is_shown_and_left(play: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(prod__a=config_map("a"))
        await world.create_app(self_heal=False)
        await world.settled(first)
        await world.edit(CONFIG_MAPS, "a", {"data": {"value": "mine"}})
        await world.until(lambda o: dig(o, "status", "sync", "status") == "OutOfSync")
        assert world.why() == ["SelfHealOff"]

    play(story)


def test_a_field_of_another_manager_is_no_drift(play: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(prod__a=config_map("a"))
        await world.create_app()
        await world.settled(first)
        await world.edit(CONFIG_MAPS, "a", {"data": {"other": "theirs"}}, manager="another-controller")
        await asyncio.sleep(5)
        app = await world.app()
        assert app["status"]["sync"]["status"] == "Synced"
        live = await world.get(CONFIG_MAPS, "a")
        assert live is not None and live["data"] == {"value": "1", "other": "theirs"}

    play(story)


def test_hooks_and_waves_run_in_their_order(play: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(
            prod__migrate=hook("migrate", "PreSync"), prod__smoke=hook("smoke", "PostSync", policy="HookSucceeded"),
            prod__late=config_map("late", wave=1), prod__early=config_map("early", wave=-1), prod__mid=config_map("mid"))
        await world.create_app()
        app = await world.settled(first)
        assert world.applied[:6] == ["+Job/migrate", "+ConfigMap/early", "+ConfigMap/mid", "+ConfigMap/late", "+Job/smoke",
                                     "-Job/smoke"]
        resources = app["status"]["operationState"]["syncResult"]["resources"]
        assert [(r["name"], r["syncPhase"], r["hookPhase"]) for r in resources] == [
            ("migrate", "PreSync", "Succeeded"), ("early", "Sync", "Succeeded"), ("mid", "Sync", "Succeeded"),
            ("late", "Sync", "Succeeded"), ("smoke", "PostSync", "Succeeded")]
        assert [r["name"] for r in app["status"]["resources"]] == ["early", "late", "mid"], "hooks are not resources"
        second = world.push(prod__mid=config_map("mid", "2"))
        await world.settled(second)
        assert world.applied[6:] == ["-Job/migrate", "+Job/migrate", "+Job/smoke", "-Job/smoke"]

    play(story)


def test_a_failing_presync_hook_keeps_the_old_version(play: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(prod__a=config_map("a"))
        await world.create_app(policy={"retry": {"limit": 1, "backoff": {"duration": "10s"}}})
        await world.settled(first)
        bad = world.push(prod__a=config_map("a", "2"), prod__migrate=hook("migrate", "PreSync", outcome="Failed"),
                         prod__cry=hook("cry", "SyncFail"))
        app = await world.settled(bad, phase="Failed")
        live = await world.get(CONFIG_MAPS, "a")
        assert live is not None and live["data"] == {"value": "1"}
        state = app["status"]["operationState"]
        assert state["retryCount"] == 1 and "job has failed" in state["message"]
        assert world.applied.count("+Job/migrate") == 2 and "+Job/cry" in world.applied
        app = await world.until(lambda o: dig(o, "status", "conditions", 0, "type") == "SyncError")
        assert len(app["status"]["history"]) == 1
        good = world.push(prod__migrate=None, prod__cry=None, prod__a=config_map("a", "3"))
        app = await world.settled(good)
        assert not app["status"].get("conditions")

    play(story)


def test_a_hook_that_never_ends_is_given_up(play: Play) -> None:
    async def story(world: World) -> None:
        bad = world.push(prod__migrate=hook("migrate", "PreSync", outcome="Never"), prod__a=config_map("a"))
        await world.create_app(policy={"retry": {"limit": 0}})
        app = await world.settled(bad, phase="Failed", within=3600)
        assert "did not finish within 0:30:00" in app["status"]["operationState"]["message"]
        assert await world.get(CONFIG_MAPS, "a") is None

    play(story)


def test_a_new_commit_takes_over_from_one_that_is_stuck(play: Play) -> None:
    async def story(world: World) -> None:
        bad = world.push(prod__migrate=hook("migrate", "PreSync", outcome="Failed"), prod__a=config_map("a"))
        await world.create_app(policy={"retry": {"limit": -1, "backoff": {"duration": "1h", "maxDuration": "2h"}}})
        await world.until(lambda o: "Retrying attempt" in dig(o, "status", "operationState", "message", default=""))
        assert "WaitingForRetry" in world.why() or world.why() == ["OperationRunning"]
        good = world.push(prod__migrate=None)
        await world.settled(good, within=60)
        assert bad != good and await world.get(CONFIG_MAPS, "a") is not None

    play(story)


def test_an_edit_that_mends_the_sync_is_tried_before_the_backoff_ends(play: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(prod__a=config_map("a"))
        await world.create_app(destination={"server": "https://kubernetes.default.svc", "namespace": "shop"},
                               policy={"retry": {"limit": 2, "backoff": {"duration": "1h", "maxDuration": "2h"}}})
        app = await world.until(lambda o: "Retrying attempt" in dig(o, "status", "operationState", "message", default=""))
        mend = 'namespaces "shop" not found (set the sync option CreateNamespace=true, or add a Namespace object to git)'
        assert mend in app["status"]["operationState"]["message"]
        await world.edit_app({"spec": {"syncPolicy": {"syncOptions": ["CreateNamespace=true"]}}})
        await world.settled(first, within=60)
        assert await world.get(CONFIG_MAPS, "a", "shop") is not None

    play(story)


def test_an_invalid_manifest_is_named_and_nothing_changes(play: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(prod__a=config_map("a"))
        await world.create_app()
        await world.settled(first)
        world.push(prod__b="apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: b\n   x: 1\n")
        app = await world.until(lambda o: dig(o, "status", "conditions"))
        [condition] = app["status"]["conditions"]
        assert condition["type"] == "ComparisonError" and condition["message"].startswith("prod/b.yaml:5:")
        assert app["status"]["sync"]["status"] == "Unknown"
        assert await world.get(CONFIG_MAPS, "a") is not None
        world.push(prod__b=config_map("b"))
        app = await world.until(lambda o: dig(o, "status", "sync", "status") == "Synced")
        assert not app["status"].get("conditions")

    play(story)


def test_what_the_api_refuses_is_refused_before_anything_is_applied(play: Play) -> None:
    async def story(world: World) -> None:
        bad = world.push(prod__a=config_map("a"), prod__b="apiVersion: v1\nkind: ConfigMapp\nmetadata:\n  name: b\n")
        await world.create_app(policy={"retry": {"limit": 0}})
        app = await world.settled(bad, phase="Failed")
        assert 'no matches for kind "ConfigMapp" in version "v1"' in app["status"]["operationState"]["message"]
        assert await world.get(CONFIG_MAPS, "a") is None

    play(story)


def test_an_empty_render_deletes_nothing(play: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(prod__a=config_map("a"), prod__readme="# nothing yet\n")
        await world.create_app()
        await world.settled(first)
        world.push(prod__a=None)
        app = await world.until(lambda o: dig(o, "status", "conditions"))
        assert "wipe out all resources" in app["status"]["conditions"][0]["message"]
        world.push(prod__readme=None, other__x="a: 1\n")
        app = await world.until(lambda o: "app path does not exist" in str(dig(o, "status", "conditions")))
        assert await world.get(CONFIG_MAPS, "a") is not None

    play(story)


def test_create_namespace(play: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(prod__a=config_map("a"))
        await world.create_app(options=("CreateNamespace=true",), destination={
            "server": "https://kubernetes.default.svc", "namespace": "shop"})
        await world.settled(first)
        assert await world.get(NAMESPACES, "shop", "") is not None
        assert await world.get(CONFIG_MAPS, "a", "shop") is not None

    play(story)


def test_ignored_differences_are_neither_shown_nor_undone(play: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(prod__a=config_map("a"), prod__b=config_map("b"))
        await world.create_app(options=("RespectIgnoreDifferences=true",), ignoreDifferences=[
            {"group": "", "kind": "ConfigMap", "name": "a", "jsonPointers": ["/data/value"]}])
        await world.settled(first)
        await world.edit(CONFIG_MAPS, "a", {"data": {"value": "mine"}})
        second = world.push(prod__b=config_map("b", "2"))
        app = await world.settled(second)
        live = await world.get(CONFIG_MAPS, "a")
        assert live is not None and live["data"] == {"value": "mine"} and app["status"]["sync"]["status"] == "Synced"

    play(story)


def test_a_sync_by_hand(play: Play) -> None:
    async def story(world: World) -> None:
        world.push(prod__a=config_map("a"))
        await world.create_app(automated=False)
        await world.until(lambda o: dig(o, "status", "sync", "status") == "OutOfSync")
        assert world.why() == ["AutoSyncOff"] and await world.get(CONFIG_MAPS, "a") is None
        await world.edit_app({"operation": {"sync": {}, "initiatedBy": {"username": "ann"}}})
        app = await world.until(lambda o: dig(o, "status", "operationState", "phase") == "Succeeded")
        app = await world.until(lambda o: "operation" not in o)
        assert app["status"]["history"][0]["initiatedBy"] == {"username": "ann"}

    play(story)


def test_killed_at_any_moment_it_goes_on_and_no_hook_runs_twice(tmp_path: Path) -> None:
    """The controller dies after each of its first writes in turn; each time the next one finishes the sync."""

    async def story(world: World, writes: int) -> int:
        first = world.push(prod__migrate=hook("migrate", "PreSync", seconds=3), prod__a=config_map("a"),
                           prod__smoke=hook("smoke", "PostSync"))
        await world.create_app()
        revision = world.api.store.revision
        world.start()
        while world.api.store.revision < revision + writes:
            await asyncio.sleep(0.01)
            if dig(await world.app(), "status", "operationState", "phase") == "Succeeded":
                break
        await world.kill()
        seen = list(world.applied)
        world.start()
        await world.settled(first)
        await world.kill()
        jobs = {o["metadata"]["name"]: o for o in (await world.api.list(JOBS)).items}
        assert set(jobs) == {"migrate", "smoke"}
        made = [entry for entry in seen if entry == "+Job/migrate"]
        assert len(made) <= 1
        deletions = [entry for entry in world.applied if entry.startswith("-Job")]
        assert deletions == [], "a hook of this operation was made again"
        return world.api.store.revision

    for writes in range(1, 14):
        run_virtual(lambda clock, n=writes: story(World(clock, tmp_path / str(n)), n))  # type: ignore[misc]


def test_deleting_an_application_with_the_finalizer_deletes_its_objects(play: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(prod__a=config_map("a", wave=1), prod__b=config_map("b"))
        await world.create_app(metadata={"finalizers": ["resources-finalizer.argocd.argoproj.io"]})
        await world.settled(first)
        await world.delete_app()
        await world.until_gone()
        assert world.applied[-2:] == ["-ConfigMap/a", "-ConfigMap/b"], "the highest wave goes first"

    play(story)


def test_operations_follow_each_other_without_traces_of_the_last(play: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(prod__a=config_map("a"))
        await world.create_app(policy={"retry": {"limit": 2}})
        await world.settled(first)
        await world.edit(CONFIG_MAPS, "a", {"data": {"value": "mine"}})
        await world.until(lambda o: "autoHealAttemptsCount" in str(dig(o, "status", "operationState", "operation")))
        await world.until(lambda o: "operation" not in o)
        asked = {"sync": {"dryRun": True}, "initiatedBy": {"username": "ann"}}
        await world.edit_app({"operation": asked})
        app = await world.until(lambda o: "operation" not in o, within=10)
        state = app["status"]["operationState"]
        assert state["operation"] == asked and state["message"] == "dry run: 0 of 1 objects would change"

    play(story)


def test_a_hook_with_a_deadline_of_its_own_is_given_up_soon_after(play: Play) -> None:
    async def story(world: World) -> None:
        stuck = hook("migrate", "PreSync", outcome="Never").replace("spec:\n", "spec:\n  activeDeadlineSeconds: 20\n", 1)
        bad = world.push(prod__migrate=stuck, prod__a=config_map("a"))
        await world.create_app(policy={"retry": {"limit": 0}})
        app = await world.settled(bad, phase="Failed", within=100)
        assert "did not finish within" in app["status"]["operationState"]["message"]
        assert await world.get(CONFIG_MAPS, "a") is None

    play(story)
