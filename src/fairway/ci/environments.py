"""What guards an environment: reviewers, a wait timer, branches. A job that wants to deploy waits here. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from fairway.ci import globs
from fairway.ci.course import Answer
from fairway.ci.states import JobRow
from fairway.kube.decision import Reason
from fairway.kube.objects import Obj, spec_of

MOST_REVIEWERS = 6
MOST_WAIT_MINUTES = 43_200.0


@dataclass(frozen=True, slots=True)
class Protection:
    """Of one environment. One of the reviewers has to approve; no reviewers: nobody has to."""

    name: str
    reviewers: tuple[str, ...] = ()
    wait_minutes: float = 0.0
    branches: tuple[str, ...] = ()
    prevent_self_review: bool = False


@dataclass(frozen=True, slots=True)
class Gate:
    """The row as it stands before a closed gate."""

    row: JobRow
    reason: Reason
    wake_at: datetime | None = None


def decode_protection(obj: Obj) -> Protection:
    """Of an `Environment` object."""
    spec: Mapping[str, Any] = spec_of(obj)
    return Protection(
        str(spec.get("name") or obj["metadata"]["name"]), tuple(map(str, spec.get("reviewers") or ()))[:MOST_REVIEWERS],
        min(float(spec.get("waitMinutes") or 0), MOST_WAIT_MINUTES), tuple(map(str, spec.get("branches") or ())),
        spec.get("preventSelfReview") is True)


def passes(row: JobRow, protection: Protection | None, answers: Mapping[str, Answer], contexts: Mapping[str, Any],
           now: datetime) -> Gate | None:
    """None where the job may start."""
    if protection is None:
        return None
    github = contexts.get("github") or {}
    ref = str(github.get("ref_name", ""))
    if protection.branches and not globs.selects(protection.branches, (ref,)):
        return _closed(row, now, f"{ref} may not deploy to {protection.name}; allowed: {', '.join(protection.branches)}")
    if protection.reviewers:
        answer = answers.get(row.id) or answers.get(protection.name.casefold())
        if answer is None:
            who = ", ".join(protection.reviewers)
            why = f"waits for approval of environment {protection.name} by {who}"
            return Gate(replace(row, phase="Waiting", message=why), Reason("WaitingForApproval", f"{row.id} {why}"))
        if not may_review(answer, protection, str(github.get("actor", ""))):
            why = f"{answer.by or 'somebody'} may not review environment {protection.name}"
            return Gate(replace(row, phase="Waiting", message=why), Reason("WaitingForApproval", f"{row.id}: {why}"))
        if not answer.approved:
            said = f": {answer.comment}" if answer.comment else ""
            return _closed(row, now, f"rejected by {answer.by}{said}")
    if protection.wait_minutes > 0:
        until = row.not_before or now + timedelta(minutes=protection.wait_minutes)
        if now < until:
            why = f"environment {protection.name} lets it wait until {until:%H:%M:%S}"
            return Gate(replace(row, phase="Pending", not_before=until, message=why), Reason("WaitTimer", f"{row.id}: {why}"),
                        until)
    return None


def may_review(answer: Answer, protection: Protection, actor: str) -> bool:
    """Whether the answer counts; `actor` is who started the run."""
    known = {reviewer.casefold() for reviewer in protection.reviewers}
    if protection.prevent_self_review and answer.by.casefold() == actor.casefold():
        return False
    return answer.by.casefold() in known


def _closed(row: JobRow, now: datetime, why: str) -> Gate:
    return Gate(replace(row, phase="Failed", finished_at=now, message=why), Reason("Rejected", f"{row.id}: {why}"))
