"""The hands of CI: pushes become PipelineRuns, PipelineRuns become running jobs.

What a job does is in the API before it is done: a leg stands as Running before its process starts, and its result is in
the status before the run goes on. A daemon that is killed finds legs that stand as Running with nobody behind them: what
is left of them is stopped, and they run again from their start. Jobs in pods go on meanwhile, and are followed again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from fairway.ci.cache_room import make_room
from fairway.ci.called import CallingRunner
from fairway.ci.course import JobResult, Look, RunDecision
from fairway.ci.environments import Protection, decode_protection
from fairway.ci.expressions import ExpressionError
from fairway.ci.folders import RunFolders
from fairway.ci.gitlab.job import GitlabRunner
from fairway.ci.materials import (
    Hands,
    Material,
    OpenRepository,
    PipelineSettings,
    answers_of,
    material_of,
    read_push,
    runs_that_follow,
)
from fairway.ci.other_projects import PlatformProjects
from fairway.ci.plan import InputError
from fairway.ci.pods.runner import PodRunner
from fairway.ci.progress import concluded
from fairway.ci.retention import age_of, expired_artifacts, is_outdated, number_of, older_ones
from fairway.ci.runner import LocalRunner
from fairway.ci.spec import WorkflowError
from fairway.ci.states import FINISHED, JobRow, StepRow, from_status, to_status
from fairway.ci.trigger import NAMESPACE, moves, refs_patch, runs_for
from fairway.git import Commit, GitError
from fairway.kube.api import MergePatch, WriteOptions
from fairway.kube.cache import Informers
from fairway.kube.decision import Create, Delete, Outcome, Reason, carry_out, differs
from fairway.kube.objects import (
    Key,
    Obj,
    annotations_of,
    key_of,
    meta_of,
    rfc3339_micro,
    spec_of,
    status_of,
    uid_of,
)
from fairway.kube.reconcile import Watch
from fairway.kube.resources import ENVIRONMENTS, PIPELINE_RUNS, REPOSITORIES

MANAGER = "fairway-ci"
log = logging.getLogger("fairway.ci")


class TriggerController:
    """Pushes to PipelineRuns. Whoever sees a push calls `look_again` of its loop; the resync finds the rest."""

    name = "ci-trigger"
    resource = REPOSITORIES
    workers = 2

    def __init__(self, informers: Informers, open_repository: OpenRepository) -> None:
        self._informers = informers
        self._open = open_repository

    def watches(self) -> Sequence[Watch]:
        return ()

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        obj = self._informers.of(REPOSITORIES).get(key)
        if obj is None:
            return Outcome()
        name = str(spec_of(obj).get("name", ""))
        try:
            git = self._open(name)
            refs = git.refs()
        except GitError as error:
            return Outcome(reasons=(Reason("NoRepository", str(error)),))
        handled: Mapping[str, str] = status_of(obj).get("refs") or {}
        reasons: list[Reason] = []
        for move in moves(handled, refs):
            if not move.after:
                continue
            pushed = read_push(git, name, move.ref, move.before, move.after, self._open)
            runs, why = runs_for(pushed, now)
            reasons += why
            await carry_out(self._informers.api, [Create(run) for run in runs], manager=MANAGER)
        patch = refs_patch(handled, refs)
        if patch:
            await self._informers.api.patch(
                REPOSITORIES, key.name, key.namespace, MergePatch({"status": {"refs": patch}}),
                WriteOptions(manager=MANAGER), subresource="status")
        return Outcome(reasons=tuple(reasons))


@dataclass
class _Live:
    """A leg that runs in this process, or ran and is not in the status yet."""

    task: asyncio.Task[JobResult]
    cancel: asyncio.Event
    works: bool = True
    """False for a leg that only waits for a pipeline elsewhere: it takes no place from that pipeline's jobs."""
    steps: tuple[StepRow, ...] = ()


