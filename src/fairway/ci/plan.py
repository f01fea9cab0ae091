"""An event and a workflow to the jobs of a run: which there are, and why others are not. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairway.ci.events import Event, why_not
from fairway.ci.expressions import Scope, Value, interpolate_text, to_number, to_text, truthy
from fairway.ci.expressions.interpolation import interpolate
from fairway.ci.needs import reaches
from fairway.ci.spec import Concurrency, Input, Workflow
from fairway.ci.states import JobRow
from fairway.kube.decision import Reason

HOSTS = ("ubuntu", "linux", "self-hosted", "x64", "arm64")
"""Labels (or their first parts) that this machine answers to."""


class InputError(Exception):
    """Inputs of a manual start that the workflow does not take."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The rows that a run starts with, or the reason why there is no run."""

    rows: tuple[JobRow, ...] = ()
    refused: Reason | None = None


def plan(workflow: Workflow, event: Event, *, only: str = "") -> Plan:
    """All jobs of the workflow where the event starts it. `only` keeps one job and what it needs."""
    refused = why_not(workflow, event)
    if refused is not None:
        return Plan(refused=refused)
    return Plan(first_rows(workflow, only=only))


def first_rows(workflow: Workflow, *, only: str = "") -> tuple[JobRow, ...]:
    """One pending row per job; matrices are expanded when their needs are done."""
    edges = {name: set(job.needs) for name, job in workflow.jobs.items()}
    return tuple(
        JobRow(id=name, job=name, name=job.name if isinstance(job.name, str) and "${{" not in job.name else name)
        for name, job in workflow.jobs.items()
        if not only or reaches(edges, only, name)
    )


def checked_inputs(declared: tuple[Input, ...], given: Mapping[str, Any], scope: Scope) -> dict[str, Value]:
    """The `inputs` context: given values and defaults with their types. Raises `InputError`."""
    names = {item.name for item in declared}
    for name in given:
        if name not in names:
            raise InputError(f"unexpected input {name!r}; the workflow takes: {', '.join(sorted(names)) or 'none'}")
    found: dict[str, Value] = {}
    for item in declared:
        value = given.get(item.name)
        if value is None:
            if item.required and item.default is None:
                raise InputError(f"input {item.name!r} is required and was not given")
            value = interpolate(item.default, scope)
        found[item.name] = _typed(item, value)
    return found


def _typed(item: Input, value: Value) -> Value:
    if item.type == "boolean":
        if value is None:
            return False
        if to_text(value) not in ("true", "false"):
            raise InputError(f"input {item.name!r} must be true or false, not {to_text(value)!r}")
        return to_text(value) == "true"
    if item.type == "number":
        number = to_number(value)
        if number != number:
            raise InputError(f"input {item.name!r} must be a number, not {to_text(value)!r}")
        return number if value is not None else 0.0
    text = to_text(value)
    if item.type == "choice" and item.options and text not in item.options and value is not None:
        raise InputError(f"input {item.name!r} must be one of {', '.join(item.options)}, not {text!r}")
    return text if value is not None else (item.options[0] if item.options else "")


def concurrency_of(concurrency: Concurrency | None, scope: Scope) -> tuple[str, bool]:
    """The group, in one letter case, and whether a newer run cancels an older one; ("", False) without a group."""
    if concurrency is None:
        return "", False
    group = interpolate_text(concurrency.group, scope).casefold()
    cancels = interpolate(concurrency.cancel_in_progress, scope)
    return group, truthy(cancels) if not isinstance(cancels, str) else cancels == "true"


def labels_of_runner(runs_on: Value) -> list[str]:
    """The labels that `runs-on` asks for."""
    if isinstance(runs_on, dict):
        labels = runs_on.get("labels") or []
        return [to_text(label) for label in labels] if isinstance(labels, list) else [to_text(labels)]
    if isinstance(runs_on, list):
        return [to_text(label) for label in runs_on]
    return [to_text(runs_on)] if runs_on else []


def foreign_label(labels: list[str], own: tuple[str, ...]) -> str:
    """The first label that this machine does not answer to, or ""."""
    for label in labels:
        low = label.lower()
        if low not in own and not any(low == host or low.startswith(f"{host}-") for host in HOSTS):
            return label
    return ""
