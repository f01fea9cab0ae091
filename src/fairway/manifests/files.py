"""Where manifests are read from: a port, and its implementations in memory and on disk. A git tree fits it as it is."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from fairway.manifests.errors import ManifestError, Place


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
    """Files below a folder of this machine. A symbolic link that leads out of it is refused."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._real = root.resolve()

    def _at(self, path: str) -> Path:
        at = self._root / path
        if not at.resolve().is_relative_to(self._real):
            raise ManifestError(Place(path), "a symbolic link out of the tree", "put the file itself there")
        return at

    def read(self, path: str) -> bytes:
        try:
            return self._at(path).read_bytes()
        except (IsADirectoryError, NotADirectoryError) as error:
            raise FileNotFoundError(path) from error

    def is_file(self, path: str) -> bool:
        return _may_exist(path) and self._at(path).is_file()

    def is_dir(self, path: str) -> bool:
        return _may_exist(path) and (self._root / path).is_dir() and self._at(path).is_dir()

    def names(self, folder: str = "") -> Sequence[str]:
        at = self._at(folder)
        return sorted(entry.name for entry in at.iterdir()) if at.is_dir() else []


def _may_exist(path: str) -> bool:
    """The system refuses to look for longer names, and for some signs in them."""
    return "\0" not in path and len(path) < 4096 and all(len(os.fsencode(part)) < 256 for part in path.split("/"))


class RecordingTree:
    """A tree that remembers what a rendering asked of it: the key of a render cache.

    Wrap the tree of a commit, render, keep the tree beside the objects. When the next commit comes, hand `concerned` the paths
    that differ between the two (added, changed, removed): False means that rendering again gives the same objects. Asking
    whether a file is there counts as much as reading it, so that a kustomization.yaml that appears is noticed.
    """

    def __init__(self, base: FileTree) -> None:
        self._base = base
        self.paths: set[str] = set()
        self.absent: set[str] = set()
        self.listed: dict[str, frozenset[str]] = {}

    def read(self, path: str) -> bytes:
        self.paths.add(path)
        return self._base.read(path)

    def is_file(self, path: str) -> bool:
        self.paths.add(path)
        return self._base.is_file(path)

    def is_dir(self, path: str) -> bool:
        found = self._base.is_dir(path)
        if not found:
            self.absent.add(path)
        return found

    def names(self, folder: str = "") -> Sequence[str]:
        found = self._base.names(folder)
        self.listed[folder] = frozenset(found)
        return found

    def concerned(self, changed: Iterable[str]) -> bool:
        """Whether one of these files was asked for, or is new in a folder that was listed or missed."""
        return any(path in self.paths or self._appeared(path) for path in changed)

    def _appeared(self, path: str) -> bool:
        folder, name = path, ""
        while folder:
            if folder in self.absent:
                return True
            folder, _, name = folder.rpartition("/")
            if folder in self.listed and name not in self.listed[folder]:
                return True
        return False


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


def manifest_files(files: FileTree, path: str) -> Iterator[str]:
    """YAML, JSON and Jsonnet files of a folder, not of folders below; or the one file that `path` is."""
    if files.is_file(path):
        yield path
    for name in files.names(path):
        if name.endswith((".yaml", ".yml", ".json", ".jsonnet")) and files.is_file(join(path, name)):
            yield join(path, name)


def files_below(tree: FileTree, folder: str) -> Iterator[str]:
    """Every file of a folder and the folders below it, in order; hidden folders stay out."""
    for name in tree.names(folder):
        path = f"{folder}/{name}" if folder else name
        if tree.is_dir(path):
            if not name.startswith("."):
                yield from files_below(tree, path)
        elif tree.is_file(path):
            yield path
