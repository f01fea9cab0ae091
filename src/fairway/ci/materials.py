"""What runs are made of, read from git once: the push and the workflows that it may start, and the course of each run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from fairway.ci.calls import FOREIGN, ReadFile, check_calls
from fairway.ci.course import Answer, Course
from fairway.ci.environment import RunFacts, github_context
from fairway.ci.environments import Protection
from fairway.ci.events import SKIP_MARKS, Event, why_not
from fairway.ci.expressions import Scope, Value
from fairway.ci.following import Ended, followers
from fairway.ci.github import GithubCourse
from fairway.ci.gitlab.course import GitlabCourse
from fairway.ci.gitlab.job import GitlabRunner
from fairway.ci.gitlab.making import gitlab_pipeline, given_variables
from fairway.ci.gitlab.sources import FileTree, Tree
from fairway.ci.gitlab.variables import Variables
from fairway.ci.plan import InputError, checked_inputs, concurrency_of
from fairway.ci.runner import JobRunner
from fairway.ci.spec import Workflow, WorkflowError
from fairway.ci.states import JobRow, Phase
from fairway.ci.trigger import GITLAB, WORKFLOWS, Pushed, is_gitlab, is_workflow
from fairway.ci.workflow import decode_workflow
from fairway.git import Commit, GitError, GitPort, UnknownRevision
from fairway.kube.decision import Reason
from fairway.kube.objects import Obj, meta_of, rfc3339, spec_of

OpenRepository = Callable[[str], GitPort]
"""From a repository's name to its git port; `GitError` where there is none."""


@dataclass(frozen=True)
class PipelineSettings:
    """`secrets` and `variables` give those of a repository, `environment_secrets` what an environment adds. `places` jobs
    run at a time, over all runs."""

    secrets: Callable[[str], Mapping[str, str]] = lambda repository: {}
    variables: Callable[[str], Mapping[str, str]] = lambda repository: {}
    environment_secrets: Callable[[str, str], Mapping[str, str]] = lambda repository, environment: {}
    server_url: str = "https://github.com"
    labels: tuple[str, ...] = ()
    places: int = field(default_factory=lambda: max(os.cpu_count() or 1, 2))


@dataclass(frozen=True)
class Material:
    """The same for all of a run's life, so it is read once. `group` is its concurrency group, "" for none."""

    course: Course
    repository: str
    ref: str
    commit: Commit
    number: int
    group: str = ""
    cancels_older: bool = False
    queues: bool = False
    refused: str = ""

    @property
    def may_be_overtaken(self) -> bool:
        return isinstance(self.course, GitlabCourse)

    def only_waits(self, row: JobRow) -> bool:
        """Whether the leg is a pipeline of another project: its work is done there."""
        leg = self.course.pipeline.leg(row.id) if isinstance(self.course, GitlabCourse) else None
        return leg is not None and leg.job.trigger is not None and bool(leg.job.trigger.project)


# --- pushes ---------------------------------------------------------------------------------------------------------


def read_push(git: GitPort, repository: str, ref: str, before: str, after: str, open_repository: OpenRepository) -> Pushed:
    """What a push of `ref` to `after` carries: commit, changed paths, and which workflows it starts."""
    commit = git.log(after, limit=1)[0]
    event = Event(
        "push", repository, ref, after, before=before, actor=commit.author.name, message=commit.message,
        default_branch=default_branch_of(git), changed=_changed(git, before, after, commit),
        committed_at=rfc3339(commit.committed_at))
    found: dict[str, Reason | None] = {}
    tree = git.read_tree(after, WORKFLOWS)
    for name in tree.names():
        if is_workflow(name):
            path = f"{WORKFLOWS}/{name}"
            try:
                found[path] = why_not(decode_workflow(tree.read(name).decode(errors="replace"), path), event)
            except WorkflowError:
                found[path] = None  # the run fails with the mistakes
    if git.read_tree(after).is_file(GITLAB):
        found[GITLAB] = _gitlab_why_not(git, event, open_repository)
    return Pushed(event, found, commit.committed_at)


