"""What a decision leaves behind as events, in the words of the upstream controllers. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fairway.kube.decision import Create, Decision, Delete
from fairway.kube.objects import Obj, meta_of
from fairway.kube.resources import PODS
from fairway.workloads.decide_deployment import SCALING

MOST = 25
"""Of one pass. Upstream's recorder lets as many through about one object at a time: a thousand would tell nobody more."""


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
    return found[:MOST]


def end_remark(end: Obj) -> Remark:
    """How a Job ended: its last condition."""
    if end["type"] == "Complete":
        return Remark("Normal", "Completed", "Job completed")
    return Remark("Warning", end["reason"], end["message"])


def pause_remarks(before: Obj, after: Obj) -> list[Remark]:
    """That a Job was suspended, or goes on."""
    was, now = _suspended(before), _suspended(after)
    if was == now:
        return []
    return [Remark("Normal", "Suspended", "Job suspended") if now else Remark("Normal", "Resumed", "Job resumed")]


def _suspended(status: Obj) -> bool:
    return any(entry["type"] == "Suspended" and entry["status"] == "True" for entry in status.get("conditions") or ())
