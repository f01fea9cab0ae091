"""A work tree somebody checked out, as a git port: its history is read here, its commits go to its `origin`.

The network is git's own command, so that whatever the checkout uses to reach `origin` works here too: SSH configuration,
credential helpers, the extra header that a CI checkout leaves behind.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from fairway.git.local import LocalRepository
from fairway.git.port import Change, GitError, LostRace, ReadOnly, UnknownRevision, Unreachable, without_credentials


class Clone(LocalRepository):
    """The git port over a work tree at `root`. `resolve` of a branch and `commit` ask `origin`."""

    remote = True

    def __init__(self, root: Path) -> None:
        self.root = root
        super().__init__(root, url=without_credentials(_git(root, "config", "--get", "remote.origin.url")) or root.as_uri())

    @property
    def branch(self) -> str:
        """The branch that is checked out; `UnknownRevision` where HEAD is detached."""
        name = _git(self.root, "branch", "--show-current")
        if not name:
            raise UnknownRevision(f"{self.root}: no branch is checked out; check one out before committing: git switch main")
        return name

    def resolve(self, revision: str) -> str:
        """The newest head of `origin` for a branch; anything else as it is known here."""
        done = _run(self.root, "fetch", "--quiet", "origin", revision)
        if done.returncode == 0:
            return super().resolve("FETCH_HEAD")
        if "couldn't find remote ref" in done.stderr:
            return super().resolve(revision)
        raise Unreachable(f"{self.url}: {_last_line(done.stderr)}; check the network and the credentials")

    def commit(self, branch: str, change: Change, *, expected_head: str) -> str:
        sha = self.write_commit(change, expected_head)
        self._push(branch, sha, f"{self.url}: {branch!r} is no longer at {expected_head}")
        return sha

    def publish(self, branch: str, sha: str, *, expected: str) -> None:
        """Make `branch` of `origin` be at `sha`, whatever it was at, as long as that was `expected` ("": it was not there)."""
        self._push(branch, sha, f"{self.url}: somebody else moved {branch!r}",
            f"--force-with-lease=refs/heads/{branch}:{expected}")

    def _push(self, branch: str, sha: str, lost: str, *options: str) -> None:
        done = _run(self.root, "push", "--quiet", *options, "origin", f"{sha}:refs/heads/{branch}")
        if done.returncode == 0:
            return
        if any(word in done.stderr for word in ("non-fast-forward", "fetch first", "cannot lock ref", "stale info")):
            raise LostRace(lost)
        if any(word in done.stderr for word in ("403", "401", "denied", "protected branch", "declined")):
            raise ReadOnly(f"{self.url}: the push was refused: {_last_line(done.stderr)}; give this job write access")
        raise Unreachable(f"{self.url}: the push failed: {_last_line(done.stderr)}")

    def catch_up(self, sha: str) -> None:
        """Move the checked-out branch forward to `sha`, where local changes do not stand in the way."""
        _run(self.root, "merge", "--quiet", "--ff-only", sha)


def _run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    return subprocess.run(["git", *arguments], cwd=root, env=environment, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL)


def _git(root: Path, *arguments: str) -> str:
    try:
        return _run(root, *arguments).stdout.strip()
    except FileNotFoundError as error:
        raise GitError("git is not installed; install it to commit and push") from error


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return without_credentials(lines[-1].strip()) if lines else "git said nothing"
