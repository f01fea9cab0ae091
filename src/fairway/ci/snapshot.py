"""A working tree as a commit in a repository of our own. The working tree is only read.

What is copied is what git sees: tracked files as they are now, and new ones that are not ignored.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fairway.ci.repositories import Access

_NOBODY = {"GIT_AUTHOR_NAME": "fairway", "GIT_AUTHOR_EMAIL": "fairway@localhost", "GIT_COMMITTER_NAME": "fairway",
           "GIT_COMMITTER_EMAIL": "fairway@localhost"}
_NOBODY_DID = "fairway", "fairway@localhost", "", "working tree"
_WHO = "%P%x00%an%x00%ae%x00%cI%x00%B"
_SHA256_DIGITS = 64


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
    """Put the working tree into a new bare repository at `target`, which borrows the objects of its repository.

    Only reads `source`. Nearly all of the time is that of git's processes: there are few, and what does not depend on
    another runs beside it.
    """
    tree_of = source.resolve()
    own = _git_folders(tree_of)
    refs = _refs(tree_of) if own is not None else {}
    branch = _branch(tree_of, own) if own is not None else "main"
    before = (refs.get(f"refs/heads/{branch}") or _detached(own) if own is not None else "") or ""
    _make_bare(target, branch, own, refs, before)
    env = {"GIT_DIR": str(target), "GIT_WORK_TREE": str(tree_of), "GIT_INDEX_FILE": str(target / "snapshot.index")}
    last = _Asked(tree_of, "log", "-1", f"--format=%T%x00{_WHO}", before) if before else None
    url = _Asked(tree_of, "config", "--get", "remote.origin.url") if own is not None else None
    _git(tree_of, "add", "--all", ".", env=env)
    tree = _git(tree_of, "write-tree", env=env)
    answer = last.answer() if last is not None else ""
    if last is not None and not answer:
        raise NotRunnable(f"git log failed: {before[:10]} cannot be read in {source}")
    had, *who = answer.split("\0", 5) if answer else ("", "", *_NOBODY_DID)
    same = tree == had
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    sha = before if same else _git(
        tree_of, "commit-tree", tree, "-m", "working tree", *(("-p", before) if before else ()),
        env={**env, **_NOBODY, "GIT_AUTHOR_DATE": now, "GIT_COMMITTER_DATE": now})
    head = target / "refs" / "heads" / branch
    head.parent.mkdir(parents=True, exist_ok=True)
    head.write_text(f"{sha}\n")
    parents, author, email, when, message = who  # the working tree's own commit is nobody's: the last one says who works here
    parent = parents.partition(" ")[0] if same else before
    return Snapshot(target, _repository_name(tree_of, url.answer() if url is not None else ""), branch, sha, parent,
                    changed_paths(target, parent, sha), author, email, message.strip(), when if same else now,
                    _default_branch(refs, branch))


@dataclass(frozen=True, slots=True)
class _GitFolders:
    """HEAD and index are in `own`; refs and objects in `common`, which is another folder for a linked work tree."""

    own: Path
    common: Path


def _git_folders(folder: Path) -> _GitFolders | None:
    dot = folder / ".git"
    if dot.is_file():
        dot = folder / dot.read_text().removeprefix("gitdir:").strip()
    if not dot.is_dir():
        return None
    shared = dot / "commondir"
    return _GitFolders(dot, (dot / shared.read_text().strip()).resolve() if shared.is_file() else dot)


def _make_bare(target: Path, branch: str, own: _GitFolders | None, refs: Mapping[str, str], before: str) -> None:
    """What `git clone --bare --shared` makes, with tags and remote branches, without a process."""
    for folder in ("objects/info", "refs/heads", "info"):
        (target / folder).mkdir(parents=True)
    (target / "HEAD").write_text(f"ref: refs/heads/{branch}\n")
    long = len(before) == _SHA256_DIGITS
    (target / "config").write_text(
        f"[core]\n\trepositoryformatversion = {int(long)}\n\tbare = true\n"
        + ("[extensions]\n\tobjectformat = sha256\n" if long else ""))
    if own is None:
        return
    (target / "objects/info/alternates").write_text(f"{own.common / 'objects'}\n")
    lines = [f"{sha} {name}\n" for name, sha in sorted(refs.items()) if not sha.startswith("ref:")]
    (target / "packed-refs").write_text("".join(lines))
    for file, at in ((own.common / "info/exclude", "info/exclude"), (own.common / "shallow", "shallow")):
        if file.is_file():
            shutil.copyfile(file, target / at)
    if (own.own / "index").is_file() and not any(own.own.glob("sharedindex.*")):
        shutil.copyfile(own.own / "index", target / "snapshot.index")  # git then hashes what has changed, not everything


def _refs(folder: Path) -> dict[str, str]:
    """Branches and tags, also those of remotes, with their commits; a symbolic one as `ref: NAME`."""
    listed = _git(folder, "for-each-ref", "--format=%(refname)%00%(objectname)%00%(symref)", "refs/heads", "refs/tags",
                  "refs/remotes")
    rows = [line.split("\0") for line in listed.splitlines()]
    return {name: f"ref: {symbolic}" if symbolic else sha for name, sha, symbolic in rows}


def _branch(folder: Path, own: _GitFolders) -> str:
    """The branch that is checked out; main where none is."""
    head = (own.own / "HEAD").read_text().strip()
    if head.endswith("refs/heads/.invalid"):  # refs in tables, not in files
        head = f"ref: {_git(folder, 'symbolic-ref', '-q', 'HEAD', may_fail=True)}"
    return head.removeprefix("ref: refs/heads/") if head.startswith("ref: refs/heads/") else "main"


def _detached(own: _GitFolders) -> str:
    head = (own.own / "HEAD").read_text().strip()
    return head if not head.startswith("ref:") else ""


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


def _default_branch(refs: Mapping[str, str], branch: str) -> str:
    """What origin/HEAD says, else main or master where one exists, else the branch that we are on."""
    head = refs.get("refs/remotes/origin/HEAD", "")
    if head.startswith("ref: "):
        return head.removeprefix("ref: refs/remotes/origin/")
    return next((name for name in ("main", "master")
                 if f"refs/remotes/origin/{name}" in refs or f"refs/heads/{name}" in refs), branch)


def _repository_name(folder: Path, url: str) -> str:
    """`owner/name` of the remote origin, else of the last folder."""
    parts = [part for part in url.removesuffix(".git").replace(":", "/").split("/") if part]
    return "/".join(parts[-2:]) if len(parts) >= 2 else f"local/{folder.name}"


class _Asked:
    """A question to git that is answered while others are asked; "" where it has no answer."""

    def __init__(self, folder: Path, *argv: str) -> None:
        self._process = subprocess.Popen(["git", *argv], cwd=folder, env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
                                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def answer(self) -> str:
        out, _ = self._process.communicate()
        return out.decode(errors="replace").strip() if self._process.returncode == 0 else ""


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
