"""When a group of alerts is told, and of what. Pure, in whatever time it is given.

A group is told for the first time `group_wait` after its first alert, then looked at every `group_interval`. It is told
again when an alert has joined, when one has ended (where the receiver hears of ends), when all have ended, or when
`repeat_interval` has passed. What was told stands in a record for each receiver.

Source: Alertmanager `dispatch` and `notify.DedupStage` (behaviour).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from fairway.notify.alertmanager.alert import Alert, Labels
from fairway.notify.alertmanager.spec import Route


@dataclass(frozen=True, slots=True)
class Told:
    """What one way of telling last heard of a group: fingerprints, and when."""

    firing: frozenset[str]
    resolved: frozenset[str]
    at: datetime


@dataclass(frozen=True, slots=True)
class AlertGroup:
    """`next_look`: when it is looked at again. `looked`: whether it has been before."""

    route: Route
    labels: Labels
    alerts: Mapping[str, Alert] = field(default_factory=dict)
    next_look: datetime | None = None
    looked: bool = False

    @property
    def key(self) -> str:
        inner = ", ".join(f'{name}="{text}"' for name, text in self.labels)
        return f"{self.route.id}:{{{inner}}}"


def joined(group: AlertGroup, alert: Alert, now: datetime) -> AlertGroup:
    """The group with an alert that came. One that has been firing for longer than the wait is not waited for."""
    alerts = {**group.alerts, alert.fingerprint: alert}
    if group.next_look is None:
        return replace(group, alerts=alerts, next_look=now + group.route.wait)
    if not group.looked and alert.starts_at + group.route.wait < now:
        return replace(group, alerts=alerts, next_look=min(group.next_look, now))
    return replace(group, alerts=alerts)


@dataclass(frozen=True, slots=True)
class Notice:
    """What is to be told: firing alerts, and resolved ones where the receiver hears of them."""

    alerts: tuple[Alert, ...]
    told: Told
    silent: bool = False
    """Nothing is sent, but the record is written: all have ended, and the receiver does not hear of ends."""


def notice(
    alerts: Collection[Alert], last: Told | None, *, repeat: timedelta, send_resolved: bool, now: datetime
) -> Notice | None:
    """None where there is nothing to tell."""
    firing = frozenset(alert.fingerprint for alert in alerts if not alert.resolved(now))
    resolved = frozenset(alert.fingerprint for alert in alerts if alert.resolved(now))
    if not _news(firing, resolved, last, repeat=repeat, send_resolved=send_resolved, now=now):
        return None
    kept = tuple(alert for alert in alerts if send_resolved or alert.fingerprint in firing)
    ordered = tuple(sorted(kept, key=lambda alert: (alert.resolved(now), alert.starts_at, alert.labels)))
    return Notice(ordered, Told(firing, resolved, now), silent=not ordered)


def _news(
    firing: frozenset[str], resolved: frozenset[str], last: Told | None, *, repeat: timedelta, send_resolved: bool,
    now: datetime,
) -> bool:  # fmt: skip
    if last is None:
        return bool(firing)
    if not firing <= last.firing:
        return True
    if not firing:
        return bool(last.firing)
    if send_resolved and not resolved <= last.resolved:
        return True
    return last.at < now - repeat


def looked_at(group: AlertGroup, delivered: bool, now: datetime) -> AlertGroup | None:
    """The group after a look: resolved alerts that were delivered are forgotten; None where none is left."""
    alerts = {key: a for key, a in group.alerts.items() if not (delivered and a.resolved(now))}
    if not alerts:
        return None
    return replace(group, alerts=alerts, next_look=now + group.route.interval, looked=True)
