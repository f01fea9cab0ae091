"""Where a Canary stands. Everything that a restarted controller needs is in here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal, get_args

from fairway.kube.objects import Obj, parse_time, rfc3339, status_of

Phase = Literal["", "Initializing", "Initialized", "Waiting", "Progressing", "WaitingPromotion", "Promoting", "Finalising",
                "Succeeded", "Failed", "Terminating", "Terminated"]
PHASES: tuple[Phase, ...] = get_args(Phase)
STARTING: tuple[Phase, ...] = ("", "Initializing")
UNDER_WAY: tuple[Phase, ...] = ("Progressing", "Waiting", "WaitingPromotion", "Promoting", "Finalising")
IDLE: tuple[Phase, ...] = ("Initialized", "Succeeded", "Failed")

PROMOTED = "Promoted"
_SAYS: dict[str, tuple[str, str]] = {
    "Initializing": ("Unknown", "New {kind} detected, starting initialization."),
    "Initialized": ("True", "{kind} initialization completed."),
    "Waiting": ("Unknown", "Waiting for approval."),
    "WaitingPromotion": ("Unknown", "Waiting for approval."),
    "Progressing": ("Unknown", "New revision detected, progressing canary analysis."),
    "Promoting": ("Unknown", "Canary analysis completed, starting primary rolling update."),
    "Finalising": ("Unknown", "Canary analysis completed, routing all traffic to primary."),
    "Succeeded": ("True", "Canary analysis completed successfully, promotion finished."),
    "Failed": ("False", "Canary analysis failed, {kind} scaled to zero."),
    "Terminating": ("Unknown", "Canary is being deleted."),
}
"""Phase to the condition Promoted: its status and its message. Clients match on both."""


@dataclass(frozen=True, slots=True)
class Status:
    phase: Phase = ""
    weight: int = 0
    failed_checks: int = 0
    iterations: int = 0
    applied: str = ""
    promoted: str = ""
    tracked: Mapping[str, str] | None = None
    moved: datetime | None = None
    cookie: str = ""
    conditions: tuple[Obj, ...] = field(default=())


def read_status(canary: Obj) -> Status:
    at = status_of(canary)
    moved = at.get("lastTransitionTime")
    return Status(
        phase=next((phase for phase in PHASES if phase == at.get("phase")), ""),
        weight=int(at.get("canaryWeight") or 0), failed_checks=int(at.get("failedChecks") or 0),
        iterations=int(at.get("iterations") or 0), applied=at.get("lastAppliedSpec") or "",
        promoted=at.get("lastPromotedSpec") or "", tracked=at.get("trackedConfigs"),
        moved=parse_time(moved) if moved else None, cookie=at.get("sessionAffinityCookie") or "",
        conditions=tuple(at.get("conditions") or ()),
    )


def write_status(status: Status, before: Status) -> Obj:
    """A merge patch. Tracked configs that are gone are removed."""
    tracked = None if status.tracked is None else {
        **{name: None for name in before.tracked or () if name not in status.tracked}, **status.tracked}
    return {
        "phase": status.phase, "canaryWeight": status.weight, "failedChecks": status.failed_checks,
        "iterations": status.iterations, "lastAppliedSpec": status.applied or None, "lastPromotedSpec": status.promoted or None,
        "trackedConfigs": tracked, "lastTransitionTime": rfc3339(status.moved) if status.moved else None,
        "sessionAffinityCookie": status.cookie or None, "conditions": list(status.conditions),
    }


def moved(status: Status, now: datetime, kind: str) -> Status:
    """The condition that belongs to the phase, and the time of this change."""
    truth, says = _SAYS[status.phase]
    old = next((c for c in status.conditions if c.get("type") == PROMOTED), None)
    status = replace(status, moved=now)
    if old is not None and (old.get("status"), old.get("reason")) == (truth, status.phase):
        return status
    since = old["lastTransitionTime"] if old is not None and old.get("status") == truth else rfc3339(now)
    made = {"type": PROMOTED, "status": truth, "reason": status.phase, "message": says.format(kind=kind),
            "lastUpdateTime": rfc3339(now), "lastTransitionTime": since}
    return replace(status, conditions=(made,))


def in_phase(status: Status, phase: Phase, iterations: int) -> Status:
    """Weight and iterations start again, except where users are still on the canary; a promotion is written down.

    `iterations` are those that the analysis wants: one that waits for its promotion repeats the last."""
    if phase not in ("Progressing", "Waiting", "Promoting"):
        status = replace(status, weight=0, iterations=max(iterations - 1, 0) if phase == "WaitingPromotion" else 0)
    if phase in ("Initialized", "Succeeded"):
        status = replace(status, promoted=status.applied)
    return replace(status, phase=phase)
