"""Runs from a working tree: what happened (or is said to have happened), and the course of each workflow that it starts."""

from __future__ import annotations

import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fairway.ci.called import CallingRunner
from fairway.ci.course import Course
from fairway.ci.environment import RunFacts, github_context
from fairway.ci.events import Event, why_not
from fairway.ci.expressions import Scope
from fairway.ci.github import GithubCourse
from fairway.ci.gitlab.course import GitlabCourse, wanted_legs
from fairway.ci.gitlab.job import GitlabRunner
from fairway.ci.gitlab.local_settings import LocalSettings, read_settings
from fairway.ci.gitlab.plan import Pipeline
from fairway.ci.gitlab.sources import FileTree, Tree
from fairway.ci.gitlab.variables import Variable, Variables
from fairway.ci.materials import gitlab_pipeline
from fairway.ci.needs import reaches
from fairway.ci.plan import InputError, checked_inputs, first_rows
from fairway.ci.runner import LocalRunner
from fairway.ci.snapshot import Snapshot, changed_paths, resolve
from fairway.ci.spec import Workflow, WorkflowError
from fairway.ci.states import JobRow
from fairway.ci.workflow_files import WorkflowFile
from fairway.kube.decision import Reason

_AS_GITHUB = {"merge_request": "pull_request", "merge_request_event": "pull_request", "tag": "push", "web": "workflow_dispatch",
              "api": "repository_dispatch", "trigger": "repository_dispatch"}
_FETCH_S = 10.0
_FETCHED_BYTES = 1 << 20
_TEMPLATES = "https://gitlab.com/gitlab-org/gitlab/-/raw/master/lib/gitlab/ci/templates/"


class NoSuchJob(Exception):
    """The job that was asked for is in no workflow that the event starts."""


@dataclass(frozen=True)
class Wish:
    """What is to be run, as the user says it. `matrix` keeps the legs that have these values; `manual` starts these manual
    jobs; `alone` leaves out what the jobs need; `labels` are further runner labels that this machine answers to."""

    event: str = "push"
    ref: str = ""
    base: str = ""
    jobs: tuple[str, ...] = ()
    alone: bool = False
    matrix: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    component_inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    payload: Mapping[str, Any] = field(default_factory=dict)
    manual: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    home: Path = field(default_factory=Path.home)


@dataclass(frozen=True)
class Prepared:
    """A workflow that runs: its course and the rows that it starts with."""

    path: str
    name: str
    course: Course
    rows: tuple[JobRow, ...]


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
            return self._gitlab(file.path, name, event, wish)
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

    def _gitlab(self, path: str, name: str, event: Event, wish: Wish) -> Prepared | Reason:
        sources = FolderSources(self.root)
        pipeline = pipeline_of(self.root, self.snapshot, path, name, event, wish)
        if pipeline.refused is not None:
            return pipeline.refused
        if not pipeline.legs:
            return Reason("NoJobs", f"the rules leave no job for {event.name} of {event.ref_name}")
        only = wanted_legs(pipeline, wish.jobs, with_needs=not wish.alone) if wish.jobs else None
        if wish.jobs and only is None:
            return Reason("NoSuchJob", f"it has no job {wish.jobs[0]!r} for {event.name} of {event.ref_name}")
        if wish.matrix:
            only = frozenset(leg.id for leg in pipeline.legs if (only is None or leg.id in only) and (
                leg.matrix is None or all(leg.matrix.get(key) == value for key, value in wish.matrix.items())))
        if pipeline.unmet and not wish.alone:
            raise WorkflowError(path, pipeline.unmet)
        chosen = frozenset({*wish.manual, *wish.jobs})
        _check_manual(pipeline, chosen, only)
        course = GitlabCourse(pipeline, GitlabRunner(self.runner.config), name, event.repository, event.sha, event.ref_name,
                              sources, only=only, chosen=chosen, attended=False)
        return Prepared(path, name, course, course.first_rows())


def pipeline_of(root: Path, snapshot: Snapshot, path: str, name: str, event: Event, wish: Wish) -> Pipeline:
    """What the event makes of GitLab's file. Raises `WorkflowError`."""
    settings = read_settings(root, wish.home, event.repository)

    def since(ref: str) -> frozenset[str] | None:
        found = resolve(snapshot.path, ref)
        return changed_paths(snapshot.path, found, event.sha) if found else None

    return gitlab_pipeline(FolderSources(root), event, _given(wish, settings), run=name, path=path, scoped=settings.scoped,
                           inputs=inputs_of(wish, settings), changed_since=since)


def _limited(workflow: Workflow, wish: Wish) -> tuple[JobRow, ...]:
    if not wish.jobs:
        return first_rows(workflow)
    edges = {name: set(job.needs) for name, job in workflow.jobs.items()}
    kept = {name for name in workflow.jobs for job in wish.jobs
            if job in workflow.jobs and (name == job if wish.alone else reaches(edges, job, name))}
    return tuple(row for row in first_rows(workflow) if row.job in kept)


def _given(wish: Wish, settings: LocalSettings) -> Variables:
    said = Variables({**{name: Variable(value) for name, value in wish.variables.items()},
                      **{name: Variable(value, raw=True, masked=True) for name, value in wish.secrets.items()}})
    return said.over(settings.variables)


def inputs_of(wish: Wish, settings: LocalSettings) -> dict[str, Mapping[str, Any]]:
    """What the command line says for a component goes first, then the file's word for it, then what is for all."""
    kept = settings.inputs or {}
    names = {*kept, *wish.component_inputs, ""}
    found: dict[str, Mapping[str, Any]] = {
        name: {**kept.get(name, {}), **wish.component_inputs.get(name, {})} for name in names if name}
    return {**found, "": {**kept.get("", {}), **wish.inputs}}


def _check_manual(pipeline: Pipeline, chosen: frozenset[str], only: frozenset[str] | None) -> None:
    """A job that needs a manual job which nobody starts would never run: say so before anything runs."""
    for leg in pipeline.legs:
        if only is not None and leg.id not in only:
            continue
        for need in leg.needs or ():
            other = pipeline.leg(need.leg)
            if other is not None and other.when == "manual" and not {other.name, other.job.name} & chosen \
                    and not other.allow_failure.always and (only is None or other.id in only):
                raise NoSuchJob(f"job {other.name!r} is manual and {leg.name!r} needs it: start it with "
                                f"--manual '{other.name}'")


# --- files ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FolderSources:
    """The working tree as it is, and the network for what is remote."""

    root: Path

    def own(self) -> Tree:
        return FileTree(self._read, self._names)

    def _read(self, path: str) -> str | None:
        file = (self.root / path).resolve()
        return file.read_text(errors="replace") if file.is_file() and file.is_relative_to(self.root.resolve()) else None

    def _names(self) -> Iterable[str]:
        done = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=self.root,
                              capture_output=True, check=False)
        if done.returncode == 0:
            return [name for name in done.stdout.decode(errors="replace").split("\0") if name]
        return [path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file()]

    def project(self, name: str, ref: str) -> Tree | None:
        return None

    def fetch(self, url: str) -> str | None:
        try:
            with urllib.request.urlopen(url, timeout=_FETCH_S) as answer:  # the user's own file names it
                return str(answer.read(_FETCHED_BYTES).decode(errors="replace"))
        except (OSError, urllib.error.URLError, ValueError):
            return None

    def template(self, name: str) -> str | None:
        return self.fetch(_TEMPLATES + quote(name))
