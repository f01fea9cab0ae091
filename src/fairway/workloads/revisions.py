"""The history of a StatefulSet or DaemonSet: one ControllerRevision per pod template that it ever had.

A template that comes back gets its old revision with a new number, so that `kubectl rollout undo` is an update like any
other. Source: kubernetes `pkg/controller/history`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from fairway.kube.api import MergePatch
from fairway.kube.decision import Action, Change, Create, Delete
from fairway.kube.objects import Obj, dig, is_controlled_by, key_of, labels_of, meta_of, owner_reference, spec_of, uid_of
from fairway.kube.resources import CONTROLLER_REVISIONS
from fairway.kube.template import template_hash

REVISION_LABEL = "controller-revision-hash"
HASH_LABEL = "controller.kubernetes.io/hash"


@dataclass(frozen=True, slots=True)
class History:
    """`update`: the revision of the template as it is now. `old`: the others, oldest first."""

    update: Obj
    old: tuple[Obj, ...]
    actions: tuple[Action, ...]
    collisions: int

    def named(self, name: str) -> Obj | None:
        return next((one for one in (*self.old, self.update) if meta_of(one)["name"] == name), None)


def history(owner: Obj, present: Sequence[Obj], collisions: int) -> History:
    """`present`: the ControllerRevisions of the namespace. A name that another owner holds moves the hash on."""
    ours = sorted((one for one in present if is_controlled_by(one, owner)), key=_number)
    data = {"spec": {"template": {**spec_of(owner)["template"], "$patch": "replace"}}}
    same = next((one for one in reversed(ours) if one.get("data") == data), None)
    highest = _number(ours[-1]) if ours else 0
    if same is None:
        taken = {meta_of(one)["name"] for one in present}
        while f"{meta_of(owner)['name']}-{template_hash(data, collisions)}" in taken:
            collisions += 1
        made = _made(owner, data, template_hash(data, collisions), highest + 1)
        return History(made, tuple(ours), (Create(made),), collisions)
    old = tuple(one for one in ours if one is not same)
    if _number(same) == highest:
        return History(same, old, (), collisions)
    bump = Change(CONTROLLER_REVISIONS, *key_of(same), MergePatch({"revision": highest + 1}))
    return History({**same, "revision": highest + 1}, old, (bump,), collisions)


def template_of(revision: Obj) -> Obj:
    found: Obj = dig(revision, "data", "spec", "template", default={})
    return {name: value for name, value in found.items() if name != "$patch"}


def hash_of(revision: Obj) -> str:
    return labels_of(revision).get(HASH_LABEL, "")


def surplus(owner: Obj, old: Sequence[Obj], live: Collection[str]) -> list[Action]:
    """Revisions beyond the history limit, oldest first; never one that is `live` (by name)."""
    limit = int(spec_of(owner).get("revisionHistoryLimit", 10))
    idle = [one for one in old if meta_of(one)["name"] not in live]
    return [Delete(CONTROLLER_REVISIONS, *key_of(one), uid=uid_of(one)) for one in idle[:max(len(idle) - limit, 0)]]


def _number(revision: Obj) -> int:
    return int(revision.get("revision") or 0)


def _made(owner: Obj, data: Obj, digest: str, number: int) -> Obj:
    labels = dig(owner, "spec", "template", "metadata", "labels", default={})
    return {
        "apiVersion": CONTROLLER_REVISIONS.api_version,
        "kind": CONTROLLER_REVISIONS.kind,
        "metadata": {
            "name": f"{meta_of(owner)['name']}-{digest}",
            "namespace": meta_of(owner)["namespace"],
            "labels": {**labels, HASH_LABEL: digest},
            "ownerReferences": [owner_reference(owner)],
        },
        "data": data,
        "revision": number,
    }
