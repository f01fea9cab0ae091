"""What somebody wants to run from a working tree, and what it became."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fairway.ci.course import Course
    from fairway.ci.states import JobRow


class NoSuchJob(Exception):
    """The job that was asked for is in no workflow that the event starts."""


@dataclass(frozen=True)
class Wish:
    """What is to be run, as the user says it. `matrix` keeps the legs that have these values; `manual` starts these manual
    jobs; `alone` leaves out what the jobs need; `labels` are further runner labels that this machine answers to."""

    event: str = "push"
    ref: str = ""
    base: str = ""
    jobs: tuple[str, ...] = ()
    alone: bool = False
    matrix: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    component_inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    payload: Mapping[str, Any] = field(default_factory=dict)
    manual: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    home: Path = field(default_factory=Path.home)


@dataclass(frozen=True)
class Prepared:
    """A workflow that runs: its course and the rows that it starts with."""

    path: str
    name: str
    course: Course
    rows: tuple[JobRow, ...]
