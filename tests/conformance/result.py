"""The answer to one conformance case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class CaseResult:
    """`reason` says why a case failed or was skipped, in one line; "" where it passed."""

    case_id: str
    outcome: Literal["passed", "failed", "skipped"]
    reason: str = ""
