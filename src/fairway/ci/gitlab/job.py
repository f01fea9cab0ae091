"""Runs one job of a pipeline on this machine: sources, caches, artifacts, services, scripts, and what is kept of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from fairway.ci.archive import pack, unpack
from fairway.ci.course import JobResult, Progress
from fairway.ci.environment import SYSTEM_PATH
from fairway.ci.folders import JobFolders, RunFolders
from fairway.ci.gitlab.child import run_child
from fairway.ci.gitlab.durations import seconds
from fairway.ci.gitlab.kaniko import is_kaniko, lay_out, redirected
from fairway.ci.gitlab.plan import Leg
from fairway.ci.gitlab.predefined import environment_variables
from fairway.ci.gitlab.projects import NoArtifacts, NoProjects, NotHere, Projects
from fairway.ci.gitlab.regexps import compile_re2
from fairway.ci.gitlab.script import coverage_of, exported, parse_dotenv, plain, script_of, sections
from fairway.ci.gitlab.spec import Cache, Need
from fairway.ci.gitlab.stores import Artifacts, Caches, cache_key, leads_out, selected
from fairway.ci.gitlab.variables import expand
from fairway.ci.identity import gitlab_claims
from fairway.ci.joblog import JobLog
from fairway.ci.process import TRACKING, Finished, run_process
from fairway.ci.repositories import credentials
from fairway.ci.runner import PUSHED, RunnerConfig, stop_all
from fairway.ci.services import ServiceError, ServiceWish
from fairway.ci.states import JobRow, Phase, StepRow
from fairway.ci.tools import secrets_in
from fairway.kube.clock import Clock, WallClock

if TYPE_CHECKING:
    from fairway.ci.gitlab.course import GitlabCourse

AFTER_SCRIPT_S = 300.0
"""GitLab's own limit of after_script."""
SILENCE_S = 10.0
"""Who watches a job that says nothing is told that it still runs."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A job of which artifacts and reported variables are wanted."""

    leg: str
    name: str
    variables: Mapping[str, str]


@dataclass(frozen=True)
class LegRequest:
    course: GitlabCourse
    leg: Leg
    row: JobRow
    upstreams: tuple[Upstream, ...]

    @property
    def id(self) -> str:
        return f"{self.course.prefix}{self.row.id}"


