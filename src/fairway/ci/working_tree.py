"""Runs from a working tree: the course of each workflow that an event starts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from fairway.ci.called import CallingRunner
from fairway.ci.environment import RunFacts, github_context
from fairway.ci.events import Event, why_not
from fairway.ci.expressions import Scope
from fairway.ci.github import GithubCourse
from fairway.ci.needs import reaches
from fairway.ci.plan import InputError, checked_inputs, first_rows
from fairway.ci.runner import LocalRunner
from fairway.ci.said_event import event_of, github_event
from fairway.ci.snapshot import Snapshot
from fairway.ci.spec import Workflow, WorkflowError
from fairway.ci.states import JobRow
from fairway.ci.wish import Prepared, Wish
from fairway.ci.workflow_files import WorkflowFile
from fairway.kube.decision import Reason


@dataclass(frozen=True)
class Bench:
    """What runs from a working tree share."""

    root: Path
    snapshot: Snapshot
    runner: LocalRunner

    def prepared(self, file: WorkflowFile, name: str, wish: Wish) -> Prepared | Reason:
        """The run, or why there is none. Raises `WorkflowError`, `InputError`, `NoSuchJob`."""
        event = event_of(self.snapshot, wish)
        if file.is_gitlab:
            from fairway.ci.gitlab.local_tree import prepared_pipeline  # not loaded where only GitHub's dialect is used

            return prepared_pipeline(self.root, self.snapshot, self.runner, file.path, name, event, wish)
        if file.workflow is None:
            raise WorkflowError(file.path, ()) from None
        return self._github(file.workflow, name, github_event(event), wish)

    def _github(self, workflow: Workflow, name: str, event: Event, wish: Wish) -> Prepared | Reason:
        refused = why_not(workflow, event)
        if refused is not None:
            return refused
        unknown = [job for job in wish.jobs if job not in workflow.jobs]
        if wish.jobs and len(unknown) == len(wish.jobs):
            return Reason("NoSuchJob", f"it has no job {unknown[0]!r}")
        facts = RunFacts(name)
        trigger = workflow.trigger(event.name)
        if event.name == "schedule" and trigger is not None and trigger.schedules:
            event = replace(event, payload={"schedule": trigger.schedules[0].cron, **event.payload})
        inputs = {}
        if trigger is not None and event.name in ("workflow_dispatch", "workflow_call"):
            inputs = checked_inputs(trigger.inputs, event.inputs, Scope({
                "github": github_context(event, workflow, facts), "inputs": {}, "vars": dict(wish.variables)}))
        elif event.inputs:
            raise InputError(f"{event.name} has no inputs; they belong to workflow_dispatch")
        course = GithubCourse(
            workflow, event, CallingRunner(self.runner), facts, inputs=inputs, variables=wish.variables, secrets=wish.secrets,
            labels=wish.labels, read_file=self.snapshot.read_file, only_matrix=wish.matrix)
        return Prepared(workflow.path, name, course, _limited(workflow, wish))


def _limited(workflow: Workflow, wish: Wish) -> tuple[JobRow, ...]:
    if not wish.jobs:
        return first_rows(workflow)
    edges = {name: set(job.needs) for name, job in workflow.jobs.items()}
    kept = {name for name in workflow.jobs for job in wish.jobs
            if job in workflow.jobs and (name == job if wish.alone else reaches(edges, job, name))}
    return tuple(row for row in first_rows(workflow) if row.job in kept)
