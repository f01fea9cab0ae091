"""What holds a sync back although there is something to do: sync windows, other Applications, a time limit. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from fairway.gitops import windows
from fairway.gitops.project import Project
from fairway.gitops.spec import DEPENDS_ON, Application
from fairway.kube.decision import Reason
from fairway.kube.objects import Obj, annotations_of, dig, meta_of, parse_time, rfc3339, status_of

APPROVED = "argocd.argoproj.io/deletion-approved"
Find = Callable[[str, str], Obj | None]
"""The Application of a namespace and a name."""


@dataclass(frozen=True, slots=True)
class Held:
    reason: Reason
    wake_at: datetime | None = None


def window_gate(app: Application, project: Project, *, manual: bool, now: datetime,
                started: datetime | None = None) -> Held | None:
    applying = project.windows_of(app)
    if windows.can_sync(applying, manual=manual, now=now, started=started):
        return None
    wake = windows.changes_at(applying, now)
    until = f"; the next change is at {rfc3339(wake)}" if wake is not None else ""
    denying = [w for w in windows.active(applying, now) if w.is_deny]
    what = f"deny window '{denying[0].schedule}' ({denying[0].duration})" if denying else "no allow window is open"
    return Held(Reason("SyncWindow", f"Sync operation blocked by sync window: {what} of project {project.name}{until}"), wake)


def dependency_gate(app: Application, revision: str, find: Find) -> Held | None:
    """All that it depends on has to be synced and healthy, at the same commit where it comes from the same branch."""
    for namespace, name in app.depends_on:
        other = find(namespace, name)
        if other is None:
            return Held(Reason("WaitingForDependency", f"depends on Application {namespace}/{name}, which does not exist"))
        sync, health = dig(status_of(other), "sync", default={}), dig(status_of(other), "health", "status")
        if sync.get("status") != "Synced" or health != "Healthy":
            state = f"{sync.get('status') or 'Unknown'}, {health or 'Unknown'}"
            return Held(Reason("WaitingForDependency", f"depends on Application {namespace}/{name}, which is {state}"))
        if _same_branch(app, other) and sync.get("revision") != revision:
            return Held(Reason("WaitingForDependency", f"depends on Application {namespace}/{name}, which is still at "
                               f"{str(sync.get('revision'))[:7]}"))
        running = dig(status_of(other), "operationState", "phase")
        if running in ("Running", "Terminating"):
            return Held(Reason("WaitingForDependency", f"depends on Application {namespace}/{name}, which is being synced"))
    return None


def _same_branch(app: Application, other: Obj) -> bool:
    mine, theirs = app.source.as_object(), dig(other, "spec", "source", default={})
    return all(mine.get(key) == theirs.get(key) for key in ("repoURL", "targetRevision"))


def dependency_cycle(key: tuple[str, str], find: Find) -> list[str]:
    """The names on a circle of dependencies that goes through this Application; empty where there is none."""
    trail: list[tuple[str, str]] = []

    def walk(at: tuple[str, str]) -> bool:
        if at in trail:
            return at == key
        trail.append(at)
        obj = find(*at)
        if obj is not None and any(walk(other) for other in depends_on(obj)):
            return True
        trail.pop()
        return False

    return [f"{namespace}/{name}" for namespace, name in (*trail, key)] if walk(key) else []


def depends_on(obj: Obj) -> list[tuple[str, str]]:
    found = []
    for word in annotations_of(obj).get(DEPENDS_ON, "").split(","):
        namespace, slash, name = word.strip().rpartition("/")
        if name:
            found.append((namespace if slash else str(meta_of(obj).get("namespace") or ""), name))
    return found


def overdue(app: Application, started: datetime, now: datetime, limit: timedelta | None) -> Reason | None:
    """The operation has taken longer than the Application, or the platform, allows."""
    allowed = app.operation_limit or limit
    if allowed is None or now - started < allowed:
        return None
    return Reason("OperationTimedOut", f"operation terminated: it did not end within {allowed}")


def deadline(app: Application, started: datetime, limit: timedelta | None) -> datetime | None:
    allowed = app.operation_limit or limit
    return started + allowed if allowed is not None else None


def approved(annotations: Mapping[str, str], since: datetime) -> bool:
    """Whether somebody has confirmed deletions since then (`argocd.argoproj.io/deletion-approved: <time>`)."""
    try:
        return parse_time(annotations.get(APPROVED, "")).replace(microsecond=0) >= since.replace(microsecond=0)
    except ValueError:
        return False
