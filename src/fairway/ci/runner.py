"""Runs one job where this process is: folders, environment, steps, result.

`JobRunner` is what the controller needs. `LocalRunner` does the work, on the platform's machine or in the pod into which
`fairway.ci.pods` has sent the job. A runner never raises for what a job did: that is its result.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fairway.ci.actions import NOTHING_OFFLINE, Host, Offline
from fairway.ci.calls import ReadFile, no_file
from fairway.ci.course import JobResult, Progress
from fairway.ci.environment import SYSTEM_PATH, RunFacts, payload_of
from fairway.ci.events import Event
from fairway.ci.expressions import (
    ExpressionError,
    Scope,
    Value,
    interpolate,
    interpolate_text,
    to_json,
    to_number,
    to_text,
    truthy,
)
from fairway.ci.folders import JobFolders, RunFolders
from fairway.ci.identity import Identities, github_claims
from fairway.ci.job_run import DEFAULT_TIMEOUT_MINUTES, JobRun, StepFailed
from fairway.ci.joblog import JobLog
from fairway.ci.masking import MakeMasker, Masker
from fairway.ci.process import TRACKING, kill_tracked
from fairway.ci.repositories import NoRepositories, Repositories
from fairway.ci.services import RunServices, ServiceError, ServiceWish, running_services
from fairway.ci.shelf import OwnShelf, Shelf
from fairway.ci.spec import Container, Job, Workflow, secrets_named
from fairway.ci.states import JobRow, Phase
from fairway.ci.tokens import Tokens, contents_level, may_prove_itself
from fairway.ci.tools import secrets_in
from fairway.ci.uses import Uses
from fairway.images.reach import PUSH_TO
from fairway.kube.clock import Clock, WallClock

PUSHED = "FAIRWAY_PUSHED_IMAGES"
LONGEST_MINUTES = 35 * 24 * 60.0
"""GitHub's limit of a whole run, and well within what a timer takes."""

OnFailure = Callable[[Path, Mapping[str, str], str], None]
"""Folder, environment, and what failed."""


@dataclass(frozen=True)
class JobRequest:
    """One leg to run. `contexts` are those that the decision used, `needs` and `inputs` among them.

    `read_file` is for jobs that call another workflow.
    """

    facts: RunFacts
    row: JobRow
    workflow: Workflow
    event: Event
    contexts: Mapping[str, Value]
    secrets: Mapping[str, str] = field(default_factory=dict)
    read_file: ReadFile = no_file


class JobRunner(Protocol):
    async def run(self, request: JobRequest, progress: Progress, cancel: asyncio.Event) -> JobResult: ...

    @property
    def outlives(self) -> bool:
        """Whether its jobs go on when this process dies: then `run` with the same attempt goes on with that one."""
        ...

    async def clear(self, run: str, job: str) -> None:
        """Stop what a lost attempt of this job left running."""
        ...

    async def discard(self, run: str) -> None:
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
    tokens: Tokens | None = None
    identities: Identities | None = None
    """Who signs what jobs say of themselves; without it they cannot."""
    offline: Offline = NOTHING_OFFLINE
    on_failure: OnFailure | None = None
    """Called in a thread where a script failed, before anything is cleaned up: a person may look around."""
    shelf: Shelf = field(default_factory=OwnShelf)
    services: RunServices = running_services
    image: str | None = None
    """In which image jobs run here; None: in none, on the machine itself."""

    def tracking(self, run: str, job: str) -> str:
        """What every process of a job carries in its environment."""
        return f"fairway:{self.root}:{run}:{job}"


def stop_all(config: RunnerConfig, run: str, job: str, folders: JobFolders) -> None:
    """The job is over: nothing of it runs on, and only its log stays unless the work trees are kept."""
    kill_tracked(config.tracking(run, job))
    if config.tokens is not None:
        config.tokens.revoke(config.tracking(run, job))
    if config.identities is not None:
        config.identities.revoke(config.tracking(run, job))
    if not config.keep_work:
        folders.discard_work()


