"""Commits that take images back: after an abort, and for `app rollback`. Hands; whether to is `revert`'s."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from fairway.git import Change, GitPort, Tree, commit_with_retry
from fairway.gitops import revert
from fairway.gitops.operation_state import revision_in
from fairway.gitops.revert import Revert
from fairway.gitops.settings import Settings
from fairway.gitops.sources import Sources
from fairway.gitops.spec import Application
from fairway.gitops.status import images_of
from fairway.kube.decision import Reason
from fairway.kube.objects import Obj
from fairway.manifests import ManifestError, OverlaidTree, image_name, render, set_image

LOOK_BACK = 100  # commits searched for a revert that was already made; more than a bad version sees before it is stopped


@dataclass(frozen=True, slots=True)
class NotWritable(Exception):
    """The branch cannot be written by us; the text is for whoever has to do it by hand."""

    text: str

    def __str__(self) -> str:
        return self.text


class Reverting:
    def __init__(self, sources: Sources, settings: Settings) -> None:
        self._sources = sources
        self._settings = settings

    async def commit(self, app: Application, found: Revert, good_revision: str, now: datetime) -> str | Reason:
        """Make the revert; the new commit, or why there was nothing to do. Asked again, it finds its own commit."""
        port = self._sources.port(app.source)
        return await self._sources.call(port, lambda: self._commit(port, app, found, good_revision, now))

    def _commit(self, port: GitPort, app: Application, found: Revert, good_revision: str,
                now: datetime) -> str | Reason:
        branch = _branch(port, app, "set " + ", ".join(f"{old} back to {good}" for old, good in found.images))
        why = Reason("NewerCommit", f"{branch} no longer names the aborted version")

        def change(tree: Tree, head: str) -> Change | None:
            nonlocal why
            if revert.already_reverted((c.message for c in port.log(head, limit=LOOK_BACK)), found.bad_revision):
                why = Reason("AlreadyReverted", f"{branch} already has the revert of {found.bad_revision[:7]}")
                return None
            if not revert.still_named({image: image for image in _images(render(tree, app.source.path))}, found):
                return None
            files = changed_images(tree, app.source.path, found.images)
            return Change(files, found.message(app.name, good_revision), self._settings.author, now)

        return commit_with_retry(port, branch, change) or why

    async def rollback(self, app: Application, entry: Obj, user: str, now: datetime) -> str | Reason:
        """Set the images of the branch to those of a history entry, by a commit."""
        port = self._sources.port(app.source)
        old = list(_images(await self._sources.objects(app, revision_in(entry))))
        return await self._sources.call(port, lambda: self._rollback(port, app, entry, old, user, now))

    def _rollback(self, port: GitPort, app: Application, entry: Obj, wanted: list[str], user: str,
                  now: datetime) -> str | Reason:
        branch = _branch(port, app, f"check out {entry['revision']} and commit its images")

        def change(tree: Tree, head: str) -> Change | None:
            present = list(_images(render(tree, app.source.path)))
            pairs = _pairs(present, wanted)
            if not pairs:
                return None
            files = changed_images(tree, app.source.path, pairs)
            lines = "\n".join(f"  {a}\n  -> {b}" for a, b in pairs)
            message = (f"Roll {app.name} back to history id {entry['id']}\n\nAsked for by {user or 'a user'}.\n\n{lines}\n\n"
                       f"Fairway-Rollback: {entry['revision']}\n")
            return Change(files, message, self._settings.author, now)

        made = commit_with_retry(port, branch, change)
        return made or Reason("NoImageChange", f"{branch} names the same images as history id {entry['id']}; other changes "
                              "are taken back by a commit of yours (git revert)")


def changed_images(tree: Tree, path: str, pairs: Iterable[tuple[str, str]]) -> Mapping[str, bytes]:
    """The files that change so that each first reference is rendered as the second; ManifestError where it does not."""
    changed: dict[str, bytes] = {}
    pairs = list(pairs)
    for old, new in pairs:
        overlaid = OverlaidTree(tree, changed)
        changed.update(set_image(overlaid, path, image_name(overlaid, path, old), new))
    after = set(_images(render(OverlaidTree(tree, changed), path)))
    if any(old in after or new not in after for old, new in pairs):
        raise ManifestError(path, "the images stand in a place that cannot be edited", "set them back by hand")
    return changed


def _images(objects: Iterable[Obj]) -> Iterable[str]:
    return (image for obj in objects for image in images_of(obj.get("spec")))


def _pairs(present: list[str], wanted: list[str]) -> list[tuple[str, str]]:
    """References to replace: same repository, another version."""
    by_name = {_repository(image): image for image in wanted}
    found = [(image, by_name[_repository(image)]) for image in present if _repository(image) in by_name]
    return [pair for pair in dict.fromkeys(found) if pair[0] != pair[1]]


def _repository(image: str) -> str:
    rest = image.partition("@")[0]
    return rest[: rest.rfind(":")] if rest.rfind(":") > rest.rfind("/") else rest


def _branch(port: GitPort, app: Application, by_hand: str) -> str:
    branch = port.branch_of(app.source.target_revision)
    if branch is None:
        raise NotWritable(f"targetRevision {app.source.target_revision!r} is not a branch, so Fairway cannot commit to it; "
                          f"by hand: {by_hand}")
    return branch