def _gitlab_why_not(git: GitPort, event: Event, open_repository: OpenRepository) -> Reason | None:
    if any(mark in event.message for mark in SKIP_MARKS[:2]):
        return Reason("SkipMark", "the commit message asks to skip CI")
    try:
        pipeline = gitlab_pipeline(GitSources(git, event.sha, open_repository), event, Variables())
    except WorkflowError:
        return None
    if pipeline.refused is not None:
        return pipeline.refused
    return None if pipeline.legs else Reason("NoJobs", f"{GITLAB}: the rules leave no job for {event.ref}")


def _changed(git: GitPort, before: str, after: str, commit: Commit) -> frozenset[str] | None:
    """Of a new branch: against the parent of its head. None where the old commit is gone (a rewritten branch)."""
    try:
        return git.changed_paths(before or next(iter(commit.parents), ""), after)
    except UnknownRevision:
        return None


def default_branch_of(git: GitPort) -> str:
    return str(getattr(git, "default_branch", "main"))


# --- GitLab ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GitSources:
    """Files of the commit under test, and of other repositories of the platform. Nothing is fetched."""

    git: GitPort
    sha: str
    open_repository: OpenRepository

    def own(self) -> Tree:
        return _tree(self.git, self.sha)

    def project(self, name: str, ref: str) -> Tree | None:
        try:
            git = self.open_repository(name)
            return _tree(git, git.resolve(ref or "HEAD"))
        except GitError:
            return None

    def fetch(self, url: str) -> str | None:
        return None

    def template(self, name: str) -> str | None:
        return None


def _tree(git: GitPort, sha: str) -> Tree:
    tree = git.read_tree(sha)
    return FileTree(lambda path: tree.read(path).decode(errors="replace") if tree.is_file(path) else None, lambda: tree)


# --- runs -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hands:
    """Who runs the jobs of each dialect."""

    github: JobRunner
    gitlab: GitlabRunner


def material_of(obj: Obj, open_repository: OpenRepository, settings: PipelineSettings, hands: Hands, number: int,
                protections: Callable[[], Mapping[str, Protection]]) -> Material:
    """Raises `WorkflowError`, `GitError`, `InputError`, `ExpressionError`."""
    spec = spec_of(obj)
    repository, path = str(spec["repository"]), str(spec["workflow"])
    git = open_repository(repository)
    sha = git.resolve(str(spec.get("sha") or spec.get("ref") or "HEAD"))
    tree = git.read_tree(sha)
    if not tree.is_file(path):
        raise GitError(f"{path} does not exist in {repository}@{sha[:7]}")
    commit = git.log(sha, limit=1)[0]
    default_branch = default_branch_of(git)
    before = str(spec.get("before") or "")
    event = Event(
        str(spec.get("event") or "push"), repository, str(spec.get("ref") or f"refs/heads/{default_branch}"), sha,
        before=before, actor=str(spec.get("actor") or commit.author.name), message=commit.message,
        default_branch=default_branch, committed_at=rfc3339(commit.committed_at), inputs=spec.get("inputs") or {},
        payload=spec.get("payload") or {}, email=commit.author.email)
    if is_gitlab(path):
        event = replace(event, changed=_changed(git, before, sha, commit))
        return _gitlab_material(obj, event, commit, git, open_repository, settings, hands.gitlab, number)
    workflow = decode_workflow(tree.read(path).decode(errors="replace"), path)
    if workflow.trigger(event.name) is None:
        raise InputError(f"{path} has no `{event.name}` below `on`: it runs on {', '.join(t.event for t in workflow.on)}")
    read = called_files(git, sha, open_repository)
    check_calls(workflow, read)
    return _github_material(obj, workflow, event, commit, read, settings, hands.github, number, protections)


def called_files(git: GitPort, sha: str, open_repository: OpenRepository) -> ReadFile:
    """Files of the commit, and those of other repositories of the platform as `owner/name/path@ref`."""

    def read(path: str) -> str | None:
        foreign = FOREIGN.fullmatch(path)
        try:
            other = open_repository(foreign["repository"]) if foreign else git
            files = other.read_tree(other.resolve(foreign["ref"]) if foreign else sha)
        except GitError:
            return None
        name = foreign["path"] if foreign else path
        return files.read(name).decode(errors="replace") if files.is_file(name) else None

    return read


