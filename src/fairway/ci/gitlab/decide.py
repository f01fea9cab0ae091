"""What happens next in a pipeline: which jobs start, wait for a person or a time, are skipped, are tried again. Pure.

A job with `needs` looks at those jobs alone; any other at everything in the stages before its own. What it looks at has
one status together, as GitLab computes it, and `when` says which status starts the job:

    on_success   success (a failure that is allowed counts as one); skipped too, where the job has no needs
    on_failure   failed
    always       any end
    manual       as on_success, and then it waits for a person
    delayed      as on_success, and then for its time
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from fairway.ci.course import Look, RunDecision
from fairway.ci.gitlab.plan import Leg, Pipeline
from fairway.ci.states import FINISHED, JobRow, Phase
from fairway.kube.decision import Reason, earliest

Status = Literal["created", "running", "success", "warning", "failed", "canceled", "skipped", "manual", "ignored", "scheduled"]
MANUAL_LATER = "manual: not started"
_NOT_RETRIED = frozenset({"canceled", ""})


@dataclass(frozen=True)
class Seen:
    """`chosen` are manual jobs (by name) that need no person. Without `attended` nobody will ever start the others: they
    are left out, as if they were optional."""

    pipeline: Pipeline
    look: Look
    chosen: frozenset[str] = frozenset()
    attended: bool = True


@dataclass
class _Pass:
    seen: Seen
    now: datetime
    rows: dict[str, JobRow]
    legs: Mapping[str, Leg]
    start: list[str] = field(default_factory=list)
    cancel: list[str] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)
    wake: list[datetime] = field(default_factory=list)


def first_rows(pipeline: Pipeline, only: frozenset[str] | None = None) -> tuple[JobRow, ...]:
    """One row a leg, in the order of stages. `only` are ids of legs."""
    legs = sorted(pipeline.legs, key=pipeline.stage_of)
    return tuple(
        JobRow(leg.id, leg.job.name, leg.name, matrix=leg.matrix, expanded=True, index=leg.index, total=leg.total,
               group=leg.resource_group.casefold(), environment=leg.environment.name if leg.environment else "")
        for leg in legs if only is None or leg.id in only)


def decide(seen: Seen, now: datetime) -> RunDecision:
    legs = {leg.id: leg for leg in seen.pipeline.legs}
    this = _Pass(seen, now, {row.id: _allowed(row, legs.get(row.id)) for row in seen.look.rows}, legs)
    _try_again(this)
    if seen.look.cancel or _broken(this):
        _cancel(this, this.rows.values(), "the pipeline was cancelled" if seen.look.cancel else
                "another job failed (auto_cancel:on_job_failure)")
    elif seen.look.overtaken:
        _overtaken(this)
    while _settle(this):
        this.reasons.clear()
    _start(this)
    rows = tuple(this.rows.values())
    return RunDecision(rows, tuple(this.start), tuple(this.cancel), *_phase(rows, seen.look.cancel),
                       reasons=tuple(this.reasons), wake_at=earliest(*this.wake))


def _allowed(row: JobRow, leg: Leg | None) -> JobRow:
    if leg is None:
        return row
    return replace(row, allowed=leg.allow_failure.allows(row.exit_code if row.phase == "Failed" else None))


# --- ends before the end --------------------------------------------------------------------------------------------


def _try_again(this: _Pass) -> None:
    """`retry`: a failed leg of which the reason is listed waits for its next attempt."""
    for row in list(this.rows.values()):
        leg = this.legs.get(row.id)
        if leg is None or row.phase != "Failed" or this.seen.look.cancel or not 0 < row.attempt <= leg.job.retry.max:
            continue
        retry = leg.job.retry
        listed = bool({"always", row.failure} & {*retry.when}) or row.exit_code in retry.exit_codes
        if listed and row.failure not in _NOT_RETRIED:
            this.rows[row.id] = replace(row, phase="Pending", finished_at=None, started_at=None, exit_code=None, failure="",
                                        message=f"retry {row.attempt} of {retry.max}: {row.message}")


def _broken(this: _Pass) -> bool:
    return this.seen.pipeline.configuration.auto_cancel.on_job_failure == "all" and \
        any(row.phase == "Failed" and not row.allowed for row in this.rows.values())


def _overtaken(this: _Pass) -> None:
    how = this.seen.pipeline.configuration.auto_cancel.on_new_commit
    why = "a newer pipeline of this ref has come (auto_cancel:on_new_commit)"
    interruptible = [row for row in this.rows.values() if row.id in this.legs and this.legs[row.id].interruptible]
    if how == "interruptible":
        _cancel(this, interruptible, why)
    elif how == "conservative":
        started = [row for row in this.rows.values() if row.attempt and row not in interruptible]
        if not started:
            _cancel(this, this.rows.values(), why)


def _cancel(this: _Pass, rows: Iterable[JobRow], why: str) -> None:
    for row in list(rows):
        if row.finished:
            continue
        if row.phase == "Running" and row.id in this.seen.look.alive:
            this.cancel.append(row.id)
        else:
            this.rows[row.id] = _ended(row, "Cancelled", this.now, why)


# --- what waits -----------------------------------------------------------------------------------------------------


def _settle(this: _Pass) -> bool:
    """Skip what will not run; True where something changed that others may wait for."""
    changed = False
    for row in list(this.rows.values()):
        if row.phase not in ("Pending", "Waiting") or row.id in this.cancel:
            continue
        leg = this.legs.get(row.id)
        if leg is None:
            this.rows[row.id] = _ended(row, "Failed", this.now, f"job {row.name!r} is not in the pipeline any more")
            changed = True
            continue
        status, why = _before(this, leg)
        if status == "pending":
            this.reasons.append(Reason("WaitingForNeeds", f"{row.name} waits for {why}"))
        elif not _starts(leg, status):
            this.rows[row.id] = _ended(row, "Skipped", this.now, _why_skipped(leg, status))
            changed = True
        elif leg.when == "manual" and not _wanted(this, row):
            changed |= _wait_for_person(this, row, leg)
    return changed


def _starts(leg: Leg, status: str) -> bool:
    match leg.when:
        case "on_failure":
            return status == "failed"
        case "always":
            return True
    return status == "success" or (status == "skipped" and leg.needs is None)


def _why_skipped(leg: Leg, status: str) -> str:
    if leg.when == "on_failure":
        return "when: on_failure, and nothing before it failed"
    return {"failed": "something before it failed", "canceled": "something before it was cancelled",
            "skipped": "something that it needs did not run"}.get(status, f"what it waits for is {status}")


def _wanted(this: _Pass, row: JobRow) -> bool:
    answer = this.seen.look.answers.get(row.id) or this.seen.look.answers.get(row.environment.casefold())
    return row.name in this.seen.chosen or row.job in this.seen.chosen or (answer is not None and answer.approved)


def _wait_for_person(this: _Pass, row: JobRow, leg: Leg) -> bool:
    answer = this.seen.look.answers.get(row.id)
    if answer is not None and not answer.approved:
        this.rows[row.id] = _ended(row, "Skipped", this.now, f"manual: refused by {answer.by or 'somebody'}")
        return True
    if not this.seen.attended:
        this.rows[row.id] = _ended(row, "Skipped", this.now, MANUAL_LATER)
        return True
    why = "manual job: waits until somebody starts it"
    this.reasons.append(Reason("WaitingForPerson", f"{row.name}: {why}"))
    self_changed = row.phase != "Waiting"
    this.rows[row.id] = replace(row, phase="Waiting", message=why)
    return self_changed


def _before(this: _Pass, leg: Leg) -> tuple[str, str]:
    """The status of everything that the leg looks at, and while that is pending what it waits for."""
    if leg.needs is not None:
        rows = [this.rows[need.leg] for need in leg.needs if need.leg in this.rows]
    else:
        here = this.seen.pipeline.stage_of(leg)
        rows = [row for row in this.rows.values() if row.id in this.legs and
                this.seen.pipeline.stage_of(this.legs[row.id]) < here]
    states = {row.id: _status(this, row) for row in rows}
    found = set(states.values())
    if leg.needs is not None and found & {"skipped", "ignored"} and leg.when != "always":
        return "skipped", ""
    open_ones = [this.rows[id].name for id, state in states.items() if state in ("created", "running", "manual", "scheduled")]
    if open_ones:
        return "pending", ", ".join(open_ones[:4])
    if found and found <= {"skipped", "ignored"}:
        return "skipped", ""
    if found <= {"success", "warning", "skipped", "ignored"}:
        return "success", ""
    return ("failed" if "failed" in found else "canceled"), ""


def _status(this: _Pass, row: JobRow) -> Status:
    leg = this.legs.get(row.id)
    match row.phase:
        case "Succeeded":
            return "success"
        case "Failed":
            return "warning" if row.allowed else "failed"
        case "Cancelled":
            return "warning" if row.allowed else "canceled"
        case "Skipped":
            return "ignored" if leg is not None and leg.when == "manual" and row.message.startswith("manual") else "skipped"
        case "Running":
            return "running"
        case "Waiting":
            return "ignored" if leg is not None and leg.allow_failure.always else "manual"
    return "scheduled" if row.not_before is not None else "created"


_LOST = "the platform was stopped while this job ran; it runs again from its beginning"

# --- starting -------------------------------------------------------------------------------------------------------


def _start(this: _Pass) -> None:
    look = this.seen.look
    free = look.free
    groups = {*look.busy_groups, *(row.group for row in this.rows.values()
                                   if row.phase == "Running" and row.id in look.alive and row.group)}
    for row in list(this.rows.values()):
        leg = this.legs.get(row.id)
        lost = row.phase == "Running" and row.id not in look.alive
        if leg is None or row.finished or row.id in this.cancel or (row.phase == "Running" and not lost):
            continue
        if not lost:
            if _before(this, leg)[0] == "pending" or (leg.when == "manual" and not _wanted(this, row)):
                continue
            if _delayed(this, row, leg):
                continue
        why = Reason("WaitingForRunner", f"{row.name} waits for a free place on this machine") if free <= 0 else \
            Reason("WaitingForResourceGroup", f"{row.name} waits for the resource group {row.group!r}") \
            if row.group and row.group in groups else None
        if why is not None:
            this.reasons.append(why)
            if lost:
                this.rows[row.id] = replace(row, phase="Pending", started_at=None, steps=(), message=_LOST)
            continue
        free -= 1
        if row.group:
            groups.add(row.group)
        this.start.append(row.id)
        again = _LOST if lost else row.message if row.attempt else ""  # why there is another attempt
        this.rows[row.id] = replace(row, phase="Running", attempt=row.attempt + 1, started_at=this.now, steps=(),
                                    message=again, not_before=None)


def _delayed(this: _Pass, row: JobRow, leg: Leg) -> bool:
    if leg.when != "delayed" or row.attempt:
        return False
    answer = this.seen.look.answers.get(row.id)
    until = row.not_before or this.now + timedelta(seconds=leg.start_in_s)
    if this.now >= until or (answer is not None and answer.approved):
        return False
    this.rows[row.id] = replace(row, not_before=until, message=f"delayed until {until:%H:%M:%S}")
    this.reasons.append(Reason("Delayed", f"{row.name} is delayed until {until:%H:%M:%S}"))
    this.wake.append(until)
    return True


# --- the end --------------------------------------------------------------------------------------------------------


def _ended(row: JobRow, phase: Phase, now: datetime, message: str) -> JobRow:
    return replace(row, phase=phase, finished_at=now, message=message)


def _phase(rows: tuple[JobRow, ...], cancel: bool) -> tuple[Phase, str]:
    """Optional manual jobs that wait keep nothing open: they can still be started when the pipeline is over."""
    waiting = [row for row in rows if row.phase == "Waiting"]
    unfinished = [row for row in rows if row.phase not in FINISHED]
    if len(unfinished) > len(waiting) or any(not row.allowed for row in waiting):
        blocked = [row.name for row in waiting if not row.allowed]
        begun = any(row.phase == "Running" or row.finished for row in rows) or bool(waiting)
        message = f"waits for manual job {', '.join(blocked)}" if blocked else ""
        if blocked and not any(row.phase == "Running" for row in rows):
            return "Waiting", message
        return ("Running" if begun else "Pending"), message
    failed = [row for row in rows if row.phase == "Failed" and not row.allowed]
    if failed:
        why = f": {failed[0].message}" if failed[0].message else ""
        return "Failed", f"job {failed[0].name!r} failed{why}"
    if cancel or any(row.phase == "Cancelled" for row in rows):
        return "Cancelled", "the pipeline was cancelled"
    warned = [row.name for row in rows if row.phase == "Failed"]
    return "Succeeded", f"passed with warnings: {', '.join(warned)} failed and may" if warned else ""
