"""Smart rollback: a promoted version is watched in virtual time; what git would do is left as a note."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from fairway.cli.watch import exit_code
from fairway.gitops import revert
from fairway.kube.api import MergePatch
from fairway.kube.cache import Informers
from fairway.kube.clock import Clock, run_virtual
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.objects import Obj, annotations_of, dig, spec_of, status_of
from fairway.kube.reconcile import Controller, ControllerLoop
from fairway.kube.resources import DEPLOYMENTS, ROLLBACK_POLICIES, ROLLOUTS
from fairway.node.simulated import Script, SimulatedNode
from fairway.rollouts.controller import RolloutController
from fairway.rollouts.fields import SpecError
from fairway.rollouts.rollback.controller import RollbackController
from fairway.rollouts.rollback.note import TAKE_BACK
from fairway.rollouts.rollback.spec import decode_policy
from fairway.workloads.controllers import DeploymentController, ReplicaSetController
from tests.rollouts.flagger_world import NS, deployment

ERRORS = {"name": "error_rate", "query": 'errors{app="shop"}', "threshold": 5, "comparison": "gt", "period": "3m"}
Answer = Callable[[datetime], float | None]


def policy(*criteria: Obj, kind: str = "Deployment", **spec: Any) -> Obj:
    return {"apiVersion": "fairway.dev/v1alpha1", "kind": "RollbackPolicy", "metadata": {"name": "shop", "namespace": NS},
            "spec": {"workloadRef": {"kind": kind, "name": "shop"}, "window": "15m", "every": "60s", "confirm": "30s",
                     "criteria": list(criteria) or [ERRORS], **spec}}


def rollout() -> Obj:
    made = deployment()
    return {**made, "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "spec": {**{
        k: v for k, v in made["spec"].items() if k != "progressDeadlineSeconds"}, "strategy": {"canary": {"steps": [
            {"setWeight": 50}, {"pause": {"duration": "10s"}}]}}}}


class World:
    def __init__(self, clock: Clock, api: EmbeddedApi) -> None:
        self.clock, self.api = clock, api
        self.answer: Answer = lambda at: 0.0

    async def query(self, text: str, at: datetime) -> list[float]:
        found = self.answer(at)
        return [] if found is None else [found]

    async def until(self, phase: str, limit_s: int = 3600) -> Obj:
        for _ in range(limit_s):
            found = status_of(await self.api.get(ROLLBACK_POLICIES, "shop", NS))
            if found.get("phase") == phase:
                return found
            await asyncio.sleep(1)
        raise AssertionError(f"never {phase}: {found}")

    async def image(self, resource: Any) -> str:
        return str(dig(await self.api.get(resource, "shop", NS), "spec", "template", "spec", "containers", 0, "image"))

    async def new_version(self, resource: Any = DEPLOYMENTS, image: str = "shop:2") -> None:
        await self.api.patch(resource, "shop", NS, MergePatch({"spec": {"template": {"spec": {"containers": [
            {"name": "shop", "image": image}]}}}}))


def play(story: Callable[[World], Awaitable[None]], *objects: Obj) -> None:
    async def run(clock: Clock) -> None:
        api = EmbeddedApi.in_memory(clock)
        world, informers = World(clock, api), Informers(api)
        for obj in objects:
            await api.create(obj)
        controllers: list[Controller] = [DeploymentController(informers, clock), ReplicaSetController(informers, clock),
                                         RolloutController(informers, verify_weights=False),
                                         RollbackController(informers, clock, world)]
        runs = [SimulatedNode(informers, clock, lambda pod: Script()).run,
                *(ControllerLoop(c, informers, clock).run for c in controllers)]
        tasks = [asyncio.ensure_future(one()) for one in runs]
        try:
            await world.until("Idle")
            await story(world)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await informers.close()

    run_virtual(run)


def test_a_bad_version_is_taken_back_after_its_period_and_one_confirmation() -> None:
    async def story(world: World) -> None:
        await world.new_version()
        began = (await world.until("Watching"))["promotedAt"]
        world.answer = lambda at: 9.0
        suspect = await world.until("Suspect")
        assert "error_rate > 5 for 180 s (is 9, violated for 180 s)" in suspect["message"]
        done = await world.until("RolledBack")
        assert await world.image(DEPLOYMENTS) == "shop:1"
        assert done["version"] == done["goodVersion"] and began
        await asyncio.sleep(3600)
        assert (await world.until("RolledBack", 1))["version"] == done["version"], "the good version is not watched again"

    play(story, deployment(), policy())


def test_a_rollout_goes_back_without_its_steps() -> None:
    async def story(world: World) -> None:
        await world.new_version(ROLLOUTS)
        await world.until("Watching")
        world.answer = lambda at: 9.0
        await world.until("RollingBack")
        began = world.clock.now()
        await world.until("RolledBack")
        assert world.clock.now() - began < timedelta(seconds=10), "the pause of the steps alone is longer"
        assert await world.image(ROLLOUTS) == "shop:1"

    play(story, rollout(), policy(kind="Rollout"))


def test_what_is_transient_or_unknown_takes_nothing_back() -> None:
    async def story(world: World) -> None:
        await world.new_version()
        start = world.clock.now()
        await world.until("Watching")
        world.answer = lambda at: 9.0 if at - start < timedelta(seconds=270) else None
        await world.until("Suspect")
        await asyncio.sleep(200)
        held = await world.until("Suspect", 1)
        assert "cannot be measured" in held["message"] and held["criteria"][0]["state"] == "unknown"
        world.answer = lambda at: 1.0
        await world.until("Watching")
        passed = await world.until("Passed")
        assert "nothing against it" in passed["message"] and await world.image(DEPLOYMENTS) == "shop:2"

    play(story, deployment(), policy())


def test_a_watch_without_any_data_says_that_nothing_is_known() -> None:
    async def story(world: World) -> None:
        world.answer = lambda at: None
        await world.new_version()
        assert "nothing is known of error_rate" in (await world.until("Passed"))["message"]

    play(story, deployment(), policy())


def test_alerts_and_ignored_criteria_take_nothing_back() -> None:
    async def story(world: World) -> None:
        world.answer = lambda at: 50.0
        await world.new_version()
        await world.until("Passed")
        assert await world.image(DEPLOYMENTS) == "shop:2"

    play(story, deployment(), policy({**ERRORS, "action": "alert"}, {**ERRORS, "name": "cpu", "action": "ignore"}))


def test_with_approval_a_person_says_so() -> None:
    async def story(world: World) -> None:
        await world.new_version()
        await world.until("Watching")
        world.answer = lambda at: 9.0
        waits = await world.until("AwaitingApproval")
        await asyncio.sleep(600)
        assert await world.image(DEPLOYMENTS) == "shop:2"
        await world.api.patch(ROLLBACK_POLICIES, "shop", NS, MergePatch({"metadata": {"annotations": {
            "fairway.dev/rollback-approved": waits["version"]}}}))
        await world.until("RolledBack")

    play(story, deployment(), policy(mode="approval"))


def test_where_git_owns_the_workload_the_evidence_is_left_for_it_and_the_object_stays() -> None:
    tracked = deployment()
    tracked["metadata"]["annotations"] = {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:default/shop"}

    async def story(world: World) -> None:
        await world.new_version()
        await world.until("Watching")
        world.answer = lambda at: 9.0
        await world.until("RollingBack")
        live = await world.api.get(DEPLOYMENTS, "shop", NS)
        assert await world.image(DEPLOYMENTS) == "shop:2"
        note = json.loads(annotations_of(live)[TAKE_BACK])
        assert (note["bad"], note["good"]) == ({"shop": "shop:2"}, {"shop": "shop:1"})
        found = revert.find_noted("shop", "shop", live, live, "abc1234")
        assert isinstance(found, revert.Revert) and found.images == (("shop:2", "shop:1"),)
        message = found.message("shop", "")
        assert "Fairway-Evidence: RollbackPolicy default/shop: error_rate > 5" in message
        await world.new_version(image="shop:1")  # what the commit comes to
        await world.until("RolledBack")
        assert TAKE_BACK not in annotations_of(await world.api.get(DEPLOYMENTS, "shop", NS))
        assert spec_of(live)["template"] is not None

    play(story, tracked, policy())


@pytest.mark.parametrize(("phase", "state", "code"), [
    ("Passed", "ok", 0), ("Passed", "unknown", 3), ("RolledBack", "violated", 1), ("Failed", "violated", 2), ("Idle", "ok", 0),
])
def test_scripts_read_the_exit_code(phase: str, state: str, code: int) -> None:
    assert exit_code({"status": {"phase": phase, "criteria": [{"name": "error_rate", "state": state}]}}) == code


@pytest.mark.parametrize(("spec", "words"), [
    ({"criteria": [{**ERRORS, "comparison": "above"}]}, "spec.criteria[0].comparison"),
    ({"criteria": [{**ERRORS, "period": "20m"}]}, "can never be violated"),
    ({"criteria": [ERRORS, ERRORS]}, "names must differ"),
    ({"criteria": [{**ERRORS, "threshold": "high"}]}, "spec.criteria[0].threshold"),
    ({"criteria": []}, "at least one"),
])
def test_mistakes_are_named_with_their_path(spec: Obj, words: str) -> None:
    obj = policy()
    obj["spec"] |= spec
    with pytest.raises(SpecError) as error:
        decode_policy(obj)
    assert words in str(error.value)
