"""A GitHub workflow as typed values.

A field typed `Value` may still hold `${{ }}`: it is evaluated when its job or step is. Conditions are stored as the
expression alone ("" where none is written).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

from fairway.ci.expressions.values import Value

InputType = Literal["string", "boolean", "number", "choice", "environment"]


@dataclass(frozen=True, slots=True)
class Filter:
    """`branches` and `branches-ignore` (and so on). Both must let an event pass."""

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    @property
    def given(self) -> bool:
        return bool(self.select or self.ignore)


@dataclass(frozen=True, slots=True)
class Input:
    name: str
    type: InputType = "string"
    required: bool = False
    default: Value = None
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Schedule:
    """`zone` is an IANA name, "" for UTC."""

    cron: str
    zone: str = ""


@dataclass(frozen=True, slots=True)
class Trigger:
    """One event below `on`."""

    event: str
    types: tuple[str, ...] = ()
    branches: Filter = Filter()
    tags: Filter = Filter()
    paths: Filter = Filter()
    workflows: tuple[str, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    inputs: tuple[Input, ...] = ()
    outputs: Mapping[str, Value] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    required_secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunDefaults:
    shell: Value = None
    working_directory: Value = None

    def over(self, other: RunDefaults) -> RunDefaults:
        """These, and where they say nothing, the others."""
        return RunDefaults(self.shell or other.shell, self.working_directory or other.working_directory)


@dataclass(frozen=True, slots=True)
class Concurrency:
    """`queue` is single (a newer run takes the place of one that waits) or max (all wait, first come first served)."""

    group: Value
    cancel_in_progress: Value = False
    queue: str = "single"


@dataclass(frozen=True, slots=True)
class Strategy:
    """`matrix` is None, an expression, or a mapping of vectors with `include` and `exclude`."""

    matrix: Value = None
    fail_fast: Value = True
    max_parallel: Value = None


@dataclass(frozen=True, slots=True)
class Container:
    image: Value
    env: Mapping[str, Value] = field(default_factory=dict)
    ports: tuple[Value, ...] = ()
    volumes: tuple[Value, ...] = ()
    options: Value = None
    command: Value = None
    entrypoint: Value = None


StepKind = Literal["work", "wait", "wait-all", "cancel", "parallel"]


@dataclass(frozen=True, slots=True)
class Step:
    """A step that works has exactly one of `run` and `uses`. `id` is generated (`__run`, `__owner_repo`) where none is written.

    `targets` are ids: what a `wait` waits for, what a `cancel` stops. `parallel` holds the steps of a group.
    """

    id: str
    line: int
    name: Value = None
    condition: str = ""
    run: Value = None
    uses: str = ""
    inputs: Mapping[str, Value] = field(default_factory=dict)
    env: Mapping[str, Value] = field(default_factory=dict)
    shell: Value = None
    working_directory: Value = None
    continue_on_error: Value = False
    timeout_minutes: Value = None
    kind: StepKind = "work"
    background: bool = False
    targets: tuple[str, ...] = ()
    parallel: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    id: str
    line: int
    column: int = 0
    name: Value = None
    needs: tuple[str, ...] = ()
    condition: str = ""
    runs_on: Value = None
    strategy: Strategy = Strategy()
    timeout_minutes: Value = None
    continue_on_error: Value = False
    outputs: Mapping[str, Value] = field(default_factory=dict)
    env: Value = field(default_factory=dict)
    defaults: RunDefaults = RunDefaults()
    permissions: Value = None
    concurrency: Concurrency | None = None
    environment: Value = None
    services: Mapping[str, Container] = field(default_factory=dict)
    services_expression: Value = None
    """`services: ${{ … }}`: a mapping that is made when the job starts."""
    container: Container | None = None
    steps: tuple[Step, ...] = ()
    uses: str = ""
    inputs: Mapping[str, Value] = field(default_factory=dict)
    secrets: Value = None
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Line and column of what a call gives: `uses`, `with.NAME`, `secrets.NAME`."""


@dataclass(frozen=True, slots=True)
class Workflow:
    path: str
    on: tuple[Trigger, ...]
    jobs: Mapping[str, Job]
    name: str = ""
    run_name: Value = None
    env: Value = field(default_factory=dict)
    defaults: RunDefaults = RunDefaults()
    permissions: Value = None
    concurrency: Concurrency | None = None

    @property
    def title(self) -> str:
        """What people call it: its name, or its path."""
        return self.name or self.path

    def trigger(self, event: str) -> Trigger | None:
        return next((trigger for trigger in self.on if trigger.event == event), None)


_SECRET = re.compile(r"\bsecrets\.([A-Za-z_][A-Za-z0-9_-]*)", re.IGNORECASE)


def secrets_named(part: object) -> set[str]:
    """Secrets that expressions in this part of a workflow name, in capitals; those whose name is computed are not seen."""
    match part:
        case str():
            return {name.upper() for name in _SECRET.findall(part)} if "${{" in part else set()
        case Mapping():
            return set().union(*map(secrets_named, part.values()))
        case tuple() | list():
            return set().union(*map(secrets_named, part))
        case Job() | Step() | Container():
            return set().union(*(secrets_named(getattr(part, field.name)) for field in fields(part)))
    return set()


@dataclass(frozen=True, slots=True)
class Mistake:
    """What was found, what was expected, where. `line` and `column` are 1-based, 0 where the file as a whole is meant."""

    message: str
    line: int = 0
    column: int = 0


class WorkflowError(Exception):
    """A workflow (or action) file that cannot run: the user has to act."""

    def __init__(self, path: str, mistakes: tuple[Mistake, ...]) -> None:
        self.path = path
        self.mistakes = mistakes
        super().__init__("\n".join(
            f"{path}:{m.line}:{m.column}: {m.message}" if m.line else f"{path}: {m.message}" for m in mistakes))
