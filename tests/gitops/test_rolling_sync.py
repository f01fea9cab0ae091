"""RollingSync: Applications of a set step by step, and gone in the reverse order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fairway.gitops.rolling_sync import RollingStep, decode_steps
from fairway.gitops.spec import InvalidSpec
from fairway.kube.objects import Obj, dig, meta_of
from fairway.kube.resources import APPLICATION_SETS, APPLICATIONS
from tests.gitops.conftest import Play
from tests.gitops.test_application_sets import TEMPLATE, a_set, condition
from tests.gitops.world import World, config_map, hook

STAGES = [("dev", "one"), ("prod", "two"), ("prod", "three")]
ELEMENTS = {"list": {"elements": [{"stage": stage, "name": name} for stage, name in STAGES]}}


def step(stage: str, **more: Any) -> dict[str, Any]:
    return {"matchExpressions": [{"key": "stage", "operator": "In", "values": [stage]}], **more}


def rolling(**more: Any) -> dict[str, Any]:
    template = {**TEMPLATE, "metadata": {"name": "{{.name}}", "labels": {"stage": "{{.stage}}"}}}
    template["spec"] = {**TEMPLATE["spec"], "source": {**TEMPLATE["spec"]["source"], "path": "{{.name}}"}}
    steps = [step("dev"), step("prod", maxUpdate=1)]
    return a_set(ELEMENTS, template=template, strategy={"type": "RollingSync", "rollingSync": {"steps": steps}, **more})


def files(value: str) -> dict[str, str]:
    """Each Application is a ConfigMap behind a hook of ten seconds, so that it takes its time."""
    return {f"{name}__x": config_map(name, value) for _, name in STAGES} | {
        f"{name}__y": hook(f"{name}-first", "PreSync", seconds=10) for _, name in STAGES}


async def standings(world: World) -> dict[str, str]:
    obj = await world.get(APPLICATION_SETS, "all", "argocd")
    return {s["application"]: s["status"] for s in dig(obj, "status", "applicationStatus", default=[])}


def test_a_step_waits_for_the_one_before_and_takes_no_more_than_it_may(perform: Play) -> None:
    async def story(world: World) -> None:
        for value in ("1", "2"):
            sha = world.push(**files(value))
            seen: list[dict[str, str]] = []
            if value == "1":
                await world.api.create(rolling())
            while True:
                apps = {meta_of(a)["name"]: a for a in (await world.api.list(APPLICATIONS, "argocd")).items}
                running = {name for name, app in apps.items() if dig(app, "status", "operationState", "phase") == "Running"}
                done = {name for name, app in apps.items() if dig(app, "status", "history", -1, "revision") == sha}
                assert len(running) <= 1, "maxUpdate is one"
                assert "one" in done or running <= {"one"}, "dev comes first"
                seen.append(await standings(world))
                if len(done) == 3 and set(seen[-1].values()) == {"Healthy"}:
                    break
                await asyncio.sleep(0.5)
            assert {"one": "Progressing", "two": "Waiting", "three": "Waiting"} in seen
            assert (await condition(world, "RolloutProgressing"))[0] == "False"
        assert dig(await world.app("one"), "spec", "syncPolicy", "automated", "enabled") is False

    perform(story)


def test_a_step_that_fails_holds_the_ones_after_it_until_git_has_a_fix(perform: Play) -> None:
    async def story(world: World) -> None:
        world.push(**{**files("1"), "one__y": hook("one-first", "PreSync", outcome="Failed")})
        await world.api.create(rolling())
        await world.until_app_phase("one", "Failed")
        await asyncio.sleep(600)
        assert await standings(world) == {"one": "Progressing", "two": "Waiting", "three": "Waiting"}
        assert (await condition(world, "RolloutProgressing")) == ("True", "ApplicationSet is performing rollout of step 1")
        world.push(one__y=hook("one-first", "PreSync"))
        for _ in range(600):
            if set((await standings(world)).values()) == {"Healthy"}:
                return
            await asyncio.sleep(0.5)
        raise AssertionError(await standings(world))

    perform(story)


def test_in_reverse_the_last_step_goes_first(perform: Play) -> None:
    async def story(world: World) -> None:
        world.push(**files("1"))
        await world.api.create(rolling(deletionOrder="Reverse"))
        for _ in range(600):
            if set((await standings(world)).values()) == {"Healthy"}:
                break
            await asyncio.sleep(0.5)
        gone: list[str] = []

        def note(old: Obj | None, new: Obj | None) -> None:
            if old is not None and new is None:
                gone.append(meta_of(old)["name"])

        world.informers.of(APPLICATIONS).on_change(note)
        await world.api.delete(APPLICATION_SETS, "all", "argocd")
        for _ in range(600):
            if await world.get(APPLICATION_SETS, "all", "argocd") is None:
                break
            await asyncio.sleep(0.5)
        assert (set(gone[:2]), gone[2:]) == ({"two", "three"}, ["one"])

    perform(story)


@pytest.mark.parametrize(("most", "count", "wanted"), [
    (None, 7, 7), (2, 7, 2), ("50%", 7, 3), ("1%", 7, 1), ("0%", 7, 0), (0, 7, 0),
])  # fmt: skip
def test_how_many_at_a_time(most: int | str | None, count: int, wanted: int) -> None:
    assert RollingStep((), most).at_a_time(count) == wanted


@pytest.mark.parametrize(("strategy", "words"), [
    ({"type": "Sometimes"}, "neither AllAtOnce nor RollingSync"),
    ({"type": "RollingSync"}, "at least one step"),
    ({"type": "RollingSync", "rollingSync": {"steps": [{"maxUpdate": "some"}]}}, r"steps\[0\].maxUpdate"),
    ({"type": "RollingSync", "rollingSync": {"steps": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}}, "In nor"),
])  # fmt: skip
def test_mistakes_are_named(strategy: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSpec, match=words):
        decode_steps(strategy)
