"""Experiments: versions side by side, alone and as a step of a canary."""

from __future__ import annotations

import asyncio
from typing import Any

from fairway.kube.clock import Clock, run_virtual
from fairway.kube.objects import Obj, dig, status_of
from fairway.kube.resources import ANALYSIS_RUNS, CORE_EVENTS, EXPERIMENTS, REPLICA_SETS, SERVICES
from tests.rollouts.world import NS, World, a_world, rollout, success_rate, template


def experiment(**spec: Any) -> Obj:
    pods = template("shop:2")
    pods["metadata"]["labels"] = {"app": "trial"}
    pods["spec"]["containers"][0]["ports"] = [{"name": "http", "containerPort": 8000}]
    trial = {"name": "new", "replicas": 2, "service": {}, "selector": {"matchLabels": {"app": "trial"}}, "template": pods}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Experiment", "metadata": {"name": "trial", "namespace": NS},
            "spec": {"templates": [trial], **spec}}


async def reached(world: World, phase: str, within: int = 120) -> Obj:
    for _ in range(within * 10):
        found = await world.api.get(EXPERIMENTS, "trial", NS)
        if dig(found, "status", "phase") == phase:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"{phase} not reached: {status_of(found)}")


def test_an_experiment_runs_for_its_time_with_a_service_and_leaves_nothing_behind() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock) as world:
            await world.api.create(experiment(duration="20s", scaleDownDelaySeconds=5))
            found = await reached(world, "Running")
            available = clock.now()
            service = await world.api.get(SERVICES, "trial-new", NS)
            assert service["spec"]["ports"] == [{"name": "http", "protocol": "TCP", "port": 8000, "targetPort": 8000}]
            chosen = service["spec"]["selector"]["rollouts-pod-template-hash"]
            assert chosen == dig(found, "status", "templateStatuses", 0, "podTemplateHash")
            done = await reached(world, "Successful")
            assert 19 <= (clock.now() - available).total_seconds() <= 22
            assert done["status"]["conditions"][0]["reason"] == "ExperimentCompleted"
            await asyncio.sleep(10)
            rs = await world.api.get(REPLICA_SETS, "trial-new", NS)
            assert rs["spec"]["replicas"] == 0
            assert [s["metadata"]["name"] for s in (await world.api.list(SERVICES, NS)).items] == ["shop-canary", "shop-stable"]
            said = {event["reason"] for event in (await world.api.list(CORE_EVENTS, NS)).items}
            assert {"ExperimentPending", "ExperimentRunning", "ExperimentSuccessful"} <= said

    run_virtual(story)


def test_pods_that_never_come_fail_it_and_a_failed_analysis_ends_it() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock, ready_after=3600.0) as world:
            await world.api.create(experiment(progressDeadlineSeconds=30))
            late = await reached(world, "Failed")
            assert late["status"]["message"] == "Template 'new' exceeded its progressDeadlineSeconds (30)"
            await world.api.delete(EXPERIMENTS, "trial", NS)
            await world.api.delete(REPLICA_SETS, "trial-new", NS)
            world.ready_after = 1.0
            await world.api.create(success_rate())
            world.metrics.answer = lambda text, at: [0.2]
            await world.api.create(experiment(analyses=[{"name": "rate", "templateName": "success-rate", "args": [
                {"name": "hash", "value": "{{templates.new.podTemplateHash}}"}]}]))
            bad = await reached(world, "Failed")
            assert dig(bad, "status", "analysisRuns", 0, "phase") == "Failed"
            run = await world.api.get(ANALYSIS_RUNS, "trial-rate", NS)
            assert run["spec"]["args"][0]["value"] == dig(bad, "status", "templateStatuses", 0, "podTemplateHash")

    run_virtual(story)


def step(**more: Any) -> Obj:
    return {"experiment": {"duration": "15s", "templates": [{"name": "baseline", "specRef": "stable"},
                                                            {"name": "canary", "specRef": "canary"}], **more}}


def test_a_step_waits_for_its_experiment_which_runs_stable_against_the_canary() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock) as world:
            await world.api.create(rollout(steps=[{"setWeight": 20}, step(), {"pause": {}}]))
            await world.healthy()
            await world.image("shop:2")
            found = await world.until(lambda r: dig(r, "status", "canary", "currentExperiment") is not None)
            name = found["status"]["canary"]["currentExperiment"]
            assert name == f"shop-{found['status']['currentPodHash']}-2-1"
            await asyncio.sleep(5)
            running = await world.api.get(EXPERIMENTS, name, NS)
            images = [dig(t, "template", "spec", "containers", 0, "image") for t in running["spec"]["templates"]]
            assert images == ["shop:1", "shop:2"] and status_of(running)["phase"] == "Running"
            hashes = {t["podTemplateHash"] for t in status_of(running)["templateStatuses"]}
            assert not hashes & {found["status"]["stableRS"], found["status"]["currentPodHash"]}, "no Service selects them"
            paused = await world.until(lambda r: dig(r, "status", "phase") == "Paused")
            assert paused["status"]["currentStepIndex"] == 2 and "currentExperiment" not in paused["status"]["canary"]
            assert status_of(await world.api.get(EXPERIMENTS, name, NS))["phase"] == "Successful"

    run_virtual(story)


def test_an_experiment_that_fails_stops_the_update_and_one_that_does_not_know_pauses_it() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock) as world:
            analyses = [{"name": "rate", "templateName": "success-rate", "requiredForCompletion": True,
                         "args": [{"name": "hash", "valueFrom": {"podTemplateHashValue": "Latest"}}]}]
            await world.api.create(success_rate(count=1, inconclusiveLimit=0))
            await world.api.create(rollout(steps=[step(duration=None, analyses=analyses)]))
            await world.healthy()
            world.metrics.answer = lambda text, at: []
            await world.image("shop:2")
            paused = await world.until(lambda r: dig(r, "status", "phase") == "Paused")
            assert paused["status"]["message"] == "InconclusiveExperiment"
            world.metrics.answer = lambda text, at: [0.1]
            await world.image("shop:3")
            failed = await world.until(lambda r: dig(r, "status", "abort") is True)
            assert "failed (1) > failureLimit (0)" in failed["status"]["message"]
            world.metrics.answer = lambda text, at: [1.0]
            await world.image("shop:4")
            await world.healthy()

    run_virtual(story)
