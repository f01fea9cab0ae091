"""Measurements and the tally of each metric, as an AnalysisRun's status holds them.

Times are kept to the microsecond, so that an interval of two seconds is two seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from fairway.kube.objects import Obj, parse_time, rfc3339_micro

COMPLETED = frozenset({"Successful", "Failed", "Error", "Inconclusive"})
_WORSE = ("Successful", "Running", "Pending", "Inconclusive", "Error", "Failed")


def is_worse(current: str, new: str) -> bool:
    """Whether `new` is further down the scale from Successful to Failed."""
    rank = {phase: i for i, phase in enumerate(_WORSE)}
    return rank.get(new, 0) > rank.get(current, 0)


def worst(left: str, right: str) -> str:
    return right if is_worse(left, right) else left


@dataclass(frozen=True, slots=True)
class Measurement:
    """`value` is what the provider returned, as text. `resume_at`: when to ask again for one that is not finished."""

    phase: str = ""
    value: str = ""
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    resume_at: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tally:
    """One metric's result so far. Counters outlive the measurements that retention drops."""

    name: str
    phase: str = ""
    measurements: tuple[Measurement, ...] = ()
    message: str = ""
    count: int = 0
    successful: int = 0
    failed: int = 0
    inconclusive: int = 0
    error: int = 0
    consecutive_error: int = 0
    consecutive_success: int = 0
    dry_run: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def last(self) -> Measurement | None:
        return self.measurements[-1] if self.measurements else None


def counted(tally: Tally, measurement: Measurement) -> Tally:
    """The tally with this measurement: in place of an unfinished last one, and counted once it is finished."""
    last = tally.last
    resumed = last is not None and last.phase not in COMPLETED
    kept = tally.measurements[:-1] if resumed else tally.measurements
    tally = replace(tally, measurements=(*kept, measurement))
    match measurement.phase:
        case "Successful":
            return replace(tally, successful=tally.successful + 1, count=tally.count + 1, consecutive_error=0,
                           consecutive_success=tally.consecutive_success + 1)
        case "Failed":
            return replace(tally, failed=tally.failed + 1, count=tally.count + 1, consecutive_error=0, consecutive_success=0)
        case "Inconclusive":
            return replace(tally, inconclusive=tally.inconclusive + 1, count=tally.count + 1, consecutive_error=0,
                           consecutive_success=0)
        case "Error":
            return replace(tally, error=tally.error + 1, consecutive_error=tally.consecutive_error + 1, consecutive_success=0)
    return tally


def trimmed(tally: Tally, limit: int) -> Tally:
    return replace(tally, measurements=tally.measurements[-limit:]) if len(tally.measurements) > limit else tally


# --- as JSON ------------------------------------------------------------------------------------------------------


def read_tallies(status: Mapping[str, Any]) -> tuple[Tally, ...]:
    return tuple(read_tally(at) for at in status.get("metricResults") or ())


def read_tally(at: Mapping[str, Any]) -> Tally:
    return Tally(
        name=at.get("name") or "",
        phase=at.get("phase") or "",
        measurements=tuple(_read(m) for m in at.get("measurements") or ()),
        message=at.get("message") or "",
        count=at.get("count") or 0,
        successful=at.get("successful") or 0,
        failed=at.get("failed") or 0,
        inconclusive=at.get("inconclusive") or 0,
        error=at.get("error") or 0,
        consecutive_error=at.get("consecutiveError") or 0,
        consecutive_success=at.get("consecutiveSuccess") or 0,
        dry_run=bool(at.get("dryRun")),
        metadata=at.get("metadata") or {},
    )


def _read(at: Mapping[str, Any]) -> Measurement:
    return Measurement(at.get("phase") or "", at.get("value") or "", at.get("message") or "", _moment(at.get("startedAt")),
                       _moment(at.get("finishedAt")), _moment(at.get("resumeAt")), at.get("metadata") or {})


def write_tallies(tallies: Iterable[Tally]) -> list[Obj]:
    return [_write_tally(tally) for tally in tallies]


def _write_tally(tally: Tally) -> Obj:
    written = {
        "name": tally.name, "phase": tally.phase, "measurements": [_write(m) for m in tally.measurements],
        "message": tally.message, "count": tally.count, "successful": tally.successful, "failed": tally.failed,
        "inconclusive": tally.inconclusive, "error": tally.error, "consecutiveError": tally.consecutive_error,
        "consecutiveSuccess": tally.consecutive_success, "dryRun": tally.dry_run, "metadata": dict(tally.metadata),
    }  # fmt: skip
    return {name: value for name, value in written.items() if value or name in ("name", "phase")}


def _write(measurement: Measurement) -> Obj:
    written: Obj = {"phase": measurement.phase}
    if measurement.value:
        written["value"] = measurement.value
    if measurement.message:
        written["message"] = measurement.message
    if measurement.metadata:
        written["metadata"] = dict(measurement.metadata)
    for name, at in (("startedAt", measurement.started_at), ("finishedAt", measurement.finished_at),
                     ("resumeAt", measurement.resume_at)):
        if at is not None:
            written[name] = rfc3339_micro(at)
    return written


def _moment(text: str | None) -> datetime | None:
    return parse_time(text) if text else None