def _github_material(obj: Obj, workflow: Workflow, event: Event, commit: Commit, read: ReadFile, settings: PipelineSettings,
                     runner: JobRunner, number: int, protections: Callable[[], Mapping[str, Protection]]) -> Material:
    facts = RunFacts(meta_of(obj)["name"], number=number, server_url=settings.server_url)
    trigger = workflow.trigger(event.name)
    contexts: dict[str, Value] = {"github": github_context(event, workflow, facts),
                                  "vars": dict(settings.variables(event.repository)), "inputs": {}}
    if trigger is not None and event.name in ("workflow_dispatch", "workflow_call"):
        contexts["inputs"] = checked_inputs(trigger.inputs, event.inputs, Scope(contexts))
    group, cancels = concurrency_of(workflow.concurrency, Scope(contexts))

    def secrets(environment: str) -> Mapping[str, str]:
        own = settings.secrets(event.repository)
        return {**own, **settings.environment_secrets(event.repository, environment)} if environment else own

    inputs: Any = contexts["inputs"]
    course = GithubCourse(
        workflow, event, runner, facts, inputs=inputs, variables=settings.variables(event.repository), secrets=secrets,
        labels=settings.labels, read_file=read, protections=protections)
    queues = workflow.concurrency is not None and workflow.concurrency.queue == "max"
    return Material(course, event.repository, event.ref, commit, number, group, cancels, queues)


def _gitlab_material(obj: Obj, event: Event, commit: Commit, git: GitPort, open_repository: OpenRepository,
                     settings: PipelineSettings, runner: GitlabRunner, number: int) -> Material:
    name = meta_of(obj)["name"]
    given = given_variables({**settings.variables(event.repository), **{str(k): str(v) for k, v in event.inputs.items()}},
                            settings.secrets(event.repository))
    sources = GitSources(git, event.sha, open_repository)

    def since(ref: str) -> frozenset[str] | None:
        try:
            return git.changed_paths(git.resolve(ref), event.sha)
        except GitError:
            return None

    pipeline = gitlab_pipeline(sources, event, given, run=name, number=number, changed_since=since)
    if pipeline.unmet:
        raise WorkflowError(GITLAB, pipeline.unmet)
    course = GitlabCourse(pipeline, runner, name, event.repository, event.sha, event.ref_name, sources)
    return Material(course, event.repository, event.ref, commit, number,
                    refused=pipeline.refused.message if pipeline.refused else "" if pipeline.legs else "no job is wanted here")


def runs_that_follow(obj: Obj, material: Material, phase: Phase, open_repository: OpenRepository, now: datetime) -> list[Obj]:
    """Runs of the repository's `workflow_run` workflows that this run's end calls for."""
    if not isinstance(material.course, GithubCourse):
        return []
    git = open_repository(material.repository)
    head = git.resolve("HEAD")
    tree = git.read_tree(head, WORKFLOWS)
    workflows: dict[str, Workflow] = {}
    for name in tree.names():
        if is_workflow(name):
            with contextlib.suppress(WorkflowError):
                path = f"{WORKFLOWS}/{name}"
                workflows[path] = decode_workflow(tree.read(name).decode(errors="replace"), path)
    course = material.course
    ended = Ended(meta_of(obj)["name"], course.workflow.title, course.workflow.path, course.event, phase, material.number)
    return followers(ended, workflows, head, now)


def answers_of(obj: Obj) -> dict[str, Answer]:
    """`spec.answers`: what people said, by leg and by environment; the last word counts."""
    found: dict[str, Answer] = {}
    for entry in spec_of(obj).get("answers") or ():
        answer = Answer(entry.get("approve") is True, str(entry.get("by") or ""), str(entry.get("comment") or ""))
        key = str(entry.get("job") or str(entry.get("environment") or "").casefold())
        if key:
            found[key] = answer
    return found
