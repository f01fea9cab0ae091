"""The life of alerts: what an evaluation makes of those that there were. Pure.

An element of the answer is pending from the moment it appears, and firing once it has been there for `for`. One that is
gone is forgotten while pending; while firing it keeps firing for `keep_firing_for`, and is then resolved and remembered for
a while, so that whoever delivers it can tell of the end. An evaluation that failed changes nothing: not to know is neither
good nor bad.

Source: Prometheus `rules/alerting.go` (behaviour).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from fairway.metrics.rules.spec import AlertingRule, Texts

ALERTS, FOR_STATE = "ALERTS", "ALERTS_FOR_STATE"
RESOLVED_KEPT = timedelta(minutes=15)
RESEND_AFTER = timedelta(minutes=1)
OUTAGE_TOLERANCE = timedelta(hours=1)
GRACE = timedelta(minutes=10)
"""Prometheus' `rules.alert.resend-delay`, `rules.alert.for-outage-tolerance` and `rules.alert.for-grace-period`."""

State = Literal["pending", "firing", "inactive"]


@dataclass(frozen=True, slots=True)
class Alert:
    """`labels` are its identity. `inactive` is one that has been resolved."""

    labels: Texts
    annotations: Texts
    value: float
    state: State
    active_at: datetime
    fired_at: datetime | None = None
    resolved_at: datetime | None = None
    missing_since: datetime | None = None
    sent_at: datetime | None = None


class RuleFailed(Exception):
    """The evaluation has no result: two alerts are alike, or there are more than the group allows."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element of the answer, its labels and annotations filled in."""

    labels: Texts
    annotations: Texts
    value: float


Alerts = Mapping[Texts, Alert]


def advanced(rule: AlertingRule, before: Alerts, elements: Iterable[Element], now: datetime, *, limit: int = 0) -> Alerts:
    """The rule's alerts after an evaluation at `now`. Raises `RuleFailed`."""
    seen: dict[Texts, Element] = {}
    for element in elements:
        if element.labels in seen:
            raise RuleFailed("vector contains metrics with the same labelset after applying alert labels")
        seen[element.labels] = element
    after: dict[Texts, Alert] = {}
    for labels in [*before, *(labels for labels in seen if labels not in before)]:
        alert = _next(rule, before.get(labels), seen.get(labels), now)
        if alert is not None:
            after[labels] = alert
    if limit and sum(alert.state != "inactive" for alert in after.values()) > limit:
        raise RuleFailed(f"exceeded limit of {limit} with {len(seen)} alerts")
    return after


def _next(rule: AlertingRule, alert: Alert | None, element: Element | None, now: datetime) -> Alert | None:
    if element is None:
        return None if alert is None else _missing(rule, alert, now)
    if alert is None or alert.state == "inactive":
        alert = Alert(element.labels, element.annotations, element.value, "pending", now)
    alert = replace(alert, annotations=element.annotations, value=element.value, missing_since=None)
    if alert.state == "pending" and now - alert.active_at >= rule.hold:
        return replace(alert, state="firing", fired_at=now)
    return alert


def _missing(rule: AlertingRule, alert: Alert, now: datetime) -> Alert | None:
    match alert.state:
        case "pending":
            return None
        case "firing":
            since = alert.missing_since or now
            if rule.keep and now - since < rule.keep:
                return replace(alert, missing_since=since)
            return replace(alert, state="inactive", resolved_at=now)
        case _:
            gone = alert.resolved_at is not None and now - alert.resolved_at > RESOLVED_KEPT
            return None if gone else alert


def series_of(alerts: Alerts) -> list[tuple[dict[str, str], float]]:
    """`ALERTS` and `ALERTS_FOR_STATE` of those that are pending or firing."""
    found: list[tuple[dict[str, str], float]] = []
    for alert in alerts.values():
        if alert.state != "inactive":
            labels = dict(alert.labels)
            found.append(({**labels, "__name__": ALERTS, "alertstate": alert.state}, 1.0))
            found.append(({**labels, "__name__": FOR_STATE}, alert.active_at.timestamp()))
    return found


def restored(rule: AlertingRule, alerts: Alerts, saved: Mapping[Texts, tuple[float, datetime]], now: datetime) -> Alerts:
    """Alerts of the first evaluation after a restart, with the time that they had been pending before it.

    `saved`: for each, when it became active (seconds since 1970) and when that was last written. The time during which
    nobody looked does not count; after a long `for` it takes at least the grace period until one fires.
    """
    found = dict(alerts)
    for labels, alert in alerts.items():
        if labels not in saved or alert.state == "inactive":
            continue
        seconds, down_at = saved[labels]
        active_at = datetime.fromtimestamp(seconds, now.tzinfo)
        left = rule.hold - (down_at - active_at)
        if left > timedelta(0):
            shifted = now + GRACE - rule.hold if rule.hold >= GRACE and left < GRACE else active_at + (now - down_at)
            active_at = min(shifted, now)
        state: State = "firing" if now - active_at >= rule.hold else "pending"
        found[labels] = replace(alert, active_at=active_at, state=state, fired_at=now if state == "firing" else None)
    return found


# --- telling an Alertmanager ------------------------------------------------------------------------------------------


def due(alerts: Alerts, now: datetime) -> Alerts:
    """Those to be told now: what fires once a minute, what is resolved at once. They are marked as sent."""
    found = {}
    for labels, alert in alerts.items():
        resolved = alert.resolved_at is not None and alert.state == "inactive"
        if alert.state == "pending":
            continue
        fresh = alert.sent_at is None or (resolved and alert.resolved_at is not None and alert.resolved_at > alert.sent_at)
        if fresh or (alert.sent_at is not None and now - alert.sent_at >= RESEND_AFTER):
            found[labels] = replace(alert, sent_at=now)
    return found


def postable(alerts: Sequence[Alert], interval: timedelta, url: str, now: datetime) -> list[dict[str, Any]]:
    """As `POST /api/v2/alerts` takes them. What fires ends by itself after four intervals, should nobody tell any more."""
    until = now + 4 * max(interval, RESEND_AFTER)
    return [
        {
            "labels": dict(alert.labels), "annotations": {name: text for name, text in alert.annotations if text},
            "startsAt": _stamp(alert.fired_at or alert.active_at), "endsAt": _stamp(alert.resolved_at or until),
            "generatorURL": url,
        }
        for alert in alerts
    ]  # fmt: skip


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
