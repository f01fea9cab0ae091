"""Where a watch stands: all that a restarted controller needs to go on with the same evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

from fairway.kube.objects import Obj, parse_time, rfc3339, status_of

Phase = Literal["", "Idle", "Watching", "Suspect", "AwaitingApproval", "RollingBack", "RolledBack", "Passed", "Failed"]
PHASES: tuple[Phase, ...] = get_args(Phase)
State = Literal["waiting", "ok", "violated", "unknown"]


@dataclass(frozen=True, slots=True)
class Reading:
    """One criterion as it was seen last. `since`: violated without a break; an unknown look neither begins nor ends that."""

    state: State = "waiting"
    value: float | None = None
    since: datetime | None = None
    said: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """`version` serves now, `previous` before it; `good` is the one that a rollback goes to."""

    phase: Phase = ""
    message: str = ""
    version: str = ""
    previous: str = ""
    good: str = ""
    promoted_at: datetime | None = None
    looked_at: datetime | None = None
    suspect_at: datetime | None = None
    readings: Mapping[str, Reading] = field(default_factory=dict)
    evidence: str = ""


def read_status(policy: Obj) -> Status:
    at = status_of(policy)
    readings = {str(r["name"]): Reading(r.get("state") or "waiting", r.get("value"), _moment(r.get("violatedSince")),
                                        r.get("message") or "") for r in at.get("criteria") or ()}
    return Status(
        next((phase for phase in PHASES if phase == at.get("phase")), ""), at.get("message") or "", at.get("version") or "",
        at.get("previousVersion") or "", at.get("goodVersion") or "", _moment(at.get("promotedAt")),
        _moment(at.get("lookedAt")), _moment(at.get("suspectSince")), readings, at.get("evidence") or "")


def write_status(status: Status) -> Obj:
    """A merge patch: a key that is None goes."""
    return {
        "phase": status.phase or None, "message": status.message or None, "version": status.version or None,
        "previousVersion": status.previous or None, "goodVersion": status.good or None,
        "promotedAt": _text(status.promoted_at), "lookedAt": _text(status.looked_at), "suspectSince": _text(status.suspect_at),
        "evidence": status.evidence or None,
        "criteria": [{"name": name, "state": r.state, **({"value": r.value} if r.value is not None else {}),
                      **({"violatedSince": rfc3339(r.since)} if r.since else {}), **({"message": r.said} if r.said else {})}
                     for name, r in status.readings.items()],
    }  # fmt: skip


def _moment(text: str | None) -> datetime | None:
    return parse_time(text) if text else None


def _text(moment: datetime | None) -> str | None:
    return rfc3339(moment) if moment else None
