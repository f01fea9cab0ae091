"""What an Application says about itself: sync, health, resources, images, conditions, history. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from fairway.gitops import hooks
from fairway.gitops.compare import Compared, SyncStatus
from fairway.gitops.health import Check, Health, health, worst
from fairway.gitops.operation_state import OperationState, revision_object
from fairway.gitops.spec import Application, Operation
from fairway.kube.decision import Reason
from fairway.kube.objects import Obj, annotations_of, dig, rfc3339, status_of

CONDITION_TYPES = ("InvalidSpecError", "ComparisonError", "SyncError", "DeletionError", "UnknownError",
                   "SharedResourceWarning", "RepeatedResourceWarning", "ExcludedResourceWarning", "OrphanedResourceWarning",
                   "RevertError")
"""`RevertError` is Fairway's own: the commit that takes an aborted version back could not be made."""


def resource_health(entry: Compared, check: Check = health) -> Health | None:
    """None where the kind has no check, or the user switched it off."""
    if entry.live is None:
        return Health("Missing")
    if annotations_of(entry.target or entry.live).get("argocd.argoproj.io/ignore-healthcheck") == "true":
        return None
    return check(entry.live)


def resource_objects(compared: Iterable[Compared], check: Check = health) -> list[Obj]:
    found = []
    for entry in compared:
        version = str((entry.target or entry.live or {}).get("apiVersion") or "").rpartition("/")[2]
        one: Obj = {"group": entry.key.group, "version": version, "kind": entry.key.kind,
                    "namespace": entry.key.namespace, "name": entry.key.name, "status": entry.status}
        state = resource_health(entry, check)
        if state is not None:
            one["health"] = {"status": state.status, **({"message": state.message} if state.message else {})}
        if entry.requires_pruning:
            one["requiresPruning"] = True
        wave = hooks.wave_of(entry.target or entry.live)
        if wave:
            one["syncWave"] = wave
        found.append(one)
    return found


def app_sync(compared: Sequence[Compared]) -> SyncStatus:
    counted = [e for e in compared if not (e.target is None and e.live is not None and "IgnoreExtraneous" in
                                           hooks.options_of(e.live, hooks.COMPARE_OPTIONS))]
    return "OutOfSync" if any(entry.status == "OutOfSync" for entry in counted) else "Synced"


def app_health(compared: Sequence[Compared], check: Check = health) -> Health:
    """The worst of the live objects; Missing where nothing of it is live."""
    if compared and all(entry.live is None for entry in compared):
        return Health("Missing")
    found = [state for entry in compared if entry.live is not None and (state := resource_health(entry, check)) is not None]
    return worst(found)


def images_of(value: Any) -> Iterator[str]:
    """The images of every container in an object."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("containers", "initContainers") and isinstance(inner, list):
                yield from (str(c["image"]) for c in inner if isinstance(c, dict) and c.get("image"))
            else:
                yield from images_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from images_of(inner)


def summary(compared: Iterable[Compared]) -> Obj:
    live = [entry.live for entry in compared if entry.live is not None]
    images = sorted({image for obj in live for image in images_of(obj.get("spec"))})
    hosts = sorted({str(rule["host"]) for obj in live if obj.get("kind") == "Ingress"
                    for rule in dig(obj, "spec", "rules", default=[]) if rule.get("host")})
    return {"images": images or None, "externalURLs": [f"http://{host}/" for host in hosts] or None}


def conditions(present: Iterable[Obj], found: Iterable[Reason], now: datetime) -> list[Obj]:
    """The conditions that hold; those that held before, unchanged, keep their time."""
    old = {(c.get("type"), c.get("message")): c for c in present}
    return [old.get((reason.code, reason.message))
            or {"type": reason.code, "message": reason.message, "lastTransitionTime": rfc3339(now)}
            for reason in found]


_SAID_ELSEWHERE = frozenset(("InSync", "OperationRunning", "SyncStarted", "AutoSyncOff"))


def reasons(found: Iterable[Reason]) -> list[Obj] | None:
    """Fairway's own: why nothing is synced now although something differs, or what is waited for."""
    return [{"type": r.code, "message": r.message} for r in found if r.code not in _SAID_ELSEWHERE] or None


def with_health(old: Obj, state: Health, now: datetime) -> Obj:
    """The health entry; its time changes only when the status does."""
    same = old.get("status") == state.status and "lastTransitionTime" in old
    return {"status": state.status, "message": state.message or None,
            "lastTransitionTime": old["lastTransitionTime"] if same else rfc3339(now)}


def with_history(app: Application, history: Sequence[Obj], state: OperationState, operation: Operation) -> list[Obj]:
    """The history after a sync: full, successful, real syncs make an entry."""
    if state.phase != "Succeeded" or operation.partial or operation.dry_run or app.history_limit <= 0:
        return list(history)
    by: Obj = {"automated": True} if operation.automated else {"username": operation.username or "unknown"}
    entry = {
        "id": max((int(h.get("id", -1)) for h in history), default=-1) + 1, **revision_object(state.revision),
        **({"source": state.source} if "sources" not in state.source else state.source),
        "deployStartedAt": rfc3339(state.started_at),
        "deployedAt": rfc3339(state.finished_at or state.started_at), "initiatedBy": by,
    }
    if history and all(history[-1].get(key) == entry[key] for key in ("deployStartedAt", "revision")):
        return list(history)  # written before the process was killed
    return [*history, entry][-app.history_limit :]


def replacing(old: Any, new: Any) -> Any:
    """The merge patch that makes `old` exactly `new`: what a map no longer has is set to null."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    return {**dict.fromkeys(old.keys() - new.keys()), **{key: replacing(old.get(key), value) for key, value in new.items()}}


def history_of(obj: Obj) -> list[Obj]:
    return list(status_of(obj).get("history") or ())
