"""A bare repository on this disk, over pygit2. Commits are made of tree objects: no work tree, no index file."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast

import pygit2

from fairway.git.port import Change, Commit, GitError, LostRace, Person, UnknownRevision

_FILE, _FOLDER, _LINK = pygit2.enums.FileMode.BLOB, pygit2.enums.FileMode.TREE, pygit2.enums.FileMode.LINK
_LINKS = 10  # one after the other; a tree of people's has one or two
_Nested = dict[str, Any]  # a name to bytes (write), None (delete) or another _Nested


_BIG = 64  # entries of a folder that is kept once it was read: reading one of a thousand takes most of a millisecond


class GitTree(Mapping[str, bytes]):
    """The files of a commit below a folder. Only what is asked for is read.

    Symbolic links are followed within the folder; one that leads out of it, or in a circle, is a `GitError`.
    """

    def __init__(self, repo: pygit2.Repository, tree: pygit2.Tree | None) -> None:
        self._repo = repo
        self._tree = tree
        self._big: dict[str, pygit2.Tree] = {}
        self.links: dict[str, str] = {}
        """The links that were followed, and where each leads."""

    def _entry(self, path: str, followed: int = 0) -> pygit2.Object | None:
        if path in ("", ".") or self._tree is None:
            return self._tree
        folder, _, name = path.rpartition("/")
        below = self._big.get(folder) or (self._entry(folder, followed) if folder else self._tree)
        if not isinstance(below, pygit2.Tree):
            return None
        if folder not in self._big and len(below) > _BIG:
            self._big[folder] = below
        try:
            found = below[name]
        except KeyError:
            return None
        return self._followed(path, found, followed) if found.filemode == _LINK else found

    def _followed(self, path: str, link: pygit2.Object, followed: int) -> pygit2.Object | None:
        assert isinstance(link, pygit2.Blob)
        said = link.data.decode(errors="replace")
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), said))
        if said.startswith("/") or target.split("/")[0] == "..":
            raise GitError(f"{path}: a symbolic link out of the tree, to {said!r}; put the file itself there")
        if followed >= _LINKS:
            raise GitError(f"{path}: symbolic links lead in a circle")
        self.links[path] = target
        return self._entry(target, followed + 1)

    def also_known_as(self, paths: Iterable[str]) -> frozenset[str]:
        """These paths, and those by which they are reached through the links that were followed."""
        found, new = frozenset(paths), frozenset(paths)
        while new:
            new = frozenset(link + path[len(target):] for link, target in self.links.items() for path in new
                            if path == target or path.startswith(f"{target}/")) - found
            found |= new
        return found

    def __getitem__(self, path: str) -> bytes:
        entry = self._entry(path)
        if not isinstance(entry, pygit2.Blob):
            raise KeyError(path)
        return bytes(entry.data)

    def read(self, path: str) -> bytes:
        """Like `tree[path]`, with FileNotFoundError as a folder on disk would raise it."""
        try:
            return self[path]
        except KeyError:
            raise FileNotFoundError(path) from None

    def is_file(self, path: str) -> bool:
        return isinstance(self._entry(path), pygit2.Blob)

    def is_dir(self, path: str) -> bool:
        return isinstance(self._entry(path), pygit2.Tree)

    def names(self, folder: str = "") -> Sequence[str]:
        entry = self._entry(folder)
        return sorted(cast(str, e.name) for e in entry) if isinstance(entry, pygit2.Tree) else []

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and self.is_file(path)

    def __iter__(self) -> Iterator[str]:
        yield from self._walk(self._tree, "") if self._tree is not None else ()

    def _walk(self, tree: pygit2.Tree, prefix: str) -> Iterator[str]:
        for entry in tree:
            if isinstance(entry, pygit2.Tree):
                yield from self._walk(entry, f"{prefix}{entry.name}/")
            elif isinstance(entry, pygit2.Blob):
                yield f"{prefix}{entry.name}"

    def __len__(self) -> int:
        return sum(1 for _ in self)


class LocalRepository:
    """The git port over one bare repository. `on_change` is told after every commit made through it."""

    remote = False

    def __init__(self, path: Path, *, url: str = "", name: str = "",
                 on_change: Callable[[], None] | None = None) -> None:
        self.path = path
        self.url = url or path.as_uri()
        self.name = name or self.url  # in what people read
        self._repo = pygit2.Repository(str(path))
        self._on_change = on_change
        self._last_tree: tuple[str, GitTree] = ("", GitTree(self._repo, None))

    def refs(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in self._repo.references:
            if name.startswith(("refs/heads/", "refs/tags/")):
                with contextlib.suppress(KeyError, ValueError, pygit2.GitError):  # deleted meanwhile, or a tag of no commit
                    found[name] = str(self._repo.references[name].peel(pygit2.Commit).id)
        return found

    @property
    def default_branch(self) -> str:
        target = self._repo.references["HEAD"].target
        return str(target).removeprefix("refs/heads/")

    def resolve(self, revision: str) -> str:
        for name in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            try:
                return str(self._repo.revparse_single(name).peel(pygit2.Commit).id)
            except (KeyError, ValueError, pygit2.GitError, pygit2.InvalidSpecError):
                continue
        raise UnknownRevision(f"{self.name}: no branch, tag or commit {revision!r}; push it, or correct the revision")

    def branch_of(self, revision: str) -> str | None:
        if revision == "HEAD":
            return self.default_branch
        return revision if f"refs/heads/{revision}" in self._repo.references else None

    def _root(self, sha: str) -> pygit2.Tree | None:
        if not sha:
            return None
        commit = self._repo.get(sha)
        if commit is None:
            raise UnknownRevision(f"{self.url}: no commit {sha!r}")
        return commit.peel(pygit2.Tree)

    def read_tree(self, sha: str, path: str = "") -> GitTree:
        if path.strip("/") in ("", "."):
            if sha != self._last_tree[0]:
                self._last_tree = (sha, GitTree(self._repo, self._root(sha)))
            return self._last_tree[1]
        root = self._root(sha)
        below = GitTree(self._repo, root)._entry(path.strip("/"))
        return GitTree(self._repo, below if isinstance(below, pygit2.Tree) else None)

    def changed_paths(self, before: str, after: str) -> frozenset[str]:
        old, new = self._root(before), self._root(after)
        if new is None:
            raise UnknownRevision(f"{self.url}: no commit {after!r}")
        diff = old.diff_to_tree(new) if old is not None else new.diff_to_tree(swap=True)
        return frozenset(path for d in diff.deltas for path in (d.old_file.path, d.new_file.path) if path)

    def log(self, revision: str, *, limit: int = 50, path: str = "") -> list[Commit]:
        found: list[Commit] = []
        commit: pygit2.Commit | None = self._repo[self.resolve(revision)].peel(pygit2.Commit)
        while commit is not None and len(found) < limit:
            parent = commit.parents[0] if commit.parents else None
            if not path or self._at(commit, path) != (self._at(parent, path) if parent else None):
                found.append(_commit(commit))
            commit = parent
        return found

    def _at(self, commit: pygit2.Commit, path: str) -> str | None:
        entry = GitTree(self._repo, commit.tree)._entry(path.strip("/"))
        return str(entry.id) if entry is not None else None

    def commit(self, branch: str, change: Change, *, expected_head: str) -> str:
        sha = self.write_commit(change, expected_head)
        name = f"refs/heads/{branch}"
        try:
            if expected_head:
                reference = self._repo.references[name]
                if str(reference.target) != expected_head:
                    raise LostRace(f"{self.url}: {branch!r} is at {reference.target}, not at {expected_head}")
                reference.set_target(sha, f"commit (fairway): {change.message.partition(chr(10))[0]}")
            else:
                self._repo.references.create(name, sha)
        except (KeyError, ValueError, pygit2.GitError) as error:
            raise LostRace(f"{self.url}: {branch!r} moved while the commit was made: {error}") from error
        if self._on_change is not None:
            self._on_change()
        return sha

    def write_commit(self, change: Change, parent: str) -> str:
        """The commit object alone; no branch points to it yet."""
        root = self._write(self._root(parent), _nest(change.files))
        tree = root if root is not None else self._repo.TreeBuilder().write()
        who = pygit2.Signature(change.author.name, change.author.email, int(change.when.timestamp()), 0, "utf-8")
        return str(self._repo.create_commit(None, who, who, change.message, tree, [parent] if parent else []))

    def _write(self, tree: pygit2.Tree | None, changes: _Nested) -> pygit2.Oid | None:
        """A tree with `changes` in it; None where nothing is left. Costs the depth of the paths, not the size."""
        builder = self._repo.TreeBuilder(tree) if tree is not None else self._repo.TreeBuilder()
        for name, value in changes.items():
            old = tree[name] if tree is not None and name in tree else None
            if isinstance(value, dict):
                below = self._write(old if isinstance(old, pygit2.Tree) else None, value)
                if below is not None:
                    builder.insert(name, below, _FOLDER)
                elif old is not None:
                    builder.remove(name)
            elif value is not None:
                mode = old.filemode if isinstance(old, pygit2.Blob) else _FILE
                builder.insert(name, self._repo.create_blob(value), mode)
            elif old is not None:
                builder.remove(name)
        return builder.write() if len(builder) else None


def _nest(files: Mapping[str, bytes | None]) -> _Nested:
    nested: _Nested = {}
    for path, data in files.items():
        *folders, name = path.strip("/").split("/")
        at = nested
        for folder in folders:
            at = at.setdefault(folder, {})
        at[name] = data
    return nested


def _commit(commit: pygit2.Commit) -> Commit:
    zone = timezone(timedelta(minutes=commit.committer.offset))
    moment = datetime.fromtimestamp(commit.committer.time, zone).astimezone(UTC)
    author = Person(commit.author.name, commit.author.email)
    return Commit(str(commit.id), tuple(str(p) for p in commit.parent_ids), commit.message, author, moment)
