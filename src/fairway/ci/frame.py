"""One level of steps: those of a job, or those of a composite action that one of them uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fairway.ci.expressions import Value
from fairway.ci.spec import RunDefaults

Result = Literal["success", "failure", "cancelled", "skipped"]


@dataclass
class Frame:
    """`env` overlays the job's environment; `inputs` is None for a job, whose inputs are the workflow's."""

    steps: dict[str, Value] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, Value] | None = None
    action_path: Path | None = None
    defaults: RunDefaults = field(default_factory=RunDefaults)
    status: Result = "success"
    depth: int = 0

    @property
    def is_job(self) -> bool:
        return self.depth == 0


@dataclass
class StepOutcome:
    """What a step has done so far."""

    outputs: dict[str, str] = field(default_factory=dict)
    state: dict[str, str] = field(default_factory=dict)
    failed: str = ""
