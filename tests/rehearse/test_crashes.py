"""The controllers die after every single write, and come back: the end is the same as without."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable

import pytest

from fairway.kube.resources import CANARIES, INGRESSES, REPLICA_SETS, ROLLOUTS, Resource
from fairway.rehearse.run import Rehearsal, alone, in_world
from fairway.rehearse.spec import Scenario, decode_scenario
from fairway.rehearse.subject import Subject
from fairway.rehearse.world import World
from tests.rehearse.files import shop, template
from tests.rehearse.test_canaries import shop as canary_shop

STEPS = [{"setWeight": 20}, {"pause": {"duration": "30s"}}, {"setWeight": 60}, {"pause": {"duration": "30s"}}]
WRITES = 40
"""More than a rollout of two steps makes."""


def play(subject: Subject, scenario: Scenario, crash_after: int, *, again: bool) -> tuple[Rehearsal, int]:
    """The rehearsal, and how many writes there were. Killed after the write of that number; `again`: after every later one too,
    up to ten."""
    writes = 0

    async def story(world: World) -> Rehearsal:
        due = asyncio.Event()

        def wrote(old: object, new: object) -> None:
            nonlocal writes
            if (old is None and new is None) or world.origin is None:
                return
            writes += 1
            if writes == crash_after or (again and crash_after < writes < crash_after + 10):
                due.set()

        resources: tuple[Resource, ...] = (CANARIES, INGRESSES) if subject.is_canary else (ROLLOUTS, REPLICA_SETS, INGRESSES)
        for resource in resources:
            world.outside.of(resource).on_change(wrote)
        async with _killer(world, due):
            return await alone(world, 0)

    return in_world(subject, scenario, story), writes


@contextlib.asynccontextmanager
async def _killer(world: World, due: asyncio.Event) -> AsyncIterator[None]:
    async def kill() -> None:
        while True:
            await due.wait()
            due.clear()
            await world.kill()
            await world.start()

    task = asyncio.create_task(kill())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _rollout() -> Subject:
    return shop(template(interval="10s"), steps=STEPS)


CASES = [(kind, errors, outcome) for kind in ("rollout", "canary")
         for errors, outcome in (("0.1%", "promoted"), ("60%", "aborted"))]


@pytest.mark.parametrize(("kind", "errors", "outcome"), CASES)
def test_killed_again_and_again_it_comes_to_the_same_end(kind: str, errors: str, outcome: str) -> None:
    """Ten times in a row from every tenth write on: every write is somebody's last."""
    hold(kind, errors, outcome, range(1, WRITES, 10), again=True)


@pytest.mark.e2e
@pytest.mark.parametrize(("kind", "errors", "outcome"), CASES)
def test_killed_once_after_every_single_write_it_comes_to_the_same_end(kind: str, errors: str, outcome: str) -> None:
    hold(kind, errors, outcome, range(1, WRITES), again=False)


def hold(kind: str, errors: str, outcome: str, numbers: Iterable[int], *, again: bool) -> None:
    subject = _rollout() if kind == "rollout" else canary_shop({"interval": "10s"})
    scenario = decode_scenario({"canary": {"errors": errors}, "limit": "1h"})
    for number in numbers:
        found, writes = play(subject, scenario, number, again=again)
        assert not found.broken, (number, found.broken)
        assert found.outcome == outcome, (number, found.why)
        assert found.spans[-1].weight == (1.0 if outcome == "promoted" else 0.0)
        if number > writes:
            return