class _Failed(Exception):
    """The job ends as failed, with this message; `kind` in GitLab's words."""

    def __init__(self, message: str, kind: str = "script_failure", code: int | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.code = code


class _Cancelled(Exception):
    """The job was told to stop."""


RunElsewhere = Callable[[LegRequest, Progress, asyncio.Event], Awaitable[JobResult]]


class GitlabRunner:
    """`elsewhere` runs jobs in pods; without it they are processes of this machine."""

    def __init__(self, config: RunnerConfig, clock: Clock | None = None, elsewhere: RunElsewhere | None = None,
                 projects: Projects | None = None) -> None:
        self.projects = projects or NoProjects()
        self.config = config
        self.clock = clock or WallClock()
        self._elsewhere = elsewhere

    async def run(self, request: LegRequest, progress: Progress, cancel: asyncio.Event) -> JobResult:
        if request.leg.job.trigger is not None:
            return await run_child(self, request, progress, cancel)
        if self._elsewhere is not None:
            return await self._elsewhere(request, progress, cancel)
        folders = RunFolders(self.config.root, request.course.run_name).job(request.id)
        await asyncio.to_thread(folders.make)
        masked = [variable.value for variable in request.course.pipeline.given.values() if variable.masked]
        tracking = self.config.tracking(request.course.run_name, request.id)
        token = self.config.tokens.issue(tracking, request.course.repository, "read") if self.config.tokens else ""
        masker = self.config.maskers(filter(None, [*masked, token, *secrets_in(self.config.job_env)]))
        listen = self.config.listen
        heard = None if listen is None else lambda line: listen(request.id, line)
        try:
            with JobLog(folders.log, masker, self.clock.now, listen=heard) as log:
                attempt = _Attempt(self, request, folders, log, progress, cancel, tracking, token)
                return replace(await attempt.run(), steps=tuple(attempt.rows))
        finally:
            await asyncio.to_thread(stop_all, self.config, request.course.run_name, request.id, folders)


@dataclass
class _Attempt:
    runner: GitlabRunner
    request: LegRequest
    folders: JobFolders
    log: JobLog
    progress: Progress
    cancel: asyncio.Event
    tracking: str
    token: str
    rows: list[StepRow] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    coverage: float | None = None
    spoke: float = 0.0
    wrapped: Callable[[Sequence[str]], list[str]] = list

    @property
    def leg(self) -> Leg:
        return self.request.leg

    @property
    def work(self) -> Path:
        return self.folders.work

    async def run(self) -> JobResult:
        course = self.request.course
        self.log.line(f"Job {self.leg.name} of {course.title} for {course.repository}@{course.sha[:7]}")
        if self.request.row.attempt > 1:
            self.log.line(f"##[notice]attempt {self.request.row.attempt}: {self.request.row.message}")
        phase: Phase = "Succeeded"
        message, failure, code = "", "", None
        try:
            async with asyncio.timeout(self.leg.job.timeout_s):
                await self._prepare()
                async with self._services():
                    code = await self._script()
        except TimeoutError:
            phase, failure = "Failed", "job_execution_timeout"
            message = f"execution took longer than {self.leg.job.timeout_s:g} seconds"
        except _Failed as error:
            phase, failure, message, code = "Failed", error.kind, str(error), error.code
        except ServiceError as error:
            phase, failure, message = "Failed", "runner_system_failure", str(error)
        except (OSError, subprocess.CalledProcessError) as error:
            phase, failure, message = "Failed", "runner_system_failure", str(error)
        except _Cancelled:
            phase, message = "Cancelled", "the job was cancelled"
        if message:
            self.log.lines(f"##[error]{message}")
        await self._after(phase)
        outputs = await self._keep(phase)
        url = expand(self.leg.environment.url, {**self.texts, **outputs}) if self.leg.environment is not None else ""
        return JobResult(phase, self.log.masked(message), outputs, images=self.folders.pushed_images(), exit_code=code,
                         failure=failure, coverage=self.coverage, url=url)

    # --- before the script ----------------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        self.texts = self._variables("running")
        self.texts |= self._id_tokens()
        self._said_plainly()
        async with self._step("Getting sources"):
            if self.leg.job.pre_get_sources:
                await self._shell(self.leg.job.pre_get_sources, "pre_get_sources", cwd=self.folders.temp)
            await asyncio.to_thread(self._sources)
        for cache in self.leg.job.caches:
            if expand(cache.policy, self.texts) != "push":
                async with self._step("Restoring cache"):
                    await asyncio.to_thread(self._restore, cache)
        foreign = [need for need in self.leg.job.needs or () if need.project and need.artifacts]
        if foreign:
            async with self._step("Downloading artifacts of other projects"):
                for need in foreign:
                    await asyncio.to_thread(self._take_from, need)
        if self.request.upstreams:
            async with self._step("Downloading artifacts"):
                store = Artifacts(self.folders.run.artifacts, self.runner.config.shelf)
                for upstream in self.request.upstreams:
                    id = f"{self.request.course.prefix}{upstream.leg}"
                    count = await asyncio.to_thread(store.restore, id, self.work)
                    if count:
                        self.log.line(f"Downloading artifacts for {upstream.name}: {count} entries")

    def _id_tokens(self) -> dict[str, str]:
        issuer, found = self.runner.config.identities, {}
        for name, audience in self.leg.job.id_tokens.items() if issuer is not None else ():
            assert issuer is not None
            found[name] = issuer.issue(gitlab_claims(self.texts), [expand(text, self.texts) for text in audience])
            self.log.hide(found[name])
        return found

    def _take_from(self, need: Need) -> None:
        """`needs:project`: what the last good pipeline there kept of the job."""
        project, ref, job = (expand(text, self.texts) for text in (need.project, need.ref, need.job))
        try:
            count = unpack(self.runner.projects.artifacts(project, ref, job), self.work)
        except NotHere as error:
            self.log.line(f"##[warning]{error}")
        except NoArtifacts as error:
            if not need.optional:
                raise _Failed(str(error), "missing_dependency_failure") from None
            self.log.line(f"{error}; it is optional")
        else:
            self.log.line(f"Downloading artifacts for {job} of {project} at {ref}: {count} entries")

    def _said_plainly(self) -> None:
        job = self.leg.job
        if job.image.name and self.runner.config.image is None:
            self.log.line(f"image {expand(job.image.name, self.texts)}: jobs run directly on this machine, not in a container")
        if job.id_tokens and self.runner.config.identities is None:
            self.log.line(f"##[warning]id_tokens: there is no identity provider here, {', '.join(job.id_tokens)} stay empty")
        if job.secrets:
            self.log.line(f"##[warning]secrets: no vault is asked here; give {', '.join(job.secrets)} as variables")

    def _variables(self, status: str) -> dict[str, str]:
        reported = {name: value for upstream in self.request.upstreams for name, value in upstream.variables.items()}
        course, leg = self.request.course, self.leg
        extra = {
            "CI_PROJECT_DIR": str(self.work), "CI_BUILDS_DIR": str(self.work.parent), "CI_JOB_STATUS": status,
            "CI_JOB_ID": str(zlib.crc32(f"{course.run_name}/{self.request.id}".encode()) + 1),
            "CI_JOB_STARTED_AT": "" if self.request.row.started_at is None else self.request.row.started_at.isoformat(),
            "CI_JOB_IMAGE": leg.job.image.name, "CI_JOB_TIMEOUT": f"{leg.job.timeout_s:g}",
            "CI_CONCURRENT_ID": "0", "CI_CONCURRENT_PROJECT_ID": "0", "CI_RUNNER_ID": "1",
            "CI_RUNNER_DESCRIPTION": "fairway", "CI_RUNNER_EXECUTABLE_ARCH": f"linux/{os.uname().machine}",
            "CI_RUNNER_TAGS": "[]", "CI_RUNNER_VERSION": "18.6.0", "CI_SHARED_ENVIRONMENT": "true",
            "GITLAB_FEATURES": "", "CI_DISPOSABLE_ENVIRONMENT": "true",
            "CI_JOB_TOKEN": self.token, "CI_JOB_MANUAL": "true" if leg.when == "manual" else "",
            **environment_variables(leg.environment),
        }
        layers = course.pipeline.layers(leg, dotenv=reported, extra={k: v for k, v in extra.items() if v})
        found = layers.expanded()
        if leg.environment is not None and leg.environment.url:
            found["CI_ENVIRONMENT_URL"] = expand(leg.environment.url, found)
        for name, variable in layers.items():
            if variable.file:
                path = self.folders.temp / f"variable-{re.sub(r'[^A-Za-z0-9_]', '_', name)}"
                path.write_text(variable.value)
                path.chmod(0o600)
                found[name] = str(path)
        return found

    def _sources(self) -> None:
        strategy = self.texts.get("GIT_STRATEGY", "clone")
        if strategy in ("none", "empty"):
            self.log.line(f"GIT_STRATEGY is {strategy}: no sources")
            return
        course = self.request.course
        access = self.runner.config.repositories.resolve(course.repository)
        if access is None:
            raise _Failed(f"repository {course.repository!r} is not on this platform", "runner_system_failure")
        self.work.rmdir()
        source = str(access.path) if access.path is not None else access.url
        entered = {} if access.path is not None else credentials(replace(access, token=access.token or self.token))
        checkout = self.texts.get("GIT_CHECKOUT", "true") != "false"
        git = ["git", "-c", "protocol.file.allow=always", "-c", "advice.detachedHead=false"]
        self._git([*git, "clone", "--quiet", "--no-checkout", source, str(self.work)], entered)
        self._git([*git, "-C", str(self.work), "config", "remote.origin.url", access.url])
        if checkout:
            self._git([*git, "-C", str(self.work), "checkout", "--quiet", "--force", "--detach", course.sha])
        if self.texts.get("GIT_SUBMODULE_STRATEGY") in ("normal", "recursive"):
            deep = ["--recursive"] if self.texts["GIT_SUBMODULE_STRATEGY"] == "recursive" else []
            self._git([*git, "-C", str(self.work), "submodule", "update", "--init", *deep])
        self.log.line(f"Checking out {course.sha[:8]} as detached HEAD (ref is {course.ref})")

    def _git(self, argv: list[str], more: Mapping[str, str] | None = None) -> None:
        env = {**(more or {}), "PATH": SYSTEM_PATH, "HOME": str(self.folders.home), "GIT_TERMINAL_PROMPT": "0"}
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=env)
        if done.returncode != 0:
            raise _Failed(f"git {argv[5] if len(argv) > 5 else ''}: {done.stderr.strip()}", "runner_system_failure")

    def _caches(self) -> Caches:
        name = self.request.course.repository.replace("/", "%2F")
        return Caches(self.folders.cache / name / "gitlab", self.runner.config.shelf)

    def _key(self, cache: Cache) -> str:
        files = [expand(name, self.texts) for name in cache.key_files]
        return cache_key(cache, expand(cache.key, self.texts), files, self.work)

    def _restore(self, cache: Cache) -> None:
        key = self._key(cache)
        fallbacks = [expand(name, self.texts) for name in cache.fallback_keys]
        more = [self.texts["CACHE_FALLBACK_KEY"]] if self.texts.get("CACHE_FALLBACK_KEY") else []
        found = self._caches().find([key, *fallbacks, *more])
        if found is None:
            self.log.line(f"No cache for key {key}")
            return
        unpack(found[1], self.work)
        self.log.line(f"Restored cache of key {found[0]}")

    @asynccontextmanager
    async def _services(self) -> AsyncIterator[None]:
        wishes = services_wanted(self.leg, self.texts)
        if not wishes:
            yield
            return
        async with self.runner.config.services(wishes, self.folders.path / "services", self.log.line, self.tracking,
                                    by_name=True) as started:
            self.texts = {name: started.rewritten(value) for name, value in self.texts.items()}
            self.wrapped = started.wrapped
            yield

    # --- scripts --------------------------------------------------------------------------------------------------

    async def _script(self) -> int:
        async with self._step("Running script"):
            finished = await self._shell([*self.leg.job.before_script, *self.leg.job.script], "script")
        if finished.ending == "cancelled":
            raise _Cancelled
        if finished.code != 0:
            raise _Failed(f"exit code {finished.code}", "script_failure", finished.code)
        if self.leg.job.release is not None:
            async with self._step("Creating release"):
                await asyncio.to_thread(self._release)
        return 0

    async def _after(self, phase: Phase) -> None:
        """after_script: a shell of its own, which changes nothing of the job's result."""
        if not self.leg.job.after_script or not self.texts:
            return
        self.texts["CI_JOB_STATUS"] = {"Succeeded": "success", "Cancelled": "canceled"}.get(phase, "failed")
        async with self._step("Running after_script"):
            finished = await self._shell(self.leg.job.after_script, "after_script", timeout_s=AFTER_SCRIPT_S, stops=False)
            if finished.code != 0:
                self.log.line(f"##[warning]after_script failed with exit code {finished.code}; the job's result stays")

    async def _shell(self, lines: tuple[str, ...] | list[str], name: str, *, cwd: Path | None = None,
                     timeout_s: float | None = None, stops: bool = True) -> Finished:
        search = ":".join([*self.runner.config.path_prepend, SYSTEM_PATH])
        bash = shutil.which("bash", path=search)
        path = self.folders.temp / f"{name}.sh"
        script = script_of(lines, bash=bash is not None)
        if self.runner.config.image is None and is_kaniko(expand(self.leg.job.image.name, self.texts)):
            folder = self.folders.temp / "kaniko"
            lay_out(folder, self.runner.config.fairway)
            script = redirected(script, folder)
        path.write_text(script)
        env = {
            "LANG": "C.UTF-8", "USER": "runner", "PATH": search, **self.runner.config.job_env, **exported(self.texts),
            "HOME": str(self.folders.home), "TMPDIR": str(self.folders.temp), TRACKING: self.tracking,
            PUSHED: str(self.folders.pushed),
        }
        if "PATH" in self.texts:
            env["PATH"] = f"{self.texts['PATH']}:{search}"
        watcher = asyncio.create_task(self._still_there()) if self.runner.config.listen is not None else None
        try:
            argv = self.wrapped([bash or "sh", str(path)])
            finished = await run_process(argv, cwd=cwd or self.work, env=env, on_line=self._heard,
                                         cancel=self.cancel if stops else None, timeout_s=timeout_s,
                                         unheard=lambda: self.log.is_full and not self.leg.job.coverage)
            on_failure = self.runner.config.on_failure
            if finished.ending == "exited" and finished.code != 0 and on_failure is not None:
                await asyncio.to_thread(on_failure, self.work, env, f"{name} of {self.leg.name} failed with {finished.code}")
            return finished
        finally:
            if watcher is not None:
                watcher.cancel()

    async def _still_there(self) -> None:
        loop = asyncio.get_running_loop()
        self.spoke = loop.time()
        while True:
            await asyncio.sleep(max(self.spoke + SILENCE_S - loop.time(), 0.05))
            if loop.time() - self.spoke >= SILENCE_S:
                self.log.say("still running...")
                self.spoke = loop.time()

    def _heard(self, line: str) -> None:
        self.spoke = asyncio.get_running_loop().time()
        if self.leg.job.coverage:
            matches = list(compile_re2(self.leg.job.coverage).finditer(plain(line)[:10_000]))
            found = coverage_of(matches[-1]) if matches else None
            self.coverage = self.coverage if found is None else found
        for shown in sections(line):
            self.log.line(shown)

    # --- what is kept ---------------------------------------------------------------------------------------------

    async def _keep(self, phase: Phase) -> dict[str, str]:
        """Caches, artifacts and reports; the variables that the job reported."""
        if not self.texts or not self.work.is_dir():
            return {}
        with contextlib.suppress(OSError):
            for cache in self.leg.job.caches:
                if expand(cache.policy, self.texts) != "pull" and _applies(cache.when, phase):
                    await asyncio.to_thread(self._save, cache)
        artifacts = self.leg.job.artifacts
        names: list[str] = []
        if _applies(artifacts.when, phase):
            patterns = [expand(path, self.texts) for path in artifacts.paths]
            names = await asyncio.to_thread(
                selected, self.work, patterns, exclude=[expand(path, self.texts) for path in artifacts.exclude],
                untracked=artifacts.untracked) if patterns or artifacts.untracked else []
            if patterns and not names:
                self.log.line(f"##[warning]artifacts: no file matches {', '.join(patterns)}")
        reports = await asyncio.to_thread(self._reports)
        if names:
            count = await asyncio.to_thread(Artifacts(self.folders.run.artifacts).save, self.request.id, self.work, names)
            until = ""
            if artifacts.expire_in not in ("", "never"):
                moment = self.runner.clock.now() + timedelta(seconds=seconds(artifacts.expire_in))
                await asyncio.to_thread(self.folders.run.keep_until, f"{self.request.id}.tar", moment)
                until = f", kept until {moment:%Y-%m-%d %H:%M}"
            self.log.line(f"Uploading artifacts: {count} {'file' if count == 1 else 'files'}{until}")
        return reports

    def _save(self, cache: Cache) -> None:
        key = self._key(cache)
        patterns = [expand(path, self.texts) for path in cache.paths]
        inside = [pattern for pattern in patterns if not leads_out(pattern, self.work)]
        for pattern in set(patterns) - set(inside):
            self.log.line(f"##[warning]cache: {pattern} is outside of the project and is not kept")
        names = selected(self.work, inside, untracked=cache.untracked)
        if names:
            count = pack(self.work, names, self._caches().path(key))
            self.log.line(f"Saved cache of key {key}: {count} files")
        else:
            self.log.line(f"##[warning]cache: no file matches {', '.join(patterns)}")

    def _reports(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for kind, patterns in self.leg.job.artifacts.reports.items():
            names = selected(self.work, [expand(pattern, self.texts) for pattern in patterns])
            if not names:
                self.log.line(f"##[warning]artifacts:reports:{kind}: no file matches {', '.join(patterns)}")
            for name in names:
                if kind == "dotenv":
                    found |= parse_dotenv((self.work / name).read_text(errors="replace"))
                else:
                    target = self.folders.path / "reports" / kind / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(self.work / name, target)
        return found

    def _release(self) -> None:
        """A tag in the job's own clone, and a record among the run's artifacts: nothing is published."""
        release = self.leg.job.release
        assert release is not None
        tag = expand(release.tag_name, self.texts)
        target = self.folders.run.artifacts / "releases" / f"{re.sub(r'[^A-Za-z0-9._-]', '-', tag)}.md"
        target.parent.mkdir(parents=True, exist_ok=True)
        text = expand(release.description, self.texts)
        file = self.work / text
        if "\n" not in text and len(text) < 200 and file.is_file():
            text = file.read_text(errors="replace")
        target.write_text(self.log.masked(f"# {expand(release.name, self.texts) or tag}\n\n{text}\n"))
        self.log.line(f"##[notice]release {tag} is recorded in {target.name}; nothing is published from here")

    # --- steps ----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _step(self, title: str) -> AsyncIterator[None]:
        now = self.runner.clock.now
        self.log.line(f"##[group]{title}")
        self.rows.append(StepRow(title, "Running", now()))
        at = len(self.rows) - 1
        self.progress(tuple(self.rows))
        phase: Phase = "Succeeded"
        try:
            yield
        except BaseException:
            phase = "Failed"
            raise
        finally:
            self.log.line("##[endgroup]")
            self.rows[at] = replace(self.rows[at], phase=phase, finished_at=now())
            self.progress(tuple(self.rows))


def _applies(when: str, phase: Phase) -> bool:
    return when == "always" or (when == "on_success") == (phase == "Succeeded")


def services_wanted(leg: Leg, texts: Mapping[str, str]) -> list[ServiceWish]:
    return [
        ServiceWish(
            image=expand(service.name, texts), names=_aliases(expand(service.name, texts), expand(service.alias, texts)),
            env={**texts, **{name: expand(value.value, texts) for name, value in service.variables.items()}},
            command=service.command, entrypoint=service.entrypoint)
        for service in leg.job.services]


def _aliases(image: str, alias: str) -> tuple[str, ...]:
    """Host names under which a service is meant: its aliases, and its name with `/` as `-` and as `__`."""
    bare = image.partition("@")[0]
    tail = bare.rpartition("/")[2]
    bare = bare[: len(bare) - len(tail)] + tail.partition(":")[0]
    return tuple(dict.fromkeys([*re.split(r"[\s,]+", alias.strip()), bare.replace("/", "-"), bare.replace("/", "__"),
                                tail.partition(":")[0]] if alias.strip() else
                               [bare.replace("/", "-"), bare.replace("/", "__"), tail.partition(":")[0]]))
