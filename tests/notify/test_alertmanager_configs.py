"""AlertmanagerConfig objects: below the configuration that is there, for the alerts of their own namespace."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from fairway.kube.api import MergePatch
from fairway.kube.cache import Informers
from fairway.kube.clock import WallClock
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.objects import Obj
from fairway.kube.resources import ALERTMANAGER_CONFIGS, CORE_EVENTS
from fairway.manifests import yaml
from fairway.notify.alerting import Alerting, ConfigObjects
from fairway.notify.alertmanager.objects import DEFAULT, merged
from fairway.notify.controller import Outbox
from tests.notify.test_alertmanager import ROUTES, World, story

TEAM = """
apiVersion: monitoring.coreos.com/v1alpha1
kind: AlertmanagerConfig
metadata: {name: oncall, namespace: shop}
spec:
  route:
    receiver: hook
    groupBy: [alertname]
    groupWait: 5s
    matchers: [{name: severity, value: "page|ticket", matchType: "=~"}]
    routes:
    - {receiver: chat, matchers: [{name: severity, value: ticket}], muteTimeIntervals: [nights]}
  receivers:
  - name: hook
    webhookConfigs: [{urlSecret: {name: hooks, key: url}, sendResolved: false}]
  - name: chat
    slackConfigs:
    - apiURL: {name: hooks, key: slack}
      channel: '#shop'
      titleLink: http://x
      fields: [{title: Team, value: shop, short: true}]
  - name: mail
    emailConfigs:
    - {to: a@example.com, from: b@example.com, smarthost: 'mail.example.com:25', requireTLS: false, authUsername: me,
       authPassword: {name: hooks, key: url}, headers: [{key: Subject, value: Down}]}
  inhibitRules:
  - sourceMatch: [{name: severity, value: page}]
    targetMatch: [{name: severity, value: ticket}]
    equal: [app]
  muteTimeIntervals:
  - name: nights
    timeIntervals:
    - {times: [{startTime: '22:00', endTime: '24:00'}], daysOfMonth: [{start: 1, end: -1}], weekdays: ['monday:friday']}
