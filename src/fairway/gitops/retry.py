"""When a failed sync is tried again, and when drift is healed again: arithmetic, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

NO_LIMIT = -1


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`syncPolicy.retry`. `limit` below 0: for ever. Defaults are Argo CD's."""

    limit: int = 5
    duration: timedelta = timedelta(seconds=5)
    factor: int = 2
    max_duration: timedelta = timedelta(minutes=3)
    refresh: bool = False

    def wait(self, retries: int) -> timedelta:
        """How long to wait after `retries` retries were made. The power is capped before it overflows."""
        seconds = self.duration.total_seconds()
        for _ in range(min(retries, 64)):
            seconds *= self.factor
            if seconds >= self.max_duration.total_seconds():
                break
        return min(timedelta(seconds=min(seconds, 1e9)), self.max_duration)

    def allows(self, retries: int) -> bool:
        return self.limit < 0 or retries < self.limit


@dataclass(frozen=True, slots=True)
class SelfHealBackoff:
    """The first heal at once, then 2 s × 3ⁿ up to five minutes, counted from the end of the last one."""

    duration: timedelta = timedelta(seconds=2)
    factor: int = 3
    cap: timedelta = timedelta(minutes=5)

    def due(self, attempts: int, finished_at: datetime | None, now: datetime) -> datetime | None:
        """The time before which no heal starts; None: at once. A sync that has not ended counts as ending now."""
        return (finished_at or now) + self.wait(attempts) if attempts else None

    def wait(self, attempts: int) -> timedelta:
        seconds = self.duration.total_seconds()
        for _ in range(min(attempts - 1, 64)):
            seconds *= self.factor
            if seconds >= self.cap.total_seconds():
                break
        return min(timedelta(seconds=seconds), self.cap)
