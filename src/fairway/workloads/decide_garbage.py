"""What becomes of the objects of an owner that is gone or going."""

from __future__ import annotations

from dataclasses import dataclass

from fairway.kube.api import MergePatch, Propagation
from fairway.kube.decision import Action, Change, Decision, Delete, Reason
from fairway.kube.objects import Obj, is_deleting, key_of, meta_of, uid_of
from fairway.kube.resources import Resource

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"


@dataclass(frozen=True, slots=True)
class Dependent:
    """`alive`: uids of its owners that were seen to exist."""

    resource: Resource
    obj: Obj
    alive: frozenset[str]


@dataclass(frozen=True, slots=True)
class Seen:
    """`owner`: the owner while a finalizer of ours holds it; None: the API said that no object has this uid."""

    uid: str
    owner: tuple[Resource, Obj] | None
    dependents: tuple[Dependent, ...]


def decide(seen: Seen) -> Decision:
    if seen.owner is None:
        return _collect(seen)
    resource, owner = seen.owner
    finalizers = meta_of(owner).get("finalizers") or []
    if ORPHAN in finalizers:
        actions = [_disown(one, seen.uid) for one in seen.dependents]
        return Decision((*actions, _unhold(resource, owner, ORPHAN)), reasons=(Reason("Orphaned", str(len(actions))),))
    blocking = [one for one in seen.dependents if _blocks(one, seen.uid)]
    if not blocking:
        return Decision((_unhold(resource, owner, FOREGROUND),) if FOREGROUND in finalizers else ())
    left = tuple(_delete(one, "Foreground") for one in blocking if not is_deleting(one.obj))
    others = tuple(_delete(one, "Background") for one in seen.dependents
                   if one not in blocking and not is_deleting(one.obj) and not one.alive - {seen.uid})
    return Decision((*left, *others), reasons=(Reason("WaitingForDependents", f"{len(blocking)} remain"),))


def _collect(seen: Seen) -> Decision:
    actions: list[Action] = []
    for one in seen.dependents:
        if one.alive - {seen.uid}:
            actions.append(_disown(one, seen.uid))
        elif not is_deleting(one.obj):
            held = meta_of(one.obj).get("finalizers") or ()
            actions.append(_delete(one, "Orphan" if ORPHAN in held else "Foreground" if FOREGROUND in held
                                   else "Background"))
    return Decision(tuple(actions), reasons=(Reason("OwnerGone", f"{len(actions)} dependents"),) if actions else ())


def _blocks(one: Dependent, uid: str) -> bool:
    """Owned by somebody else too: it stays, and so it cannot hold up this owner."""
    if one.alive - {uid}:
        return False
    return any(ref["uid"] == uid and ref.get("blockOwnerDeletion") for ref in meta_of(one.obj)["ownerReferences"])


def _delete(one: Dependent, propagation: Propagation) -> Delete:
    namespace, name = key_of(one.obj)
    return Delete(one.resource, namespace, name, uid_of(one.obj), propagation)


def _disown(one: Dependent, uid: str) -> Change:
    namespace, name = key_of(one.obj)
    refs = [ref for ref in meta_of(one.obj)["ownerReferences"] if ref["uid"] != uid]
    body = {"metadata": {"uid": uid_of(one.obj), "ownerReferences": refs or None}}
    return Change(one.resource, namespace, name, MergePatch(body))


def _unhold(resource: Resource, owner: Obj, finalizer: str) -> Change:
    namespace, name = key_of(owner)
    kept = [held for held in meta_of(owner).get("finalizers") or () if held != finalizer]
    body = {"metadata": {"uid": uid_of(owner), "resourceVersion": meta_of(owner).get("resourceVersion"),
                         "finalizers": kept or None}}
    return Change(resource, namespace, name, MergePatch(body))
