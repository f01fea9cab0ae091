"""What is wrong with the calls of a workflow, seen from what it calls: inputs, secrets, depth, number of jobs. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fairway.ci.expressions import Value, to_text
from fairway.ci.permissions import Lookup
from fairway.ci.spec import Input, Job, Mistake, Trigger, Workflow

MAX_DEPTH = 10
"""Workflows that call each other: GitHub's limit, the first one included."""
MAX_JOBS = 10_000


@dataclass(frozen=True, slots=True)
class Limits:
    depth: int = MAX_DEPTH - 1
    jobs: int = MAX_JOBS


NO_LIMITS = Limits()


def call_mistakes(workflow: Workflow, called: Lookup, limits: Limits = NO_LIMITS) -> list[Mistake]:
    """Mistakes at the calls of this workflow; those within what it calls stand at the call. Only literal values are judged."""
    found = [mistake for job in workflow.jobs.values() if (other := called(job.uses) if job.uses else None) is not None
             for mistake in _of_call(job, other)]
    depth, jobs = _measure(workflow, called, (), limits.depth)
    if depth > limits.depth:
        found.append(Mistake(f"Nested reusable workflow depth exceeded {limits.depth}."))
    elif jobs > limits.jobs:
        found.append(Mistake(f"The workflow may not contain more than {limits.jobs} jobs"))
    return found


def _measure(workflow: Workflow, called: Lookup, above: tuple[str, ...], most: int) -> tuple[int, int]:
    """How deep the calls go, and how many jobs there are with all that are called (callers count too)."""
    depth, jobs = len(above), 0
    for job in workflow.jobs.values():
        jobs += 1
        other = called(job.uses) if job.uses and job.uses not in above and len(above) <= most else None
        if other is not None:
            inner, count = _measure(other, called, (*above, job.uses), most)
            depth, jobs = max(depth, inner), jobs + count
    return depth, jobs


def _of_call(job: Job, other: Workflow) -> Iterator[Mistake]:
    trigger = other.trigger("workflow_call")
    if trigger is None:
        yield Mistake(f"workflow '{job.uses}' cannot be called: it has no `workflow_call` below `on`", *job.places["uses"])
        return
    yield from _inputs(job, trigger)
    yield from _secrets(job, trigger)


def _inputs(job: Job, trigger: Trigger) -> Iterator[Mistake]:
    declared = {item.name.upper(): item for item in trigger.inputs}
    for name, value in job.inputs.items():
        place = job.places.get(f"with.{name}", job.places["uses"])
        item = declared.get(name.upper())
        if item is None:
            yield Mistake(f"Invalid input, {name} is not defined in the referenced workflow, which takes: "
                          f"{', '.join(item.name for item in trigger.inputs) or 'none'}", *place)
        elif not _fits(item, value):
            yield Mistake(f"Unexpected value '{to_text(value)}': input {name} is a {item.type}", *place)
    given = {name.upper() for name in job.inputs}
    for item in trigger.inputs:
        if item.required and item.name.upper() not in given:
            yield Mistake(f"Input {item.name} is required, but not provided while calling: add it below `with`",
                          *job.places["uses"])


def _fits(item: Input, value: Value) -> bool:
    text = to_text(value)
    if "${{" in text or item.type == "string":
        return True
    if item.type == "boolean":
        return text in ("true", "false")
    try:
        float(text)
    except ValueError:
        return False
    return True


def _secrets(job: Job, trigger: Trigger) -> Iterator[Mistake]:
    if job.secrets == "inherit":
        return
    given = job.secrets if isinstance(job.secrets, dict) else {}
    known = {name.upper() for name in trigger.secrets}
    for name in given:
        if name.upper() not in known:
            yield Mistake(f"Invalid secret, {name} is not defined in the referenced workflow, which takes: "
                          f"{', '.join(trigger.secrets) or 'none'}", *job.places.get(f"secrets.{name}", job.places["uses"]))
    passed = {name.upper() for name in given}
    for name in trigger.required_secrets:
        if name.upper() not in passed:
            yield Mistake(f"Secret {name} is required, but not provided while calling: add it below `secrets`, or write "
                          "`secrets: inherit`", *job.places["uses"])
