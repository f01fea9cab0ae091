"""Virtual time: nothing waits, everything happens in order."""

from __future__ import annotations

import asyncio
import socket
import time
from datetime import timedelta

import pytest

from fairway.kube.clock import VIRTUAL_EPOCH, Clock, Deadlock, WallClock, run_virtual


def test_hours_pass_in_no_time() -> None:
    async def main(clock: Clock) -> timedelta:
        start = clock.now()
        await asyncio.sleep(6 * 3600)
        await asyncio.sleep(14 * 3600)
        return clock.now() - start

    began = time.perf_counter()
    assert run_virtual(main) == timedelta(hours=20)
    assert time.perf_counter() - began < 5


def test_sleepers_wake_in_the_order_of_their_times() -> None:
    async def main(clock: Clock) -> list[tuple[str, float]]:
        woken: list[tuple[str, float]] = []

        async def sleeper(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            woken.append((name, (clock.now() - VIRTUAL_EPOCH).total_seconds()))

        await asyncio.gather(sleeper("late", 90), sleeper("early", 0.5), sleeper("middle", 30))
        return woken

    assert run_virtual(main) == [("early", 0.5), ("middle", 30.0), ("late", 90.0)]


def test_a_world_in_which_nobody_can_move_is_an_error() -> None:
    async def main(clock: Clock) -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock, match="a task waits for something that nobody will do"):
        run_virtual(main, limit=timedelta(days=1))


def test_a_world_that_only_ticks_ends_at_its_limit() -> None:
    async def main(clock: Clock) -> None:
        while True:  # noqa: ASYNC110 (ticking is the point)
            await asyncio.sleep(3600)

    with pytest.raises(TimeoutError):
        run_virtual(main, limit=timedelta(days=2))


def test_threads_are_refused() -> None:
    async def main(clock: Clock) -> None:
        await asyncio.to_thread(socket.gethostname)

    with pytest.raises(RuntimeError, match="threads do not live in virtual time"):
        run_virtual(main)


def test_tasks_left_over_are_cancelled() -> None:
    ended: list[str] = []

    async def main(clock: Clock) -> None:
        async def forever() -> None:
            try:
                await asyncio.sleep(10**6)
            finally:
                ended.append("cancelled")

        keep = asyncio.create_task(forever())
        await asyncio.sleep(1)
        assert not keep.done()

    run_virtual(main)
    assert ended == ["cancelled"]


def test_the_wall_clock_knows_its_zone() -> None:
    assert WallClock().now().utcoffset() == timedelta(0)
