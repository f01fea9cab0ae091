"""`fairway set image --push`: the change as a commit on the newest head of `origin`, made again when the race is lost; or, with
`--pull-request`, as a branch for somebody to look at first."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from fairway.cli.errors import CommandError, Misused
from fairway.git.clone import Clone
from fairway.git.port import Change, GitError, MakeChange, Person, Tree, commit_with_retry
from fairway.git.proposal import Proposed, forge_of, opening, propose
from fairway.manifests import FileTree, ManifestError, set_image

AUTHOR = Person("fairway", "fairway@example.com")
Pairs = Sequence[tuple[str, str]]


def commit_images(path: Path, root: Path, pairs: Pairs, *, source: str) -> str | None:
    """The new commit's id, or None where the newest head already names these images."""
    _, change = _planned(path, root, pairs, source)
    with _git_errors():
        clone = Clone(root)
        sha = commit_with_retry(clone, clone.branch, change)
        if sha:
            clone.catch_up(sha)
    return sha


def propose_images(path: Path, root: Path, pairs: Pairs, *, source: str) -> tuple[Proposed, str] | None:
    """The change on a branch of its own, and the repository's URL; None where the newest head already names these images."""
    inside, change = _planned(path, root, pairs, source)
    with _git_errors():
        clone = Clone(root)
        proposed = propose(clone, clone.branch, f"fairway/{inside.replace('/', '-') or 'images'}", change)
    return (proposed, clone.url) if proposed else None


def open_request(proposed: Proposed, url: str) -> str:
    """Open the pull or merge request where the forge and a token are known; one line that says what came of it."""
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    forge = forge_of(url, os.environ)
    token = os.environ.get("GITLAB_TOKEN" if forge == "gitlab" else "GITHUB_TOKEN", "")
    if forge is None or not token:
        lacks = "the forge is not known" if forge is None else f"{forge.upper()}_TOKEN is not set"
        return f"{lacks}: open the request for {proposed.branch} yourself"
    wanted = opening(proposed, url, forge, os.environ, token)
    try:
        with urlopen(Request(wanted.url, wanted.body, dict(wanted.headers)), timeout=30) as answer:
            made = json.loads(answer.read())
            return f"opened {made.get('html_url') or made.get('web_url') or 'the request'}"
    except HTTPError as error:
        if error.code == wanted.exists:
            return "the request for it is open already"
        raise CommandError(f"the request could not be opened: {forge} answered {error.code}",
                           mend=f"{proposed.branch} is pushed: open it yourself, or check the token's scope") from None
    except (URLError, ValueError) as error:
        raise CommandError(f"the request could not be opened: {error}",
                           mend=f"the branch {proposed.branch} is pushed: open it yourself") from None


def _planned(path: Path, root: Path, pairs: Pairs, source: str) -> tuple[str, MakeChange]:
    if not (root / ".git").exists():
        raise Misused(f"{path} is not in a git work tree", mend="clone the deployment repository first")
    inside = path.resolve().relative_to(root).as_posix()

    def change(tree: Tree, _head: str) -> Change | None:
        files = changed_files(tree, inside, pairs)
        return Change(dict(files), message_of(pairs, inside, source), AUTHOR, datetime.now(UTC)) if files else None

    return inside, change


@contextmanager
def _git_errors() -> Iterator[None]:
    try:
        yield
    except GitError as error:
        words, _, mend = str(error).partition("; ")
        raise CommandError(words, mend=mend) from error


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