class PipelineController:
    """PipelineRuns to running jobs.

    The platform sets `look_again` to that of the controller's loop before it starts it: a job that gets on asks for the
    next pass through it.
    """

    name = "ci-pipeline"
    resource = PIPELINE_RUNS
    workers = 1  # passes take milliseconds; one after the other, no two runs take the same place or group

    def __init__(self, informers: Informers, open_repository: OpenRepository, runner: LocalRunner,
                 settings: PipelineSettings | None = None, pods: PodRunner | None = None) -> None:
        """With `pods` every job is a Job of the cluster, else processes of this machine."""
        self.look_again: Callable[[Key], None] | None = None
        self._informers = informers
        self._open = open_repository
        self._root = runner.config.root
        self._runner = CallingRunner(runner if pods is None else pods)
        self._hands = Hands(self._runner, GitlabRunner(runner.config, elsewhere=None if pods is None else pods.run_leg,
                                                        projects=PlatformProjects(informers, self._root, manager=MANAGER)))
        self._environments = informers.of(ENVIRONMENTS)
        self._settings = settings or PipelineSettings()
        self._live: dict[tuple[Key, str], _Live] = {}
        self._materials: dict[str, Material] = {}
        self._waiting: set[Key] = set()
        self._closed = False

    def watches(self) -> Sequence[Watch]:
        return ()

    async def close(self) -> None:
        """Stop every job at once. Their legs stay Running in the status: the next start runs them again."""
        self._closed = True
        tasks = [live.task for live in self._live.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- a pass ---------------------------------------------------------------------------------------------------

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        obj = self._informers.of(PIPELINE_RUNS).get(key)
        if self._closed:
            return Outcome()
        if obj is None or meta_of(obj).get("deletionTimestamp"):
            await self._abandon(key)
            return Outcome()
        if status_of(obj).get("phase") in FINISHED and not _reopened(obj):
            self._forget(key)
            await self._make_room(key, obj)
            return Outcome(wake_at=await self._expire(key, obj, now))
        try:
            material = self._material(obj)
        except (WorkflowError, GitError, InputError, ExpressionError) as error:
            await self._refuse(obj, str(error), now)
            self._wake_waiting()
            return Outcome(reasons=(Reason("InvalidWorkflow", str(error)),))
        if material.refused and not status_of(obj).get("jobs"):
            await self._refuse(obj, material.refused, now)
            return Outcome(reasons=(Reason("NoJobs", material.refused),))
        held = self._held_by(key, obj, material)
        if held is not None and not status_of(obj).get("jobs") and not spec_of(obj).get("cancel"):
            self._waiting.add(key)
            return await self._hold(obj, material, held)
        done = {leg: live for (run, leg), live in self._live.items() if run == key and live.task.done()}
        rows = self._rows(key, obj, material, now)
        if self._runner.outlives:
            self._follow_again(key, material, rows)
        decision = material.course.decide(self._look(key, obj, material, rows), now)
        await self._clear_lost(key, rows)
        if decision.phase in FINISHED:
            with contextlib.suppress(GitError):  # before the end is written: who is killed in between makes them again
                follow = runs_that_follow(obj, material, decision.phase, self._open, now)
                await carry_out(self._informers.api, [Create(run) for run in follow], manager=MANAGER)
        await self._write(obj, material, decision, now)
        for leg in done:
            del self._live[key, leg]
        self._act(key, material, decision)
        if any(reason.code in ("WaitingForRunner", "WaitingForConcurrencyGroup") for reason in decision.reasons):
            self._waiting.add(key)
        if done or decision.phase in FINISHED:
            self._wake_waiting()
        return Outcome(wake_at=decision.wake_at, reasons=decision.reasons)

    def _rows(self, key: Key, obj: Obj, material: Material, now: datetime) -> tuple[JobRow, ...]:
        """The rows of the status with what this process knows better."""
        entries = status_of(obj).get("jobs")
        if not entries:
            return material.course.first_rows()
        rows = []
        for row in map(from_status, entries):
            live = self._live.get((key, row.id))
            if live is None or row.phase != "Running":
                rows.append(row)
            elif live.task.done():
                rows.append(concluded(row, _result_of(live.task), now))
            else:
                rows.append(replace(row, steps=live.steps))
        return tuple(rows)

    def _look(self, key: Key, obj: Obj, material: Material, rows: tuple[JobRow, ...]) -> Look:
        running = sum(1 for live in self._live.values() if live.works and not live.task.done())
        return Look(
            rows,
            alive=frozenset(leg for (run, leg), live in self._live.items() if run == key and not live.task.done()),
            cancel=bool(spec_of(obj).get("cancel")),
            free=self._settings.places - running,
            busy_groups=self._busy_groups(key, material.repository),
            answers=answers_of(obj),
            overtaken=material.may_be_overtaken and self._is_overtaken(key, obj, material),
        )

    def _is_overtaken(self, key: Key, obj: Obj, material: Material) -> bool:
        """Whether a newer run of the same file and branch has come."""
        return not material.ref.startswith("refs/tags/") and any(
            spec_of(run).get("workflow") == spec_of(obj).get("workflow") and spec_of(run).get("ref") == material.ref
            and age_of(run) > age_of(obj) for run in self._informers.of(PIPELINE_RUNS).list(key.namespace)
            if spec_of(run).get("repository") == material.repository)

    def _protections(self, repository: str) -> dict[str, Protection]:
        """Of the repository's environments, by lower-case name; an `Environment` without a repository is for all."""
        found = [obj for obj in self._environments.list(NAMESPACE) if spec_of(obj).get("repository") in (None, "", repository)]
        return {protection.name.casefold(): protection for protection in map(decode_protection, found)}

    def _busy_groups(self, key: Key, repository: str) -> frozenset[str]:
        """Concurrency groups of jobs that run in other runs of the repository."""
        return frozenset(
            str(job["concurrencyGroup"])
            for run in self._others(key, repository)
            for job in status_of(run).get("jobs") or ()
            if job.get("concurrencyGroup") and job["phase"] == "Running"
        )

    def _others(self, key: Key, repository: str) -> list[Obj]:
        return [run for run in self._informers.of(PIPELINE_RUNS).list(key.namespace)
                if key_of(run) != key and spec_of(run).get("repository") == repository
                and status_of(run).get("phase") not in FINISHED]

    def _act(self, key: Key, material: Material, decision: RunDecision) -> None:
        for leg in decision.cancel:
            self._live[key, leg].cancel.set()
        for leg in decision.start:
            row = next(row for row in decision.rows if row.id == leg)
            self._start(key, material, row, decision.rows)

    def _start(self, key: Key, material: Material, row: JobRow, rows: tuple[JobRow, ...]) -> None:
        cancel = asyncio.Event()

        def progress(steps: tuple[StepRow, ...]) -> None:
            live.steps = steps
            self._again(key)

        work = material.course.run(row, rows, progress, cancel)
        live = _Live(asyncio.create_task(work, name=f"ci {key.name} {row.id}"), cancel, works=not material.only_waits(row))
        live.task.add_done_callback(lambda task: self._again(key))
        self._live[key, row.id] = live

    def _follow_again(self, key: Key, material: Material, rows: tuple[JobRow, ...]) -> None:
        """Jobs that went on while nobody here ran: the same attempt, from where it is now."""
        for row in rows:
            if row.phase == "Running" and (key, row.id) not in self._live:
                self._start(key, material, row, rows)

    def _again(self, key: Key) -> None:
        if self.look_again is None:
            raise RuntimeError("PipelineController.look_again is not set: give it look_again of the controller's loop")
        self.look_again(key)

    async def _clear_lost(self, key: Key, rows: tuple[JobRow, ...]) -> None:
        """End what a killed daemon left of legs that nobody runs here."""
        for row in rows:
            if row.phase == "Running" and (key, row.id) not in self._live:
                await self._runner.clear(key.name, row.id)

    def _wake_waiting(self) -> None:
        """A place or a group may be free: runs that wait for one look again."""
        waiting, self._waiting = self._waiting, set()
        for other in waiting:
            self._again(other)

    async def _abandon(self, key: Key) -> None:
        """The run was deleted: its jobs stop, and then its logs and artifacts go too."""
        for (run, _), live in list(self._live.items()):
            if run == key:
                live.task.cancel()
        self._forget(key)
        self._wake_waiting()
        if not any(run == key for run, _ in self._live):
            await self._runner.discard(key.name)

    async def _make_room(self, key: Key, obj: Obj) -> None:
        if is_outdated(obj, self._informers.of(PIPELINE_RUNS).list(key.namespace)):
            gone = Delete(PIPELINE_RUNS, key.namespace, key.name, uid_of(obj))
            await carry_out(self._informers.api, [gone], manager=MANAGER)

    async def _expire(self, key: Key, obj: Obj, now: datetime) -> datetime | None:
        """Remove artifacts that are past their time; when to look again."""
        if not status_of(obj).get("artifacts"):
            return None
        expiry = expired_artifacts(obj, self._informers.of(PIPELINE_RUNS).list(key.namespace), now)
        if expiry.gone:
            await asyncio.to_thread(RunFolders(self._root, key.name).drop, expiry.gone)
            await self._patch(obj, {"artifacts": [
                {**entry, "expired": True} if entry["name"] in expiry.gone else entry
                for entry in status_of(obj)["artifacts"]]})
        return expiry.wake_at

    def _forget(self, key: Key) -> None:
        for run, leg in [entry for entry in self._live if entry[0] == key]:
            if self._live[run, leg].task.done():
                del self._live[run, leg]
        self._waiting.discard(key)

    # --- concurrency ----------------------------------------------------------------------------------------------

    def _held_by(self, key: Key, obj: Obj, material: Material) -> Obj | None:
        """The run of the same concurrency group that comes first, if any."""
        if not material.group:
            return None
        for other in self._others(key, material.repository):
            if self._group_of(other) == material.group and (age_of(other) < age_of(obj) or status_of(other).get("jobs")):
                return other
        return None

    def _group_of(self, run: Obj) -> str:
        try:
            return self._material(run).group
        except (WorkflowError, GitError, InputError, ExpressionError):
            return ""  # its own pass is about to refuse it

    async def _hold(self, obj: Obj, material: Material, held: Obj) -> Outcome:
        """One run of a group waits; a newer one takes its place. cancel-in-progress also ends the running one."""
        cancelled: list[Obj] = []
        key = key_of(obj)
        for other in self._others(key, material.repository):
            started = bool(status_of(other).get("jobs"))
            if self._group_of(other) == material.group and age_of(other) < age_of(obj) and (
                    (not started and not material.queues) or (started and material.cancels_older)):
                cancelled.append(other)
        for other in cancelled:
            if not spec_of(other).get("cancel"):
                await self._informers.api.patch(PIPELINE_RUNS, key_of(other).name, key_of(other).namespace,
                                                MergePatch({"spec": {"cancel": True}}), WriteOptions(manager=MANAGER))
        if not status_of(obj).get("phase"):
            await self._patch(obj, {"phase": "Pending", "commit": _commit_status(obj, material.commit)})
        return Outcome(reasons=(Reason("WaitingForConcurrencyGroup", f"{material.group!r} is held by "
                                       f"{key_of(held).name}"),))

    # --- material -------------------------------------------------------------------------------------------------

    def _material(self, obj: Obj) -> Material:
        uid = str(meta_of(obj).get("uid", ""))
        found = self._materials.get(uid)
        if found is None:
            found = self._materials[uid] = material_of(
                obj, self._open, self._settings, self._hands, self._number(obj),
                lambda: self._protections(str(spec_of(obj).get("repository"))))
            while len(self._materials) > 256:
                self._materials.pop(next(iter(self._materials)))
        return found

    def _number(self, obj: Obj) -> int:
        return number_of(obj, older_ones(obj, self._informers.of(PIPELINE_RUNS).list(key_of(obj).namespace)))

    # --- status ---------------------------------------------------------------------------------------------------

    async def _write(self, obj: Obj, material: Material, decision: RunDecision, now: datetime) -> None:
        finished = decision.phase in FINISHED
        status: dict[str, Any] = {
            "phase": "Failed" if decision.phase == "Skipped" else decision.phase,
            "number": material.number,
            "jobs": [to_status(row) for row in decision.rows],
            "images": _images(decision.rows),
            "commit": _commit_status(obj, material.commit),
            "startedAt": status_of(obj).get("startedAt") or rfc3339_micro(now),
        }
        if finished:
            status["finishedAt"] = rfc3339_micro(now)
            status["artifacts"] = await asyncio.to_thread(RunFolders(self._root, key_of(obj).name).kept)
            await asyncio.to_thread(make_room, self._root / "cache", material.repository, now)
        elif status_of(obj).get("finishedAt"):
            status["finishedAt"] = None  # a manual job was started after the end
        if decision.message or finished:
            status["message"] = decision.message or "all jobs are done"
        await self._patch(obj, status)

    async def _refuse(self, obj: Obj, message: str, now: datetime) -> None:
        await self._patch(obj, {"phase": "Failed", "message": message, "startedAt": rfc3339_micro(now),
                                "finishedAt": rfc3339_micro(now)})

    async def _patch(self, obj: Obj, status: dict[str, Any]) -> None:
        if not differs(status_of(obj), status):
            return
        key = key_of(obj)
        await self._informers.api.patch(PIPELINE_RUNS, key.name, key.namespace, MergePatch({"status": status}),
                                        WriteOptions(manager=MANAGER), subresource="status")


def _reopened(obj: Obj) -> bool:
    """Whether somebody has started a manual job that waited when the run ended."""
    answers = answers_of(obj)
    return any(job["phase"] == "Waiting" and (job["id"] in answers or str(job.get("environment", "")).casefold() in answers)
               for job in status_of(obj).get("jobs") or ())


def _result_of(task: asyncio.Task[JobResult]) -> JobResult:
    """A runner that raised has a defect: the job fails and says so."""
    if task.cancelled():
        return JobResult("Cancelled", "the run was deleted")
    error = task.exception()
    if error is not None:
        log.error("job runner failed", exc_info=error)
        return JobResult("Failed", f"the runner failed: {type(error).__name__}: {error}")
    return task.result()


def _images(rows: tuple[JobRow, ...]) -> list[dict[str, str]]:
    """Each image once, as the last job left it."""
    found = {image["name"]: dict(image) for row in rows for image in row.images}
    return list(found.values())


def _commit_status(obj: Obj, commit: Commit) -> dict[str, str]:
    notes = annotations_of(obj)
    found = {
        "message": commit.subject,
        "author": commit.author.name,
        "committedAt": rfc3339_micro(commit.committed_at),
    }
    if notes.get("fairway.dev/pushed-at"):
        found["pushedAt"] = notes["fairway.dev/pushed-at"]
    return found
