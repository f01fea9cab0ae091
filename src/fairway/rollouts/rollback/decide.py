"""Go on watching, look once more, take it back: from what the criteria say, and since when.

A criterion counts when it was violated for its whole period, all of it after the promotion and after its query no longer sees
the old version. Then one look more has to agree. What is not known neither begins a violation nor ends one, and nothing is
taken back on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from fairway.kube.decision import Reason
from fairway.rollouts.rollback.spec import Criterion, Policy
from fairway.rollouts.rollback.status import Reading, Status


@dataclass(frozen=True, slots=True)
class Measured:
    """`value` None: no series, or `error` says why there is no answer."""

    value: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Watched:
    """The workload now. `version` is what serves all users ("" while something is under way), `approved` the version whose
    rollback a person agreed to."""

    version: str = ""
    approved: str = ""
    is_good: bool = False
    """It runs what a rollback under way goes to (the same images: the API may have completed the template)."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`take_back`: now, and only now, the rollback begins."""

    status: Status
    wake_at: datetime | None = None
    reasons: tuple[Reason, ...] = ()
    take_back: bool = False


def wants_answers(policy: Policy, status: Status, watched: Watched, now: datetime) -> bool:
    """Whether the criteria have to be measured for this decision."""
    return _appeared(policy, status, watched, now).phase in ("Watching", "Suspect") and _due(policy, status, now)


def decide(policy: Policy, before: Status, watched: Watched, measured: Mapping[str, Measured], now: datetime) -> Verdict:
    status = _appeared(policy, before, watched, now)
    match status.phase:
        case "Watching" | "Suspect" if status.promoted_at is not None:
            return _look(policy, status, measured, now)
        case "AwaitingApproval":
            if watched.approved == status.version:
                return _take_back(status, "a person agreed")
            return Verdict(status, None, (Reason("AwaitingApproval", status.message),))
        case "RollingBack":
            if watched.version and watched.is_good:
                done = replace(status, phase="RolledBack", message=f"{status.good} serves again", version=watched.version)
                return Verdict(done, None, (Reason("RolledBack", done.message),))
            return Verdict(status, now + policy.every, (Reason("RollingBack", status.message),))
    return Verdict(status, None, (Reason(status.phase or "Idle", status.message),))


def _appeared(policy: Policy, status: Status, watched: Watched, now: datetime) -> Status:
    """A version that serves all users for the first time is watched from now on; the very first one is only noted."""
    if not watched.version or watched.version == status.version:
        return status
    if not status.version:
        return replace(status, phase="Idle", version=watched.version, message="the next version is watched")
    if status.phase == "RollingBack" and watched.is_good:
        return status
    return Status("Watching", f"{watched.version} is watched for {policy.window.total_seconds():g} s", watched.version,
                  status.version, promoted_at=now, readings={c.name: Reading() for c in policy.criteria})


def _due(policy: Policy, status: Status, now: datetime) -> bool:
    if status.looked_at is None:
        return True
    return now >= status.looked_at + (policy.confirm if status.phase == "Suspect" else policy.every)


def _look(policy: Policy, status: Status, measured: Mapping[str, Measured], now: datetime) -> Verdict:
    if not _due(policy, status, now):
        assert status.looked_at is not None
        wait = policy.confirm if status.phase == "Suspect" else policy.every
        return Verdict(status, status.looked_at + wait, (Reason(status.phase, status.message),))
    readings = {c.name: _read(c, status, measured.get(c.name, Measured(error="not asked")), now) for c in policy.criteria}
    reasons = tuple(_alerts(policy, status, readings, now))
    ripe = [c for c in policy.criteria if c.action == "rollback" and _ripe(c, readings[c.name], now)]
    status = replace(status, readings=readings, looked_at=now)
    if status.phase == "Suspect":
        return _confirmed(policy, status, ripe, now, reasons)
    if ripe:
        said = "; ".join(described(c, readings[c.name], now) for c in ripe)
        held = replace(status, phase="Suspect", suspect_at=now, message=f"{said}; one look more in "
                       f"{policy.confirm.total_seconds():g} s")
        return Verdict(held, now + policy.confirm, (*reasons, Reason("Suspect", held.message)))
    if status.promoted_at is not None and now >= status.promoted_at + policy.window:
        return _ended(policy, status, reasons)
    said = _summary(readings)
    status = replace(status, message=said)
    return Verdict(status, now + policy.every, (*reasons, Reason("Watching", said)))


