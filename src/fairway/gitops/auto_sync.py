"""Whether the automation starts a sync now, and if not, why: the guards in their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fairway.gitops.compare import Compared
from fairway.gitops.operation_state import OperationState, revision_object, short
from fairway.gitops.retry import SelfHealBackoff
from fairway.gitops.spec import Application, decode_operation
from fairway.kube.decision import Reason
from fairway.kube.objects import Obj

DEFAULT_RETRIES = 5


@dataclass(frozen=True, slots=True)
class Start:
    """Start this operation (the object for `operation:`)."""

    operation: Obj
    reason: Reason


@dataclass(frozen=True, slots=True)
class Hold:
    """Do not sync. `error` where a person has to act: it becomes a condition."""

    reason: Reason
    wake_at: datetime | None = None
    error: bool = False


def decide(app: Application, compared: Sequence[Compared], revision: str, last: OperationState | None, now: datetime,
           backoff: SelfHealBackoff | None = None) -> Start | Hold:
    """The automation's decision. To be asked only while no operation runs and the application is not deleted."""
    policy = app.automated
    if policy is None:
        return Hold(Reason("AutoSyncOff", "spec.syncPolicy.automated is not set: sync by hand (fairway app sync)"))
    changed = [entry for entry in compared if entry.status != "Synced"]
    if not changed:
        return Hold(Reason("InSync", f"everything is as {short(revision)} says"))
    if not policy.prune and all(entry.requires_pruning for entry in changed):
        names = ", ".join(str(entry.key) for entry in changed[:3])
        return Hold(Reason("PruneOff", f"only extra objects are left ({names}); spec.syncPolicy.automated.prune is off"))
    attempts, healing = 0, last is not None and last.revision == revision and last.source == app.source_object()
    if last is not None and healing:
        if last.phase in ("Failed", "Error"):
            return Hold(Reason("SyncError", f"Failed last sync attempt to [{revision}]: {last.message} (retried "
                               f"{last.retry_count} times); push a fix, or sync by hand"), error=True)
        if not policy.self_heal:
            return Hold(Reason("SelfHealOff", "the live objects were changed by others; spec.syncPolicy.automated.selfHeal"
                               " is off"))
        attempts = decode_operation(last.operation, app).heal_attempts
        due = (backoff or SelfHealBackoff()).due(attempts, last.finished_at, now)
        if due is not None and now < due:
            return Hold(Reason("SelfHealBackoff", f"drift is healed again at {due:%H:%M:%S}"), wake_at=due)
    if policy.prune and not policy.allow_empty and all(entry.requires_pruning for entry in compared):
        return Hold(Reason("SyncError", "auto-sync will wipe out all resources; set allowEmpty: true if that is meant"),
                    error=True)
    operation = _operation(app, compared, revision, attempts + 1 if healing else 0, healing)
    why = "healing drift in " if healing else f"git moved to {short(revision)}: "
    return Start(operation, Reason("SyncStarted", why + ", ".join(_named(entry, fields=healing) for entry in changed[:5])))


def _named(entry: Compared, *, fields: bool) -> str:
    """With `fields`, what others changed: the first three paths."""
    shown = ", ".join(entry.fields[:3]) + (", …" if len(entry.fields) > 3 else "")
    return f"{entry.key} ({shown})" if fields and shown else str(entry.key)


def _operation(app: Application, compared: Sequence[Compared], revision: str, attempts: int, healing: bool) -> Obj:
    assert app.automated is not None
    sync: Obj = {**revision_object(revision), "prune": app.automated.prune}
    if app.sync_options:
        sync["syncOptions"] = list(app.sync_options)
    if healing:
        sync["autoHealAttemptsCount"] = attempts
        sync["resources"] = [
            {"group": e.key.group, "kind": e.key.kind, "namespace": e.key.namespace, "name": e.key.name}
            for e in compared if e.status != "Synced"
        ]
    retry = app.retry
    found: Obj = {"initiatedBy": {"automated": True}, "sync": sync, "retry": {"limit": DEFAULT_RETRIES}}
    if retry is not None:
        found["retry"] = {
            "limit": retry.limit, **({"refresh": True} if retry.refresh else {}),
            "backoff": {"duration": f"{retry.duration.total_seconds():g}s", "factor": retry.factor,
                        "maxDuration": f"{retry.max_duration.total_seconds():g}s"},
        }
    return found
