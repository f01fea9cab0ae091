"""What both dialects are to the engine: a course of jobs that is looked at again and again until it is over.

The engine (`LocalRun`, `PipelineController`) knows rows, places and processes; what a job is, and when it may start, its
dialect's course decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from fairway.ci.states import Annotation, JobRow, Phase, StepRow
from fairway.kube.decision import Reason

Progress = Callable[[tuple[StepRow, ...]], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person said to a job that waits: go on, or do not."""

    approved: bool
    by: str = ""
    comment: str = ""


@dataclass(frozen=True)
class Look:
    """What the engine knows of a run.

    `alive` are the legs that are running in this process: a leg that stands as Running and is not among them was lost
    with its process and is run again. `busy_groups` are concurrency groups that other runs hold. `answers` are given by
    a leg's id or by the name of its environment. `overtaken`: a newer run of the same ref has come.
    """

    rows: tuple[JobRow, ...]
    alive: frozenset[str] = frozenset()
    cancel: bool = False
    free: int = 1
    busy_groups: frozenset[str] = frozenset()
    answers: Mapping[str, Answer] = field(default_factory=dict)
    overtaken: bool = False


@dataclass(frozen=True)
class RunDecision:
    """`start` and `cancel` name legs by id; `rows` is the whole new state of the run. `wake_at` is when time alone
    changes something."""

    rows: tuple[JobRow, ...]
    start: tuple[str, ...] = ()
    cancel: tuple[str, ...] = ()
    phase: Phase = "Running"
    message: str = ""
    reasons: tuple[Reason, ...] = ()
    wake_at: datetime | None = None


@dataclass(frozen=True)
class JobResult:
    """How a leg ended. `failure` says who failed, in GitLab's words (`script_failure`, `job_execution_timeout`,
    `runner_system_failure`); `exit_code` is that of the script."""

    phase: Phase
    message: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[StepRow, ...] = ()
    images: tuple[Mapping[str, str], ...] = ()
    annotations: tuple[Annotation, ...] = ()
    exit_code: int | None = None
    failure: str = ""
    coverage: float | None = None
    url: str = ""


class Course(Protocol):
    """One run of one workflow or pipeline."""

    @property
    def title(self) -> str: ...

    def first_rows(self) -> tuple[JobRow, ...]: ...

    def decide(self, look: Look, now: datetime) -> RunDecision:
        """Pure."""
        ...

    async def run(self, row: JobRow, rows: tuple[JobRow, ...], progress: Progress, cancel: asyncio.Event) -> JobResult:
        """Run one leg to its end. Never raises for what the job did."""
        ...
