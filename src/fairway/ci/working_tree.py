"""Runs from a working tree: what happened (or is said to have happened), and the course of each workflow that it starts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fairway.ci.called import CallingRunner
from fairway.ci.environment import RunFacts, github_context
from fairway.ci.events import Event, why_not
from fairway.ci.expressions import Scope
from fairway.ci.github import GithubCourse
from fairway.ci.needs import reaches
from fairway.ci.plan import InputError, checked_inputs, first_rows
from fairway.ci.runner import LocalRunner
from fairway.ci.snapshot import Snapshot, changed_paths, resolve
from fairway.ci.spec import Workflow, WorkflowError
from fairway.ci.states import JobRow
from fairway.ci.wish import Prepared, Wish
from fairway.ci.workflow_files import WorkflowFile
from fairway.kube.decision import Reason

_AS_GITHUB = {"merge_request": "pull_request", "merge_request_event": "pull_request", "tag": "push", "web": "workflow_dispatch",
              "api": "repository_dispatch", "trigger": "repository_dispatch"}


def event_of(snapshot: Snapshot, wish: Wish) -> Event:
    """What happened. A push moved the branch from its last commit; a pull request starts at its base."""
    name = _AS_GITHUB.get(wish.event, wish.event)
    ref = wish.ref or (f"refs/tags/{snapshot.branch}" if wish.event == "tag" else f"refs/heads/{snapshot.branch}")
    if not ref.startswith("refs/"):
        ref = f"refs/tags/{ref}" if wish.event == "tag" else f"refs/heads/{ref}"
    before, changed = snapshot.before, snapshot.changed
    payload: dict[str, Any] = dict(wish.payload)
    base = wish.base or snapshot.default_branch
    if wish.base or name.startswith("pull_request"):
        found = resolve(snapshot.path, base)
        if found:
            before = found
            changed = changed_paths(snapshot.path, found, snapshot.sha, since_fork=name.startswith("pull_request"))
    if name.startswith("pull_request"):
        head = ref.removeprefix("refs/heads/")
        payload = {"action": "synchronize", "number": 1.0, "pull_request": {
            "number": 1.0, "title": snapshot.message.partition("\n")[0], "draft": False,
            "head": {"ref": head, "sha": snapshot.sha, "repo": {"full_name": snapshot.repository}},
            "base": {"ref": base, "sha": before, "repo": {"full_name": snapshot.repository}}}, **payload}
        ref = "refs/pull/1/merge"
    return Event(
        wish.event if wish.event in ("web", "api", "trigger") else name, snapshot.repository, ref, snapshot.sha, before=before,
        actor=snapshot.author, email=snapshot.email, message=snapshot.message, default_branch=snapshot.default_branch,
        committed_at=snapshot.committed_at, changed=changed, inputs=wish.inputs, payload=payload)


def github_event(event: Event) -> Event:
    return replace(event, name=_AS_GITHUB.get(event.name, event.name))


# --- one workflow ---------------------------------------------------------------------------------------------------


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
