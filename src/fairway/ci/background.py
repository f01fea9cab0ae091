"""Steps that run beside the others: begun by `background: true`, ended by `wait`, `wait-all`, `cancel` or the job's end.

What such a step sets (outputs, variables, paths) is kept back until something waits for it: the steps in between do not
see a job that changes under them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from fairway.ci.frame import Result, StepOutcome
from fairway.ci.joblog import SPEAKER, JobLog
from fairway.ci.spec import Step

MOST_AT_ONCE = 10
"""GitHub's limit; further ones queue."""

Change = Callable[[], None]


@dataclass(frozen=True)
class Performed:
    """A step that was done. `row` is its place in what the job shows; `changes` were kept back."""

    step: Step
    outcome: StepOutcome
    result: Result
    conclusion: Result
    row: int | None
    changes: tuple[Change, ...] = ()


@dataclass
class _Begun:
    task: asyncio.Task[Performed]
    stop: asyncio.Event


_STOP: ContextVar[asyncio.Event | None] = ContextVar("stop", default=None)
_KEPT: ContextVar[list[Change] | None] = ContextVar("kept", default=None)


@dataclass
class Background:
    """Of one job. `cancel` is the job's own."""

    cancel: asyncio.Event
    log: JobLog
    _begun: dict[str, _Begun] = field(default_factory=dict)
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_AT_ONCE))

    def begin(self, id: str, work: Callable[[], Awaitable[Performed]]) -> None:
        stop = asyncio.Event()

        async def alone() -> Performed:
            kept: list[Change] = []
            _KEPT.set(kept)
            _STOP.set(stop)
            SPEAKER.set(id)
            async with self._places:
                done = await work()
            return replace(done, changes=tuple(kept))

        self._begun[id.upper()] = _Begun(asyncio.create_task(alone(), name=f"step {id}"), stop)

    async def ended(self, names: tuple[str, ...] | None) -> list[Performed]:
        """The steps of these ids, or all that are left, once they have ended. Each is given out once."""
        wanted = list(self._begun) if names is None else [name.upper() for name in names if name.upper() in self._begun]
        waiting: set[asyncio.Task[Any]] = {self._begun[name].task for name in wanted}
        cancelled: asyncio.Task[Any] = asyncio.create_task(self.cancel.wait())
        try:
            while waiting:
                done, waiting = await asyncio.wait({*waiting, cancelled}, return_when=asyncio.FIRST_COMPLETED)
                waiting.discard(cancelled)
                if cancelled in done:
                    for begun in self._begun.values():
                        begun.stop.set()
                    if waiting:
                        await asyncio.wait(waiting)
                    break
        finally:
            cancelled.cancel()
        return [self._begun.pop(name).task.result() for name in wanted]

    async def stop(self, id: str) -> None:
        begun = self._begun.get(id.upper())
        if begun is not None:
            begun.stop.set()

    def stopper(self) -> asyncio.Event | None:
        """What stops the step that runs here and now, where it is a background step."""
        return _STOP.get()

    def now_or_later(self, change: Change) -> None:
        """Do it, or keep it back where a background step asks for it."""
        kept = _KEPT.get()
        if kept is None:
            change()
        else:
            kept.append(change)
