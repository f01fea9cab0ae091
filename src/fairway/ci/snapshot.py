"""A working tree as a commit in a repository of our own. The working tree is only read.

What is copied is what git sees: tracked files as they are now, and new ones that are not ignored.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fairway.ci.repositories import Access

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
    email: str = ""
    message: str = ""
    committed_at: str = ""
    default_branch: str = "main"

    def read_file(self, path: str) -> str | None:
        """A file of the snapshot."""
        done = subprocess.run(["git", "show", f"{self.sha}:{path}"], cwd=self.path, capture_output=True, check=False)
        return done.stdout.decode(errors="replace") if done.returncode == 0 else None


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
    author, email, when, message = _git(tree_of, "log", "-1", "--format=%an%x00%ae%x00%cI%x00%B", sha, env=env).split("\0", 3)
    if not same and before:  # the working tree's own commit is nobody's: the last one says who works here
        author, email, _, message = _git(tree_of, "log", "-1", "--format=%an%x00%ae%x00%cI%x00%B", before,
                                         env=env).split("\0", 3)
    return Snapshot(target, _repository_name(tree_of), branch, sha, parent, changed_paths(target, parent, sha), author, email,
                    message.strip(), when, _default_branch(tree_of, branch))


def changed_paths(repository: Path, before: str, after: str, *, since_fork: bool = False) -> frozenset[str]:
    """Paths that differ; without `before` all of them. `since_fork` compares with where the two histories parted."""
    if not before:
        listing: tuple[str, ...] = ("ls-tree", "-r", "-z", "--name-only", after)
    else:
        listing = ("diff", "-z", "--name-only", f"{before}...{after}" if since_fork else f"{before}..{after}")
    return frozenset(_git(repository, *listing).split("\0")) - {""}


def resolve(repository: Path, revision: str) -> str:
    """The commit that a name means in this repository, or ""."""
    return next((found for name in (revision, f"refs/heads/{revision}", f"refs/remotes/origin/{revision}")
                 if (found := _git(repository, "rev-parse", "--quiet", "--verify", f"{name}^{{commit}}", may_fail=True))), "")


def _default_branch(folder: Path, branch: str) -> str:
    """What origin/HEAD says, else main or master where one exists, else the branch that we are on."""
    if not (folder / ".git").exists():
        return branch
    head = _git(folder, "symbolic-ref", "--short", "-q", "refs/remotes/origin/HEAD", may_fail=True)
    if head:
        return head.removeprefix("origin/")
    for name in ("main", "master"):
        for ref in (f"refs/remotes/origin/{name}", f"refs/heads/{name}"):
            if _git(folder, "rev-parse", "--quiet", "--verify", ref, may_fail=True):
                return name
    return branch


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
            return Access(str(self.snapshot.path), self.snapshot.path, name=self.snapshot.repository)
        path = Path(name_or_url)
        return Access(str(path), path) if path.is_absolute() and path.is_dir() else None
