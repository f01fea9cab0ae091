"""The bare repositories of this platform: folders `<name>.git` below one root."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pygit2

from fairway.git.local import LocalRepository
from fairway.git.port import GitError, UnknownRepository

DEFAULT_BRANCH = "main"
_PART = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$")
_CONFIG = {
    "receive.denyDeleteCurrent": "refuse",
    "receive.denyNonFastForwards": "false",  # people rewrite their topic branches; the reflog keeps what was there
    "receive.fsckObjects": "true",
    "receive.advertisePushOptions": "true",
    "core.logAllRefUpdates": "true",
    "gc.autoDetach": "false",  # no process outlives the request that started it
}


class BadName(GitError):
    """A name that cannot be a repository's."""


def checked_name(name: str) -> str:
    """`shop/app` of safe parts; `BadName` says which part is wrong."""
    parts = name.split("/")
    for part in parts:
        if not _PART.match(part) or ".." in part or part.endswith((".git", ".lock", ".")):
            raise BadName(f"repository name {name!r}: {part!r} is not allowed; use letters, digits, '-', '_' and '.' "
                          "in parts divided by '/', such as shop/app")
    if len(parts) > 5:
        raise BadName(f"repository name {name!r}: at most five parts")
    return name


class Repositories:
    """All repositories below `root`. `on_change(name)` is told after a push, and after a commit through a port."""

    def __init__(self, root: Path, *, on_change: Callable[[str], None] | None = None) -> None:
        self.root = root
        self.on_change: Callable[[str], None] = on_change or (lambda name: None)
        self._open: dict[str, tuple[int, LocalRepository]] = {}

    def path(self, name: str) -> Path:
        return self.root / f"{checked_name(name)}.git"

    def exists(self, name: str) -> bool:
        return (self.path(name) / "HEAD").is_file()

    def names(self) -> list[str]:
        found = (head.parent.relative_to(self.root) for head in self.root.glob("**/*.git/HEAD"))
        return sorted(path.as_posix().removesuffix(".git") for path in found)

    def create(self, name: str) -> LocalRepository:
        """The repository of this name, made where it is absent. Appears whole or not at all."""
        path = self.path(name)
        if not self.exists(name):
            path.parent.mkdir(parents=True, exist_ok=True)
            new = Path(tempfile.mkdtemp(prefix=".new-", dir=self.root))
            try:
                repo = pygit2.init_repository(str(new), bare=True, initial_head=DEFAULT_BRANCH)
                for key, value in _CONFIG.items():
                    repo.config[key] = value
                new.rename(path)
            except OSError:
                shutil.rmtree(new, ignore_errors=True)
                if not self.exists(name):  # somebody else made it at the same moment: theirs is as good
                    raise
        return self.open(name)

    def open(self, name: str) -> LocalRepository:
        path = self.path(name)
        try:
            folder = path.stat().st_ino
        except OSError:
            folder = 0
        if not folder or not self.exists(name):
            raise UnknownRepository(f"no repository {name!r}; push to it once and it is made")
        known = self._open.get(name)
        if known is None or known[0] != folder:  # made anew under the same name
            known = self._open[name] = (folder, LocalRepository(path, name=name, on_change=lambda: self.on_change(name)))
        return known[1]

    def settle_head(self, name: str) -> None:
        """Where HEAD names a branch that was never pushed and there is exactly one branch, HEAD names that one."""
        repo = pygit2.Repository(str(self.path(name)))
        branches = list(repo.branches.local)
        if repo.head_is_unborn and len(branches) == 1:
            repo.set_head(f"refs/heads/{branches[0]}")
