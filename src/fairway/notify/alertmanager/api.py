"""`/api/v2`: what amtool, Grafana and Karma ask an Alertmanager."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from aiohttp import web

from fairway import __version__
from fairway.kube.clock import Clock
from fairway.notify.alertmanager.alert import Alert, BadAlert
from fairway.notify.alertmanager.controller import Alertmanager
from fairway.notify.alertmanager.matchers import BadMatcher, Matcher, all_match, parse_matchers
from fairway.notify.alertmanager.routing import routes_of
from fairway.notify.alertmanager.silences import BadSilence, decode_silence, stamp

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes(manager: Alertmanager, clock: Clock) -> list[web.RouteDef]:
    api = _Api(manager, clock)
    return [
        web.get("/api/v2/status", _answering(api.status)), web.get("/api/v2/receivers", _answering(api.receivers)),
        web.get("/api/v2/alerts", _answering(api.alerts)), web.post("/api/v2/alerts", _answering(api.post_alerts)),
        web.get("/api/v2/alerts/groups", _answering(api.groups)), web.get("/api/v2/silences", _answering(api.silences)),
        web.post("/api/v2/silences", _answering(api.post_silence)),
        web.get("/api/v2/silence/{id}", _answering(api.silence)),
        web.delete("/api/v2/silence/{id}", _answering(api.expire)),
    ]  # fmt: skip


def _answering(answer: Callable[[web.Request], Awaitable[Any]]) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return _json(200, await answer(request))
        except (BadAlert, BadSilence, BadMatcher, msgspec.DecodeError) as error:
            return _json(400, str(error))
        except LookupError:
            return web.Response(status=404)

    return handle


def _json(status: int, body: Any) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")


def _filters(request: web.Request) -> list[Matcher]:
    return [matcher for text in request.query.getall("filter", []) for matcher in parse_matchers(text)]


def _flag(request: web.Request, name: str) -> bool:
    return request.query.get(name, "true").lower() != "false"


class _Api:
    def __init__(self, manager: Alertmanager, clock: Clock) -> None:
        self._manager = manager
        self._clock = clock

    async def status(self, _: web.Request) -> dict[str, Any]:
        return {
            "cluster": {"status": "disabled", "peers": []}, "config": {"original": self._manager.config.original},
            "uptime": stamp(self._manager.started),
            "versionInfo": {"version": "0.28.0", "revision": f"fairway-{__version__}", "branch": "", "buildUser": "",
                            "buildDate": "", "goVersion": ""},
        }  # fmt: skip

    async def receivers(self, _: web.Request) -> list[dict[str, str]]:
        return [{"name": name} for name in self._manager.config.receivers]

    async def alerts(self, request: web.Request) -> list[dict[str, Any]]:
        now, matchers = self._clock.now(), _filters(request)
        found = [self._alert(alert) for alert in self._manager.alerts.values()
                 if not alert.resolved(now) and all_match(matchers, dict(alert.labels))]  # fmt: skip
        return sorted((one for one in found if _wanted(request, one)), key=lambda one: one["fingerprint"])

    async def post_alerts(self, request: web.Request) -> dict[str, Any]:
        written = msgspec.json.decode(await request.read())
        if not isinstance(written, list):
            raise BadAlert("a list of alerts is needed")
        await self._manager.post(written)
        return {}

    async def groups(self, request: web.Request) -> list[dict[str, Any]]:
        now, matchers = self._clock.now(), _filters(request)
        found = []
        for group in sorted(self._manager.groups.values(), key=lambda group: group.key):
            alerts = [self._alert(self._manager.alerts.get(alert.fingerprint, alert)) for alert in group.alerts.values()
                      if not alert.resolved(now) and all_match(matchers, dict(alert.labels))]  # fmt: skip
            wanted = [one for one in alerts if _wanted(request, one)]
            if wanted:
                found.append({"labels": dict(group.labels), "receiver": {"name": group.route.receiver}, "alerts": wanted})
        return found

    async def silences(self, request: web.Request) -> list[dict[str, Any]]:
        now, matchers = self._clock.now(), _filters(request)
        order = {"active": 0, "pending": 1, "expired": 2}
        found = [silence for silence in self._manager.silences.values() if _same_matchers(matchers, silence.matchers)]
        found.sort(key=lambda silence: (order[silence.state(now)], silence.ends_at))
        return [silence.as_json(now) for silence in found]

    async def post_silence(self, request: web.Request) -> dict[str, str]:
        """A silence with the id of one that has not ended changes it; else it is a new one."""
        now = self._clock.now()
        written = msgspec.json.decode(await request.read())
        given = str(written.get("id") or "") if isinstance(written, dict) else ""
        known = self._manager.silences.get(given)
        if given and known is None:
            raise LookupError(given)
        keeps = known is not None and known.state(now) != "expired"
        silence = decode_silence(written, given if keeps else str(uuid.uuid4()), now)
        self._manager.set_silence(silence)
        return {"silenceID": silence.id}

    async def silence(self, request: web.Request) -> dict[str, Any]:
        return self._manager.silences[request.match_info["id"]].as_json(self._clock.now())

    async def expire(self, request: web.Request) -> dict[str, Any]:
        now = self._clock.now()
        silence = self._manager.silences[request.match_info["id"]]
        if silence.state(now) == "expired":
            raise BadSilence(f"silence {silence.id} already expired")
        self._manager.set_silence(silence.expired(now))
        return {}

    def _alert(self, alert: Alert) -> dict[str, Any]:
        silenced, inhibited = self._manager.silencers(alert), self._manager.inhibitors(alert)
        receivers = list(dict.fromkeys(route.receiver for route in routes_of(self._manager.config.route, dict(alert.labels))))
        return {
            "labels": dict(alert.labels), "annotations": dict(alert.annotations), "fingerprint": alert.fingerprint,
            "startsAt": stamp(alert.starts_at), "endsAt": stamp(alert.ends_at), "updatedAt": stamp(alert.updated_at),
            "generatorURL": alert.generator_url, "receivers": [{"name": name} for name in receivers],
            "status": {"state": "suppressed" if silenced or inhibited else "active", "silencedBy": silenced,
                       "inhibitedBy": inhibited, "mutedBy": []},
        }  # fmt: skip


def _wanted(request: web.Request, alert: dict[str, Any]) -> bool:
    status = alert["status"]
    if not _flag(request, "silenced") and status["silencedBy"]:
        return False
    if not _flag(request, "inhibited") and status["inhibitedBy"]:
        return False
    if not _flag(request, "active") and status["state"] == "active":
        return False
    receiver = request.query.get("receiver", "")
    return not receiver or any(one["name"] == receiver for one in alert["receivers"])


def _same_matchers(wanted: Sequence[Matcher], own: Sequence[Matcher]) -> bool:
    """A filter finds silences whose matchers name the label with such a value."""
    labels = {matcher.name: matcher.value for matcher in own}
    return all(matcher.matches(labels) for matcher in wanted)
