"""Runs jobs as Jobs of a cluster: makes the objects, follows the pod's log, and says how the job ended.

The Job's name follows from the attempt, so whoever asks for the same attempt again goes on with what there is: a Job that runs
is followed, one that has ended is read. Only that makes it safe to be killed at any moment.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from fairway.ci.course import JobResult, Progress
from fairway.ci.expressions import ExpressionError, Scope, interpolate, interpolate_text, to_number
from fairway.ci.folders import RunFolders
from fairway.ci.gitlab.job import LegRequest
from fairway.ci.gitlab.job import services_wanted as gitlab_services
from fairway.ci.gitlab.variables import expand
from fairway.ci.job_run import DEFAULT_TIMEOUT_MINUTES, StepFailed
from fairway.ci.plan import labels_of_runner
from fairway.ci.pods import objects, report
from fairway.ci.pods.copied_log import CopiedLog
from fairway.ci.pods.objects import NoImage, Wanted, name_of
from fairway.ci.pods.order import BadOrder, GithubWork, GitlabWork, Home, Order, decode_order, encode_order
from fairway.ci.pods.settings import JobSettings
from fairway.ci.runner import LONGEST_MINUTES, JobRequest, RunnerConfig, contexts_before, env_of, services_wanted
from fairway.ci.services import ServiceError
from fairway.ci.states import to_status
from fairway.ci.tokens import JobTokens, contents_level
from fairway.kube.api import Api, MergePatch, WriteOptions
from fairway.kube.clock import Clock
from fairway.kube.errors import AlreadyExists, ApiError, NotFound, Unavailable
from fairway.kube.objects import Obj, owner_reference
from fairway.kube.resources import JOBS, PODS, SECRETS

MANAGER = "fairway-ci"
LOOK_S = 0.5  # while a pod starts or ends, which takes seconds
LONGEST_WAIT_S = 30.0  # for a cluster that is away
T = TypeVar("T")
log = logging.getLogger("fairway.ci.pods")


class ClusterJobs(Api, Protocol):
    """The API with the one thing that is no object: what a pod says."""

    def pod_log(self, namespace: str, pod: str, container: str) -> AsyncIterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Guest:
    """A job in a pod, known by its token."""

    owner: str
    run: str
    job: str
    repository: str


@dataclass(frozen=True)
class _Task:
    """`order` makes the order once there is a token."""

    wanted: Wanted
    repository: str
    home: Callable[[str], Home]
    order: Callable[[Home], Order]
    progress: Progress
    cancel: asyncio.Event


class PodRunner:
    """A `JobRunner`, and with `run_leg` the same for GitLab. `url` is where pods reach this Fairway."""

    outlives = True

    def __init__(self, api: ClusterJobs, settings: JobSettings, config: RunnerConfig, tokens: JobTokens, clock: Clock,
                 url: str) -> None:
        self._api, self._settings, self._config, self._tokens, self._clock = api, settings, config, tokens, clock
        self._url = settings.url or url
        self._guests: dict[str, Guest] = {}

    def guest(self, token: str) -> Guest | None:
        """Whose token it is; None for that of no running job."""
        owner = self._tokens.owner_of(token)
        return self._guests.get(owner) if owner is not None else None

    def git_url(self, repository: str) -> str:
        """Where pods reach it."""
        return f"{self._url}/git/{repository}.git"

    async def clear(self, run: str, job: str) -> None:
        """Nothing is lost with this process."""

    async def discard(self, run: str) -> None:
        await asyncio.to_thread(shutil.rmtree, RunFolders(self._config.root, run).path, ignore_errors=True)
        namespace = self._settings.namespace
        for found in (await self._api.list(JOBS, namespace, labels=f"{objects.RUN}={objects.run_label(run)}")).items:
            await self._delete(found["metadata"]["name"])

    # --- what is ordered ----------------------------------------------------------------------------------------------

    async def run(self, request: JobRequest, progress: Progress, cancel: asyncio.Event) -> JobResult:
        job, name = request.workflow.jobs[request.row.job], request.event.repository
        text = request.read_file(request.workflow.path)
        level = contents_level(request.workflow, job)
        try:
            if text is None:
                raise BadOrder(f"{request.workflow.path} cannot be read from the commit")
            contexts = {**contexts_before(request), "secrets": dict(request.secrets)}
            scope = Scope({**contexts, "env": dict(env_of(request, contexts))})
            minutes = to_number(interpolate(job.timeout_minutes, scope)) if job.timeout_minutes is not None \
                else DEFAULT_TIMEOUT_MINUTES
            wanted = Wanted(
                request.facts.name, request.row.id, request.facts.attempt,
                tuple(labels_of_runner(interpolate(job.runs_on, scope))),
                min(max(minutes, 1.0), LONGEST_MINUTES),
                interpolate_text(job.container.image, scope) if job.container is not None else "",
                tuple(services_wanted(job, scope)))
        except ExpressionError as error:
            return JobResult("Failed", f"line {job.line}: {error.message}")
        except (BadOrder, ServiceError, StepFailed) as error:
            return JobResult("Failed", str(error))
        work = GithubWork(request.facts, to_status(request.row), request.workflow.path, text, request.event, request.contexts,
                          request.secrets)
        return await self._carried_out(_Task(
            wanted, name, lambda token: Home(self._url, token, name, level),
            lambda home: self._order(home, wanted, github=work), progress, cancel))

    async def run_leg(self, request: LegRequest, progress: Progress, cancel: asyncio.Event) -> JobResult:
        course, leg, pipeline = request.course, request.leg, request.course.pipeline
        reported = {name: value for upstream in request.upstreams for name, value in upstream.variables.items()}
        texts = pipeline.layers(leg, dotenv=reported).expanded()
        wanted = Wanted(course.run_name, request.id, max(request.row.attempt, 1), leg.job.tags, leg.job.timeout_s / 60,
                        expand(leg.job.image.name, texts), tuple(gitlab_services(leg, texts)))
        work = GitlabWork(leg, to_status(request.row), request.upstreams, course.run_name, course.title, course.repository,
                          course.sha, course.ref, course.prefix, pipeline.configuration.stages, pipeline.variables,
                          pipeline.given, pipeline.predefined, pipeline.scoped)
        return await self._carried_out(_Task(
            wanted, course.repository, lambda token: Home(self._url, token, course.repository, "read"),
            lambda home: self._order(home, wanted, gitlab=work), progress, cancel))

    def _order(self, home: Home, wanted: Wanted, *, github: GithubWork | None = None,
               gitlab: GitlabWork | None = None) -> Order:
        return Order(home, wanted.run, wanted.job, github, gitlab, wanted.image, self._settings.services == "sidecars",
                     self._settings.environment)

    # --- a job's life ---------------------------------------------------------------------------------------------------

    async def _carried_out(self, task: _Task) -> JobResult:
        wanted = task.wanted
        owner = self._config.tracking(wanted.run, wanted.job)
        self._guests[owner] = Guest(owner, wanted.run, wanted.job, task.repository)
        try:
            await self._patiently(lambda: self._begun(task, owner))
        except (NoImage, ServiceError, BadOrder, ApiError) as error:
            self._forget(owner)
            return JobResult("Failed", f"the Job could not be made: {error}", failure="runner_system_failure")
        copied = CopiedLog(RunFolders(self._config.root, wanted.run).job(wanted.job).log)
        stopper = asyncio.create_task(self._stopped_with(task), name=f"stop {wanted.job}")
        try:
            result = await self._followed(task, copied)
            if result.phase == "Cancelled" and not task.cancel.is_set():
                result = await self._stopped_from_outside(task, result)
        except asyncio.CancelledError:
            copied.close()  # the job goes on; whoever comes after us follows it
            raise
        except ApiError as error:
            result = JobResult("Failed", f"the Job cannot be followed: {error}", failure="runner_system_failure")
        finally:
            stopper.cancel()
        copied.close(self._clock.now())
        self._forget(owner)
        if task.cancel.is_set():
            await self._delete(name_of(wanted.run, wanted.job, wanted.attempt))
        return result

    def _forget(self, owner: str) -> None:
        self._tokens.revoke(owner)
        self._guests.pop(owner, None)

    async def _begun(self, task: _Task, owner: str) -> None:
        """The Job is in the cluster, and its token is known here: made now, or found."""
        wanted, namespace = task.wanted, self._settings.namespace
        name = name_of(wanted.run, wanted.job, wanted.attempt)
        made: Obj | None = None
        with contextlib.suppress(NotFound):
            made = await self._api.get(JOBS, name, namespace)
        if made is not None:
            await self._adopted(name, owner)
            return
        folders = RunFolders(self._config.root, wanted.run).job(wanted.job)
        await asyncio.to_thread(folders.make)
        await asyncio.to_thread(folders.discard_work)
        level = task.home("").level
        token = self._tokens.issue(owner, task.repository if level else "", level or "read")
        object_ = objects.job(wanted, self._settings)
        secret = objects.secret(wanted, encode_order(task.order(task.home(token))), self._settings)
        with contextlib.suppress(NotFound):  # of a start that was cut off: nobody has read it
            await self._api.delete(SECRETS, name, namespace)
        await self._api.create(secret, WriteOptions(manager=MANAGER))
        with contextlib.suppress(AlreadyExists):
            made = await self._api.create(object_, WriteOptions(manager=MANAGER))
            owned = {"metadata": {"ownerReferences": [owner_reference(made, block=False)]}}
            await self._api.patch(SECRETS, name, namespace, MergePatch(owned), WriteOptions(manager=MANAGER))

    async def _adopted(self, name: str, owner: str) -> None:
        with contextlib.suppress(NotFound, BadOrder, KeyError):
            secret = await self._api.get(SECRETS, name, self._settings.namespace)
            home = decode_order(base64.b64decode(secret["data"][objects.ORDER_FILE])).home
            self._tokens.adopt(home.token, owner, home.repository if home.level else "", home.level or "read")

    async def _followed(self, task: _Task, copied: CopiedLog) -> JobResult:
        wanted = task.wanted
        name = name_of(wanted.run, wanted.job, wanted.attempt)
        loop = asyncio.get_running_loop()
        patience = loop.time() + self._settings.start_s
        while True:
            made, pod = await self._patiently(lambda: self._seen(name))
            if pod is not None and (objects.has_started(pod) or objects.is_over(pod)):
                found = await self._read(task, copied, pod)
                if found is not None:
                    return found
            elif wrong := self._never_started(task, made, pod):
                return wrong
            elif pod is not None and (why := objects.not_started(pod)):
                copied.remark(f"the pod waits: {why}", self._clock.now())
                if loop.time() > patience:
                    await self._suspended(name)
                    return JobResult("Failed", f"the pod did not start within {self._settings.start_s} s: {why}",
                                     failure="runner_system_failure")
            await asyncio.sleep(LOOK_S)

    async def _seen(self, name: str) -> tuple[Obj | None, Obj | None]:
        """The Job and its pod."""
        made: Obj | None = None
        with contextlib.suppress(NotFound):
            made = await self._api.get(JOBS, name, self._settings.namespace)
        pods = await self._api.list(PODS, self._settings.namespace, labels=f"job-name={name}")
        pods.items.sort(key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))
        return made, pods.items[-1] if pods.items else None

    def _never_started(self, task: _Task, made: Obj | None, pod: Obj | None) -> JobResult | None:
        """How a job ends that has no pod, or whose pod never ran."""
        why = objects.gone_wrong(made) if made is not None else ""
        if task.cancel.is_set() and (why or pod is None):
            return _CANCELLED
        if why:
            return JobResult("Failed", f"the Job failed: {why}", failure="runner_system_failure")
        if pod is None and made is None:
            return JobResult("Failed", "the Job was deleted by somebody else", failure="runner_system_failure")
        return None

    async def _stopped_from_outside(self, task: _Task, result: JobResult) -> JobResult:
        """Nobody here cancelled it: that is a failure, and one that a retry may mend."""
        made, _ = await self._patiently(lambda: self._seen(name_of(task.wanted.run, task.wanted.job, task.wanted.attempt)))
        why = objects.gone_wrong(made) if made is not None else ""
        said = "the pod was stopped by somebody else: deleted, evicted, or its node drained"
        return replace(result, phase="Failed", message=f"{said}{f' ({why})' if why else ''}", failure="runner_system_failure")

    async def _read(self, task: _Task, copied: CopiedLog, pod: Obj) -> JobResult | None:
        """What the pod says, to its end. None: the connection broke; look again."""
        namespace, name = self._settings.namespace, pod["metadata"]["name"]
        copied.rewind()
        try:
            async for line in self._api.pod_log(namespace, name, objects.CONTAINER):
                match report.read_line(line):
                    case report.Said(at, text):
                        copied.line(at, text, self._clock.now())
                    case report.Steps(rows):
                        task.progress(rows)
                    case report.Ended(result):
                        return result
                    case report.Alive():
                        pass
        except ApiError as error:
            log.info("log of pod %s: %s", name, error)
            if not _is_away(error):
                copied.remark(f"the pod's log cannot be read: {error}", self._clock.now())
        with contextlib.suppress(NotFound):
            pod = await self._patiently(lambda: self._api.get(PODS, name, namespace))
            end = objects.terminated(pod)
            if end is None and not objects.is_over(pod):
                return None
            found = _of_last_words(end or {})
            return found or (_CANCELLED if task.cancel.is_set() else _without_result(pod, end or {}))
        return None if not task.cancel.is_set() else _CANCELLED

    # --- its end --------------------------------------------------------------------------------------------------------

    async def _stopped_with(self, task: _Task) -> None:
        """A cancelled job's pod is told to stop and has its time of grace: steps with `always()` still run."""
        await task.cancel.wait()
        await self._patiently(lambda: self._suspended(name_of(task.wanted.run, task.wanted.job, task.wanted.attempt)))

    async def _suspended(self, name: str) -> None:
        with contextlib.suppress(NotFound):
            await self._api.patch(JOBS, name, self._settings.namespace, MergePatch({"spec": {"suspend": True}}),
                                  WriteOptions(manager=MANAGER))

    async def _delete(self, name: str) -> None:
        with contextlib.suppress(NotFound, Unavailable):
            await self._api.delete(JOBS, name, self._settings.namespace)

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        wait = 1.0
        while True:
            try:
                return await ask()
            except ApiError as error:
                if not _is_away(error):
                    raise
                log.info("the cluster is away: %s", error)
                await asyncio.sleep(wait)
                wait = min(wait * 2, LONGEST_WAIT_S)


def _is_away(error: ApiError) -> bool:
    """The cluster itself is in trouble, or asks for patience: it will answer later."""
    return isinstance(error, Unavailable) or error.code == 429 or error.code >= 500


_CANCELLED = JobResult("Cancelled", "the job was cancelled")


def _of_last_words(end: Mapping[str, object]) -> JobResult | None:
    """The result from the container's termination message, where its log is gone or has none."""
    words = report.read_line(str(end.get("message") or "").encode())
    return words.result if isinstance(words, report.Ended) else None


def _without_result(pod: Obj, end: Mapping[str, object]) -> JobResult:
    status = pod.get("status") or {}
    said = (end.get("reason") or status.get("reason"), status.get("message"))
    why = ": ".join(str(part) for part in said if part) or "no reason given"
    code = end.get("exitCode")
    return JobResult("Failed", f"the pod ended without a result ({why}{f', exit code {code}' if code is not None else ''})",
                     failure="runner_system_failure")
