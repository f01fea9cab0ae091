"""One run of a GitHub workflow, as the engine sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from fairway.ci.calls import ReadFile, no_file
from fairway.ci.course import JobResult, Look, Progress, RunDecision
from fairway.ci.decide import Seen, decide, needs_context
from fairway.ci.environment import RunFacts, github_context
from fairway.ci.environments import Protection
from fairway.ci.events import Event
from fairway.ci.expressions import Value
from fairway.ci.plan import first_rows
from fairway.ci.runner import JobRequest, JobRunner
from fairway.ci.spec import Workflow
from fairway.ci.states import JobRow

Secrets = Callable[[str], Mapping[str, str]]
"""From an environment's name ("" for none) to the secrets that its jobs see."""


@dataclass(frozen=True)
class GithubCourse:
    """`prefix` goes before the ids of jobs where they name folders; `github` is the context where it is not the workflow's
    own (a called workflow sees its caller's)."""

    workflow: Workflow
    event: Event
    runner: JobRunner
    facts: RunFacts
    inputs: Mapping[str, Value] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] | Secrets = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    prefix: str = ""
    github: Mapping[str, Value] | None = None
    read_file: ReadFile = no_file
    protections: Callable[[], Mapping[str, Protection]] = dict
    only_matrix: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return self.workflow.title

    def contexts(self) -> dict[str, Value]:
        return {
            "github": dict(self.github or github_context(self.event, self.workflow, self.facts)),
            "inputs": dict(self.inputs),
            "vars": dict(self.variables),
        }

    def first_rows(self) -> tuple[JobRow, ...]:
        return first_rows(self.workflow)

    def decide(self, look: Look, now: datetime) -> RunDecision:
        return decide(Seen(self.workflow, look, self.contexts(), self.labels, self.protections(), self.only_matrix), now)

    async def run(self, row: JobRow, rows: tuple[JobRow, ...], progress: Progress, cancel: asyncio.Event) -> JobResult:
        job = self.workflow.jobs[row.job]
        secrets = self.secrets(row.environment) if callable(self.secrets) else self.secrets
        request = JobRequest(
            facts=replace(self.facts, attempt=max(row.attempt, 1)), row=replace(row, id=f"{self.prefix}{row.id}"),
            workflow=self.workflow, event=self.event, secrets=secrets, read_file=self.read_file,
            contexts={**self.contexts(), "needs": needs_context(self.workflow, job, rows)})
        return await self.runner.run(request, progress, cancel)
