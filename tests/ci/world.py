"""CI with everything real but the platform: an API in memory, bare repositories, both controllers, jobs as processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fairway.ci.controller import PipelineController, TriggerController
from fairway.ci.materials import PipelineSettings
from fairway.ci.repositories import Access
from fairway.ci.runner import LocalRunner, RunnerConfig
from fairway.git import Change, Person, Repositories
from fairway.kube.cache import Informers
from fairway.kube.clock import WallClock
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.objects import Key, Obj
from fairway.kube.reconcile import ControllerLoop
from fairway.kube.resources import PIPELINE_RUNS, REPOSITORIES
from fairway.secrets.masking import Masker

DEADLINE_S = 30.0
SOMEBODY = Person("Ada", "ada@example.com")


@dataclass(frozen=True)
class BareRepositories:
    """Fetched from disk; pushed to disk, or to `base_url` with a token."""

    repositories: Repositories
    base_url: str = ""
    token: str = ""

    def resolve(self, name_or_url: str) -> Access | None:
        if not self.repositories.exists(name_or_url):
            return None
        path = self.repositories.path(name_or_url)
        return Access(f"{self.base_url}{name_or_url}.git" if self.base_url else str(path), path, self.token)


@dataclass
class World:
    """One state folder. `running()` is one life of the daemon over it."""

    root: Path
    settings: PipelineSettings = field(default_factory=lambda: PipelineSettings(places=4))
    job_env: Mapping[str, str] = field(default_factory=dict)
    path_prepend: tuple[str, ...] = ()
    base_url: str = ""
    token: str = ""

    def __post_init__(self) -> None:
        self.clock = WallClock()
        self.api = EmbeddedApi.in_memory(self.clock)
        self.repositories = Repositories(self.root / "git")

    def push(self, repository: str, files: Mapping[str, str | None], message: str = "change", *, branch: str = "main") -> str:
        """Commit these files on top of the branch, as a push would."""
        git = self.repositories.create(repository)
        head = git.refs().get(f"refs/heads/{branch}", "")
        data = {path: text.encode() if text is not None else None for path, text in files.items()}
        return git.commit(branch, Change(data, message, SOMEBODY, datetime.now(UTC)), expected_head=head)

    async def declare(self, repository: str) -> None:
        await self.api.create({
            "apiVersion": REPOSITORIES.api_version, "kind": "Repository",
            "metadata": {"name": repository.replace("/", "-"), "namespace": "fairway"}, "spec": {"name": repository}})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Daemon]:
        informers = Informers(self.api)
        runner = LocalRunner(RunnerConfig(
            self.root / "ci", Masker, BareRepositories(self.repositories, self.base_url, self.token), job_env=self.job_env,
            path_prepend=self.path_prepend))
        triggers = TriggerController(informers, self.repositories.open)
        pipelines = PipelineController(informers, self.repositories.open, runner, self.settings)
        trigger_loop = ControllerLoop(triggers, informers, self.clock)
        pipeline_loop = ControllerLoop(pipelines, informers, self.clock)
        pipelines.look_again = pipeline_loop.look_again
        tasks = [asyncio.create_task(loop.run()) for loop in (trigger_loop, pipeline_loop)]
        try:
            yield Daemon(self, informers, trigger_loop, pipeline_loop)
        finally:
            await pipelines.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await informers.close()


@dataclass
class Daemon:
    world: World
    informers: Informers
    triggers: ControllerLoop
    pipelines: ControllerLoop

    def pushed(self, repository: str) -> None:
        self.triggers.look_again(Key("fairway", repository.replace("/", "-")))

    async def settled(self) -> None:
        """Until the pushes told so far have been looked at."""
        async with asyncio.timeout(DEADLINE_S):
            while not self.triggers.idle:  # noqa: ASYNC110 (the loop tells nobody)
                await asyncio.sleep(0)

    async def until(self, wanted: Callable[[list[Obj]], Any]) -> Any:
        """The first true answer about the runs, asked at every change."""
        changed = asyncio.Event()
        cache = self.informers.of(PIPELINE_RUNS)
        cache.on_change(lambda old, new: changed.set())
        async with asyncio.timeout(DEADLINE_S):
            while True:
                changed.clear()
                found = wanted(cache.list("fairway"))
                if found:
                    return found
                await changed.wait()

    async def finished(self, count: int = 1) -> list[Obj]:
        """The runs, as soon as this many are finished."""

        def done(runs: list[Obj]) -> list[Obj] | None:
            ended = [run for run in runs if run.get("status", {}).get("finishedAt")]
            return ended if len(ended) >= count else None

        found: list[Obj] = await self.until(done)
        return found


def jobs(run: Obj) -> dict[str, str]:
    """Phase of each job by its id."""
    return {job["id"]: job["phase"] for job in run["status"]["jobs"]}


def job(run: Obj, name: str) -> dict[str, Any]:
    return next(entry for entry in run["status"]["jobs"] if entry["id"] == name)


def log_of(world: World, run: Obj, name: str) -> str:
    return (world.root / "ci" / "runs" / run["metadata"]["name"] / "jobs" / name / "log.txt").read_text()


def said(world: World, run: Obj, name: str) -> list[str]:
    """The lines of a job's log without their times."""
    return [line.partition(" ")[2] for line in log_of(world, run, name).splitlines()]


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that died and was not collected yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
