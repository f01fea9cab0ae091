"""What goes wrong at every step of a sync with hooks and waves: the platform dies, the API refuses, somebody fights back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fairway.kube.api import WriteOptions
from fairway.kube.cache import Informers
from fairway.kube.clock import run_virtual
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.errors import ApiError, Conflict, TooManyRequests, Unavailable
from fairway.kube.objects import Obj, dig, meta_of, uid_of
from fairway.kube.resources import CONFIG_MAPS, JOBS
from tests.gitops.conftest import Play
from tests.gitops.world import World, config_map, hook


class Faulty:
    """The API; `before` is told the number of each write of the controllers: it may raise, or answer with what to wait for."""

    def __init__(self, api: EmbeddedApi) -> None:
        self._api = api
        self.writes = 0
        self.before: Callable[[int], Any] = lambda n: None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    async def _write(self, verb: str, *arguments: Any, **named: Any) -> Obj:
        if any(isinstance(one, WriteOptions) and one.dry_run for one in (*arguments, *named.values())):
            return await getattr(self._api, verb)(*arguments, **named)
        self.writes += 1
        if (waiting := self.before(self.writes)) is not None:
            await waiting
        found: Obj = await getattr(self._api, verb)(*arguments, **named)
        return found

    async def create(self, *arguments: Any, **named: Any) -> Obj:
        return await self._write("create", *arguments, **named)

    async def patch(self, *arguments: Any, **named: Any) -> Obj:
        return await self._write("patch", *arguments, **named)

    async def replace(self, *arguments: Any, **named: Any) -> Obj:
        return await self._write("replace", *arguments, **named)

    async def delete(self, *arguments: Any, **named: Any) -> Obj:
        return await self._write("delete", *arguments, **named)


async def deliver(world: World, faulty: Faulty, *, dead: asyncio.Event | None = None) -> Obj:
    """Two commits: the second has hooks of every phase, waves, and something to prune. The end as users see it.

    But for the note that an object was pruned: where the platform dies between the deletion and the note, nothing is left to
    tell of it.
    """
    world.push(prod__a=config_map("a", wave=0), prod__old=config_map("old"))
    world.start()
    await world.create_app()
    await world.until(lambda o: dig(o, "status", "operationState", "phase") == "Succeeded" and "operation" not in o)
    await world.kill()
    jobs: dict[str, set[str]] = {}
    watching = Informers(world.api)  # outlives the platform

    def born(old: Obj | None, new: Obj | None) -> None:
        if new is not None:
            jobs.setdefault(meta_of(new)["name"], set()).add(uid_of(new))

    watching.of(JOBS).on_change(born)
    sha = world.push(prod__a=config_map("a", "2", wave=0), prod__b=config_map("b", wave=1), prod__old=None,
                     prod__c=config_map("c", wave=2), prod__migrate=hook("migrate", "PreSync"),
                     prod__between=hook("between", "Sync", policy="HookSucceeded"), prod__smoke=hook("smoke", "PostSync"))
    world.start(api=faulty)  # type: ignore[arg-type]
    if dead is not None:
        settled = asyncio.create_task(world.settled(sha))
        done, _ = await asyncio.wait([settled, asyncio.create_task(dead.wait())], return_when=asyncio.FIRST_COMPLETED)
        settled.cancel()
        if settled not in done:
            await world.kill()
            world.start()
    app = await world.settled(sha)
    app = await world.until(lambda o: "operation" not in o and dig(o, "status", "sync", "status") == "Synced")
    await watching.close()
    live = [*(await world.api.list(CONFIG_MAPS, "default")).items, *(await world.api.list(JOBS, "default")).items]
    return {
        "live": sorted(f"{o['kind']}/{meta_of(o)['name']}={dig(o, 'data', 'value')}" for o in live),
        "history": [(h["id"], h["revision"] == sha) for h in app["status"]["history"]],
        "sync": app["status"]["sync"]["status"], "health": app["status"]["health"]["status"],
        "results": sorted(f"{r['syncPhase']} {r['kind']}/{r['name']} {r['status']} {r['hookPhase']}"
                          for r in app["status"]["operationState"]["syncResult"]["resources"] if r["status"] != "Pruned"),
        "times each hook was made": {name: len(uids) for name, uids in jobs.items()},
    }


def undisturbed(folder: Path) -> tuple[Obj, int]:
    """The end without a fault, and how many writes it takes."""
    counted: list[int] = []

    async def main(clock: Any) -> Obj:
        world = World(clock, folder)
        faulty = Faulty(world.api)
        try:
            return await deliver(world, faulty)
        finally:
            counted.append(faulty.writes)
            await world.kill()

    return run_virtual(main), counted[0]


def test_killed_at_every_step_it_comes_to_the_same_end(tmp_path: Path) -> None:
    """Before each of its writes in turn, which is after the one before."""
    wanted, writes = undisturbed(tmp_path / "whole")
    assert set(wanted["times each hook was made"].values()) == {1} and writes > 15

    async def main(clock: Any, n: int) -> Obj:
        world, dead = World(clock, tmp_path / str(n)), asyncio.Event()
        faulty = Faulty(world.api)

        def die(number: int) -> Any:
            if number < n:
                return None
            dead.set()
            return asyncio.Future()  # nothing of this process goes on

        faulty.before = die
        try:
            return await deliver(world, faulty, dead=dead)
        finally:
            await world.kill()

    for n in range(1, writes + 1):
        assert run_virtual(lambda clock, n=n: main(clock, n)) == wanted, f"killed before write {n}"  # type: ignore[misc]


@pytest.mark.parametrize("error", [
    Conflict("the object has been modified"), TooManyRequests("too many requests", details={"retryAfterSeconds": 1}),
    Unavailable("etcdserver: leader changed"), ApiError("internal error"),
], ids=["409", "429", "503", "500"])  # fmt: skip
def test_an_answer_that_is_none_is_asked_for_again(tmp_path: Path, error: ApiError) -> None:
    """Each write in turn is refused twice. What can be tried again as it is does not count as a failed sync."""
    wanted, writes = undisturbed(tmp_path / "whole")

    async def main(clock: Any, n: int) -> Obj:
        world = World(clock, tmp_path / str(n))
        faulty = Faulty(world.api)

        def refuse(number: int) -> None:
            if number in (n, n + 1):
                raise error

        faulty.before = refuse
        try:
            return await deliver(world, faulty)
        finally:
            await world.kill()

    for n in range(1, writes + 1, 3):
        found = run_virtual(lambda clock, n=n: main(clock, n))  # type: ignore[misc]
        if type(error) is ApiError:  # a defect of the server: the sync fails and is retried as a whole, with its hooks
            found["times each hook was made"] = wanted["times each hook was made"]
        assert found == wanted, f"write {n} was refused"


def test_two_that_fight_over_a_field_do_not_keep_each_other_busy(perform: Play) -> None:
    """A manager that takes its field back at once: heals come further and further apart, and the status says why."""

    async def story(world: World) -> None:
        sha = world.push(prod__a=config_map("a"))
        await world.create_app()
        await world.settled(sha)
        heals = 0
        fighting: list[asyncio.Task[None]] = []

        def fight(old: Obj | None, new: Obj | None) -> None:
            nonlocal heals
            if new is not None and meta_of(new)["name"] == "a" and dig(new, "data", "value") == "1":
                heals += 1
                theirs = world.edit(CONFIG_MAPS, "a", {"data": {"value": "mine"}}, manager="other")
                fighting.append(asyncio.get_running_loop().create_task(theirs))

        world.informers.of(CONFIG_MAPS).on_change(fight)
        await asyncio.sleep(600)
        assert 4 <= heals <= 9, "0, 2, 6, 18, 54, 162, 300 seconds apart"
        assert "SelfHealBackoff" in world.why()

    perform(story)
