"""The Alertmanager in virtual time: grouping, waiting, repeating, inhibition, silences, mute times."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fairway.kube.clock import Clock, run_virtual
from fairway.manifests import yaml
from fairway.notify.alerting import Alerting
from fairway.notify.alertmanager.alert import BadAlert, decode_alert
from fairway.notify.alertmanager.controller import Alertmanager, SendFailed
from fairway.notify.alertmanager.intervals import decode_intervals
from fairway.notify.alertmanager.matchers import parse_matchers
from fairway.notify.alertmanager.receivers import Mail, News, Request, message
from fairway.notify.alertmanager.routing import routes_of
from fairway.notify.alertmanager.silences import decode_silence
from fairway.notify.alertmanager.spec import AlertmanagerMistake, Integration, decode_config
from fairway.notify.controller import Outbox
from fairway.notify.spec import NotifyMistake

ROUTES = """
route:
  receiver: team
  group_by: [alertname]
  group_wait: 10s
  group_interval: 1m
  repeat_interval: 10m
  routes:
  - matchers: [severity="page"]
    receiver: pager
    continue: true
  - matchers: ['team=~"shop|pay"']
    receiver: shop
    mute_time_intervals: [nights]
receivers:
- name: team
  webhook_configs: [{url: 'http://hook.example.com/team'}]
- name: pager
  webhook_configs: [{url: 'http://hook.example.com/pager', send_resolved: false}]
- name: shop
  slack_configs: [{api_url: 'http://hook.example.com/shop', channel: '#shop', send_resolved: true}]
inhibit_rules:
- source_matchers: [severity="critical"]
  target_matchers: [severity="warning"]
  equal: [app]
time_intervals:
- name: nights
  time_intervals: [{times: [{start_time: '22:00', end_time: '24:00'}]}]
