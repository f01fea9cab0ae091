"""The port through which a pipeline's files are read: the repository itself, others of the platform, the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from fairway.ci.gitlab.globs import include_pattern


class Tree(Protocol):
    """The files of one commit."""

    def read(self, path: str) -> str | None: ...

    def files(self) -> Iterable[str]: ...


class Sources(Protocol):
    def own(self) -> Tree: ...

    def project(self, name: str, ref: str) -> Tree | None:
        """Another repository at a ref; "" is its default branch. None where it is not here."""
        ...

    def fetch(self, url: str) -> str | None:
        """A file of the network; None where it cannot be had."""
        ...

    def template(self, name: str) -> str | None:
        """A template of GitLab's; None where it cannot be had."""
        ...


@dataclass(frozen=True)
class FileTree:
    """A tree by two functions."""

    reader: Callable[[str], str | None]
    names: Callable[[], Iterable[str]]

    def read(self, path: str) -> str | None:
        return self.reader(path)

    def files(self) -> Iterable[str]:
        return self.names()


def matching(tree: Tree, pattern: str) -> list[str]:
    """Files that a wildcard of `include:local` selects, by name."""
    wanted = include_pattern(pattern)
    return sorted(name for name in tree.files() if wanted.fullmatch(name))
