"""Sync windows of an AppProject: when its Applications may be synced. Pure.

    an active deny      nothing syncs; by hand only where every active deny allows it; an operation that began while it was
                        allowed goes on where every deny that applies has `syncOverrun`
    an active allow     syncs
    an inactive allow   nothing syncs until it opens; by hand where every inactive allow lets it; overrun as above
    no window           syncs
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fairway.gitops.globs import matches_any
from fairway.kube.cron_schedule import Schedule, parse_schedule
from fairway.kube.decision import earliest
from fairway.kube.durations import parse_duration


class InvalidWindow(ValueError):
    """The text says which window is wrong and why."""


@dataclass(frozen=True, slots=True)
class Window:
    kind: str
    schedule: str
    duration: str
    applications: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    manual_sync: bool = False
    time_zone: str = ""
    and_operator: bool = False
    sync_overrun: bool = False

    @property
    def is_deny(self) -> bool:
        return self.kind == "deny"

    def length(self) -> timedelta:
        try:
            return parse_duration(self.duration)
        except ValueError as error:
            raise InvalidWindow(f"cannot parse duration '{self.duration}': {error}") from error

    def openings(self) -> Schedule:
        """In the window's own zone: one that opens at 02:00 still does when the clocks change."""
        try:
            ZoneInfo(self.time_zone or "UTC")
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise InvalidWindow(f"cannot parse '{self.time_zone}' as time zone: {error}") from error
        try:
            return parse_schedule(self.schedule, self.time_zone)
        except ValueError as error:
            raise InvalidWindow(f"cannot parse schedule '{self.schedule}': {error}") from error

    def opened(self, now: datetime) -> datetime | None:
        """When the present opening began; None while the window is shut."""
        start = self.openings().next(now - self.length())
        return start if start is not None and start <= now else None

    def active(self, now: datetime) -> bool:
        return self.opened(now) is not None

    def changes_at(self, now: datetime) -> datetime | None:
        """When to look again: the next time the window may open or shut."""
        opened = self.opened(now)
        return earliest(self.openings().next(now), opened + self.length() if opened is not None else None)

    def check(self) -> None:
        """Raise `InvalidWindow` where the window cannot be used."""
        if self.kind not in ("allow", "deny"):
            raise InvalidWindow(f"kind '{self.kind}' mismatch: can only be allow or deny")
        self.openings(), self.length()

    def applies_to(self, name: str, namespace: str, server: str, cluster: str = "") -> bool:
        """Whether the application is meant; with `andOperator` everything that is named has to match."""
        questions = [
            matches_any(patterns, text) or (bool(other) and matches_any(patterns, other))
            for patterns, text, other in ((self.applications, name, ""), (self.clusters, server, cluster),
                                          (self.namespaces, namespace, "")) if patterns
        ]
        return bool(questions) and (all(questions) if self.and_operator else any(questions))


def decode_window(value: Mapping[str, Any]) -> Window:
    def texts(key: str) -> tuple[str, ...]:
        return tuple(str(text) for text in value.get(key) or ())

    return Window(
        kind=str(value.get("kind") or ""), schedule=str(value.get("schedule") or ""),
        duration=str(value.get("duration") or ""), applications=texts("applications"), namespaces=texts("namespaces"),
        clusters=texts("clusters"), manual_sync=bool(value.get("manualSync")), time_zone=str(value.get("timeZone") or ""),
        and_operator=bool(value.get("andOperator")), sync_overrun=bool(value.get("syncOverrun")),
    )


def may_be_added(window: Window) -> None:
    """A window that names nothing is refused."""
    if not (window.applications or window.namespaces or window.clusters):
        raise InvalidWindow("cannot add a window without schedule, duration, or at least one of applications, namespaces or "
                            "clusters")
    window.check()


def active(windows: Iterable[Window], now: datetime) -> list[Window]:
    return [window for window in windows if window.active(now)]


def inactive_allows(windows: Iterable[Window], now: datetime) -> list[Window]:
    return [window for window in windows if window.kind == "allow" and not window.active(now)]


def has_deny(windows: Iterable[Window]) -> tuple[bool, bool]:
    """Whether there is a deny, and whether all of them allow a sync by hand."""
    denies = [window for window in windows if window.is_deny]
    return bool(denies), bool(denies) and all(window.manual_sync for window in denies)


def has_allow(windows: Iterable[Window]) -> bool:
    return any(window.kind == "allow" for window in windows)


def denies_allow_overrun(windows: Iterable[Window]) -> bool:
    denies = [window for window in windows if window.is_deny]
    return bool(denies) and all(window.sync_overrun for window in denies)


def can_sync(windows: Sequence[Window], *, manual: bool, now: datetime, started: datetime | None = None) -> bool:
    """Whether the windows that apply let an operation run now; `started` is when a running one began."""
    if not windows:
        return True
    open_now = active(windows, now)
    denied, by_hand = has_deny(open_now)
    if denied:
        if manual and by_hand:
            return True
        overrun = started is not None and all(w.sync_overrun for w in open_now if w.is_deny)
        return overrun and can_sync(windows, manual=manual, now=_moment(started))
    if has_allow(open_now):
        return True
    shut = inactive_allows(windows, now)
    if not shut:
        return True
    if manual and all(window.manual_sync for window in shut):
        return True
    overrun = started is not None and all(window.sync_overrun for window in shut)
    return overrun and can_sync(windows, manual=manual, now=_moment(started))


def _moment(started: datetime | None) -> datetime:
    assert started is not None
    return started


def changes_at(windows: Iterable[Window], now: datetime) -> datetime | None:
    return earliest(*(window.changes_at(now) for window in windows))
