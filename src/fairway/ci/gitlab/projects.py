"""The port to other projects of the platform: pipelines that a job starts there, and artifacts that it takes from there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fairway.ci.course import JobResult


@dataclass(frozen=True, slots=True)
class Downstream:
    """A pipeline of another project. `by` and `job` name the run and the leg that start it, `attempt` its attempt; `waits`:
    it is followed to its end. `withheld` are variables that hold secrets, which stay in their project."""

    project: str
    branch: str
    variables: Mapping[str, str]
    by: str
    job: str
    attempt: int
    waits: bool
    withheld: tuple[str, ...] = ()


class NoArtifacts(Exception):
    """What a job needs of another project is not there; the message says what was looked for."""


class NotHere(NoArtifacts):
    """Nobody can say here whether it is there: the job goes on without, and says so."""


class Projects(Protocol):
    async def start(self, downstream: Downstream, cancel: asyncio.Event) -> JobResult:
        """The same one where it was started before."""
        ...

    def artifacts(self, project: str, ref: str, job: str) -> Path:
        """What the last good pipeline of that branch or tag kept of the job. Raises `NoArtifacts`."""
        ...


class NoProjects:
    """Within a pod there is no platform to ask."""

    async def start(self, downstream: Downstream, cancel: asyncio.Event) -> JobResult:
        return JobResult("Failed", f"downstream pipeline can not be created: trigger:project {downstream.project}: pipelines "
                         "of other projects are started on the platform only; push there, or include the jobs",
                         failure="script_failure")

    def artifacts(self, project: str, ref: str, job: str) -> Path:
        raise NoArtifacts(f"needs:project {project}: artifacts of other projects cannot be had in a pod; write `optional: "
                          "true`, or run the job on the platform itself")


class ProjectsElsewhere(NoProjects):
    """For a run from a working tree."""

    def artifacts(self, project: str, ref: str, job: str) -> Path:
        raise NotHere(f"needs:project {project}: artifacts of other projects are on the platform only; {job!r} is left out")
