"""One run driven to its end in this process, without an API: `fairway ci run`, and workflows that a job calls."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from fairway.ci.decide import RunDecision, Seen, decide, needs_context
from fairway.ci.environment import RunFacts, github_context
from fairway.ci.events import Event
from fairway.ci.expressions import Value
from fairway.ci.progress import concluded
from fairway.ci.runner import JobRequest, JobResult, JobRunner, ReadFile, no_file
from fairway.ci.spec import Workflow
from fairway.ci.states import FINISHED, JobRow
from fairway.kube.clock import Clock


@dataclass
class LocalRun:
    """`prefix` goes before the ids of jobs where they name folders; `github` is the context where it is not the
    workflow's own; `depth` counts the calls that led here."""

    workflow: Workflow
    event: Event
    runner: JobRunner
    clock: Clock
    facts: RunFacts
    rows: tuple[JobRow, ...]
    inputs: Mapping[str, Value] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    places: int = field(default_factory=lambda: max(os.cpu_count() or 1, 2))
    on_change: Callable[[tuple[JobRow, ...]], None] = lambda rows: None
    cancelled: bool = False
    prefix: str = ""
    github: Mapping[str, Value] | None = None
    read_file: ReadFile = no_file
    depth: int = 0
    _tasks: dict[asyncio.Task[JobResult], str] = field(default_factory=dict)
    _cancels: dict[str, asyncio.Event] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def contexts(self) -> dict[str, Value]:
        return {
            "github": dict(self.github or github_context(self.event, self.workflow, self.facts)),
            "inputs": dict(self.inputs),
            "vars": dict(self.variables),
        }

    def cancel(self) -> None:
        self.cancelled = True
        self._wake.set()

    async def run(self) -> RunDecision:
        """Until every job is finished; the last decision has the outcome. Cancelled, it takes its jobs with it."""
        try:
            while True:
                decision = self._look()
                if decision.phase in FINISHED and not self._tasks:
                    return decision
                self._wake.clear()
                waker = asyncio.ensure_future(self._wake.wait())
                try:
                    await asyncio.wait({*self._tasks, waker}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    waker.cancel()
                self._collect()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _look(self) -> RunDecision:
        alive = frozenset(self._tasks.values())
        decision = decide(Seen(self.workflow, self.rows, self.contexts(), alive=alive, cancel=self.cancelled,
                               free=self.places - len(alive), labels=self.labels), self.clock.now())
        self.rows = decision.rows
        for leg in decision.cancel:
            self._cancels[leg].set()
        for leg in decision.start:
            self._start(next(row for row in self.rows if row.id == leg))
        self.on_change(self.rows)
        return decision

    def _start(self, row: JobRow) -> None:
        job = self.workflow.jobs[row.job]
        request = JobRequest(
            facts=self.facts, row=replace(row, id=f"{self.prefix}{row.id}"), workflow=self.workflow, event=self.event,
            secrets=self.secrets, read_file=self.read_file, depth=self.depth,
            contexts={**self.contexts(), "needs": needs_context(self.workflow, job, self.rows)})
        cancel = self._cancels[row.id] = asyncio.Event()
        task = asyncio.create_task(self.runner.run(request, lambda steps: None, cancel), name=f"job {row.id}")
        self._tasks[task] = row.id

    def _collect(self) -> None:
        for task in [task for task in self._tasks if task.done()]:
            leg = self._tasks.pop(task)
            result = task.result()
            self.rows = tuple(concluded(row, result, self.clock.now()) if row.id == leg else row for row in self.rows)