"""


class World:
    """An Alertmanager, and what it sent: (seconds since the beginning, receiver, status, alert names)."""

    def __init__(self, clock: Clock, text: str = ROUTES, file: Path | None = None) -> None:
        self.clock, self.begun = clock, clock.now()
        self.sent: list[tuple[float, str, str, list[str]]] = []
        self.down = False
        self.manager = Alertmanager(decode_config(yaml.load(text, "a.yml"), text), clock, send=self._send,
                                    tell_here=lambda news: None, file=file)  # fmt: skip
        self.task = asyncio.ensure_future(self.manager.run())

    async def _send(self, built: Request | Mail) -> None:
        assert isinstance(built, Request)
        if self.down:
            raise SendFailed("it answered 503")
        at = (self.clock.now() - self.begun).total_seconds()
        alerts = built.body.get("alerts", [])
        self.sent.append((at, built.url.rsplit("/", 1)[1], built.body.get("status", "-"),
                          sorted(f"{a['labels']['alertname']}/{a['labels'].get('app', '')}" for a in alerts)))  # fmt: skip

    async def fire(self, name: str, *, ends: float | None = None, **labels: str) -> None:
        """`ends`: seconds from now; without it the alert goes on for an hour."""
        now = self.clock.now()
        end = now + timedelta(seconds=3600 if ends is None else ends)
        await self.manager.post([{"labels": {"alertname": name, **labels}, "startsAt": now.isoformat(),
                                  "endsAt": end.isoformat()}])  # fmt: skip

    async def until(self, seconds: float) -> None:
        await asyncio.sleep(self.begun.timestamp() + seconds + 0.5 - self.clock.now().timestamp())

    def stop(self) -> None:
        self.task.cancel()


def story(tell: Callable[[World], Coroutine[Any, Any, None]], **options: Any) -> World:
    async def main(clock: Clock) -> World:
        world = World(clock, **options)
        await tell(world)
        world.stop()
        return world

    return run_virtual(main)


def test_a_group_waits_then_tells_of_what_joins_what_ends_and_repeats() -> None:
    async def tell(world: World) -> None:
        await world.fire("Down", app="a")
        await world.until(20)
        await world.fire("Down", app="b")
        await world.until(100)
        await world.fire("Down", app="b", ends=0)
        await world.until(720)

    assert story(tell).sent == [
        (10.0, "team", "firing", ["Down/a"]),
        (70.0, "team", "firing", ["Down/a", "Down/b"]),
        (130.0, "team", "firing", ["Down/a", "Down/b"]),
    ]


def test_a_route_with_continue_tells_two_and_one_that_hears_no_ends_is_not_told() -> None:
    async def tell(world: World) -> None:
        await world.fire("Down", severity="page")
        await world.until(30)
        await world.fire("Down", severity="page", ends=0)
        await world.until(200)

    assert story(tell).sent == [(10.0, "pager", "firing", ["Down/"])]


def test_a_critical_alert_keeps_the_warning_of_the_same_app_quiet() -> None:
    async def tell(world: World) -> None:
        await world.fire("Broken", severity="critical", app="a")
        await world.fire("Slow", severity="warning", app="a")
        await world.fire("Slow", severity="warning", app="b")
        await world.until(30)

    assert sorted(story(tell).sent) == [
        (10.0, "team", "firing", ["Broken/a"]),
        (10.0, "team", "firing", ["Slow/b"]),
    ]


def test_a_silence_keeps_quiet_until_it_ends() -> None:
    async def tell(world: World) -> None:
        now = world.clock.now()
        world.manager.set_silence(decode_silence({
            "matchers": [{"name": "app", "value": "a|c", "isRegex": True}], "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(minutes=2)).isoformat(), "createdBy": "ops", "comment": "known",
        }, "s1", now))  # fmt: skip
        await world.fire("Down", app="a")
        await world.until(200)

    assert story(tell).sent == [(130.0, "team", "firing", ["Down/a"])]


def test_a_receiver_that_does_not_answer_is_told_on_the_next_beat() -> None:
    async def tell(world: World) -> None:
        world.down = True
        await world.fire("Down", app="a")
        await world.until(30)
        world.down = False
        await world.until(80)

    assert story(tell).sent == [(70.0, "team", "firing", ["Down/a"])]


def test_another_configuration_finds_alerts_their_routes_anew_and_tells_nobody_twice() -> None:
    async def tell(world: World) -> None:
        await world.fire("Down", app="a")
        await world.until(20)
        other = ROUTES.replace("group_interval: 1m", "group_interval: 30s")
        world.manager.reconfigure(decode_config(yaml.load(other, "a.yml")), ())
        await world.until(40)
        await world.fire("Down", app="b")
        await world.until(80)

    assert story(tell).sent == [(10.0, "team", "firing", ["Down/a"]), (61.0, "team", "firing", ["Down/a", "Down/b"])]


def test_an_alert_that_nobody_repeats_ends_by_itself() -> None:
    async def tell(world: World) -> None:
        await world.manager.post([{"labels": {"alertname": "Down"}}])
        await world.until(400)

    assert [(at, status) for at, _, status, _ in story(tell).sent] == [(10.0, "firing"), (310.0, "resolved")]


def test_a_restart_tells_nobody_twice_and_keeps_silences(tmp_path: Path) -> None:
    file = tmp_path / "alertmanager.json"

    async def first(world: World) -> None:
        now = world.clock.now()
        world.manager.set_silence(decode_silence({
            "matchers": [{"name": "app", "value": "b"}], "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(hours=2)).isoformat(), "createdBy": "ops", "comment": "known",
        }, "s1", now))  # fmt: skip
        await world.fire("Down", app="a")
        await world.until(20)

    async def second(world: World) -> None:
        await world.fire("Down", app="a")
        await world.fire("Down", app="b")
        await world.until(200)

    assert len(story(first, file=file).sent) == 1
    assert story(second, file=file).sent == []


def test_routes_are_tried_depth_first() -> None:
    route = decode_config(yaml.load(ROUTES, "a.yml")).route

    def receivers(**labels: str) -> list[str]:
        return [found.receiver for found in routes_of(route, labels)]

    assert receivers(team="shop", severity="page") == ["pager", "shop"]
    assert receivers(team="pay") == ["shop"]
    assert receivers(team="other") == ["team"]


@pytest.mark.parametrize(
    ("text", "labels", "holds"),
    [
        ('severity="page"', {"severity": "page"}, True),
        ("{severity=page, team!~'x'}", {"severity": "page", "team": "y"}, True),
        ('team=~"a|b"', {"team": "ab"}, False),
        ("team!=a", {}, True),
    ],
)
def test_matchers_are_read_as_people_write_them(text: str, labels: dict[str, str], holds: bool) -> None:
    assert all(one.matches(labels) for one in parse_matchers(text)) is holds


@pytest.mark.parametrize(
    ("written", "moment", "holds"),
    [
        ({"weekdays": ["monday:friday"], "times": [{"start_time": "09:00", "end_time": "17:00"}]}, "2030-01-02T09:00", True),
        ({"weekdays": ["saturday", "sunday"]}, "2030-01-02T09:00", False),
        ({"days_of_month": ["-1"]}, "2030-02-28T09:00", True),
        ({"months": ["december:december"], "years": ["2030"]}, "2030-01-02T09:00", False),
        ({"times": [{"start_time": "09:00", "end_time": "10:00"}], "location": "Europe/Berlin"}, "2030-01-02T08:30", True),
    ],
)
def test_time_intervals_hold_where_every_part_does(written: dict[str, Any], moment: str, holds: bool) -> None:
    (interval,) = decode_intervals([written])
    assert interval.holds(datetime.fromisoformat(moment).replace(tzinfo=UTC)) is holds


@pytest.mark.parametrize(
    ("here", "instead", "mistake"),
    [
        ("receiver: team", "receiver: nobody", 'undefined receiver "nobody" used in route'),
        ("group_wait: 10s", "group_wait: soon", 'route.group_wait: not a valid duration string: "soon"'),
        ("webhook_configs:", "wechat_configs:", "receivers[0].wechat_configs: not supported"),
        ("[nights]", "[days]", 'undefined time interval "days" used in route'),
        ("inhibit_rules:", "inhibition_rules:", "inhibition_rules: unknown field"),
        ("group_by: [alertname]", "group_by: true", "route.group_by: a list is needed"),
        ("times: [{start_time: '22:00', end_time: '24:00'}]", "times: [noon]", "a mapping with start_time and end_time"),
        ("times: [{start_time: '22:00', end_time: '24:00'}]", "weekdays: 3", "a list is needed, not 3"),
    ],
)
def test_mistakes_in_the_configuration_are_named(here: str, instead: str, mistake: str) -> None:
    with pytest.raises(AlertmanagerMistake) as caught:
        decode_config(yaml.load(ROUTES.replace(here, instead, 1), "a.yml"))
    assert mistake in str(caught.value)


def news() -> News:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    alert = decode_alert({"labels": {"alertname": "Down", "app": "a"}, "annotations": {"summary": "a is down"},
                          "startsAt": now.isoformat(), "endsAt": (now + timedelta(hours=1)).isoformat()}, now)  # fmt: skip
    return News("team", "{}:{}", (("alertname", "Down"),), (alert,), now, "http://here")


def test_receivers_get_what_they_understand_with_templates_filled_in() -> None:
    slack = message(Integration("slack", True, {
        "api_url": "http://hook.example.com/x", "title": '{{ .Status | toUpper }} {{ .CommonLabels.app }}',
        "text": "{{ range .Alerts.Firing }}{{ .Annotations.summary }}{{ end }} {{ template \"slack.default.title\" . }}",
    }), news())  # fmt: skip
    assert isinstance(slack, Request)
    assert slack.body["attachments"][0]["title"] == "FIRING a"
    assert slack.body["attachments"][0]["text"] == "a is down [FIRING:1] Down (a)"
    mail = message(Integration("email", True, {"to": "ops@example.com", "smtp_from": "f@example.com",
                                               "smtp_smarthost": "mail.example.com:587"}), news())  # fmt: skip
    assert isinstance(mail, Mail)
    assert (mail.message["Subject"], mail.message["To"]) == ("[FIRING:1] Down (a)", "ops@example.com")
    pager = message(Integration("pagerduty", True, {"routing_key": "secret"}), news())
    assert isinstance(pager, Request) and pager.body["event_action"] == "trigger"
    assert "secret" not in repr(pager.url) + repr(Integration("pagerduty", True, {"routing_key": "secret"}))


def test_a_bad_alert_is_refused_and_the_good_ones_are_taken() -> None:
    async def tell(world: World) -> None:
        with pytest.raises(BadAlert, match="at least one label pair required"):
            await world.manager.post([{"labels": {}}, {"labels": {"alertname": "Down"}}])
        assert len(world.manager.alerts) == 1

    story(tell)


def test_a_configuration_that_is_no_yaml_is_a_mistake_with_its_place(tmp_path: Path) -> None:
    async def main(clock: Clock) -> None:
        file = tmp_path / "alertmanager.yml"
        file.write_text("route: [")
        with pytest.raises(NotifyMistake, match=r"alertmanager\.yml:2:1: not YAML"):
            Alerting(clock, Outbox([]), configuration=file, file=tmp_path / "state.json", url="")

    run_virtual(main)


def test_no_secret_of_the_configuration_is_shown(tmp_path: Path) -> None:
    async def main(clock: Clock) -> None:
        file = tmp_path / "alertmanager.yml"
        file.write_text(ROUTES)
        alerting = Alerting(clock, Outbox([]), configuration=file, file=tmp_path / "state.json", url="")
        shown = alerting.manager.config.original
        assert "hook.example.com" not in shown and "<secret>" in shown and "group_wait: 10s" in shown

    run_virtual(main)
