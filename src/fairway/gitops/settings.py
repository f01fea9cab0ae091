"""What the platform decides for all Applications."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from fairway.git import Person

FAIRWAY = Person("Fairway", "fairway@localhost")


@dataclass(frozen=True, slots=True)
class Settings:
    """Defaults are Argo CD's where it has them: remote repositories are looked at every 3 minutes and a little."""

    poll: timedelta = timedelta(minutes=3)
    jitter: timedelta = timedelta(minutes=1)
    hook_limit: timedelta = timedelta(minutes=30)
    """A hook without a deadline of its own; upstream waits for ever."""
    operation_limit: timedelta | None = None
    """The longest that a sync may take; None: as long as it needs. An Application's own is fairway.dev/sync-timeout."""
    author: Person = FAIRWAY
    seed: int = 0
    """Of the jitter."""
