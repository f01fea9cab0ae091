"""What a report can be: a text as it was found, numbers by name, findings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Report:
    """One file. `text` is None where it could not be read; then `problem` says why."""

    path: str
    text: str | None
    modified_at: datetime | None = None
    problem: str = ""


class Unreadable(Exception):
    """The text is not such a report, or says nothing; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Numbers by name; a name that is absent was not measured, which is not zero. `details` help to find the cause."""

    values: Mapping[str, float]
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """`words` are all that it counts under (a level, a severity). `identity` stays the same from one run to the next."""

    rule: str
    words: frozenset[str]
    place: str = ""
    fixable: bool = False
    aliases: frozenset[str] = frozenset()

    @property
    def identity(self) -> str:
        """The rule and the file: lines move with every commit."""
        return f"{self.rule} {self.place.partition(':')[0]}"

    def __str__(self) -> str:
        return f"{self.rule} at {self.place}" if self.place else self.rule


@dataclass(frozen=True, slots=True)
class Findings:
    """`unchecked` counts what the tool could not look at, and says so."""

    listed: tuple[Finding, ...]
    unchecked: int = 0


def loaded(text: str) -> Any:
    """A report's JSON. Raises `Unreadable`."""
    if not text.strip():
        raise Unreadable("the file is empty")
    try:
        return json.loads(text.lstrip("\ufeff"))
    except ValueError as error:
        raise Unreadable(f"not JSON: {error}") from None


def misread(what: str, error: Exception) -> Unreadable:
    return Unreadable(f"a {what} report that is not understood: {type(error).__name__}: {error}")


NOT_AS_EXPECTED = (KeyError, TypeError, AttributeError, IndexError, ValueError)
"""What indexing into somebody else's JSON raises where it has another form."""
