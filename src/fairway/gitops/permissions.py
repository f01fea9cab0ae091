"""What a write to an Application, a project or a set needs to be allowed, in the words of Argo CD's policies. Pure.

    get         reading, and asking for a look at git (`refresh`)
    create, update, delete
    sync        `operation`, and ending one
    override    an operation that names other sources or manifests than the Application; where argocd-cm says so, also another
                revision (`application.sync.requireOverridePrivilegeForRevisionSync`)
    rollback    `fairway.dev/rollback-to`, or an operation that names an entry of the history
    action/<group>/<kind>/<name>    `fairway.dev/run-action`

Nobody but Fairway writes a status; ending an operation is the one exception, as it always was in the API of Argo CD.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fairway.gitops.action_request import REQUEST, read_request
from fairway.gitops.tracking import HOME
from fairway.kube.objects import Obj, annotations_of, dig, meta_of, spec_of

REFRESH = "argocd.argoproj.io/refresh"
ROLLBACK = "fairway.dev/rollback-to"
_CASCADE = "resources-finalizer.argocd.argoproj.io"
_BOOKKEEPING = frozenset(("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"))
NEVER = "never"
"""An action that no policy allows."""


@dataclass(frozen=True, slots=True)
class Need:
    resource: str
    action: str
    obj: str

    def __str__(self) -> str:
        return f"{self.resource}, {self.action}, {self.obj}"


RESOURCES = {"Application": "applications", "AppProject": "projects", "ApplicationSet": "applicationsets"}


def named(obj: Obj) -> str:
    """How policies name the object: `<project>/<name>`, outside of argocd `<project>/<namespace>/<name>`; a project by name."""
    name, namespace = str(meta_of(obj).get("name") or ""), str(meta_of(obj).get("namespace") or "")
    if obj.get("kind") == "AppProject":
        return name
    spec = spec_of(obj) if obj.get("kind") == "Application" else dig(obj, "spec", "template", "spec", default={})
    project = str(spec.get("project") or "default")
    return f"{project}/{name}" if namespace == HOME else f"{project}/{namespace}/{name}"


def to_see(obj: Obj) -> Need:
    return Need(RESOURCES.get(str(obj.get("kind")), ""), "get", named(obj))


def to_write(old: Obj | None, new: Obj | None, *, revision_is_override: bool = False) -> list[Need]:
    """All that the write needs, each once."""
    kind = str((new or old or {}).get("kind"))
    found = list(dict.fromkeys(_needs(RESOURCES.get(kind, ""), old, new, revision_is_override)))
    return found or [to_see(new or old or {})]


def _needs(resource: str, old: Obj | None, new: Obj | None, revision_is_override: bool) -> Iterator[Need]:
    if new is None:
        yield Need(resource, "delete", named(old or {}))
        return
    here = named(new)
    if resource == "applicationsets":  # its templates may name any project
        yield Need(resource, NEVER, here)
    if old is None:
        yield Need(resource, "create", here)
        if new.get("status"):
            yield Need(resource, NEVER, here)
        old = {**new, "operation": None, "status": new.get("status"), "metadata": {**meta_of(new), "annotations": {
            key: value for key, value in annotations_of(new).items() if key not in (REFRESH, ROLLBACK, REQUEST)}}}
    if named(old) != here:
        yield from (Need(resource, "update", named(old)), Need(resource, "update", here), Need(resource, "create", here))
    if old.get("spec") != new.get("spec"):
        yield Need(resource, "update", here)
    if resource == "applications":
        yield from (Need(resource, action, here) for action in _of_application(old, new, revision_is_override))
    elif old.get("status") != new.get("status"):
        yield Need(resource, NEVER, here)
    yield from (Need(resource, action, here) for action in _of_metadata(old, new))


def _of_application(old: Obj, new: Obj, revision_is_override: bool) -> Iterator[str]:
    if old.get("operation") != new.get("operation"):
        yield from _of_operation(new, revision_is_override)
    if old.get("status") != new.get("status"):
        yield "sync" if _only_ends(old.get("status"), new.get("status")) else NEVER


def _of_operation(new: Obj, revision_is_override: bool) -> Iterator[str]:
    operation = new.get("operation")
    if dig(operation, "initiatedBy", "automated"):  # windows and retries are others for the automation
        yield NEVER
    if isinstance(operation, dict) and operation.get("rollback"):
        yield "rollback"
    if not isinstance(operation, dict) or not operation.get("rollback") or operation.get("sync"):
        yield "sync"
    sync = operation.get("sync") if isinstance(operation, dict) else None
    if not isinstance(sync, dict):
        return
    sources = spec_of(new).get("sources") or [spec_of(new).get("source") or {}]
    targets = [str(source.get("targetRevision") or "HEAD") for source in sources]
    revisions = sync.get("revisions") or [sync.get("revision")]
    other = any(text and text not in (target, "HEAD") for text, target in zip(revisions, targets, strict=False))
    if any(sync.get(key) for key in ("source", "sources", "manifests")) or (other and revision_is_override):
        yield "override"


def _only_ends(old: Any, new: Any) -> bool:
    """Whether the one change of the status is that the running operation shall end."""
    if not isinstance(old, dict) or not isinstance(new, dict) or dig(new, "operationState", "phase") != "Terminating":
        return False
    state = {**(old.get("operationState") or {}), "phase": "Terminating"}
    return dig(old, "operationState", "phase") == "Running" and {**old, "operationState": state} == new


def _of_metadata(old: Obj, new: Obj) -> Iterator[str]:
    before, after = meta_of(old), meta_of(new)
    for key in sorted((before.keys() | after.keys()) - _BOOKKEEPING):
        if before.get(key) == after.get(key):
            continue
        if key == "annotations":
            yield from _of_annotations(before.get(key) or {}, after.get(key) or {})
        elif key == "finalizers":
            others = [[f for f in side.get(key) or () if not str(f).startswith(_CASCADE)] for side in (before, after)]
            yield "delete" if others[0] == others[1] else "update"
        else:
            yield "update"


def _of_annotations(before: Obj, after: Obj) -> Iterator[str]:
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) == after.get(key):
            continue
        if key == REFRESH:
            yield "get"
        elif key == ROLLBACK:
            yield "rollback"
        elif key == REQUEST and key in after:
            request = read_request(str(after[key]))
            yield f"action/{request.group}/{request.kind}/{request.action}" if request is not None else NEVER
        else:
            yield "update"