def _confirmed(policy: Policy, status: Status, ripe: list[Criterion], now: datetime, reasons: tuple[Reason, ...]) -> Verdict:
    rollback = [c for c in policy.criteria if c.action == "rollback"]
    if ripe:
        evidence = "; ".join(described(c, status.readings[c.name], now) for c in ripe)
        status = replace(status, evidence=evidence)
        if policy.mode == "approval":
            asked = f"{evidence}; somebody has to agree: annotate fairway.dev/rollback-approved={status.version}"
            return Verdict(replace(status, phase="AwaitingApproval", message=asked), None,
                           (*reasons, Reason("AwaitingApproval", asked)))
        verdict = _take_back(status, evidence)
        return replace(verdict, reasons=(*reasons, *verdict.reasons))
    if any(status.readings[c.name].since and status.readings[c.name].state == "unknown" for c in rollback):
        held = replace(status, message="what was violated cannot be measured now: nothing is taken back on that")
        return Verdict(held, now + policy.confirm, (*reasons, Reason("Unknown", held.message)))
    passed = replace(status, phase="Watching", suspect_at=None, message="it was transient: the confirming look did not agree")
    return Verdict(passed, now + policy.every, (*reasons, Reason("Transient", passed.message)))


def _take_back(status: Status, why: str) -> Verdict:
    if not status.previous:
        failed = replace(status, phase="Failed", message=f"{why}; there is no version before {status.version}: by hand")
        return Verdict(failed, None, (Reason("RollbackFailed", failed.message),))
    gone = replace(status, phase="RollingBack", good=status.previous, message=f"{status.version} is taken back to "
                   f"{status.previous}: {status.evidence or why}")
    return Verdict(gone, None, (Reason("SmartRollback", gone.message),), take_back=True)


def _ended(policy: Policy, status: Status, reasons: tuple[Reason, ...]) -> Verdict:
    unknown = [c.name for c in policy.criteria if status.readings[c.name].state in ("unknown", "waiting")]
    said = f"watched for {policy.window.total_seconds():g} s: " + (
        f"nothing is known of {', '.join(unknown)}" if unknown else "nothing against it")
    done = replace(status, phase="Passed", message=said)
    return Verdict(done, None, (*reasons, Reason("Passed", said)))


def _read(criterion: Criterion, status: Status, found: Measured, now: datetime) -> Reading:
    before = status.readings.get(criterion.name, Reading())
    if status.promoted_at is not None and now < status.promoted_at + criterion.looks_back:
        return Reading("waiting", said="its query still sees the old version")
    if found.value is None or found.value != found.value:
        return Reading("unknown", None, before.since, found.error or "no data")
    if criterion.violated(found.value):
        return Reading("violated", found.value, before.since or now)
    return Reading("ok", found.value)


def _ripe(criterion: Criterion, reading: Reading, now: datetime) -> bool:
    return reading.state == "violated" and reading.since is not None and now - reading.since >= criterion.period


def _alerts(policy: Policy, status: Status, readings: Mapping[str, Reading], now: datetime) -> list[Reason]:
    """Told once: in the look that finds the period full."""
    found = []
    for criterion in policy.criteria:
        if criterion.action != "alert" or not _ripe(criterion, readings[criterion.name], now):
            continue
        earlier = status.readings.get(criterion.name, Reading())
        if status.looked_at is None or not _ripe(criterion, earlier, status.looked_at):
            found.append(Reason("CriterionAlert", described(criterion, readings[criterion.name], now)))
    return found


def described(criterion: Criterion, reading: Reading, now: datetime) -> str:
    since = f", violated for {(now - reading.since).total_seconds():g} s" if reading.since else ""
    value = f"{reading.value:g}" if reading.value is not None else reading.said or "unknown"
    return f"{criterion} (is {value}{since})"


def _summary(readings: Mapping[str, Reading]) -> str:
    parts = []
    for state in ("violated", "unknown", "waiting", "ok"):
        names = [name for name, reading in readings.items() if reading.state == state]
        if names:
            parts.append(f"{state}: {', '.join(names)}")
    return "; ".join(parts)
