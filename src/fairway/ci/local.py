"""One run driven to its end in this process, without an API: `fairway ci run`, and runs that a job starts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from fairway.ci.course import Course, JobResult, Look, RunDecision
from fairway.ci.progress import concluded
from fairway.ci.states import FINISHED, JobRow, StepRow
from fairway.kube.clock import Clock


@dataclass
class LocalRun:
    """`places` jobs run at a time. `on_change` gets the rows whenever something moves."""

    course: Course
    clock: Clock
    rows: tuple[JobRow, ...]
    places: int = field(default_factory=lambda: max(os.cpu_count() or 1, 2))
    on_change: Callable[[tuple[JobRow, ...]], None] = lambda rows: None
    cancelled: bool = False
    _tasks: dict[asyncio.Task[JobResult], str] = field(default_factory=dict)
    _cancels: dict[str, asyncio.Event] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def cancel(self) -> None:
        self.cancelled = True
        self._wake.set()

    async def run(self) -> RunDecision:
        """Until every job is finished; the last decision has the outcome. Cancelled, it takes its jobs with it.

        A job that waits for a person waits here forever: courses that run without one do not let their jobs wait.
        """
        try:
            while True:
                decision = self._look()
                if decision.phase in FINISHED and not self._tasks:
                    return decision
                self._wake.clear()
                waker = asyncio.ensure_future(self._wake.wait())
                patience = None if decision.wake_at is None else \
                    max((decision.wake_at - self.clock.now()).total_seconds(), 0.001)
                try:
                    await asyncio.wait({*self._tasks, waker}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    waker.cancel()
                self._collect()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _look(self) -> RunDecision:
        alive = frozenset(self._tasks.values())
        look = Look(self.rows, alive=alive, cancel=self.cancelled, free=self.places - len(alive))
        decision = self.course.decide(look, self.clock.now())
        self.rows = decision.rows
        for leg in decision.cancel:
            self._cancels[leg].set()
        for leg in decision.start:
            self._start(next(row for row in self.rows if row.id == leg))
        self.on_change(self.rows)
        return decision

    def _start(self, row: JobRow) -> None:
        cancel = self._cancels[row.id] = asyncio.Event()

        def progress(steps: tuple[StepRow, ...]) -> None:
            self.rows = tuple(replace(other, steps=steps) if other.id == row.id else other for other in self.rows)
            self.on_change(self.rows)

        task = asyncio.create_task(self.course.run(row, self.rows, progress, cancel), name=f"job {row.id}")
        self._tasks[task] = row.id

    def _collect(self) -> None:
        for task in [task for task in self._tasks if task.done()]:
            leg = self._tasks.pop(task)
            result = task.result()
            self.rows = tuple(concluded(row, result, self.clock.now()) if row.id == leg else row for row in self.rows)
