"""`fairway ci run`: a workflow on the files of a working tree, without the platform, with the same runner.

The working tree is never changed: its files, as git sees them (tracked, and new ones that are not ignored), become a
commit in a repository of our own, and jobs check that out.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fairway.ci.decide import RunDecision, Seen, decide, needs_context
from fairway.ci.environment import RunFacts, github_context
from fairway.ci.events import Event
from fairway.ci.expressions import Value
from fairway.ci.progress import concluded
from fairway.ci.repositories import Access
from fairway.ci.runner import JobRequest, JobResult, JobRunner
from fairway.ci.spec import Workflow
from fairway.ci.states import FINISHED, JobRow
from fairway.kube.clock import Clock

_NOBODY = {"GIT_AUTHOR_NAME": "fairway", "GIT_AUTHOR_EMAIL": "fairway@localhost", "GIT_COMMITTER_NAME": "fairway",
           "GIT_COMMITTER_EMAIL": "fairway@localhost"}


class NotRunnable(Exception):
    """The folder cannot be run from; the message says why."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A bare repository with the working tree as the head of its branch."""

    path: Path
    repository: str
    branch: str
    sha: str
    before: str
    changed: frozenset[str]
    author: str


def take_snapshot(source: Path, target: Path) -> Snapshot:
    """Copy the working tree into a new bare repository at `target`. Only reads `source`."""
    tree_of = source.resolve()
    if (tree_of / ".git").exists():
        _git(tree_of, "clone", "--quiet", "--bare", "--no-tags", ".", str(target))
        branch = _git(tree_of, "symbolic-ref", "--short", "-q", "HEAD", may_fail=True) or "main"
        before = _git(tree_of, "rev-parse", "--quiet", "--verify", "HEAD", may_fail=True)
    else:
        _git(tree_of, "init", "--quiet", "--bare", "--initial-branch=main", str(target))
        branch, before = "main", ""
    env = {"GIT_DIR": str(target), "GIT_WORK_TREE": str(tree_of), "GIT_INDEX_FILE": str(target / "snapshot.index")}
    _git(tree_of, "add", "--all", ".", env=env)
    tree = _git(tree_of, "write-tree", env=env)
    same = bool(before) and _git(tree_of, "rev-parse", f"{before}^{{tree}}", env=env) == tree
    sha = before if same else _git(tree_of, "commit-tree", tree, "-m", "working tree", *(("-p", before) if before else ()),
                                   env={**env, **_NOBODY})
    _git(tree_of, "update-ref", f"refs/heads/{branch}", sha, env=env)
    _git(tree_of, "symbolic-ref", "HEAD", f"refs/heads/{branch}", env=env)
    parent = _git(tree_of, "rev-parse", "--quiet", "--verify", f"{sha}^", env=env, may_fail=True)
    listing = ("diff", "--name-only", parent, sha) if parent else ("ls-tree", "-r", "--name-only", sha)
    changed = frozenset(_git(tree_of, *listing, env=env).splitlines())
    author = _git(tree_of, "log", "-1", "--format=%an", sha, env=env)
    name = _repository_name(tree_of)
    return Snapshot(target, name, branch, sha, parent, changed, author)


def _repository_name(folder: Path) -> str:
    """`owner/name` of the remote origin, else of the last two folders."""
    own = (folder / ".git").exists()
    url = _git(folder, "config", "--get", "remote.origin.url", may_fail=True) if own else ""
    parts = [part for part in url.removesuffix(".git").replace(":", "/").split("/") if part]
    if len(parts) >= 2:
        return "/".join(parts[-2:])
    return f"local/{folder.resolve().name}"


def _git(folder: Path, *argv: str, env: Mapping[str, str] | None = None, may_fail: bool = False) -> str:
    done = subprocess.run(["git", *argv], cwd=folder, env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", **(env or {})},
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        if may_fail:
            return ""
        raise NotRunnable(f"git {argv[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


@dataclass(frozen=True, slots=True)
class SnapshotRepositories:
    """The snapshot under its own name; anything else only by path."""

    snapshot: Snapshot

    def resolve(self, name_or_url: str) -> Access | None:
        if name_or_url == self.snapshot.repository:
            return Access(str(self.snapshot.path), self.snapshot.path)
        path = Path(name_or_url)
        return Access(str(path), path) if path.is_absolute() and path.is_dir() else None


@dataclass
class LocalRun:
    """Drives one run to its end in this process."""

    workflow: Workflow
    event: Event
    runner: JobRunner
    clock: Clock
    facts: RunFacts
    rows: tuple[JobRow, ...]
    inputs: Mapping[str, Value] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    places: int = field(default_factory=lambda: max(os.cpu_count() or 1, 2))
    on_change: Callable[[tuple[JobRow, ...]], None] = lambda rows: None
    cancelled: bool = False
    _tasks: dict[asyncio.Task[JobResult], str] = field(default_factory=dict)
    _cancels: dict[str, asyncio.Event] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def contexts(self) -> dict[str, Value]:
        return {
            "github": github_context(self.event, self.workflow, self.facts),
            "inputs": dict(self.inputs),
            "vars": dict(self.variables),
        }

    def cancel(self) -> None:
        self.cancelled = True
        self._wake.set()

    async def run(self) -> RunDecision:
        """Until every job is finished; the last decision has the outcome."""
        while True:
            decision = self._look()
            if decision.phase in FINISHED and not self._tasks:
                return decision
            self._wake.clear()
            waker = asyncio.ensure_future(self._wake.wait())
            try:
                await asyncio.wait({*self._tasks, waker}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waker.cancel()
            self._collect()

    def _look(self) -> RunDecision:
        alive = frozenset(self._tasks.values())
        decision = decide(Seen(self.workflow, self.rows, self.contexts(), alive=alive, cancel=self.cancelled,
                               free=self.places - len(alive), labels=self.labels), self.clock.now())
        self.rows = decision.rows
        for leg in decision.cancel:
            self._cancels[leg].set()
        for leg in decision.start:
            self._start(next(row for row in self.rows if row.id == leg))
        self.on_change(self.rows)
        return decision

    def _start(self, row: JobRow) -> None:
        job = self.workflow.jobs[row.job]
        request = JobRequest(
            facts=self.facts, row=row, workflow=self.workflow, event=self.event, secrets=self.secrets,
            contexts={**self.contexts(), "needs": needs_context(self.workflow, job, self.rows)})
        cancel = self._cancels[row.id] = asyncio.Event()
        task = asyncio.create_task(self.runner.run(request, lambda steps: None, cancel), name=f"job {row.id}")
        self._tasks[task] = row.id

    def _collect(self) -> None:
        for task in [task for task in self._tasks if task.done()]:
            leg = self._tasks.pop(task)
            result = task.result()
            self.rows = tuple(concluded(row, result, self.clock.now()) if row.id == leg else row for row in self.rows)

