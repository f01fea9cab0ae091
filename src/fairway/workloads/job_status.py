"""A Job's conditions, in upstream's words. Source: kubernetes `pkg/controller/job/job_controller.go`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fairway.kube.objects import Obj, rfc3339, status_of


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where a Job ends. `interim` is set as soon as it is known, `final` when no pod of the Job runs any more."""

    interim: str
    final: str
    reason: str
    message: str


COMPLETE = Verdict("SuccessCriteriaMet", "Complete", "CompletionsReached", "Reached expected number of succeeded pods")
BACKOFF = Verdict("FailureTarget", "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
DEADLINE = Verdict("FailureTarget", "Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
FAILED_INDEXES = Verdict("FailureTarget", "Failed", "FailedIndexes", "Job has failed indexes")
TOO_MANY_INDEXES = Verdict("FailureTarget", "Failed", "MaxFailedIndexesExceeded",
                           "Job has exceeded the specified maximal number of failed indexes")
_FINAL = {"SuccessCriteriaMet": "Complete", "FailureTarget": "Failed"}


def held(job: Obj, kind: str) -> Obj | None:
    for entry in status_of(job).get("conditions") or ():
        if entry.get("type") == kind and entry.get("status") == "True":
            found: Obj = entry
            return found
    return None


def finished(job: Obj) -> Obj | None:
    return held(job, "Complete") or held(job, "Failed")


def decided(job: Obj) -> Verdict | None:
    """The verdict that an earlier pass wrote down and that now waits for the last pod."""
    for interim, final in _FINAL.items():
        entry = held(job, interim)
        if entry is not None:
            return Verdict(interim, final, entry.get("reason", ""), entry.get("message", ""))
    return None


def with_entry(conditions: list[Obj], now: datetime, kind: str, status: str, reason: str, message: str) -> list[Obj]:
    current = next((entry for entry in conditions if entry["type"] == kind), None)
    if current is not None and (current["status"], current.get("reason")) == (status, reason):
        return conditions
    stamp = rfc3339(now)
    moved = current["lastTransitionTime"] if current is not None and current["status"] == status else stamp
    entry: Obj = {"type": kind, "status": status, "reason": reason, "message": message,
                  "lastProbeTime": stamp, "lastTransitionTime": moved}
    return [*(old for old in conditions if old is not current), entry]
