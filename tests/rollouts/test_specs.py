"""Rollouts that cannot be run say why, in upstream's words, and leave what runs as it is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fairway.kube.clock import Clock, run_virtual
from fairway.kube.errors import BadRequest
from fairway.kube.objects import Obj, dig
from fairway.kube.resources import ANALYSIS_TEMPLATES, REPLICA_SETS
from fairway.rollouts import commands
from fairway.rollouts.args import ArgError, merge_args, rollout_args, substitute
from fairway.rollouts.spec import decode_rollout
from fairway.rollouts.templates import running, template_sha
from fairway.rollouts.unsupported import unsupported
from fairway.rollouts.validation import spec_errors
from tests.rollouts.world import NS, a_world, analysis, rollout, success_rate, template


def with_canary(**canary: Any) -> Obj:
    return rollout(**canary)


@pytest.mark.parametrize(("spec", "message"), [
    (with_canary(steps=[{"setWeight": 110}]),
     "spec.strategy.steps[0].setWeight: Invalid value: 110: SetWeight needs to be between 0 and 100"),
    (with_canary(steps=[{}]), 'spec.strategy.steps[0]: Invalid value: "step.Experiment: false step.Pause: false '
     'step.SetWeight: false step.Analysis: false": Step must have one of the following set: experiment, setWeight, '
     "setCanaryScale, plugin or pause"),
    (with_canary(canaryService="shop-stable"), "This rollout uses the same service for the stable and canary services"),
    (with_canary(canaryService=None), 'spec.strategy.canaryService: Invalid value: "": Canary service and Stable '
     "service must to be set to use Traffic Routing"),
    (with_canary(maxSurge=0, maxUnavailable=0), "MaxSurge and MaxUnavailable both can not be zero"),
    (with_canary(trafficRouting={"smi": {}}), "Fairway does not move traffic through smi: use nginx, istio, alb or"),
    (with_canary(trafficRouting={"plugins": {"acme/mesh": {}}}), "Fairway has no traffic router plugin 'acme/mesh'"),
    (with_canary(steps=[{"plugin": {"name": "acme/step"}}]), "Fairway does not run step plugins, this one is 'acme/step'"),
    (with_canary(steps=[{"pause": {"duration": "soon"}}]), "Duration needs to be greater than 0"),
])  # fmt: skip
def test_mistakes_in_a_spec(spec: Obj, message: str) -> None:
    decoded = decode_rollout(spec)
    found = [str(error) for error in (*spec_errors(decoded), *unsupported(decoded))]
    assert found and message in found[0]


def test_a_missing_reference_stops_nothing_that_runs_and_heals_when_it_comes_back() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock) as world:
            await world.api.create(success_rate())
            await world.api.create(rollout(analysis=analysis()))
            stable = (await world.healthy())["status"]["stableRS"]
            await world.api.delete(ANALYSIS_TEMPLATES, "success-rate", NS)
            found = await world.until(lambda r: dig(r, "status", "phase") == "Degraded")
            said = ('The Rollout "shop" is invalid: spec.strategy.canary.analysis.templates: Invalid value: '
                    '"success-rate": '
                    "AnalysisTemplate 'success-rate' not found")
            assert found["status"]["message"] == f"InvalidSpec: {said}"
            await world.image("shop:2")
            await asyncio.sleep(60)
            assert (await world.get())["status"]["stableRS"] == stable and len(await world.sets()) == 1
            await world.api.create(success_rate())
            done = await world.healthy()
            assert done["status"]["stableRS"] != stable
            assert all(c["type"] != "InvalidSpec" for c in done["status"]["conditions"])

    run_virtual(story)


def test_a_template_that_the_api_refuses_is_said_in_the_status_and_the_old_version_goes_on() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock) as world:
            await world.api.create(rollout())
            stable = (await world.healthy())["status"]["stableRS"]
            broken = template("shop:2")
            broken["spec"]["containers"][0]["resources"] = {"requests": {"memory": "much"}}
            with pytest.raises(BadRequest, match="quantities must match"):
                await world.patch({"spec": {"template": broken}})
            broken["spec"]["containers"][0] |= {"resources": {}, "ports": [{"containerPort": 70_000}]}
            await world.patch({"spec": {"template": broken}})
            found = await world.until(lambda r: dig(r, "status", "phase") == "Degraded", within=5)
            assert found["status"]["message"].startswith('InvalidSpec: The Rollout "shop" is invalid: ')
            assert "must be between 1 and 65535" in found["status"]["message"]
            assert await world.selects("shop-stable") == stable
            await world.image("shop:3")
            assert (await world.healthy())["status"]["stableRS"] != stable

    run_virtual(story)


def test_a_replica_set_is_found_by_its_template_whatever_the_api_filled_in() -> None:
    written = template("shop:1")
    container = {**written["spec"]["containers"][0], "imagePullPolicy": "IfNotPresent", "resources": {},
                 "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}
    filled = {"metadata": {"labels": {"app": "shop", "rollouts-pod-template-hash": "x"}, "creationTimestamp": None},
              "spec": {"containers": [container], "restartPolicy": "Always", "dnsPolicy": "ClusterFirst"}}
    bare: Obj = {"metadata": {"name": "a"}, "spec": {"template": filled}}
    assert running([bare], written) == {"a"}
    assert running([bare], template("shop:2")) == set()
    marked: Obj = {"metadata": {"name": "b", "annotations": {"fairway.dev/pod-template-sha256": template_sha(written)}}}
    assert running([bare, marked], written) == {"b"}, "the digest settles it"


def test_going_back_finds_the_replica_set_that_is_there_already() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock) as world:
            await world.api.create(rollout())
            first = (await world.healthy())["status"]["stableRS"]
            await world.image("shop:2")
            await world.until(lambda r: dig(r, "status", "currentPodHash") != first)
            await world.healthy()
            sets = (await world.api.list(REPLICA_SETS, NS)).items
            back = commands.undo(await world.get(), sets).spec
            await world.patch(back or {})
            await world.until(lambda r: dig(r, "status", "currentPodHash") == first)
            assert len((await world.api.list(REPLICA_SETS, NS)).items) == 2

    run_virtual(story)


def test_arguments_come_from_the_rollout_and_are_filled_in() -> None:
    source = {**rollout(), "metadata": {"name": "shop", "labels": {"team": "a"}}}
    asked = [{"name": "hash", "valueFrom": {"podTemplateHashValue": "Latest"}}, {"name": "plain", "value": "1"},
             {"name": "team", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['team']"}}},
             {"name": "image", "valueFrom": {"fieldRef": {"fieldPath": "spec.template.spec.containers[0].image"}}}]
    found = {arg["name"]: arg["value"] for arg in rollout_args(asked, source, latest="h2", stable="h1")}
    assert found == {"hash": "h2", "plain": "1", "team": "a", "image": "shop:1"}
    assert substitute({"q": '{{ args.hash }} {{other}} "{{args.team}}"'}, found) == {"q": 'h2 {{other}} "a"'}
    with pytest.raises(ArgError, match=r"failed to resolve \{\{args.nope\}\}"):
        substitute("{{args.nope}}", found)
    with pytest.raises(ArgError, match=r"args\.window was not resolved"):
        merge_args([], [{"name": "window"}])
