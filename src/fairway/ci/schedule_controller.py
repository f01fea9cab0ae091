"""The hands of schedules: what is due becomes a PipelineRun of the commit that the branch is at."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from fairway.ci.controller import MANAGER
from fairway.ci.events import Event
from fairway.ci.materials import OpenRepository, default_branch_of
from fairway.ci.schedules import Due, Timer, ring
from fairway.ci.spec import WorkflowError
from fairway.ci.trigger import GITLAB, WORKFLOWS, is_workflow, pipeline_run
from fairway.ci.workflow import decode_workflow
from fairway.git import GitError, GitPort
from fairway.kube.api import MergePatch, WriteOptions
from fairway.kube.cache import Informers
from fairway.kube.decision import Create, Outcome, Reason, carry_out, differs
from fairway.kube.objects import Key, Obj, parse_time, rfc3339, spec_of, status_of
from fairway.kube.reconcile import Watch
from fairway.kube.resources import REPOSITORIES


class ScheduleController:
    """Schedules of the workflows on the default branch, and those of `spec.schedules`. A push asks it to look again."""

    name = "ci-schedule"
    resource = REPOSITORIES
    workers = 1

    def __init__(self, informers: Informers, open_repository: OpenRepository) -> None:
        self._informers = informers
        self._open = open_repository
        self._read: dict[str, tuple[str, tuple[Timer, ...]]] = {}

    def watches(self) -> Sequence[Watch]:
        return ()

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        obj = self._informers.of(REPOSITORIES).get(key)
        if obj is None:
            return Outcome()
        name = str(spec_of(obj).get("name", ""))
        try:
            git = self._open(name)
            timers = (*self._timers(name, git), *_own_timers(obj))
        except GitError as error:
            return Outcome(reasons=(Reason("NoRepository", str(error)),))
        known: dict[str, str] = status_of(obj).get("schedules") or {}
        rung = ring(timers, {timer: parse_time(at) for timer, at in known.items()}, now)
        runs = [run for due in rung.due if (run := _run(name, git, due)) is not None]
        await carry_out(self._informers.api, [Create(run) for run in runs], manager=MANAGER)
        patch: dict[str, Any] = {timer: None for timer in known if timer not in rung.last}
        patch |= {timer: rfc3339(at) for timer, at in rung.last.items()}
        if differs(status_of(obj), {"schedules": patch}):  # after the runs: who is killed in between makes the same ones again
            await self._informers.api.patch(
                REPOSITORIES, key.name, key.namespace, MergePatch({"status": {"schedules": patch}}),
                WriteOptions(manager=MANAGER), subresource="status")
        return Outcome(wake_at=rung.wake_at, reasons=rung.reasons)

    def _timers(self, name: str, git: GitPort) -> tuple[Timer, ...]:
        """Of the workflows on the default branch; read once a commit."""
        head = git.resolve("HEAD")
        sha, timers = self._read.get(name, ("", ()))
        if sha == head:
            return timers
        tree = git.read_tree(head, WORKFLOWS)
        found: list[Timer] = []
        for file in filter(is_workflow, tree.names()):
            path = f"{WORKFLOWS}/{file}"
            try:
                trigger = decode_workflow(tree.read(file).decode(errors="replace"), path).trigger("schedule")
            except WorkflowError:
                continue  # its pushes say what is wrong
            found += [Timer(path, entry.cron, entry.zone) for entry in trigger.schedules] if trigger is not None else []
        self._read[name] = head, tuple(found)
        return tuple(found)


def _own_timers(obj: Obj) -> list[Timer]:
    """`spec.schedules`: GitLab's scheduled pipelines, which have no file of their own."""
    return [
        Timer(str(entry.get("workflow") or GITLAB), str(entry.get("cron", "")), str(entry.get("timezone") or ""),
              str(entry.get("ref") or ""), {str(name): str(value) for name, value in (entry.get("variables") or {}).items()})
        for entry in spec_of(obj).get("schedules") or () if entry.get("active") is not False]


def _run(repository: str, git: GitPort, due: Due) -> Obj | None:
    """None where the branch is not there any more. The name follows from the time: looking twice makes one run."""
    default = default_branch_of(git)
    branch = due.timer.ref.removeprefix("refs/heads/") or default
    try:
        sha = git.resolve(f"refs/heads/{branch}")
    except GitError:
        return None
    event = Event("schedule", repository, f"refs/heads/{branch}", sha, default_branch=default, inputs=due.timer.variables)
    run = pipeline_run(event, due.timer.workflow)
    own = hashlib.sha256(due.timer.key.encode()).hexdigest()[:4]
    run["metadata"]["name"] += f"-{due.at:%Y%m%d%H%M}-{own}"
    run["spec"]["payload"] = {"schedule": due.timer.cron}
    return run
