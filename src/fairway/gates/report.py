"""A report as it was found, and what makes one unreadable."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Report:
    """One file. `text` is None where it could not be read; then `problem` says why."""

    path: str
    text: str | None
    modified_at: datetime | None = None
    problem: str = ""


class Unreadable(Exception):
    """The text is not such a report, or says nothing; the message says what is missing."""
