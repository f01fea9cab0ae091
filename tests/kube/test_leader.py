"""Who leads, in virtual time: never two at once, and never long nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from fairway.kube.clock import Clock, run_virtual
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.errors import Forbidden, Unavailable
from fairway.kube.leader import LEASE, RENEW_WITHIN, Candidate, Fenced, LeadershipLost, Sighting, Take, Wait, decide
from fairway.kube.objects import Obj, spec_of
from fairway.kube.resources import LEASES

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def lease(holder: str, *, transitions: int = 0) -> Obj:
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "a", "namespace": "fairway"},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "acquireTime": "2026-01-01T00:00:00.000000Z",
                     "leaseTransitions": transitions}}


@pytest.mark.parametrize(("seen", "age_s", "expected"), [
    (None, 0, ("take", 0)),
    (lease("me", transitions=3), 100, ("take", 3)),
    (lease("", transitions=3), 0, ("take", 4)),
    (lease("other"), 14, ("wait", "other")),
    (lease("other"), 15, ("take", 1)),
])  # fmt: skip
def test_a_lease_is_taken_when_it_is_nobodys_ours_or_still_for_its_whole_duration(
        seen: Obj | None, age_s: int, expected: tuple[str, object]) -> None:
    found = decide(Sighting(seen, NOW - timedelta(seconds=age_s)), "a", "fairway", "me", NOW)
    match found:
        case Wait(holder, until):
            assert ("wait", holder) == expected and until == NOW + timedelta(seconds=15 - age_s)
        case Take(wanted):
            assert ("take", spec_of(wanted)["leaseTransitions"]) == expected and spec_of(wanted)["holderIdentity"] == "me"


def config_map() -> Obj:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "a-", "namespace": "fairway"}}


class Gate:
    """An API that can be cut off from one candidate."""

    def __init__(self, api: EmbeddedApi) -> None:
        self._api = api
        self.fails: Exception | None = None

    def __getattr__(self, name: str) -> object:
        if self.fails is not None and name in ("list", "create", "replace"):
            raise self.fails
        return getattr(self._api, name)


Story = Callable[[Clock, EmbeddedApi], Awaitable[None]]


def played(story: Story) -> None:
    async def main(clock: Clock) -> None:
        api = EmbeddedApi.in_memory(clock)
        await story(clock, api)

    run_virtual(main)


def test_the_next_one_leads_at_once_after_a_step_down_and_after_the_lease_when_the_leader_dies() -> None:
    async def story(clock: Clock, api: EmbeddedApi) -> None:
        first, second, third = (Candidate(api, clock, name, ("fairway-ci", "fairway-gitops"), "fairway")
                                for name in ("first", "second", "third"))
        await first.win()
        holding = asyncio.create_task(first.hold())
        waiting = asyncio.create_task(second.win())
        await asyncio.sleep(300)
        assert not waiting.done() and second.waits_for == ("fairway-ci", "first")
        holding.cancel()
        await first.step_down()
        before = clock.now()
        await waiting
        assert clock.now() - before <= timedelta(seconds=2)
        holding = asyncio.create_task(second.hold())
        waiting = asyncio.create_task(third.win())
        await asyncio.sleep(20)
        holding.cancel()  # as kill -9: nothing is said
        before = clock.now()
        await waiting
        assert LEASE - timedelta(seconds=5) <= clock.now() - before <= LEASE + timedelta(seconds=4)
        assert spec_of(await api.get(LEASES, "fairway-ci", "fairway"))["leaseTransitions"] == 2

    played(story)


def test_a_leader_that_is_cut_off_writes_nothing_before_the_next_one_begins() -> None:
    async def story(clock: Clock, api: EmbeddedApi) -> None:
        gate = Gate(api)
        first, second = (Candidate(through, clock, name, ("fairway-ci",), "fairway")  # type: ignore[arg-type]
                         for through, name in ((gate, "first"), (api, "second")))
        fenced = Fenced(api, first)
        await first.win()
        began = asyncio.create_task(second.win())
        held = asyncio.create_task(first.hold())
        await asyncio.sleep(33)
        gate.fails, cut = Unavailable("the API is away"), clock.now()
        while not first.late:
            await fenced.create(config_map())
            await asyncio.sleep(0.1)
        assert clock.now() - cut <= RENEW_WITHIN and not began.done()
        with pytest.raises(Unavailable, match="another one may lead"):
            await fenced.create(config_map())
        await began
        gate.fails = None
        with pytest.raises(LeadershipLost, match="lease fairway-ci is second's now"):
            await held

    played(story)


def test_after_an_outage_that_all_saw_the_work_goes_on() -> None:
    async def story(clock: Clock, api: EmbeddedApi) -> None:
        gate = Gate(api)
        first, second = (Candidate(gate, clock, name, ("fairway-ci",), "fairway") for name in ("first", "second"))  # type: ignore[arg-type]
        await first.win()
        held, began = asyncio.create_task(first.hold()), asyncio.create_task(second.win())
        gate.fails = Unavailable("the API is away")
        await asyncio.sleep(14)
        assert first.late
        gate.fails = None
        await asyncio.sleep(60)
        assert not first.late and not held.done() and not began.done()

    played(story)


def test_a_restart_of_the_same_one_goes_on_at_once_and_other_work_is_led_apart() -> None:
    async def story(clock: Clock, api: EmbeddedApi) -> None:
        await Candidate(api, clock, "first", ("fairway-ci",), "fairway").win()
        assert await Candidate(api, clock, "first", ("fairway-ci",), "fairway").attempt()
        assert await Candidate(api, clock, "second", ("fairway-gitops",), "fairway").attempt()
        assert not await Candidate(api, clock, "third", ("fairway-ci", "fairway-rollouts"), "fairway").attempt()

    played(story)


def test_who_may_not_write_leases_is_told() -> None:
    async def story(clock: Clock, api: EmbeddedApi) -> None:
        gate = Gate(api)
        candidate = Candidate(gate, clock, "first", ("fairway-ci",), "fairway")  # type: ignore[arg-type]
        gate.fails = Forbidden("leases.coordination.k8s.io is forbidden")
        with pytest.raises(Forbidden):
            await candidate.attempt()
        gate.fails = None
        await candidate.win()
        gate.fails = Forbidden("leases.coordination.k8s.io is forbidden")
        with pytest.raises(LeadershipLost, match="may not be written any more"):
            await candidate.hold()

    played(story)
