"""`fairway set image --push`: the change as a commit on the newest head of `origin`, made again when the race is lost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from fairway.cli.errors import CommandError, Misused
from fairway.git.clone import Clone
from fairway.git.port import Change, GitError, Person, Tree, commit_with_retry
from fairway.manifests import FileTree, ManifestError, set_image

AUTHOR = Person("fairway", "fairway@example.com")
Pairs = Sequence[tuple[str, str]]


def commit_images(path: Path, root: Path, pairs: Pairs, *, source: str) -> str | None:
    """The new commit's id, or None where the newest head already names these images."""
    if not (root / ".git").exists():
        raise Misused(f"{path} is not in a git work tree", mend="clone the deployment repository first")
    inside = path.resolve().relative_to(root).as_posix()

    def change(tree: Tree, _head: str) -> Change | None:
        files = changed_files(tree, inside, pairs)
        return Change(dict(files), message_of(pairs, inside, source), AUTHOR, datetime.now(UTC)) if files else None

    try:
        clone = Clone(root)
        sha = commit_with_retry(clone, clone.branch, change)
        if sha:
            clone.catch_up(sha)
    except GitError as error:
        words, _, mend = str(error).partition("; ")
        raise CommandError(words, mend=mend) from error
    return sha


def changed_files(tree: FileTree, inside: str, pairs: Pairs) -> dict[str, bytes]:
    """All pairs applied one after the other; only files that end up different."""
    overlaid = _Overlaid(tree)
    for name, reference in pairs:
        try:
            overlaid.changed.update(set_image(overlaid, inside, name, reference))
        except ManifestError as error:
            raise CommandError(f"{error.place}: {error.mistake}", mend=error.mend) from error
        except ValueError as error:
            raise Misused(str(error)) from error
    return overlaid.changed


class _Overlaid:
    """A tree with the changes so far laid over it."""

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree
        self.changed: dict[str, bytes] = {}

    def read(self, path: str) -> bytes:
        return self.changed[path] if path in self.changed else self._tree.read(path)

    def is_file(self, path: str) -> bool:
        return self._tree.is_file(path)

    def is_dir(self, path: str) -> bool:
        return self._tree.is_dir(path)

    def names(self, folder: str = "") -> Sequence[str]:
        return self._tree.names(folder)


def message_of(pairs: Pairs, inside: str, source: str) -> str:
    """Subject, and the trailers that join this commit to an image and its source."""
    names = ", ".join(reference.rpartition("/")[2].partition("@")[0].partition(":")[0] for _, reference in pairs)
    at = f" from {source.rpartition('@')[2][:7]}" if source else ""
    trailers = [f"Fairway-Image: {reference}" for _, reference in pairs]
    if source:
        trailers.append(f"Fairway-Source: {source}")
    return f"{inside}: {names}{at}\n\n" + "\n".join(trailers) + "\n"
