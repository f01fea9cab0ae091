"""Time is given: no room reads a clock of its own.

`Clock` reads the running event loop, so that a virtual-time loop moves every room at once. `asyncio.sleep` and loop
timers are the only way to wait. Under `run_virtual` the loop never waits: when nothing is ready it jumps to the next
timer, so twenty minutes of canary take milliseconds and every run from one seed is the same run.

The jump is safe because nothing in a virtual world waits for the outside: stores keep to memory, pods are simulated. A
real file descriptor or thread would be overtaken by the jump, so `VirtualLoop` refuses both.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

VIRTUAL_EPOCH = datetime(2030, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    def now(self) -> datetime:
        """UTC, with time zone."""
        ...


class WallClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class VirtualClock:
    """The time of a `VirtualLoop`: its epoch plus the loop's own seconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop, epoch: datetime = VIRTUAL_EPOCH) -> None:
        self._loop = loop
        self._epoch = epoch
        self._known = 0.0, epoch

    def now(self) -> datetime:
        seconds = self._loop.time()
        if seconds != self._known[0]:
            self._known = seconds, self._epoch + timedelta(seconds=seconds)
        return self._known[1]


class _JumpingSelector(selectors.SelectSelector):
    """Asked to wait, it moves the loop's time on instead."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self.limit = math.inf

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout == 0:  # something is ready to run; the loop comes back here before time moves
            return []
        if len(self.get_map()) > 1:  # the loop's own pipe is one: only a signal would speak through it
            ready = super().select(0)
            if ready:
                return ready
        if timeout is None:
            raise Deadlock("nothing is ready and no timer is set: a task waits for something that nobody will do")
        self.seconds += max(timeout, 0.0)
        if self.seconds > self.limit:
            raise TimeoutError(f"{self.limit:.0f} seconds of virtual time have passed and the world goes on")
        return []


class Deadlock(RuntimeError):
    """A virtual world in which every task waits and no timer will wake one."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is counted, not measured. Starts at 0 seconds."""

    def __init__(self) -> None:
        self.jumps = _JumpingSelector()
        super().__init__(self.jumps)

    def time(self) -> float:
        return self.jumps.seconds

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        raise RuntimeError("threads do not live in virtual time; call the function directly")


def run_virtual(main: Callable[[Clock], Coroutine[Any, Any, T]], *, limit: timedelta = timedelta(days=7)) -> T:
    """Run `main(clock)` to its end in virtual time.

    `limit` bounds the virtual time (TimeoutError past it), so that a world that only ticks for ever ends too.
    """
    loop = VirtualLoop()
    try:
        clock = VirtualClock(loop)
        loop.jumps.limit = limit.total_seconds()
        return loop.run_until_complete(main(clock))
    finally:
        loop.jumps.limit = math.inf
        leftovers = asyncio.all_tasks(loop)
        for task in leftovers:
            task.cancel()
        if leftovers:
            loop.run_until_complete(asyncio.gather(*leftovers, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
