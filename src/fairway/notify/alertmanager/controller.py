"""The Alertmanager's hands: takes alerts, looks at groups when they are due, sends, and remembers.

Silences and what was told are written to one file whenever they change, so that a restart tells nobody twice and wakes
nobody whom a person has silenced. Alerts themselves are not: whoever watches them posts them again within a minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import smtplib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from fairway.kube.clock import Clock
from fairway.kube.objects import parse_time
from fairway.notify.alertmanager.alert import Alert, BadAlert, decode_alert, merged
from fairway.notify.alertmanager.decide import AlertGroup, Told, joined, looked_at, notice
from fairway.notify.alertmanager.intervals import any_holds
from fairway.notify.alertmanager.receivers import Mail, News, Request, message
from fairway.notify.alertmanager.routing import group_labels, inhibited_by, routes_of
from fairway.notify.alertmanager.silences import KEPT, Silence, decode_silence, silencing, stamp
from fairway.notify.alertmanager.spec import Config, Integration

log = logging.getLogger("fairway.notify.alerts")

BEAT_S = 1.0
TIMEOUT_S = 10.0
_FORGET_TOLD = timedelta(days=5)

Send = Callable[[Request | Mail], Awaitable[None]]
"""Delivers one message. Raises `SendFailed`."""
TellHere = Callable[[News], None]
"""Takes a message for the notifications of this installation."""


class SendFailed(Exception):
    """Not delivered; the message names no secret."""


class Alertmanager:
    """`file` is where silences and the record are kept; None keeps none."""

    def __init__(
        self, config: Config, clock: Clock, *, send: Send, tell_here: TellHere, file: Path | None = None, url: str = "",
        library: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.config = config
        self.started = clock.now()
        self._clock = clock
        self._send = send
        self._tell_here = tell_here
        self._file = file
        self._url = url
        self._library = tuple(library)
        self.alerts: dict[str, Alert] = {}
        self.silences: dict[str, Silence] = {}
        self.groups: dict[str, AlertGroup] = {}
        self._told: dict[str, Told] = {}
        self._load()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.tick()
            await asyncio.sleep(BEAT_S - self._clock.now().timestamp() % BEAT_S)

    # --- alerts come in -------------------------------------------------------------------------------------------------

    async def post(self, written: Sequence[Mapping[str, Any]]) -> None:
        """Alerts as `POST /api/v2/alerts` takes them. Raises `BadAlert`; those that are good are taken nevertheless."""
        now = self._clock.now()
        mistakes: list[str] = []
        for one in written:
            try:
                self._take(decode_alert(one, now, self.config.resolve_timeout), now)
            except BadAlert as bad:
                mistakes.append(str(bad))
        if mistakes:
            raise BadAlert("; ".join(mistakes))

    def _take(self, new: Alert, now: datetime) -> None:
        alert = merged(self.alerts.get(new.fingerprint), new, now)
        self.alerts[alert.fingerprint] = alert
        for route in routes_of(self.config.route, dict(alert.labels)):
            group = AlertGroup(route, group_labels(route, alert))
            known = self.groups.get(group.key)
            if known is None and alert.resolved(now):
                continue  # it ended before anybody heard of it
            self.groups[group.key] = joined(known or group, alert, now)

    def reconfigure(self, config: Config, library: Sequence[str]) -> None:
        """Go on with another configuration: alerts find their routes anew, and what was told still counts."""
        self.config, self._library = config, tuple(library)
        self.groups.clear()
        now = self._clock.now()
        for alert in list(self.alerts.values()):
            self._take(alert, now)

    # --- groups are looked at -------------------------------------------------------------------------------------------

    async def tick(self) -> None:
        """Look at every group that is due."""
        now = self._clock.now()
        for key, group in list(self.groups.items()):
            if group.next_look is not None and group.next_look <= now:
                delivered = await self._look(group, now)
                after = looked_at(self.groups.get(key, group), delivered, now)
                if after is None:
                    del self.groups[key]
                else:
                    self.groups[key] = after
        for fingerprint, alert in list(self.alerts.items()):
            if alert.ends_at + self.config.resolve_timeout < now:
                del self.alerts[fingerprint]

    async def _look(self, group: AlertGroup, now: datetime) -> bool:
        """Tell of a group what is new; whether everything that had to be told was."""
        if self._muted(group, now):
            return False
        alerts = [alert for alert in group.alerts.values() if not self.inhibitors(alert) and not self.silencers(alert)]
        if not alerts:
            return all(alert.resolved(now) for alert in group.alerts.values())
        receiver = self.config.receivers[group.route.receiver]
        outcomes = [await self._tell(group, integration, f"{receiver.name}/{integration.kind}/{i}", alerts, now)
                    for i, integration in enumerate(receiver.integrations)]  # fmt: skip
        return all(outcomes)

    def _muted(self, group: AlertGroup, now: datetime) -> bool:
        intervals = self.config.intervals
        if any(any_holds(intervals[name], now) for name in group.route.mute):
            return True
        return bool(group.route.active) and not any(any_holds(intervals[name], now) for name in group.route.active)

    async def _tell(self, group: AlertGroup, integration: Integration, place: str, alerts: list[Alert], now: datetime) -> bool:
        record = f"{group.key}:{place}"
        found = notice(alerts, self._told.get(record), repeat=group.route.repeat, send_resolved=integration.send_resolved,
                       now=now)  # fmt: skip
        if found is None:
            return True
        if not found.silent:
            news = News(group.route.receiver, group.key, group.labels, found.alerts, now, self._url, self._library)
            try:
                await self._deliver(integration, news)
            except SendFailed as failed:
                log.warning("receiver %s did not take %s, trying again: %s", place, news.title, failed)
                return False
        self._told[record] = found.told
        self.save()
        return True

    async def _deliver(self, integration: Integration, news: News) -> None:
        if integration.kind == "fairway":
            self._tell_here(news)
            return
        try:
            built = message(_with_files(integration), news)
        except (KeyError, ValueError, OSError) as error:
            raise SendFailed(f"its settings do not do: {type(error).__name__} {error}") from None
        await self._send(built)

    # --- who keeps an alert quiet ---------------------------------------------------------------------------------------

    def inhibitors(self, alert: Alert) -> list[str]:
        now = self._clock.now()
        return inhibited_by(alert, (a for a in self.alerts.values() if not a.resolved(now)), self.config.inhibitions)

    def silencers(self, alert: Alert) -> list[str]:
        return silencing(self.silences.values(), dict(alert.labels), self._clock.now())

    # --- silences, and what is kept -------------------------------------------------------------------------------------

    def set_silence(self, silence: Silence) -> None:
        self.silences[silence.id] = silence
        self.save()

    def save(self) -> None:
        """Write silences and the record, replacing the file at once."""
        if self._file is None:
            return
        now = self._clock.now()
        kept = {id: silence.as_json(now) for id, silence in self.silences.items() if silence.ends_at + KEPT > now}
        told = {key: {"firing": sorted(t.firing), "resolved": sorted(t.resolved), "at": stamp(t.at)}
                for key, t in self._told.items() if t.at + _FORGET_TOLD > now}  # fmt: skip
        part = self._file.with_suffix(".part")
        with part.open("w") as file:
            json.dump({"silences": kept, "told": told}, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._file)

    def _load(self) -> None:
        if self._file is None or not self._file.exists():
            return
        now = self._clock.now()
        try:
            written = json.loads(self._file.read_text())
            self.silences = {id: decode_silence(one, id, now, stored=True) for id, one in written["silences"].items()}
            self._told = {
                key: Told(frozenset(one["firing"]), frozenset(one["resolved"]), parse_time(one["at"]))
                for key, one in written["told"].items()
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s cannot be read, silences and the record of what was told begin anew: %s", self._file, error)
            with contextlib.suppress(OSError):
                self._file.replace(self._file.with_suffix(".unreadable"))


def _with_files(integration: Integration) -> Integration:
    """Settings whose secret stands in a file (`url_file`), read at each message so that a new one is used at once."""
    settings = dict(integration.settings)
    for name, path in integration.settings.items():
        if name.endswith("_file") and path and not settings.get(name.removesuffix("_file")):
            settings[name.removesuffix("_file")] = Path(str(path)).read_text().strip()
    return replace(integration, settings=settings)


class Sender:
    """`Send` over HTTP and SMTP."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, built: Request | Mail) -> None:
        if isinstance(built, Mail):
            await asyncio.to_thread(_mail, built)
        else:
            await self._post(built.url, built.body, dict(built.headers))

    async def post_list(self, url: str, body: Sequence[Mapping[str, Any]], headers: Mapping[str, str]) -> None:
        await self._post(url, list(body), headers)

    async def _post(self, url: str, body: Any, headers: Mapping[str, str]) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        try:
            async with self._session.post(url, json=body, headers=headers) as answer:
                status = answer.status
        except TimeoutError:
            raise SendFailed(f"no answer within {TIMEOUT_S:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise SendFailed(f"it cannot be reached ({type(error).__name__})") from None  # its text would name the URL
        if status >= 300:
            raise SendFailed(f"it answered {status}")

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def _mail(mail: Mail) -> None:
    host, _, port = mail.host.rpartition(":")
    try:
        client = smtplib.SMTP_SSL if port == "465" else smtplib.SMTP
        with client(host, int(port), timeout=TIMEOUT_S) as server:
            if mail.tls and port != "465":
                server.starttls()
            if mail.login[0]:
                server.login(*mail.login)
            server.send_message(mail.message)
    except (OSError, smtplib.SMTPException, ValueError) as error:
        raise SendFailed(f"mail server {mail.host}: {type(error).__name__}") from None


class RemoteAlertmanagers:
    """Posts alerts to Alertmanagers elsewhere; one that does not answer is told again with the next round."""

    def __init__(self, addresses: Iterable[tuple[str, Mapping[str, str]]]) -> None:
        self._addresses = tuple(addresses)
        self._sender = Sender()

    async def post(self, alerts: Sequence[Mapping[str, Any]]) -> None:
        for address, headers in self._addresses:
            try:
                await self._sender.post_list(f"{address.rstrip('/')}/api/v2/alerts", alerts, headers)
            except SendFailed as failed:
                log.warning("Alertmanager %s did not take %d alerts: %s", address, len(alerts), failed)
