"""The running operation as it stands in `status.operationState`: decoded, advanced, written back. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, cast

from fairway.gitops.hooks import Phase
from fairway.gitops.spec import Application
from fairway.gitops.sync_plan import HookPhase, OperationPhase, Result, ResultStatus
from fairway.gitops.tasks import TaskKey
from fairway.kube.objects import Obj, parse_time, rfc3339


@dataclass(frozen=True, slots=True)
class OperationState:
    """`finished_at` with phase Running means: waiting for the next retry."""

    operation: Obj
    phase: OperationPhase
    message: str
    started_at: datetime
    revision: str
    source: Obj
    finished_at: datetime | None = None
    retry_count: int = 0
    results: Mapping[TaskKey, Result] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Names this attempt; hooks that it makes carry it."""
        return f"{int(self.started_at.timestamp())}-{self.retry_count}"

    @property
    def completed(self) -> bool:
        return self.phase in ("Succeeded", "Failed", "Error")

    @property
    def waits_for_retry(self) -> bool:
        return self.phase == "Running" and self.finished_at is not None

    def ended(self, phase: OperationPhase, message: str, now: datetime) -> OperationState:
        return replace(self, phase=phase, message=message, finished_at=now)

    def as_object(self) -> Obj:
        found: Obj = {
            "operation": self.operation, "phase": self.phase, "message": self.message,
            "startedAt": rfc3339(self.started_at), "finishedAt": None, "retryCount": self.retry_count,
            "syncResult": {
                **revision_object(self.revision), **_source_field(self.source),
                "resources": [_result_object(key, result) for key, result in self.results.items()],
            },
        }
        if self.finished_at is not None:
            found["finishedAt"] = rfc3339(self.finished_at)
        return found


def started(operation: Obj, revision: str, app: Application, now: datetime) -> OperationState:
    return OperationState(operation, "Running", f"syncing to {short(revision)}", now, revision, app.source_object())


def revision_object(revision: str) -> Obj:
    """As a status has it: `revisions` where there are several; `revision` is there always, for those that read one."""
    every = revision.split(",")
    return {"revision": every[0], **({"revisions": every} if len(every) > 1 else {})}


def revision_in(value: Obj) -> str:
    return ",".join(str(sha) for sha in value.get("revisions") or [value.get("revision") or ""])


def _source_field(source: Obj) -> Obj:
    return source if "sources" in source else {"source": source}


def decode_state(value: Any) -> OperationState | None:
    if not isinstance(value, dict) or not value.get("startedAt"):
        return None
    result = value.get("syncResult") or {}
    finished = value.get("finishedAt")
    return OperationState(
        operation=value.get("operation") or {}, phase=cast(OperationPhase, value.get("phase") or "Running"),
        message=str(value.get("message") or ""), started_at=parse_time(value["startedAt"]),
        revision=revision_in(result), source=_source_in(result),
        finished_at=parse_time(finished) if finished else None, retry_count=int(value.get("retryCount") or 0),
        results=dict(_result(entry) for entry in result.get("resources") or ()),
    )


def _source_in(result: Obj) -> Obj:
    return {"sources": result["sources"]} if result.get("sources") else result.get("source") or {}


def _result_object(key: TaskKey, result: Result) -> Obj:
    found: Obj = {
        "group": key.group, "version": result.version, "kind": key.kind, "namespace": key.namespace, "name": key.name,
        "syncPhase": key.phase, "status": result.status, "message": result.message, "hookPhase": result.phase,
    }
    return {**found, "hookType": result.hook_type} if result.hook_type else found


def _result(entry: Obj) -> tuple[TaskKey, Result]:
    phase = cast(Phase, entry.get("syncPhase") or "Sync")
    key = TaskKey(phase, str(entry.get("group") or ""), str(entry.get("kind")), str(entry.get("namespace") or ""),
                  str(entry.get("name")))
    return key, Result(cast(ResultStatus, entry.get("status") or "Synced"), str(entry.get("message") or ""),
                       cast(HookPhase, entry.get("hookPhase") or "Running"), str(entry.get("hookType") or ""),
                       str(entry.get("version") or ""))


def short(revision: str) -> str:
    return revision[:7]
