"""Rules: how they are read, what becomes of alerts over time, and what a person reads of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fairway.metrics.rules.alerts import Alert, Alerts, Element, RuleFailed, advanced, due, postable, restored, series_of
from fairway.metrics.rules.evaluate import Evaluator
from fairway.metrics.rules.spec import AlertingRule, RuleMistake, decode_file
from fairway.metrics.rules.templates import expanded
from tests.metrics.samples import Blocks, block, named

START = datetime(2030, 1, 1, tzinfo=UTC)
POD_A = (("alertname", "Down"), ("pod", "a"))


def minutes(count: float) -> datetime:
    return START + timedelta(minutes=count)


def life(rule: AlertingRule, seen: str) -> list[str]:
    """The state of one alert at each minute; "x" in `seen` is a minute in which its expression holds."""
    alerts: Alerts = {}
    states = []
    for minute, mark in enumerate(seen):
        alerts = advanced(rule, alerts, [Element(POD_A, (), 1.0)] if mark == "x" else [], minutes(minute))
        states.append(alerts[POD_A].state[0] if POD_A in alerts else "-")
    return states


@pytest.mark.parametrize(
    ("hold", "keep", "seen", "states"),
    [
        (0, 0, "xx.", "ffi"),
        (2, 0, "xxxx.", "ppffi"),
        (2, 0, "xx.xxx", "pp-ppf"),
        (0, 2, "x...", "fffi"),
        (0, 2, "x.x..x", "ffffff"),
        (0, 0, "x" + "." * 17 + "x", "f" + "i" * 16 + "-f"),
    ],
)  # fmt: skip
def test_an_alert_is_pending_firing_kept_and_resolved(hold: int, keep: int, seen: str, states: str) -> None:
    rule = AlertingRule("Down", "up == 0", timedelta(minutes=hold), timedelta(minutes=keep))
    assert "".join(life(rule, seen)) == states


def test_alike_or_too_many_alerts_are_errors_and_change_nothing() -> None:
    rule = AlertingRule("Down", "up == 0")
    with pytest.raises(RuleFailed, match="same labelset after applying alert labels"):
        advanced(rule, {}, [Element(POD_A, (), 1.0), Element(POD_A, (), 2.0)], START)
    with pytest.raises(RuleFailed, match="exceeded limit of 1 with 2 alerts"):
        advanced(rule, {}, [Element(POD_A, (), 1.0), Element((("pod", "b"),), (), 1.0)], START, limit=1)


def test_the_series_of_an_alert_say_its_state_and_since_when() -> None:
    alert = Alert(POD_A, (), 1.0, "pending", START)
    assert series_of({POD_A: alert}) == [
        ({"__name__": "ALERTS", "alertname": "Down", "alertstate": "pending", "pod": "a"}, 1.0),
        ({"__name__": "ALERTS_FOR_STATE", "alertname": "Down", "pod": "a"}, START.timestamp()),
    ]


@pytest.mark.parametrize(
    ("pending_before", "down", "fires_after"),
    [(3, 2, 2), (5, 30, 0), (0.5, 59, 4.5)],
)
def test_after_a_restart_the_time_that_was_pending_counts_and_the_outage_does_not(
    pending_before: float, down: float, fires_after: float
) -> None:
    rule = AlertingRule("Down", "up == 0", timedelta(minutes=5))
    now = minutes(pending_before + down)
    alerts = advanced(rule, {}, [Element(POD_A, (), 1.0)], now)
    found = restored(rule, alerts, {POD_A: (START.timestamp(), minutes(pending_before))}, now)[POD_A]
    assert found.state == ("firing" if fires_after == 0 else "pending")
    assert max(found.active_at + rule.hold - now, timedelta(0)) == timedelta(minutes=fires_after)


def test_what_fires_is_told_once_a_minute_and_its_end_at_once() -> None:
    rule = AlertingRule("Down", "up == 0")
    alerts = advanced(rule, {}, [Element(POD_A, (("summary", "a is down"),), 1.0)], START)
    told = due(alerts, START)
    (sent,) = postable(list(told.values()), timedelta(seconds=30), "http://here", START)
    assert (sent["startsAt"], sent["endsAt"]) == ("2030-01-01T00:00:00.000Z", "2030-01-01T00:04:00.000Z")
    assert due(told, minutes(0.5)) == {}
    ended = advanced(rule, told, [], minutes(0.5))
    (over,) = postable(list(due(ended, minutes(0.5)).values()), timedelta(seconds=30), "", minutes(0.5))
    assert over["endsAt"] == "2030-01-01T00:00:30.000Z"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{{ $labels.pod }} at {{ $value | humanizePercentage }}", "web-1 at 1.23%"),
        ("{{ .Labels.nosuch }}|{{ .Value }}", "|0.0123"),
        ('{{ printf "%.2f" $value }} {{ if gt $value 0.01 }}high{{ else }}low{{ end }}', "0.01 high"),
        ('{{ with query "up" }}{{ . | first | value | humanizeDuration }}{{ end }}', "1h 1m 1s"),
        ('{{ range query "up" }}{{ .Labels.job }}={{ .Value }} {{ end }}', "shop=3661 "),
        ('{{ (query "up" | first).Labels.job | toUpper }}', "SHOP"),
        ('{{ humanize 1234567.0 }} {{ humanize1024 1048576.0 }} {{ humanizeDuration 0.0042 }}', "1.235M 1Mi 4.2ms"),
        ("{{ 1234567.0 }} {{ 100000.0 }}", "1.234567e+06 100000"),
        ('{{ "web-1.shop:80" | stripPort | stripDomain }}', "web-1"),
        ('{{ reReplaceAll "web-(.*)" "pod $1" $labels.pod }}', "pod 1"),
    ],
)  # fmt: skip
def test_templates_are_filled_in_as_prometheus_does(text: str, wanted: str) -> None:
    def query(_: str) -> list[dict[str, Any]]:
        return [{"Labels": {"job": "shop"}, "Value": 3661.0}]

    assert expanded(text, {"pod": "web-1"}, 0.0123, query) == wanted


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"alert": "A", "expr": "sum("}, "groups[0].rules[0].expr: could not parse expression: 1:5: parse error"),
        ({"alert": "A", "record": "b", "expr": "1"}, "exactly one of record and alert must be set"),
        ({"alert": "A", "expr": "1", "for": "5 minutes"}, 'groups[0].rules[0].for: not a valid duration string: "5 minutes"'),
        ({"record": "a:b", "expr": "1", "for": "5m"}, "for: invalid field in recording rule"),
        ({"alert": "A", "expr": "1", "anotations": {}}, "groups[0].rules[0].anotations: unknown field"),
        ({"alert": "A", "expr": "1", "annotations": {"summary": "{{ $value | nosuch }}"}},
         "annotations.summary: {{ $value | nosuch }}: function 'nosuch' is not known"),
        ({"alert": "A", "expr": "1", "annotations": {"summary": "{{ if $value }}"}}, "has no end"),
        ({"alert": "A", "expr": "1", "labels": {"a-b": "c"}}, "invalid label name: a-b"),
    ],
)  # fmt: skip
def test_mistakes_in_a_rule_file_are_named_with_their_path(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(RuleMistake) as caught:
        decode_file({"groups": [{"name": "g", "rules": [rule]}]}, "rules.yml")
    assert message in str(caught.value)


def test_a_rule_says_which_of_its_series_are_not_there() -> None:
    source = Blocks(block(10, [named("requests", [5, 5], code="500"), named("requests", [95, 95], code="200")]))
    evaluator = Evaluator(source, "http://here")
    rule = AlertingRule("Errors", 'sum(requests{code="500"}) / sum(requests) > 0.01', labels=(("severity", "page"),),
                        annotations=(("summary", "{{ $value | humanizePercentage }} of requests fail"),))  # fmt: skip
    at = datetime.fromtimestamp(10, UTC)
    (element,) = evaluator.elements(rule, at)
    assert element.labels == (("alertname", "Errors"), ("severity", "page"))
    assert element.annotations == (("summary", "5% of requests fail"),)
    assert evaluator.without_data(rule.expr, at) == ()
    assert evaluator.without_data('sum(nosuch{a="b"}) / sum(requests) > 1', at) == ('nosuch{a="b"}',)