"""
HELD = {"url": "http://hook.example.com/oncall", "slack": "http://hook.example.com/chat"}


def secret(namespace: str, name: str, key: str) -> str:
    if (namespace, name) != ("shop", "hooks") or key not in HELD:
        raise KeyError(f"secret {name!r} has no key {key!r}")
    return HELD[key]


def config(text: str = TEAM, **spec: Any) -> Obj:
    obj: Obj = yaml.load(text, "config.yaml")
    obj["spec"] |= spec
    return obj


def written(*objects: Obj) -> str:
    found = merged(yaml.load(ROUTES, "a.yml"), objects, secret)
    assert found.problems == {}
    return yaml.dump(found.written)


def test_alerts_of_its_namespace_go_to_its_receivers_and_on_to_the_others() -> None:
    async def tell(world: World) -> None:
        await world.fire("Down", namespace="shop", severity="page")
        await world.fire("Down", namespace="pay", severity="page")
        await world.fire("Slow", namespace="shop", severity="info")
        await world.until(30)

    sent = story(tell, text=written(config())).sent
    assert [(receiver, names) for _, receiver, _, names in sent if receiver == "oncall"] == [("oncall", ["Down/"])]
    assert [at for at, receiver, _, _ in sent if receiver == "oncall"] == [5.0]
    others = sorted((receiver, names) for _, receiver, _, names in sent if receiver != "oncall")
    assert others == [("pager", ["Down/", "Down/"]), ("team", ["Slow/"])], "the file's own routes hold for all of them"


def test_names_secrets_and_times_become_what_the_file_would_say() -> None:
    found = merged(DEFAULT, [config()], secret).written
    hook, chat, mail = found["receivers"][1:]
    assert hook == {"name": "shop/oncall/hook", "webhook_configs": [{"url": HELD["url"], "send_resolved": False}]}
    assert chat["slack_configs"] == [{"api_url": HELD["slack"], "channel": "#shop", "title_link": "http://x",
                                      "fields": [{"title": "Team", "value": "shop", "short": True}]}]
    (settings,) = mail["email_configs"]
    assert settings["auth_password"] == HELD["url"] and settings["headers"] == {"Subject": "Down"}
    assert settings["require_tls"] is False
    assert found["time_intervals"] == [{"name": "shop/oncall/nights", "time_intervals": [
        {"times": [{"start_time": "22:00", "end_time": "24:00"}], "days_of_month": ["1:-1"], "weekdays": ["monday:friday"]}]}]
    (route,) = found["route"]["routes"]
    assert (route["matchers"], route["continue"]) == (['namespace="shop"', 'severity=~"page|ticket"'], True)
    assert route["routes"][0]["mute_time_intervals"] == ["shop/oncall/nights"]


def test_its_inhibition_holds_within_its_namespace() -> None:
    async def tell(world: World) -> None:
        for namespace in ("shop", "pay"):
            await world.fire("Gone", namespace=namespace, severity="page", app="a")
            await world.fire("Late", namespace=namespace, severity="ticket", app="a")
        await world.until(30)

    sent = story(tell, text=written(config())).sent
    assert not [names for _, receiver, _, names in sent if receiver == "chat"]
    assert [names for _, receiver, _, names in sent if "Late/a" in names] == [["Late/a"]], "that of pay, by the file's route"


@pytest.mark.parametrize(("change", "mistake"), [
    ({"receivers": [{"name": "hook", "pushoverConfigs": [{}]}]}, "spec.receivers[0].pushover_configs: not supported; known"),
    ({"receivers": [{"name": "other", "webhookConfigs": [{"url": "http://x"}]}]},
     'undefined receiver "shop/oncall/hook" used in route'),
    ({"receivers": [{"name": "hook", "webhookConfigs": [{"urlSecret": {"name": "hooks", "key": "gone"}}]}], "route": None},
     "secret 'hooks' has no key 'gone'"),
    ({"route": {"receiver": "hook", "matchers": [{"name": "a", "value": "(", "matchType": "=~"}]}}, "a=~'('"),
    ({"route": {"receiver": "hook", "groupWait": "soon"}}, 'spec.route.group_wait: not a valid duration string: "soon"'),
])  # fmt: skip
def test_one_that_cannot_be_used_is_left_out_and_the_others_hold(change: Obj, mistake: str) -> None:
    good = config(TEAM.replace("name: oncall", "name: zebra"))
    found = merged(DEFAULT, [config(**change), good], secret)
    ((key, why),) = found.problems.items()
    assert (str(key), mistake in why) == ("shop/oncall", True), why
    assert [one["receiver"] for one in found.written["route"]["routes"]] == ["shop/zebra/hook"]


async def until(ready: Callable[[], bool]) -> None:
    while True:
        if ready():
            return
        await asyncio.sleep(0.02)


def test_an_alert_reaches_the_receiver_that_an_object_names(tmp_path: Path) -> None:
    """Objects in the API, a Secret that comes late, and a real receiver over HTTP."""
    heard: asyncio.Queue[Obj] = asyncio.Queue()

    async def receive(request: web.Request) -> web.Response:
        await heard.put(await request.json())
        return web.Response()

    async def main() -> None:
        app = web.Application()
        app.add_routes([web.post("/oncall", receive)])
        runner = web.AppRunner(app)
        await runner.setup()
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            await web.SockSite(runner, listening).start()
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/oncall"
            clock = WallClock()
            api = EmbeddedApi.in_memory(clock)
            await api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
            informers = Informers(api)
            alerting = Alerting(clock, Outbox([]), configuration=tmp_path / "none.yml", file=tmp_path / "state.json", url="",
                                objects=ConfigObjects(informers, clock))
            task = asyncio.create_task(alerting.run())
            hook = {"name": "hook", "webhookConfigs": [{"urlSecret": {"name": "hooks", "key": "url"}}]}
            await api.create(config(receivers=[hook], route={"receiver": "hook", "groupWait": "0s"}))
            async with asyncio.timeout(20):
                while True:
                    if events := (await api.list(CORE_EVENTS, "shop")).items:
                        break
                    await asyncio.sleep(0.02)
                assert events[0]["reason"] == "InvalidConfiguration" and "'hooks' does not exist" in events[0]["message"]
                await api.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hooks", "namespace": "shop"},
                                  "data": {"url": base64.b64encode(url.encode()).decode()}})
                await until(lambda: "shop/oncall/hook" in alerting.manager.config.receivers)
                await alerting.take([{"labels": {"alertname": "Down", "namespace": "shop"}, "startsAt": "2026-01-01T00:00:00Z",
                                      "endsAt": "2126-01-01T00:00:00Z"}])
                assert [one["labels"]["alertname"] for one in (await heard.get())["alerts"]] == ["Down"]
                assert url not in json.dumps(alerting.manager.config.original), "nobody is shown what a Secret holds"
                await api.patch(ALERTMANAGER_CONFIGS, "oncall", "shop", MergePatch({"spec": {"receivers": [
                    {"name": "hook", "webhookConfigs": [{"url": "http://127.0.0.1:1/"}]}]}}))
                receiver = lambda: alerting.manager.config.receivers["shop/oncall/hook"]  # noqa: E731
                await until(lambda: receiver().integrations[0].settings["url"] != url)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await informers.close()
            await runner.cleanup()

    asyncio.run(main())
