"""Where manifests are read from: a port, and its implementations in memory and on disk. A git tree fits it as it is."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol


class FileTree(Protocol):
    """Files by relative path with `/`. "" is the root folder; paths handed in are normal (no `.`, `..`)."""

    def read(self, path: str) -> bytes:
        """The contents; FileNotFoundError where there is no such file."""
        ...

    def is_file(self, path: str) -> bool: ...
    def is_dir(self, path: str) -> bool: ...

    def names(self, folder: str = "") -> Sequence[str]:
        """What lies in a folder, sorted."""
        ...


class DictTree:
    """Files in memory."""

    def __init__(self, files: Mapping[str, bytes | str]) -> None:
        self._files = {normal(p): d.encode() if isinstance(d, str) else d for p, d in files.items()}
        self._folders: dict[str, set[str]] = {"": set()}
        for path in self._files:
            while path:
                folder, _, name = path.rpartition("/")
                self._folders.setdefault(folder, set()).add(name)
                path = folder

    def read(self, path: str) -> bytes:
        try:
            return self._files[path]
        except KeyError:
            raise FileNotFoundError(path) from None

    def is_file(self, path: str) -> bool:
        return path in self._files

    def is_dir(self, path: str) -> bool:
        return path in self._folders

    def names(self, folder: str = "") -> Sequence[str]:
        return sorted(self._folders.get(folder, ()))


class FolderTree:
    """Files below a folder of this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, path: str) -> bytes:
        try:
            return (self._root / path).read_bytes()
        except (IsADirectoryError, NotADirectoryError) as error:
            raise FileNotFoundError(path) from error

    def is_file(self, path: str) -> bool:
        return (self._root / path).is_file()

    def is_dir(self, path: str) -> bool:
        return (self._root / path).is_dir()

    def names(self, folder: str = "") -> Sequence[str]:
        at = self._root / folder
        return sorted(entry.name for entry in at.iterdir()) if at.is_dir() else []


class OverlaidTree:
    """A tree with some files changed, nothing written."""

    def __init__(self, base: FileTree, changes: Mapping[str, bytes]) -> None:
        self._base = base
        self._changes = changes

    def read(self, path: str) -> bytes:
        return self._changes[path] if path in self._changes else self._base.read(path)

    def is_file(self, path: str) -> bool:
        return path in self._changes or self._base.is_file(path)

    def is_dir(self, path: str) -> bool:
        return self._base.is_dir(path)

    def names(self, folder: str = "") -> Sequence[str]:
        return self._base.names(folder)


def normal(path: str) -> str:
    """`./a/../b/` to `b`; a path that leads out of the tree starts with `..`."""
    found = posixpath.normpath(path.strip("/")) if path.strip("/") else ""
    return "" if found == "." else found


def join(folder: str, path: str) -> str:
    """`path` as written in a file of `folder`, from the root of the tree."""
    return normal(posixpath.join(folder, path))
