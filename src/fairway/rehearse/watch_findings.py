"""Which setting makes a RollbackPolicy late, or of no use: read from the files alone.

A criterion that is violated from the promotion on is looked at once its query no longer sees the old version; then it has to be
violated for its whole `period`, seen by looks that come `every` so often; and `confirm` later one look more has to agree.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import timedelta

from fairway.rehearse.explain import NICE, Finding, written
from fairway.rehearse.subject import Subject
from fairway.rollouts.fields import SpecError
from fairway.rollouts.rollback.spec import Criterion, Policy, decode_policy


def watch_findings(subject: Subject, *, taken_back: bool) -> Iterable[Finding]:
    """`taken_back`: a bad version was, in the rehearsal, so that a quicker setting can be tried."""
    for obj in subject.policies:
        try:
            policy = decode_policy(obj)
        except SpecError as mistake:
            yield Finding("Invalid", "spec", str(mistake), where=f"RollbackPolicy {obj['metadata']['name']}")
            continue
        criteria = [criterion for criterion in policy.criteria if criterion.action == "rollback"]
        if not criteria:
            yield Finding("CannotFail", "action", "no criterion of it takes a version back", where=_where(policy))
            continue
        late = [found for criterion in criteria if (found := _too_late(policy, criterion)) is not None]
        yield from late
        if taken_back and not late:
            yield _slow(policy, min(criteria, key=lambda criterion: _ripe(policy, criterion)))


def _where(policy: Policy) -> str:
    return f"RollbackPolicy {policy.name}"


def _whole(length: timedelta, every: timedelta) -> timedelta:
    """Until the first look that is not before it."""
    return math.ceil(length / every) * every


def _ripe(policy: Policy, criterion: Criterion) -> timedelta:
    """From the promotion until the look that finds the period full, at the earliest."""
    return _whole(criterion.looks_back, policy.every) + _whole(criterion.period, policy.every)


def _too_late(policy: Policy, criterion: Criterion) -> Finding | None:
    ripe = _ripe(policy, criterion)
    if ripe <= policy.window:
        return None
    window = next((nice for minutes in (5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240) if (
        nice := timedelta(minutes=minutes)) >= ripe * 1.5), ripe * 2)
    return Finding("EndsTooLate", f"window: {written(policy.window)}", f"is over before {criterion.name} can count: that is "
                   f"{written(ripe)} after the promotion at the earliest ({_parts(criterion)}): it cannot take anything back",
                   changes={"window": written(window)}, where=_where(policy))


def _slow(policy: Policy, criterion: Criterion) -> Finding:
    """The largest part is named. A query's range is part of what is measured, so that no other is tried."""
    earliest = _ripe(policy, criterion) + policy.confirm
    says = (f"a version that fails from its promotion on is taken back {written(earliest)} after it at the earliest: "
            f"{_parts(criterion)}, and {written(policy.confirm)} until the confirming look")
    if criterion.looks_back > criterion.period:
        setting = f"[{written(criterion.looks_back)}] in the query of {criterion.name}"
        return Finding("Slow", setting, says, where=_where(policy))
    period = next((nice for nice in NICE if nice * 2 <= criterion.period), criterion.period)
    changes = {"period": written(period)}
    if (every := next((nice for nice in NICE if nice * 4 <= period), policy.every)) < policy.every:
        changes["every"] = written(every)
    return Finding("Slow", f"period: {written(criterion.period)}, every: {written(policy.every)}", says, changes=changes,
                   where=_where(policy))


def _parts(criterion: Criterion) -> str:
    seen = f"{written(criterion.looks_back)} until its query no longer sees the old version, " if criterion.looks_back else ""
    return f"{seen}{written(criterion.period)} of violation"
