"""What a decision leaves behind as events, in the words of the upstream controllers. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fairway.kube.decision import Create, Decision, Delete
from fairway.kube.objects import meta_of
from fairway.kube.resources import PODS
from fairway.workloads.decide_deployment import SCALING
from fairway.workloads.job_status import BACKOFF, COMPLETE, DEADLINE

_ENDS = {COMPLETE.reason: ("Normal", "Completed", "Job completed"),
         BACKOFF.reason: ("Warning", BACKOFF.reason, BACKOFF.message),
         DEADLINE.reason: ("Warning", DEADLINE.reason, DEADLINE.message)}


@dataclass(frozen=True, slots=True)
class Remark:
    kind: Literal["Normal", "Warning"]
    reason: str
    message: str


def remarks(decision: Decision) -> list[Remark]:
    """Pods made and deleted, ReplicaSets resized."""
    found = [Remark("Normal", SCALING, reason.message) for reason in decision.reasons if reason.code == SCALING]
    for action in decision.actions:
        match action:
            case Create(obj) if obj["kind"] == "Pod":
                found.append(Remark("Normal", "SuccessfulCreate", f"Created pod: {meta_of(obj)['name']}"))
            case Delete(resource, _, name) if resource == PODS:
                found.append(Remark("Normal", "SuccessfulDelete", f"Deleted pod: {name}"))
            case _:
                pass
    return found


def end_remark(reason: str) -> Remark | None:
    """How a Job ended."""
    entry = _ENDS.get(reason)
    if entry is None:
        return None
    return Remark("Warning" if entry[0] == "Warning" else "Normal", entry[1], entry[2])
