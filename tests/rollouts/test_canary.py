"""Whole canaries in virtual time, from the first version to promotion or abort."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from fairway.kube.clock import Clock, run_virtual
from fairway.kube.objects import dig, spec_of, status_of
from fairway.rollouts.keys import HASH_LABEL
from tests.rollouts.world import (
    NS,
    STEPS,
    Scripted,
    World,
    a_world,
    analysis,
    owned_hash,
    rollout,
    success_rate,
)


async def first_version(world: World, **canary: object) -> str:
    """Deploy shop:1 and return its hash."""
    await world.api.create(success_rate())
    await world.api.create(rollout(analysis=analysis(), **canary))
    return str((await world.healthy())["status"]["stableRS"])


def test_a_good_version_is_promoted_step_by_step() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock) as world:
            old = await first_version(world)
            assert await world.selects("shop-stable") == old
            await world.image("shop:2")
            new = (await world.healthy())["status"]["stableRS"]
            await asyncio.sleep(1)
            assert new != old
            assert [w for _, w in world.weights] == ["0", "5", "20", "50", "80", "100", "0"]
            assert await world.selects("shop-stable") == await world.selects("shop-canary") == new
            sets = await world.sets()
            assert (sets["shop:1"]["spec"]["replicas"], sets["shop:2"]["spec"]["replicas"]) == (4, 4)
            await asyncio.sleep(31)
            assert (await world.sets())["shop:1"]["spec"]["replicas"] == 0
            run, = await world.runs()
            assert status_of(run)["phase"] == "Successful"
            assert spec_of(run)["terminate"] is True

    run_virtual(story)


def test_a_bad_version_is_stopped_by_the_background_analysis_and_stable_is_untouched() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock) as world:
            old = await first_version(world)
            bad_since = clock.now()
            await world.image("shop:2")
            await world.until(lambda r: dig(r, "status", "canary", "weights", "canary", "weight") == 20, what="20 %")
            bad_since = clock.now() + timedelta(seconds=3)
            world.metrics.answer = lambda text, at: [0.92] if at >= bad_since else [1.0]
            found = await world.until(lambda r: dig(r, "status", "abort") is True, what="abort")
            revision = found["metadata"]["annotations"]["rollout.argoproj.io/revision"]
            said = 'Metric "success-rate" assessed Failed due to failed (1) > failureLimit (0)'
            status = found["status"]
            assert status["phase"] == "Degraded"
            assert status["message"] == f"RolloutAborted: Rollout aborted update to revision {revision}: {said}"
            assert status["currentStepIndex"] == 0 and status["stableRS"] == old
            assert status["canary"]["currentBackgroundAnalysisRunStatus"]["message"] == said
            await asyncio.sleep(0.5)
            stopped, weight = world.weights[-1]
            assert weight == "0"
            assert stopped - bad_since <= timedelta(seconds=3), "one interval and a moment"
            assert await world.selects("shop-canary") == await world.selects("shop-stable") == old
            sets = await world.sets()
            assert sets["shop:1"]["spec"]["replicas"] == 4 and sets["shop:1"]["status"]["availableReplicas"] == 4
            assert sets["shop:2"]["spec"]["replicas"] == 1, "the canary stays up for abortScaleDownDelaySeconds"
            await asyncio.sleep(32)
            assert (await world.sets())["shop:2"]["spec"]["replicas"] == 0

    run_virtual(story)


def test_going_back_to_the_stable_template_skips_all_steps() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock) as world:
            old = await first_version(world)
            await world.image("shop:2")
            await world.until(lambda r: dig(r, "status", "currentStepIndex") == 3)
            await world.image("shop:1")
            back = await world.healthy(within=40)
            assert back["status"]["stableRS"] == back["status"]["currentPodHash"] == old
            await asyncio.sleep(1)
            assert world.weights[-1][1] == "0"
            assert await world.selects("shop-canary") == old

    run_virtual(story)


def test_after_an_abort_the_revert_in_git_makes_it_healthy_on_the_old_version() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock) as world:
            old = await first_version(world)
            world.metrics.answer = lambda text, at: [0.5] if old not in text else [1.0]
            await world.image("shop:2")
            await world.until(lambda r: dig(r, "status", "phase") == "Degraded")
            await world.image("shop:1")
            back = await world.healthy(within=40)
            assert back["status"]["stableRS"] == old
            assert "abort" not in back["status"]

    run_virtual(story)


def test_a_retry_measures_anew_from_the_first_step() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock) as world:
            old = await first_version(world)
            world.metrics.answer = lambda text, at: [0.5]
            await world.image("shop:2")
            await world.until(lambda r: dig(r, "status", "phase") == "Degraded")
            world.metrics.answer = lambda text, at: [1.0]
            await asyncio.sleep(1)
            await world.patch({"status": {"abort": False}}, status=True)
            done = await world.until(lambda r: dig(r, "status", "stableRS") != old, what="promotion")
            assert done["status"]["phase"] == "Healthy"
            first, again = sorted(str(run["metadata"]["name"]) for run in await world.runs())
            assert again == f"{first}.1"

    run_virtual(story)


def test_an_unconfirmed_weight_holds_the_step() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock, confirm_after=600.0) as world:
            await first_version(world)
            await world.image("shop:2")
            await asyncio.sleep(300)
            status = status_of(await world.get())
            assert status["currentStepIndex"] == 0
            assert dig(status, "canary", "weights", "verified") is False

    run_virtual(story)


def test_where_nobody_confirms_weights_the_steps_go_on() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock, confirm_after=None) as world:
            await first_version(world)
            await world.image("shop:2")
            await world.healthy()
            assert [w for _, w in world.weights][:5] == ["0", "5", "20", "50", "80"]

    run_virtual(story)


def test_an_inline_analysis_holds_its_step_until_it_has_succeeded() -> None:
    async def story(clock: Clock) -> None:
        steps = [{"setWeight": 20}, {"analysis": analysis("smoke")}, {"setWeight": 60}, {"pause": {}}]
        async with a_world(clock) as world:
            await world.api.create(success_rate("smoke", count=3, interval="5s", inconclusiveLimit=0))
            await world.api.create(rollout(steps=steps))
            await world.healthy()
            await world.image("shop:2")
            started = (await world.until(lambda r: dig(r, "status", "currentStepIndex") == 1)) and clock.now()
            found = await world.until(lambda r: dig(r, "status", "currentStepIndex") == 2)
            assert timedelta(seconds=10) <= clock.now() - started <= timedelta(seconds=11)
            run, = await world.runs()
            assert run["metadata"]["name"] == f"shop-{found['status']['currentPodHash']}-2-1"
            assert run["metadata"]["labels"]["step-index"] == "1"
            paused = await world.until(lambda r: dig(r, "status", "phase") == "Paused")
            assert paused["status"]["message"] == "CanaryPauseStep"
            await asyncio.sleep(1000)
            assert dig(await world.get(), "status", "currentStepIndex") == 3, "a pause without a duration waits for somebody"
            await world.patch({"status": {"pauseConditions": None}}, status=True)
            await world.healthy()

    run_virtual(story)


def test_an_inconclusive_analysis_pauses_until_somebody_decides() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock, metrics=Scripted(lambda text, at: [])) as world:
            await world.api.create(success_rate("smoke", count=1, inconclusiveLimit=0, interval="1s"))
            await world.api.create(rollout(steps=[{"setWeight": 20}, {"analysis": analysis("smoke")}]))
            await world.healthy()
            await world.image("shop:2")
            found = await world.until(lambda r: dig(r, "status", "phase") == "Paused")
            assert found["status"]["message"] == "InconclusiveAnalysisRun"
            await asyncio.sleep(600)
            assert dig(await world.get(), "status", "currentStepIndex") == 1

    run_virtual(story)


def test_promote_full_goes_straight_to_the_new_version() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock) as world:
            old = await first_version(world)
            await world.image("shop:2")
            await world.until(lambda r: dig(r, "status", "currentStepIndex") == 1)
            at = clock.now()
            await world.patch({"status": {"promoteFull": True}}, status=True)
            done = await world.until(lambda r: dig(r, "status", "stableRS") not in (None, old), within=10)
            assert clock.now() - at < timedelta(seconds=5)
            assert "promoteFull" not in done["status"]

    run_virtual(story)


def test_a_basic_canary_moves_pods_instead_of_weights() -> None:
    async def story(clock: Clock) -> None:
        steps = [{"setWeight": 50}, {"pause": {"duration": 30}}]
        async with a_world(clock) as world:
            spec = rollout(steps=steps, trafficRouting=None, stableService="", canaryService="", maxUnavailable=0, maxSurge=1)
            await world.api.create(spec)
            await world.healthy()
            await world.image("shop:2")
            await world.until(lambda r: dig(r, "status", "phase") == "Paused")
            sets = await world.sets()
            assert (sets["shop:1"]["spec"]["replicas"], sets["shop:2"]["spec"]["replicas"]) == (2, 2)
            await world.healthy()
            sets = await world.sets()
            assert (sets["shop:1"]["spec"]["replicas"], sets["shop:2"]["spec"]["replicas"]) == (0, 4)

    run_virtual(story)


@pytest.mark.parametrize("index", range(len(STEPS) + 1))
def test_a_controller_killed_at_any_step_goes_on_at_that_step(index: int) -> None:
    """Dead for 7 s in the middle of step `index`; the pauses are counted from when they began, not from the restart."""

    async def story(clock: Clock) -> None:
        async with a_world(clock) as world:
            await first_version(world)
            await world.image("shop:2")
            started = clock.now()
            await world.until(lambda r: dig(r, "status", "currentStepIndex") == index)
            await world.kill()
            await asyncio.sleep(7)
            found = await world.get()
            assert dig(found, "status", "currentStepIndex") == index
            before = len(world.weights)
            await world.start()
            done = await world.healthy()
            await asyncio.sleep(1)
            assert done["status"]["currentStepIndex"] == len(STEPS)
            weights = [int(w) for _, w in world.weights]
            assert weights == [0, 5, 20, 50, 80, 100, 0], "no step was repeated or left out"
            assert before >= 1
            assert clock.now() - started < timedelta(seconds=4 * 20 + 4 * 3 + 7 + 3)

    run_virtual(story)


def test_an_abort_by_a_person_stops_exposure_at_once() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock) as world:
            old = await first_version(world)
            await world.image("shop:2")
            await world.until(lambda r: dig(r, "status", "canary", "weights", "canary", "weight") == 50)
            at = clock.now()
            await world.patch({"status": {"abort": True}}, status=True)
            await world.until(lambda r: dig(r, "status", "phase") == "Degraded", within=2)
            assert world.weights[-1][1] == "0"
            assert world.weights[-1][0] - at < timedelta(seconds=1)
            assert await world.selects("shop-canary") == old
            assert all(spec_of(run).get("terminate") for run in await world.runs())

    run_virtual(story)


def test_the_world_uses_hash_labels_as_upstream_does() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock) as world:
            stable = await first_version(world)
            replica_set = (await world.sets())["shop:1"]
            assert replica_set["metadata"]["name"] == f"shop-{stable}"
            assert owned_hash(replica_set) == stable
            assert replica_set["spec"]["selector"]["matchLabels"] == {"app": "shop", HASH_LABEL: stable}
            ingress = await world.canary_ingress()
            assert dig(ingress, "spec", "rules", 0, "http", "paths", 0, "backend", "service", "name") == "shop-canary"
            assert ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary"] == "true"
            assert ingress["metadata"]["namespace"] == NS

    run_virtual(story)


def test_one_bad_metric_ends_the_run_though_another_one_is_due_much_later() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock) as world:
            found = success_rate()
            bad = found["spec"]["metrics"][0]
            good = {**bad, "name": "other", "interval": "10m", "provider": {"prometheus": {"query": "other"}}}
            found["spec"]["metrics"].append(good)
            await world.api.create(found)
            await world.api.create(rollout(analysis=analysis()))
            await world.healthy()
            await world.image("shop:2")
            await world.until(lambda r: dig(r, "status", "canary", "weights", "canary", "weight") == 20, what="20 %")
            await asyncio.sleep(3)
            world.metrics.answer = lambda text, at: [1.0] if text == "other" else [0.5]
            await world.until(lambda r: dig(r, "status", "abort") is True, within=3, what="abort")
            run, = await world.runs()
            assert status_of(run)["phase"] == "Failed"
            assert [m["phase"] for m in status_of(run)["metricResults"]] == ["Failed", "Successful"]

    run_virtual(story)
