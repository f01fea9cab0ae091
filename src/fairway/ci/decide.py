"""What happens next in a run: which jobs start, are skipped, are cancelled, and when the run is over. Pure.

A job waits until everything that it needs is finished. Then its `if` decides between skipping and running (without a
status function the `if` also asks for success of all needs), its matrix is expanded into legs, and each leg starts as
soon as max-parallel, its concurrency group and the free places of the machine allow. A leg that fails takes its
siblings with it under fail-fast, unless its own failure is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from fairway.ci.contexts import STATUS_FUNCTIONS
from fairway.ci.course import Look, RunDecision
from fairway.ci.environments import Protection, passes
from fairway.ci.expressions import (
    Arity,
    ExpressionError,
    Function,
    Scope,
    Value,
    evaluate_condition,
    interpolate,
    interpolate_text,
    to_number,
    to_text,
    truthy,
)
from fairway.ci.matrix import MatrixError, display, expand
from fairway.ci.needs import reaches
from fairway.ci.plan import concurrency_of, foreign_label, labels_of_runner
from fairway.ci.spec import Job, Workflow
from fairway.ci.states import FINISHED, JobRow, Phase, outputs_of, result_of
from fairway.kube.decision import Reason, earliest


@dataclass(frozen=True)
class Seen:
    """Everything that the decision knows. `protections` are those of environments, by lower-case name."""

    workflow: Workflow
    look: Look
    contexts: Mapping[str, Value]
    labels: tuple[str, ...] = ()
    protections: Mapping[str, Protection] = field(default_factory=dict)
    only_matrix: Mapping[str, str] = field(default_factory=dict)
    """Legs without these values are left out, where their matrix has the key."""

    @property
    def rows(self) -> tuple[JobRow, ...]:
        return self.look.rows

    @property
    def alive(self) -> frozenset[str]:
        return self.look.alive

    @property
    def cancel(self) -> bool:
        return self.look.cancel


@dataclass
class _Pass:
    seen: Seen
    now: datetime
    rows: list[JobRow]
    start: list[str] = field(default_factory=list)
    cancel: list[str] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)
    wake: list[datetime] = field(default_factory=list)


def decide(seen: Seen, now: datetime) -> RunDecision:
    """One look at a run."""
    this = _Pass(seen, now, list(seen.rows))
    if seen.cancel:
        _cancel_all(this)
    _fail_fast(this)
    closed = True
    while closed:  # a gate that closes ends a job, for which others may wait
        while _settle(this):
            this.reasons.clear()  # what the rest waits for is said of the last look alone
        closed = _start(this)
    return RunDecision(tuple(this.rows), tuple(this.start), tuple(this.cancel), *_phase(this.rows, seen.cancel),
                       reasons=tuple(this.reasons), wake_at=earliest(*this.wake))


def needs_context(workflow: Workflow, job: Job, rows: tuple[JobRow, ...]) -> dict[str, Any]:
    """The `needs` context of a job: result and outputs of each job that it names."""
    found: dict[str, Any] = {}
    for name in job.needs:
        other = _job_named(workflow, name)
        legs = [row for row in rows if row.job == other.id]
        result = result_of(legs)
        found[other.id] = {"result": result, "outputs": {} if result == "skipped" else outputs_of(legs)}
    return found


def status_functions(workflow: Workflow, job: Job, rows: tuple[JobRow, ...], cancelled: bool) -> dict[str, Function]:
    """success() and its kin in a job's `if`: they look at everything that the job needs, near and far.

    So a job whose own needs all succeeded is still skipped where something before them failed or was skipped, unless
    its `if` says otherwise.
    """
    edges = {name: {_job_named(workflow, need).id for need in other.needs} for name, other in workflow.jobs.items()}
    ancestors = [name for name in workflow.jobs if name != job.id and reaches(edges, job.id, name)]
    results = {name: result_of(row for row in rows if row.job == name) for name in ancestors}

    def success(args: Any) -> Value:
        if args:
            return all(results.get(to_text(name), "") == "success" for name in args)
        return not cancelled and all(result == "success" for result in results.values())

    def failure(args: Any) -> Value:
        if args:
            return any(results.get(to_text(name), "") == "failure" for name in args)
        return not cancelled and any(result == "failure" for result in results.values())

    return {
        "success": Function(Arity(0, 255), success),
        "failure": Function(Arity(0, 255), failure),
        "always": Function(Arity(0, 0), lambda args: True),
        "cancelled": Function(Arity(0, 0), lambda args: cancelled),
    }


def _job_named(workflow: Workflow, name: str) -> Job:
    return workflow.jobs.get(name) or next(job for key, job in workflow.jobs.items() if key.upper() == name.upper())


# --- cancelling -----------------------------------------------------------------------------------------------------


def _cancel_all(this: _Pass) -> None:
    """Running legs are told to stop, waiting ones are cancelled; those whose `if` holds in a cancelled run go on."""
    for number, row in enumerate(this.rows):
        if row.finished or not row.expanded or _goes_on(this, row):
            continue
        if row.phase == "Running" and row.id in this.seen.alive:
            this.cancel.append(row.id)
        else:
            this.rows[number] = _ended(row, "Cancelled", this.now, "the run was cancelled")


def _goes_on(this: _Pass, row: JobRow) -> bool:
    job = this.seen.workflow.jobs[row.job]
    return evaluate_condition(job.condition, _scope(this, job, status=True), STATUS_FUNCTIONS)


def _fail_fast(this: _Pass) -> None:
    for number, row in enumerate(this.rows):
        if row.finished or not row.expanded or not _sibling_failed(this, row):
            continue
        if row.phase == "Running" and row.id in this.seen.alive:
            if row.id not in this.cancel:
                this.cancel.append(row.id)
        else:
            this.rows[number] = _ended(row, "Cancelled", this.now, "another leg of the matrix failed (fail-fast)")


def _sibling_failed(this: _Pass, row: JobRow) -> bool:
    if row.total < 2:
        return False
    siblings = [other for other in this.rows if other.job == row.job and other.id != row.id]
    if not any(other.phase == "Failed" and not other.allowed for other in siblings):
        return False
    job = this.seen.workflow.jobs[row.job]
    scope = _scope(this, job)
    value = interpolate(job.strategy.fail_fast, scope)
    return truthy(value) and value != "false"


# --- skipping and expanding -----------------------------------------------------------------------------------------


def _settle(this: _Pass) -> bool:
    """Decide about every job whose needs are done; True where something changed that others may wait for."""
    changed = False
    for row in list(this.rows):
        if row.phase != "Pending" or row.expanded:
            continue
        job = this.seen.workflow.jobs.get(row.job)
        if job is None:
            changed |= _replace(this, row, [_ended(row, "Failed", this.now, f"job {row.job!r} is not in the workflow")])
            continue
        waiting = [need for need in job.needs if not _done(this, need)]
        if waiting:
            this.reasons.append(Reason("WaitingForNeeds", f"{row.id} waits for {', '.join(waiting)}"))
            continue
        changed |= _replace(this, row, _decided(this, row, job))
    return changed


def _done(this: _Pass, need: str) -> bool:
    other = _job_named(this.seen.workflow, need).id
    return bool(result_of(row for row in this.rows if row.job == other))


def _replace(this: _Pass, row: JobRow, rows: list[JobRow]) -> bool:
    at = this.rows.index(row)
    this.rows[at : at + 1] = rows
    return True


def _decided(this: _Pass, row: JobRow, job: Job) -> list[JobRow]:
    try:
        scope = _scope(this, job, status=True)
        if not evaluate_condition(job.condition, scope, STATUS_FUNCTIONS):
            phase: Phase = "Cancelled" if this.seen.cancel else "Skipped"
            return [_ended(row, phase, this.now, _why_skipped(this, job))]
        legs = _legs(this, row, job)
        return legs or [_ended(row, "Skipped", this.now, "the matrix has no legs")]
    except ExpressionError as error:
        return [_ended(row, "Failed", this.now, f"line {job.line}: {error.message}")]
    except MatrixError as error:
        return [_ended(row, "Failed", this.now, f"line {job.line}: {error}")]


def _why_skipped(this: _Pass, job: Job) -> str:
    needs = needs_context(this.seen.workflow, job, tuple(this.rows))
    bad = [f"{name} ({need['result']})" for name, need in needs.items() if need["result"] != "success"]
    if bad:
        return f"needs {', '.join(bad)}"
    if needs and not job.condition:
        return "something that its needs need did not succeed"
    return f"if: {job.condition}" if job.condition else "the run was cancelled"


def _legs(this: _Pass, row: JobRow, job: Job) -> list[JobRow]:
    scope = _scope(this, job)
    if job.strategy.matrix is None:
        legs: list[dict[str, Any] | None] = [None]
    else:
        wanted = this.seen.only_matrix
        legs = [leg for leg in expand(interpolate(job.strategy.matrix, scope))
                if all(key not in leg or to_text(leg[key]) == value for key, value in wanted.items())]
    made = []
    for index, leg in enumerate(legs):
        inner = _scope(this, job, matrix=leg, index=index, total=len(legs))
        made.append(replace(
            row,
            id=job.id if leg is None else _leg_id(job.id, leg, index),
            name=_leg_name(job, leg, inner),
            matrix=leg,
            expanded=True,
            index=index,
            total=len(legs),
            allowed=_is_true(interpolate(job.continue_on_error, inner)),
            group=concurrency_of(job.concurrency, inner)[0],
            environment=_environment(job, inner),
        ))
    return [_checked(this, made_row, job) for made_row in made]


def _leg_id(job: str, leg: dict[str, Any], index: int) -> str:
    """Readable and fit for a folder; the index keeps it unique."""
    words = re.sub(r"[^A-Za-z0-9.]+", "-", display(leg)).strip("-.")[:40]
    return f"{job}-{index + 1}-{words}" if words else f"{job}-{index + 1}"


def _environment(job: Job, scope: Scope) -> str:
    """The environment's name; "" where the job has none, or none that counts as a deployment."""
    name = job.environment.get("name") if isinstance(job.environment, dict) else job.environment
    return interpolate_text(name, scope) if name else ""


