"""Which routes an alert takes, and which alerts keep it quiet. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fairway.notify.alertmanager.alert import Alert, Labels
from fairway.notify.alertmanager.matchers import all_match
from fairway.notify.alertmanager.spec import ALL, Inhibition, Route


def routes_of(route: Route, labels: Mapping[str, str]) -> list[Route]:
    """Depth first; the first child that matches wins unless it says `continue`; a node itself only if no child does."""
    if not all_match(route.matchers, labels):
        return []
    found: list[Route] = []
    for child in route.routes:
        matched = routes_of(child, labels)
        found += matched
        if matched and not child.goes_on:
            break
    return found or [route]


def group_labels(route: Route, alert: Alert) -> Labels:
    if ALL in route.group_by:
        return alert.labels
    return tuple((name, text) for name, text in alert.labels if name in route.group_by)


def inhibited_by(alert: Alert, firing: Iterable[Alert], rules: Iterable[Inhibition]) -> list[str]:
    """Fingerprints of the alerts that inhibit this one. An alert that is source and target at once inhibits no other such."""
    own = dict(alert.labels)
    found = []
    for rule in rules:
        if not all_match(rule.target, own):
            continue
        both = all_match(rule.source, own)
        for source in firing:
            labels = dict(source.labels)
            if source.fingerprint == alert.fingerprint or not all_match(rule.source, labels):
                continue
            if both and all_match(rule.target, labels):
                continue
            if all(own.get(name, "") == labels.get(name, "") for name in rule.equal):
                found.append(source.fingerprint)
    return found
