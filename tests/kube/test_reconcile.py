"""The one reconcile loop, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from fairway.kube.api import Api, MergePatch
from fairway.kube.cache import Informers
from fairway.kube.clock import VIRTUAL_EPOCH, Clock, run_virtual
from fairway.kube.decision import Outcome, Reason
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.objects import Key, key_of, owner_reference
from fairway.kube.reconcile import ControllerLoop, Watch, more_than_status, own_key, owner_keys
from fairway.kube.resources import CONFIG_MAPS, PODS, SECRETS, Resource
from tests.kube.contract import config

Pass = Callable[[Key, datetime], Coroutine[Any, Any, Outcome]]


class Recorder:
    """A controller whose passes are given by the test."""

    name = "recorder"
    resource: Resource = CONFIG_MAPS

    def __init__(self, reconcile: Pass, *, workers: int = 1, watches: Sequence[Watch] = ()) -> None:
        self.workers = workers
        self._reconcile = reconcile
        self._watches = watches

    def watches(self) -> Sequence[Watch]:
        return self._watches

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        return await self._reconcile(key, now)


async def with_loop(clock: Clock, controller: Recorder, story: Callable[[Api, Informers, ControllerLoop],
                                                                        Coroutine[Any, Any, None]]) -> None:
    informers = Informers(EmbeddedApi.in_memory(clock))
    loop = ControllerLoop(controller, informers, clock)
    running = asyncio.create_task(loop.run())
    await story(informers.api, informers, loop)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await informers.close()


def seconds(moment: datetime) -> float:
    return (moment - VIRTUAL_EPOCH).total_seconds()


def test_one_name_is_in_one_pass_at_a_time_and_is_looked_at_again() -> None:
    running: set[Key] = set()
    passes: list[Key] = []

    async def reconcile(key: Key, now: datetime) -> Outcome:
        assert key not in running
        running.add(key)
        passes.append(key)
        await asyncio.sleep(5)
        running.discard(key)
        return Outcome()

    async def story(api: Api, informers: Informers, loop: ControllerLoop) -> None:
        await api.create(config("default", "a"))
        await api.create(config("default", "b"))
        await asyncio.sleep(1)
        assert len(running) == 2  # different names side by side
        for number in range(10):
            await api.patch(CONFIG_MAPS, "a", "default", MergePatch({"data": {"k": str(number)}}))
        await asyncio.sleep(20)
        assert passes.count(Key("default", "a")) == 2  # ten changes during the pass are one more pass
        assert passes.count(Key("default", "b")) == 1
        assert loop.idle

    run_virtual(lambda clock: with_loop(clock, Recorder(reconcile, workers=4), story))


def test_failures_back_off_to_a_minute_and_success_resets() -> None:
    times: list[float] = []

    async def reconcile(key: Key, now: datetime) -> Outcome:
        times.append(seconds(now))
        if len(times) <= 14:
            raise ValueError("not yet")
        return Outcome()

    async def story(api: Api, informers: Informers, loop: ControllerLoop) -> None:
        await api.create(config("default", "a"))
        await asyncio.sleep(1)
        assert loop.reasons[Key("default", "a")] == (Reason("InternalError", "ValueError: not yet"),)
        await asyncio.sleep(400)
        gaps = [round(b - a, 2) for a, b in pairwise(times)]
        assert gaps[:11] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2]
        assert set(gaps[11:14]) == {60.0}
        assert Key("default", "a") not in loop.reasons

    run_virtual(lambda clock: with_loop(clock, Recorder(reconcile), story))


def test_a_pass_is_woken_when_it_asked_to_be() -> None:
    times: list[float] = []

    async def reconcile(key: Key, now: datetime) -> Outcome:
        times.append(seconds(now))
        wake = now + timedelta(seconds=90) if len(times) < 3 else None
        return Outcome(wake_at=wake, reasons=(Reason("Waiting", "for the step"),))

    async def story(api: Api, informers: Informers, loop: ControllerLoop) -> None:
        await api.create(config("default", "a"))
        await asyncio.sleep(500)
        assert [round(t - times[0]) for t in times] == [0, 90, 180]
        assert loop.reasons[Key("default", "a")][0].code == "Waiting"

    run_virtual(lambda clock: with_loop(clock, Recorder(reconcile), story))


def test_every_name_is_looked_at_again_in_time() -> None:
    passes: list[float] = []

    async def reconcile(key: Key, now: datetime) -> Outcome:
        passes.append(seconds(now))
        return Outcome()

    async def story(api: Api, informers: Informers, loop: ControllerLoop) -> None:
        await api.create(config("default", "a"))
        await asyncio.sleep(1300)
        assert len(passes) == 3

    run_virtual(lambda clock: with_loop(clock, Recorder(reconcile), story))


def test_a_write_is_in_the_cache_when_the_call_returns() -> None:
    async def main(clock: Clock) -> None:
        informers = Informers(EmbeddedApi.in_memory(clock))
        cache = informers.of(CONFIG_MAPS)
        await informers.synced()
        await informers.api.create(config("default", "a", k="1"))
        found = cache.get(Key("default", "a"))
        assert found is not None and found["data"] == {"k": "1"}
        await informers.api.patch(CONFIG_MAPS, "a", "default", MergePatch({"data": {"k": "2"}}))
        found = cache.get(Key("default", "a"))
        assert found is not None and found["data"] == {"k": "2"}
        await informers.api.delete(CONFIG_MAPS, "a", "default")
        await asyncio.sleep(0.01)
        assert cache.get(Key("default", "a")) is None
        assert cache.list() == []
        await informers.close()

    run_virtual(main)


def test_owners_are_looked_at_when_what_they_own_changes() -> None:
    passes: list[Key] = []

    async def reconcile(key: Key, now: datetime) -> Outcome:
        passes.append(key)
        return Outcome()

    async def story(api: Api, informers: Informers, loop: ControllerLoop) -> None:
        owner = await api.create(config("default", "owner"))
        await asyncio.sleep(1)
        passes.clear()
        child = {"apiVersion": "v1", "kind": "Secret",
                 "metadata": {"name": "s", "namespace": "default", "ownerReferences": [owner_reference(owner)]}}
        made = await api.create(child)
        await asyncio.sleep(1)
        assert passes == [key_of(owner)]
        assert informers.of(SECRETS).owned_by(owner["metadata"]["uid"]) == [made]
        await api.delete(SECRETS, "s", "default")
        await asyncio.sleep(1)
        assert passes == [key_of(owner)] * 2
        assert informers.of(SECRETS).owned_by(owner["metadata"]["uid"]) == []

    watches = (Watch(SECRETS, owner_keys("ConfigMap")),)
    run_virtual(lambda clock: with_loop(clock, Recorder(reconcile, watches=watches), story))


def test_a_controller_may_do_without_the_echo_of_its_status_and_still_sees_everything_else() -> None:
    passes: list[float] = []

    async def main(clock: Clock) -> None:
        async def reconcile(key: Key, now: datetime) -> Outcome:
            passes.append(seconds(now))
            return Outcome()

        async def story(api: Api, informers: Informers, loop: ControllerLoop) -> None:
            await api.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "default"},
                              "spec": {"containers": [{"name": "a", "image": "a"}]}})
            for at, body, subresource in ((1, {"status": {"phase": "Running"}}, "status"),
                                          (2, {"metadata": {"labels": {"a": "b"}}}, ""),
                                          (3, {"spec": {"containers": [{"name": "a", "image": "b"}]}}, "")):
                await asyncio.sleep(at - seconds(clock.now()))
                await api.patch(PODS, "a", "default", MergePatch(body), subresource=subresource)  # type: ignore[arg-type]
            await asyncio.sleep(1)

        controller = Recorder(reconcile, watches=[Watch(PODS, own_key, more_than_status)])
        controller.resource = PODS
        await with_loop(clock, controller, story)

    run_virtual(main)
    assert passes == [0, 2, 3]
