"""One run of one container. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of one container. `code` is None while it runs.

    `reason` is set where the node knows better than the exit code: `ContainerStatusUnknown` (the shim died, so nobody
    knows how it ended) or `StartError` (the process could not be started); `message` says more.
    """

    number: int
    pid: int
    start: str
    started: datetime
    finished: datetime | None = None
    code: int | None = None
    signal: int = 0
    reason: str = ""
    message: str = ""

    @property
    def running(self) -> bool:
        return self.code is None
