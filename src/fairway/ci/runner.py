"""Runs one job on this machine: folders, environment, steps, result.

`JobRunner` is what the controller needs; `LocalRunner` is the one that exists. A runner never raises for what a job
did: that is its result.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fairway.ci.actions import Host
from fairway.ci.environment import SYSTEM_PATH, RunFacts, payload_of
from fairway.ci.events import Event
from fairway.ci.expressions import ExpressionError, Scope, Value, interpolate, to_json, to_number, to_text, truthy
from fairway.ci.folders import JobFolders, RunFolders
from fairway.ci.job_run import DEFAULT_TIMEOUT_MINUTES, Annotation, JobRun, StepFailed
from fairway.ci.joblog import JobLog
from fairway.ci.masking import MakeMasker, Masker
from fairway.ci.process import TRACKING, kill_tracked
from fairway.ci.repositories import NoRepositories, Repositories
from fairway.ci.spec import Workflow
from fairway.ci.states import JobRow, Phase, StepRow
from fairway.ci.tools import secrets_in
from fairway.ci.uses import Uses
from fairway.kube.clock import Clock, WallClock

Progress = Callable[[tuple[StepRow, ...]], None]
ReadFile = Callable[[str], str | None]
"""A file of the commit under test by its path, or None."""


def no_file(path: str) -> str | None:
    return None


@dataclass(frozen=True)
class JobRequest:
    """One leg to run. `contexts` are those that the decision used, `needs` and `inputs` among them.

    `read_file` and `depth` are for jobs that call another workflow of the repository.
    """

    facts: RunFacts
    row: JobRow
    workflow: Workflow
    event: Event
    contexts: Mapping[str, Value]
    secrets: Mapping[str, str] = field(default_factory=dict)
    read_file: ReadFile = no_file
    depth: int = 0


@dataclass(frozen=True)
class JobResult:
    phase: Phase
    message: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[StepRow, ...] = ()
    images: tuple[Mapping[str, str], ...] = ()
    annotations: tuple[Annotation, ...] = ()


class JobRunner(Protocol):
    async def run(self, request: JobRequest, progress: Progress, cancel: asyncio.Event) -> JobResult: ...

    def clear(self, run: str, job: str) -> None:
        """Stop what a lost attempt of this job left running."""
        ...

    def discard(self, run: str) -> None:
        """The run is gone for good: remove what is left of it."""
        ...


@dataclass(frozen=True)
class RunnerConfig:
    """`root` is the CI folder of the platform. `job_env` and `path_prepend` are what jobs get besides a clean
    environment; `fairway` is the command that builds images. `listen` hears every line of every log (job id, line)."""

    root: Path
    maskers: MakeMasker
    repositories: Repositories = field(default_factory=NoRepositories)
    job_env: Mapping[str, str] = field(default_factory=dict)
    path_prepend: tuple[str, ...] = ()
    fairway: tuple[str, ...] = ("fairway",)
    keep_work: bool = False
    listen: Callable[[str, str], None] | None = None
    prepare: Callable[[Path], None] | None = None
    """Called with the empty work tree of each job: the working-tree runner fills it."""


class LocalRunner:
    def __init__(self, config: RunnerConfig, clock: Clock | None = None) -> None:
        self.config = config
        self._clock = clock or WallClock()
        self._uses = Uses(Host(config.repositories, config.fairway))

    def clear(self, run: str, job: str) -> None:
        kill_tracked(self._tracking(run, job))

    def discard(self, run: str) -> None:
        shutil.rmtree(RunFolders(self.config.root, run).path, ignore_errors=True)

    def _tracking(self, run: str, job: str) -> str:
        return f"fairway:{self.config.root}:{run}:{job}"

    async def run(self, request: JobRequest, progress: Progress, cancel: asyncio.Event) -> JobResult:
        folders = RunFolders(self.config.root, request.facts.name).job(request.row.id)
        await asyncio.to_thread(folders.make)
        if self.config.prepare is not None:
            await asyncio.to_thread(self.config.prepare, folders.work)
        secret = [*request.secrets.values(), self._token_of(request), *secrets_in(self.config.job_env)]
        masker = self.config.maskers(filter(None, secret))
        listen = self.config.listen
        heard = None if listen is None else lambda line: listen(request.row.id, line)
        try:
            with JobLog(folders.log, masker, self._clock.now, listen=heard) as log:
                return await self._run(request, progress, cancel, folders, log, masker)
        finally:
            if self.config.keep_work:
                self.clear(request.facts.name, request.row.id)
            else:
                await asyncio.to_thread(self._clean, request, folders)

    def _clean(self, request: JobRequest, folders: JobFolders) -> None:
        self.clear(request.facts.name, request.row.id)
        folders.discard_work()

    async def _run(self, request: JobRequest, progress: Progress, cancel: asyncio.Event, folders: JobFolders,
                   log: JobLog, masker: Masker) -> JobResult:
        job = request.workflow.jobs[request.row.job]
        contexts = self._contexts(request, folders)
        log.line(f"Job {request.row.name} of {request.workflow.title} for {request.event.repository}@"
                 f"{request.event.sha[:7]} ({request.event.name})")
        try:
            env = self._env(request, contexts)
            minutes = to_number(interpolate(job.timeout_minutes, Scope(contexts))) if job.timeout_minutes is not None \
                else DEFAULT_TIMEOUT_MINUTES
        except (ExpressionError, StepFailed) as error:
            log.line(f"##[error]{error}")
            return JobResult("Failed", f"line {job.line}: {error}")
        run = JobRun(
            job=job, folders=folders, log=log, masker=masker, contexts=contexts, env=env,
            path=[*self.config.path_prepend, *SYSTEM_PATH.split(":")], process_env=self._process_env(request, folders),
            now=self._clock.now, uses=self._uses, progress=progress, cancel=cancel, defaults=job.defaults.over(
                request.workflow.defaults),
        )
        self._containers(run)
        timer = asyncio.get_running_loop().call_later(minutes * 60, _out_of_time, run, minutes)
        try:
            await run.run()
            return self._result(run, timed_out=bool(run.stopped_because))
        finally:
            timer.cancel()

    def _containers(self, run: JobRun) -> None:
        """A job that asks for containers runs without them, and says so; services are refused."""
        job = run.job
        if job.container is not None:
            run.log.line(f"##[warning]container {to_text(job.container.image)!r}: jobs run directly on this machine, not "
                         "in a container")
        wanted = {name: to_text(interpolate(service.image, run.scope_of_job())) for name, service in job.services.items()}
        missing = {name: image for name, image in wanted.items() if image}
        if missing:
            listed = ", ".join(f"{name} ({image})" for name, image in missing.items())
            run.refuse_to_start(f"service containers cannot be started here: {listed}; use an in-process substitute "
                                "(SQLite, fakeredis) or start the server in a step")

    def _result(self, run: JobRun, *, timed_out: bool) -> JobResult:
        outputs: Mapping[str, str] = {}
        message = run.message
        phase: Phase = {"success": "Succeeded", "failure": "Failed", "cancelled": "Cancelled",
                        "skipped": "Skipped"}[run.status]  # type: ignore[assignment]
        try:
            outputs = run.outputs()
        except ExpressionError as error:
            phase, message = "Failed", f"outputs: {error.message}"
            run.log.line(f"##[error]{message}")
        if timed_out:
            phase, message = "Failed", run.stopped_because
        elif phase == "Cancelled":
            message = message or "the job was cancelled"
        return JobResult(phase, run.masker.mask(message), outputs, tuple(run.rows), tuple(run.images),
                         tuple(run.annotations))

    # --- what the job sees ----------------------------------------------------------------------------------------

    def _contexts(self, request: JobRequest, folders: JobFolders) -> dict[str, Value]:
        event_path = folders.temp / "event.json"
        event_path.write_text(to_json(payload_of(request.event)))
        token = request.secrets.get("GITHUB_TOKEN", "") or self._token_of(request)
        row, job = request.row, request.workflow.jobs[request.row.job]
        github = {
            **request.contexts["github"],
            "run_attempt": str(request.facts.attempt),
            "job": job.id,
            "token": token,
            "event_path": str(event_path),
            "workspace": str(folders.work),
        }
        scope = Scope(request.contexts)
        fail_fast = interpolate(job.strategy.fail_fast, scope)
        return {
            **request.contexts,
            "github": github,
            "matrix": dict(row.matrix) if row.matrix is not None else None,
            "strategy": {
                "fail-fast": truthy(fail_fast),
                "job-index": float(row.index),
                "job-total": float(row.total),
                "max-parallel": interpolate(job.strategy.max_parallel, scope) or float(row.total),
            },
            "job": {"status": "success", "services": {}, "container": {}},
            "runner": {
                "name": "fairway",
                "os": "Linux" if os.name == "posix" else "Windows",
                "arch": {"x86_64": "X64", "aarch64": "ARM64", "arm64": "ARM64"}.get(os.uname().machine, "X64"),
                "environment": "self-hosted",
                "temp": str(folders.temp),
                "tool_cache": str(folders.tools),
                "workspace": str(folders.work.parent),
                "debug": "",
            },
            "secrets": {"GITHUB_TOKEN": token, **request.secrets},
            "vars": request.contexts.get("vars") or {},
            "inputs": request.contexts.get("inputs") or {},
        }

    def _token_of(self, request: JobRequest) -> str:
        """What opens the run's own repository."""
        access = self.config.repositories.resolve(request.event.repository)
        return access.token if access is not None else ""

    def _env(self, request: JobRequest, contexts: Mapping[str, Value]) -> dict[str, str]:
        """Workflow env, then job env; neither sees its own level."""
        env: dict[str, str] = {}
        for level in (request.workflow.env, request.workflow.jobs[request.row.job].env):
            found = interpolate(level, Scope({**contexts, "env": dict(env)}))
            if not isinstance(found, dict):
                raise StepFailed("env must be a mapping")
            env |= {name: to_text(value) for name, value in found.items()}
        return env

    def _process_env(self, request: JobRequest, folders: JobFolders) -> dict[str, str]:
        return {
            "HOME": str(folders.home),
            "TMPDIR": str(folders.temp),  # /tmp is shared with other users and jobs: tools trip over what those left there
            "LANG": "C.UTF-8",
            "USER": "runner",
            "GITHUB_ACTIONS": "true",
            "AGENT_TOOLSDIRECTORY": str(folders.tools),
            TRACKING: self._tracking(request.facts.name, request.row.id),
            **self.config.job_env,
        }


def _out_of_time(run: JobRun, minutes: float) -> None:
    run.stopped_because = f"The job has exceeded the maximum execution time of {minutes:g} minutes."
    run.log.line(f"##[error]{run.stopped_because}")
    run.cancel.set()
