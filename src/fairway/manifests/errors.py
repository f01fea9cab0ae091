"""What is wrong with a manifest, where, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A file, and within it a line and a column that count from 1 (0: not known)."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        parts = [self.file or "<manifest>", str(self.line) if self.line else "", str(self.column) if self.column else ""]
        return ":".join(filter(None, parts))


class ManifestError(Exception):
    """A mistake in a file: its author acts next. Printed as `file:line:column: mistake; mend`."""

    def __init__(self, place: Place | str, mistake: str, mend: str = "") -> None:
        self.place = place if isinstance(place, Place) else Place(place)
        self.mistake = mistake
        self.mend = mend
        super().__init__(f"{self.place}: {mistake}" + (f"; {mend}" if mend else ""))