class LocalRunner:
    outlives = False

    def __init__(self, config: RunnerConfig, clock: Clock | None = None) -> None:
        self.config = config
        self._clock = clock or WallClock()
        self._uses = Uses(Host(config.repositories, config.fairway, config.offline, config.tokens, config.root, config.shelf))

    async def clear(self, run: str, job: str) -> None:
        await asyncio.to_thread(kill_tracked, self.config.tracking(run, job))

    async def discard(self, run: str) -> None:
        await asyncio.to_thread(shutil.rmtree, RunFolders(self.config.root, run).path, ignore_errors=True)

    async def run(self, request: JobRequest, progress: Progress, cancel: asyncio.Event) -> JobResult:
        folders = RunFolders(self.config.root, request.facts.name).job(request.row.id)
        await asyncio.to_thread(folders.make)
        if self.config.prepare is not None:
            await asyncio.to_thread(self.config.prepare, folders.work)
        token = self._token_of(request)
        secret = [*request.secrets.values(), token, *secrets_in(self.config.job_env)]
        masker = self.config.maskers(filter(None, secret))
        listen = self.config.listen
        heard = None if listen is None else lambda line: listen(request.row.id, line)
        try:
            with JobLog(folders.log, masker, self._clock.now, listen=heard) as log:
                return await self._run(request, progress, cancel, folders, log, masker, token)
        finally:
            await asyncio.to_thread(stop_all, self.config, request.facts.name, request.row.id, folders)

    async def _run(self, request: JobRequest, progress: Progress, cancel: asyncio.Event, folders: JobFolders,
                   log: JobLog, masker: Masker, token: str) -> JobResult:
        job = request.workflow.jobs[request.row.job]
        contexts = self._contexts(request, folders, token)
        log.line(f"Job {request.row.name} of {request.workflow.title} for {request.event.repository}@"
                 f"{request.event.sha[:7]} ({request.event.name})")
        if request.facts.attempt > 1:
            log.line(f"##[notice]attempt {request.facts.attempt}: the platform was stopped while this job ran; it runs again "
                     "from its beginning")
        absent = secrets_named((request.workflow.env, job)) - {name.upper() for name in contexts["secrets"]}
        if absent:
            log.line(f"##[warning]secrets that are not set, and so are empty: {', '.join(sorted(absent))}")
        try:
            env = env_of(request, contexts)
            minutes = to_number(interpolate(job.timeout_minutes, Scope(contexts))) if job.timeout_minutes is not None \
                else DEFAULT_TIMEOUT_MINUTES
        except (ExpressionError, StepFailed) as error:
            log.line(f"##[error]{error}")
            return JobResult("Failed", f"line {job.line}: {error}")
        run = JobRun(
            job=job, folders=folders, log=log, masker=masker, contexts=contexts, env=env,
            path=[*self.config.path_prepend, *SYSTEM_PATH.split(":")],
            process_env={**self._process_env(request, folders), **self._identity(request, contexts, masker)},
            on_failure=self.config.on_failure, now=self._clock.now, uses=self._uses, progress=progress, cancel=cancel,
            defaults=job.defaults.over(request.workflow.defaults),
        )
        timer = asyncio.get_running_loop().call_later(min(minutes, LONGEST_MINUTES) * 60, _out_of_time, run, minutes)
        try:
            async with contextlib.AsyncExitStack() as stack:
                await self._services(stack, run, request)
                await run.run()
            return self._result(run, timed_out=bool(run.stopped_because))
        finally:
            timer.cancel()

    async def _services(self, stack: contextlib.AsyncExitStack, run: JobRun, request: JobRequest) -> None:
        """Start what the job asks for beside it; a job that asks for a container itself runs without, and says so."""
        job = run.job
        by_name = job.container is not None and bool(to_text(job.container.image))
        if by_name and job.container is not None and self.config.image is None:
            run.log.line(f"##[warning]container {to_text(job.container.image)!r}: jobs run directly on this machine, not in a "
                         "container")
        try:
            scope = run.scope_of_job()
            if job.container is not None:
                run.env |= {name: to_text(interpolate(value, scope)) for name, value in job.container.env.items()}
            wishes = services_wanted(job, scope)
            if not wishes:
                return
            run.log.line("##[group]Starting services")
            started = await stack.enter_async_context(self.config.services(
                wishes, run.folders.path / "services", run.log.line,
                self.config.tracking(request.facts.name, request.row.id), by_name=by_name))
            run.log.line("##[endgroup]")
        except (ServiceError, ExpressionError, OSError) as error:
            run.refuse_to_start(error.message if isinstance(error, ExpressionError) else str(error))
            return
        run.services = started
        run.contexts["job"]["services"] = {
            name: {"id": name, "network": "", "ports": dict(ports)} for name, ports in started.ports.items()}

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
        return JobResult(phase, run.masker.mask(message), outputs, tuple(run.rows), (*run.images, *run.folders.pushed_images()),
                         tuple(run.annotations))

    # --- what the job sees ----------------------------------------------------------------------------------------

    def _contexts(self, request: JobRequest, folders: JobFolders, own: str) -> dict[str, Value]:
        event_path = folders.temp / "event.json"
        event_path.write_text(to_json(payload_of(request.event)))
        token = request.secrets.get("GITHUB_TOKEN", "") or own
        github = {
            **request.contexts["github"],
            "run_attempt": str(request.facts.attempt),
            "job": request.row.job,
            "token": token,
            "event_path": str(event_path),
            "workspace": str(folders.work),
        }
        return {
            **contexts_before(request),
            "github": github,
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
        """What opens the run's own repository, as far as `permissions` says; nothing else."""
        access = self.config.repositories.resolve(request.event.repository)
        if access is None or self.config.tokens is None:
            return access.token if access is not None else ""
        level = contents_level(request.workflow, request.workflow.jobs[request.row.job])
        owner = self.config.tracking(request.facts.name, request.row.id)
        return self.config.tokens.issue(owner, access.name or request.event.repository, level) if level is not None else ""

    def _identity(self, request: JobRequest, contexts: Mapping[str, Value], masker: Masker) -> dict[str, str]:
        """How a job asks for its tokens, where its `permissions` let it."""
        if self.config.identities is None or not may_prove_itself(request.workflow, request.workflow.jobs[request.row.job]):
            return {}
        owner = self.config.tracking(request.facts.name, request.row.id)
        found = self.config.identities.grant(owner, github_claims(contexts["github"], request.row.environment))
        masker.add(found["ACTIONS_ID_TOKEN_REQUEST_TOKEN"])
        return found

    def _process_env(self, request: JobRequest, folders: JobFolders) -> dict[str, str]:
        return {
            "HOME": str(folders.home),
            "TMPDIR": str(folders.temp),  # /tmp is shared with other users and jobs: tools trip over what those left there
            "LANG": "C.UTF-8",
            "USER": "runner",
            "GITHUB_ACTIONS": "true",
            "AGENT_TOOLSDIRECTORY": str(folders.tools),
            TRACKING: self.config.tracking(request.facts.name, request.row.id),
            PUSHED: str(folders.pushed),
            **({PUSH_TO: to_text(reached)} if (reached := (request.contexts.get("vars") or {}).get(PUSH_TO)) else {}),
            **self.config.job_env,
        }


def contexts_before(request: JobRequest) -> dict[str, Value]:
    """What is known of a job before it has a machine."""
    row, job, scope = request.row, request.workflow.jobs[request.row.job], Scope(request.contexts)
    return {
        **request.contexts,
        "matrix": dict(row.matrix) if row.matrix is not None else None,
        "strategy": {
            "fail-fast": truthy(interpolate(job.strategy.fail_fast, scope)),
            "job-index": float(row.index),
            "job-total": float(row.total),
            "max-parallel": interpolate(job.strategy.max_parallel, scope) or float(row.total),
        },
    }


def env_of(request: JobRequest, contexts: Mapping[str, Value]) -> dict[str, str]:
    """Workflow env, then job env; neither sees its own level. Raises `StepFailed`, `ExpressionError`."""
    env: dict[str, str] = {}
    for level in (request.workflow.env, request.workflow.jobs[request.row.job].env):
        found = interpolate(level, Scope({**contexts, "env": dict(env)}))
        if not isinstance(found, dict):
            raise StepFailed("env must be a mapping")
        env |= {name: to_text(value) for name, value in found.items()}
    return env


def services_wanted(job: Job, scope: Scope) -> list[ServiceWish]:
    """Those that name an image. Raises `ServiceError`, `ExpressionError`."""
    return [wish for name, service in _services_of(job, scope).items() if (wish := _wish(name, service, scope)).image]


def _services_of(job: Job, scope: Scope) -> Mapping[str, Container]:
    """As written, or as an expression makes them."""
    if job.services_expression is None:
        return job.services
    found = interpolate(job.services_expression, scope)
    if not isinstance(found, dict):
        raise ServiceError("services must be a mapping")
    known = ("image", "options", "command", "entrypoint")
    return {
        str(name): Container(image=entry) if not isinstance(entry, dict) else Container(
            env=entry.get("env") or {}, ports=tuple(entry.get("ports") or ()), volumes=tuple(entry.get("volumes") or ()),
            **{key: entry.get(key) for key in known})
        for name, entry in found.items()}


def _wish(name: str, service: Container, scope: Scope) -> ServiceWish:
    def text(value: Value) -> str:
        return interpolate_text(value, scope)

    return ServiceWish(
        image=text(service.image), names=(name,), env={key: text(value) for key, value in service.env.items()},
        ports=tuple(map(text, service.ports)), command=tuple(filter(None, [text(service.command)])),
        entrypoint=tuple(filter(None, [text(service.entrypoint)])), options=text(service.options),
        volumes=tuple(map(text, service.volumes)))


def _out_of_time(run: JobRun, minutes: float) -> None:
    run.stopped_because = f"The job has exceeded the maximum execution time of {minutes:g} minutes."
    run.log.line(f"##[error]{run.stopped_because}")
    run.cancel.set()
