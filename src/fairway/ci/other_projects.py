"""Pipelines and artifacts of other projects, through the API: a downstream pipeline is a PipelineRun like any other."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

from fairway.ci.course import JobResult
from fairway.ci.folders import RunFolders
from fairway.ci.gitlab.projects import Downstream, NoArtifacts
from fairway.ci.retention import age_of
from fairway.ci.states import FINISHED
from fairway.ci.trigger import GITLAB, NAMESPACE
from fairway.kube.api import MergePatch, WriteOptions
from fairway.kube.cache import Informers
from fairway.kube.decision import Create, carry_out
from fairway.kube.objects import Key, Obj, meta_of, spec_of, status_of
from fairway.kube.resources import PIPELINE_RUNS

DEEPEST = 10
"""Pipelines that start each other in other projects: a circle of two ends here."""


class PlatformProjects:
    def __init__(self, informers: Informers, root: Path, *, manager: str) -> None:
        self._informers = informers
        self._root = root
        self._manager = manager
        self._looking: set[asyncio.Event] = set()
        informers.of(PIPELINE_RUNS).on_change(lambda old, new: self._changed())

    def _changed(self) -> None:
        for event in self._looking:
            event.set()

    async def start(self, downstream: Downstream, cancel: asyncio.Event) -> JobResult:
        """The run's name follows from who starts it: a platform that was killed finds the run that it started."""
        depth = self._depth(downstream.by) + 1
        if depth > DEEPEST:
            return _not_created(f"pipelines start each other more than {DEEPEST} deep")
        name = _name(downstream)
        spec: dict[str, Any] = {
            "repository": downstream.project, "workflow": GITLAB, "event": "pipeline", "inputs": dict(downstream.variables),
            "upstream": {"run": downstream.by, "job": downstream.job, "depth": depth}}
        if downstream.branch:
            spec["ref"] = f"refs/heads/{downstream.branch}"
        await carry_out(self._informers.api, [Create({
            "apiVersion": PIPELINE_RUNS.api_version, "kind": PIPELINE_RUNS.kind,
            "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})], manager=self._manager)
        run = await self._until_over(name, cancel, waits=downstream.waits)
        if run is None:
            return JobResult("Failed", f"{name} was deleted", failure="script_failure")
        phase, message = status_of(run).get("phase"), str(status_of(run).get("message", ""))
        if phase == "Failed" and not status_of(run).get("jobs"):
            return _not_created(message)
        if not downstream.waits or phase == "Succeeded":
            kept = f"; not handed on, as secrets are in them: {', '.join(downstream.withheld)}" if downstream.withheld else ""
            return JobResult("Succeeded", f"downstream pipeline {name}{kept}")
        return JobResult("Cancelled" if phase == "Cancelled" else "Failed", f"downstream pipeline {name}: {message}",
                         failure="script_failure" if phase == "Failed" else "")

    async def _until_over(self, name: str, cancel: asyncio.Event, *, waits: bool) -> Obj | None:
        """The run once it is over, or (without `waits`) has begun; None where it is deleted. It is cancelled with us."""
        cache, changed, was_there = self._informers.of(PIPELINE_RUNS), asyncio.Event(), False
        self._looking.add(changed)
        cancelled = asyncio.ensure_future(cancel.wait())
        try:
            while True:
                changed.clear()
                run = cache.get(Key(NAMESPACE, name))
                if run is None and was_there:
                    return None
                was_there = was_there or run is not None
                phase = status_of(run).get("phase") if run is not None else None
                if phase in FINISHED or (phase and not waits):
                    return run
                if cancelled.done() and run is not None and not spec_of(run).get("cancel"):
                    await self._informers.api.patch(PIPELINE_RUNS, name, NAMESPACE, MergePatch({"spec": {"cancel": True}}),
                                                    WriteOptions(manager=self._manager))
                look = asyncio.ensure_future(changed.wait())
                await asyncio.wait({look} if cancelled.done() else {look, cancelled}, return_when=asyncio.FIRST_COMPLETED)
                look.cancel()
        finally:
            cancelled.cancel()
            self._looking.discard(changed)

    def _depth(self, run: str) -> int:
        obj = self._informers.of(PIPELINE_RUNS).get(Key(NAMESPACE, run))
        return int((spec_of(obj).get("upstream") or {}).get("depth", 0)) if obj is not None else 0

    def artifacts(self, project: str, ref: str, job: str) -> Path:
        runs = [run for run in self._informers.of(PIPELINE_RUNS).list(NAMESPACE)
                if spec_of(run).get("repository") == project and spec_of(run).get("workflow") == GITLAB
                and status_of(run).get("phase") == "Succeeded"
                and spec_of(run).get("ref") in (f"refs/heads/{ref}", f"refs/tags/{ref}")]
        for run in sorted(runs, key=age_of, reverse=True):
            for entry in status_of(run).get("jobs") or ():
                if job in (entry["name"], entry.get("job")) and entry["phase"] == "Succeeded":
                    path = RunFolders(self._root, meta_of(run)["name"]).artifacts / f"{entry['id']}.tar"
                    if path.is_file():
                        return path
                    raise NoArtifacts(f"job {job!r} of {project} at {ref} kept no artifacts, or they have expired "
                                      f"(pipeline {meta_of(run)['name']})")
        raise NoArtifacts(f"{project} has no good pipeline of {ref} with a job {job!r}")


def _not_created(why: str) -> JobResult:
    return JobResult("Failed", f"downstream pipeline can not be created: {why}", failure="script_failure")


def _name(downstream: Downstream) -> str:
    own = hashlib.sha256(f"{downstream.by} {downstream.job} {downstream.attempt}".encode()).hexdigest()[:8]
    return f"{downstream.project.replace('/', '-').lower()}-downstream-{own}"
