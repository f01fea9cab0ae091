"""The git port: what the rest of Fairway may ask of a repository, wherever it lies.

Every method is synchronous. `LocalRepository` answers from disk in milliseconds; where `remote` is True a call may wait
for the network, and whoever runs an event loop calls it in a thread.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

ATTEMPTS = 8
"""A commit that loses the race is made again on the new head. Eight writers at one moment can each win once."""


class GitError(Exception):
    """Something git refused; the message names the repository and the mend."""


class UnknownRepository(GitError):
    """No repository of this name or at this URL."""


class UnknownRevision(GitError):
    """The branch, tag or commit does not exist (yet)."""


class LostRace(GitError):
    """The branch moved while the commit was made: read the new head and make it again."""


class Unreachable(GitError):
    """The remote did not answer or refused the credentials: retry later, nothing was changed."""


class ReadOnly(GitError):
    """The remote answers but does not let us write: a person has to act."""


_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*@")


def without_credentials(text: str) -> str:
    """A URL, or a text with URLs in it, as people may read it: user names and passwords in URLs left out."""
    return _CREDENTIALS.sub("", text)


@dataclass(frozen=True, slots=True)
class Person:
    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Commit:
    sha: str
    parents: tuple[str, ...]
    message: str
    author: Person
    committed_at: datetime

    @property
    def subject(self) -> str:
        return self.message.partition("\n")[0]

    def trailers(self) -> dict[str, str]:
        """`Key: value` lines of the last paragraph; of a repeated key the last."""
        paragraph = self.message.strip().rpartition("\n\n")[2]
        found: dict[str, str] = {}
        for line in paragraph.splitlines():
            key, colon, value = line.partition(": ")
            if colon and " " not in key:
                found[key] = value.strip()
        return found


@dataclass(frozen=True, slots=True)
class Change:
    """A commit to be made: new contents by path, None deletes."""

    files: Mapping[str, bytes | None]
    message: str
    author: Person
    when: datetime


class Tree(Protocol):
    """Files of one commit below one folder, read when asked for. Paths are relative, with `/`; "" is the folder."""

    def __getitem__(self, path: str) -> bytes: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...
    def __contains__(self, path: object) -> bool: ...
    def read(self, path: str) -> bytes: ...
    def is_file(self, path: str) -> bool: ...
    def is_dir(self, path: str) -> bool: ...
    def names(self, folder: str = "") -> Sequence[str]: ...


class GitPort(Protocol):
    """`url` is for messages: it has no credentials."""

    url: str
    remote: bool

    def refs(self) -> dict[str, str]:
        """Branches and tags: full name to commit id (a tag is peeled)."""
        ...

    def resolve(self, revision: str) -> str:
        """The commit id that a branch, tag, (abbreviated) commit id or HEAD names; `UnknownRevision`."""
        ...

    def branch_of(self, revision: str) -> str | None:
        """The branch that a revision names (HEAD: the default one); None for a tag or a commit id."""
        ...

    def read_tree(self, sha: str, path: str = "") -> Tree: ...

    def changed_paths(self, before: str, after: str) -> frozenset[str]:
        """Paths that differ; with `before` "" all paths of `after`."""
        ...

    def log(self, revision: str, *, limit: int = 50, path: str = "") -> list[Commit]:
        """First-parent history, newest first; with `path` only commits that changed something below it."""
        ...

    def commit(self, branch: str, change: Change, *, expected_head: str) -> str:
        """Commit on top of `expected_head` ("": the branch does not exist) or raise `LostRace`. The new commit id."""
        ...


MakeChange = Callable[[Tree, str], Change | None]
"""From the tree and the id of the branch's head to the commit to make, or None where nothing is left to do."""


def commit_with_retry(port: GitPort, branch: str, make_change: MakeChange, *, attempts: int = ATTEMPTS) -> str | None:
    """Make a change on the newest head until it wins the race. The new commit id, or None where nothing was to do."""
    lost: LostRace | None = None
    for _ in range(attempts):
        try:
            head = port.resolve(branch)
        except UnknownRevision:
            head = ""
        change = make_change(port.read_tree(head), head)
        if change is None:
            return None
        try:
            return port.commit(branch, change, expected_head=head)
        except LostRace as error:
            lost = error
    raise LostRace(f"{port.url}: {attempts} commits to {branch!r} lost the race against other writers") from lost