def _leg_name(job: Job, leg: dict[str, Any] | None, scope: Scope) -> str:
    if job.name is not None:
        name = interpolate_text(job.name, scope)
        if "${{" in str(job.name) or leg is None:
            return name or job.id
        return f"{name} {display(leg)}".strip()
    return f"{job.id} {display(leg)}".strip() if leg is not None else job.id


def _checked(this: _Pass, row: JobRow, job: Job) -> JobRow:
    """A leg that cannot run here fails at once and says so: it never passes silently."""
    scope = _scope(this, job, matrix=dict(row.matrix) if row.matrix is not None else None)
    labels = labels_of_runner(interpolate(job.runs_on, scope))
    foreign = foreign_label(labels, this.seen.labels)
    if foreign:
        return _ended(row, "Failed", this.now, f"no runner with the label {foreign!r} here; this machine answers to "
                      f"ubuntu-*, linux, self-hosted{''.join(f', {label}' for label in this.seen.labels)}")
    return row


def _scope(this: _Pass, job: Job, *, status: bool = False, matrix: dict[str, Any] | None = None, index: int = 0,
           total: int = 1) -> Scope:
    rows = tuple(this.rows)
    contexts: dict[str, Value] = {
        **this.seen.contexts,
        "needs": needs_context(this.seen.workflow, job, rows),
        "matrix": matrix,
        "strategy": {"job-index": float(index), "job-total": float(total)},
    }
    return Scope(contexts, status_functions(this.seen.workflow, job, rows, this.seen.cancel) if status else {})


