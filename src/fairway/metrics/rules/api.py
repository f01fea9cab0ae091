"""`/api/v1/rules` and `/api/v1/alerts`: rules and alerts in Prometheus' JSON shapes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from fairway.metrics.promql.numbers import format_float
from fairway.metrics.rules.alerts import Alert
from fairway.metrics.rules.controller import GroupState, RuleState
from fairway.metrics.rules.spec import AlertingRule

_LEVEL = {"inactive": 0, "pending": 1, "firing": 2}


def groups_as_json(groups: Iterable[GroupState], *, kind: str = "", names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """`kind`: "alert" or "record" only; `names`: these rules only. Groups without any such rule are left out."""
    found = []
    for state in groups:
        rules = [_rule(rule) for rule in state.rules if _wanted(rule, kind, names)]
        if rules or not (kind or names):
            found.append({
                "name": state.group.name, "file": state.group.file, "interval": state.group.interval.total_seconds(),
                "limit": state.group.limit, "rules": rules, "evaluationTime": state.seconds,
                "lastEvaluation": _stamp(state.at),
            })  # fmt: skip
    return found


def alerts_as_json(groups: Iterable[GroupState]) -> list[dict[str, Any]]:
    return [_alert(alert) for group in groups for rule in group.rules for alert in _active(rule)]


def _wanted(state: RuleState, kind: str, names: Sequence[str]) -> bool:
    own = "alert" if isinstance(state.rule, AlertingRule) else "record"
    return kind in ("", own) and (not names or state.rule.name in names)


def _rule(state: RuleState) -> dict[str, Any]:
    """`noData`, which Prometheus has not: selectors that found no series, so that the rule's silence means nothing."""
    rule = state.rule
    common: dict[str, Any] = {
        "name": rule.name, "query": rule.expr, "labels": dict(rule.labels), "health": state.health,
        "evaluationTime": state.seconds, "lastEvaluation": _stamp(state.at),
    }  # fmt: skip
    if state.error:
        common["lastError"] = state.error
    if state.no_data:
        common["noData"] = list(state.no_data)
    if not isinstance(rule, AlertingRule):
        return {**common, "type": "recording"}
    active = _active(state)
    return {
        **common, "type": "alerting", "duration": rule.hold.total_seconds(), "keepFiringFor": rule.keep.total_seconds(),
        "annotations": dict(rule.annotations), "alerts": [_alert(alert) for alert in active],
        "state": max((alert.state for alert in active), key=_LEVEL.__getitem__, default="inactive"),
    }  # fmt: skip


def _active(state: RuleState) -> list[Alert]:
    return [alert for alert in state.alerts.values() if alert.state != "inactive"]


def _alert(alert: Alert) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "labels": dict(alert.labels), "annotations": dict(alert.annotations), "state": alert.state,
        "activeAt": _stamp(alert.active_at), "value": format_float(alert.value),
    }  # fmt: skip
    if alert.missing_since is not None:
        shown["keepFiringSince"] = _stamp(alert.missing_since)
    return shown


def _stamp(moment: datetime | None) -> str:
    return "0001-01-01T00:00:00Z" if moment is None else moment.isoformat().replace("+00:00", "Z")
