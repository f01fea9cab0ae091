"""The controllers die after every single write of an update, and come back: the end is the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fairway.kube.clock import Clock, run_virtual
from fairway.kube.objects import Obj, dig
from fairway.kube.resources import EXPERIMENTS
from tests.rollouts.world import NS, World, a_world, analysis, blue_green, rollout, success_rate

_WRITES = ("create", "patch", "delete", "replace")


class Mortal:
    """The API, whose user dies right after the write with this number (0: never)."""

    def __init__(self, world: World, dies_after: int) -> None:
        self._world, self._dies_after, self.writes, self.counting = world, dies_after, 0, False
        self._tasks: list[asyncio.Task[None]] = []

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._world.api, name)
        return self._counted(found) if name in _WRITES else found

    def _counted(self, write: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def counted(*args: Any, **settings: Any) -> Any:
            done = await write(*args, **settings)
            self.writes += self.counting
            if self.counting and self.writes == self._dies_after:
                self._tasks.append(asyncio.create_task(self._die()))
                await asyncio.Event().wait()  # until it is cancelled
            return done

        return counted

    async def _die(self) -> None:
        await self._world.kill()
        await asyncio.sleep(1.5)
        await self._world.start()


def canary() -> Obj:
    return rollout(replicas=2, scaleDownDelaySeconds=4,
                   steps=[{"setWeight": 50}, {"analysis": analysis("once")}, {"pause": {"duration": "3s"}}])


def experiment() -> Obj:
    trial = {"duration": "4s", "templates": [{"name": "canary", "specRef": "canary"}]}
    return rollout(replicas=1, scaleDownDelaySeconds=4, steps=[{"experiment": trial}])


def green() -> Obj:
    return blue_green(replicas=1, previewReplicaCount=1, autoPromotionSeconds=3, prePromotionAnalysis=analysis("once"),
                      postPromotionAnalysis=analysis("once"), scaleDownDelaySeconds=4)


async def end_of(world: World) -> Obj:
    """What users and the next update would find."""
    found = await world.get()
    status = {key: dig(found, "status", *key.split(".")) for key in (
        "phase", "stableRS", "currentPodHash", "currentStepIndex", "abort", "canary.weights.canary.weight",
        "canary.stablePingPong", "blueGreen.activeSelector", "blueGreen.scaleUpPreviewCheckPoint", "controllerPause")}
    sizes = {image: rs["spec"]["replicas"] for image, rs in (await world.sets()).items()
             if "experiment" not in str(rs["metadata"].get("annotations"))}
    runs = sorted(dig(run, "status", "phase") for run in await world.runs())
    trials = [dig(e, "status", "phase") for e in (await world.api.list(EXPERIMENTS, NS)).items]
    return {**status, "sizes": sizes, "runs": runs, "experiments": trials,
            "selected": [await world.selects("shop-stable"), await world.selects("shop-canary")]}


async def update(clock: Clock, made: Obj, dies_after: int) -> tuple[Obj, int]:
    async with a_world(clock, ready_after=0.5) as world:
        world.mortal = mortal = Mortal(world, dies_after)  # type: ignore[assignment]
        await world.kill()
        await world.start()
        await world.api.create(success_rate("once", count=1, inconclusiveLimit=0))
        await world.api.create(made)
        await world.healthy()
        mortal.counting = True
        await world.image("shop:2")
        await world.healthy()
        await asyncio.sleep(7)
        return await end_of(world), mortal.writes


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.e2e)])
@pytest.mark.parametrize("made", [canary, experiment, green])
def test_dying_after_any_write_changes_nothing_about_the_end(made: Callable[[], Obj], every: int) -> None:
    whole, writes = run_virtual(lambda clock: update(clock, made(), 0))
    assert whole["phase"] == "Healthy" and whole["sizes"]["shop:1"] == 0 and writes > 10
    for number in range(1, writes + 1, every):
        end, _ = run_virtual(lambda clock, number=number: update(clock, made(), number))  # type: ignore[misc]
        assert end == whole, f"after write {number} of {writes}"