def _is_true(value: Value) -> bool:
    return value is True or value == "true"


# --- starting -------------------------------------------------------------------------------------------------------


def _start(this: _Pass) -> bool:
    """Start what may; True where a gate ended a job."""
    closed = False
    free = this.seen.look.free - len(this.start)
    groups = set(this.seen.look.busy_groups)
    groups |= {row.group for row in this.rows
               if row.phase == "Running" and row.id in {*this.seen.alive, *this.start} and row.group}
    for number, row in enumerate(this.rows):
        lost = row.phase == "Running" and row.id not in this.seen.alive
        if row.finished or not row.expanded or (row.phase == "Running" and not lost) or row.id in {*this.cancel, *this.start}:
            continue
        gate = passes(row, this.seen.protections.get(row.environment.casefold()), this.seen.look.answers, this.seen.contexts,
                      this.now) if row.environment and not lost else None
        if gate is not None:
            this.rows[number] = gate.row
            this.reasons.append(gate.reason)
            closed |= gate.row.finished
            this.wake += [gate.wake_at] if gate.wake_at is not None else []
            continue
        why = _held(this, row, free, groups)
        if why is not None:
            this.reasons.append(why)
            if lost:
                this.rows[number] = replace(row, phase="Pending", started_at=None, steps=())
            continue
        free -= 1
        if row.group:
            groups.add(row.group)
        this.start.append(row.id)
        this.rows[number] = replace(row, phase="Running", attempt=row.attempt + 1, started_at=this.now, steps=(),
                                    message="", not_before=None)
    return closed


def _held(this: _Pass, row: JobRow, free: int, groups: set[str]) -> Reason | None:
    if free <= 0:
        return Reason("WaitingForRunner", f"{row.id} waits for a free place on this machine")
    if row.group and row.group in groups:
        return Reason("WaitingForConcurrencyGroup", f"{row.id} waits for the concurrency group {row.group!r}")
    job = this.seen.workflow.jobs[row.job]
    most = to_number(interpolate(job.strategy.max_parallel, _scope(this, job))) if job.strategy.max_parallel else 0
    running = sum(1 for other in this.rows if other.job == row.job and other.id != row.id and
                  (other.id in this.start or (other.phase == "Running" and other.id in this.seen.alive)))
    if most >= 1 and running >= most:
        return Reason("WaitingForSiblings", f"{row.id} waits: max-parallel is {most:g}")
    return None


# --- the end --------------------------------------------------------------------------------------------------------


def _ended(row: JobRow, phase: Phase, now: datetime, message: str) -> JobRow:
    return replace(row, phase=phase, finished_at=now, message=message)


def _phase(rows: list[JobRow], cancel: bool) -> tuple[Phase, str]:
    if any(row.phase not in FINISHED for row in rows):
        waiting = next((row for row in rows if row.phase == "Waiting"), None)
        if waiting is not None and not any(row.phase == "Running" for row in rows):
            return "Waiting", f"job {waiting.name!r} {waiting.message}"
        return ("Running" if any(row.phase == "Running" or row.finished for row in rows) else "Pending"), ""
    failed = [row for row in rows if row.phase == "Failed" and not row.allowed]
    if failed:
        first = failed[0]
        why = f": {first.message}" if first.message else ""
        return "Failed", f"job {first.name!r} failed{why}"
    if cancel or any(row.phase == "Cancelled" for row in rows):
        return "Cancelled", "the run was cancelled"
    return "Succeeded", ""
