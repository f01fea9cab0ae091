"""Alerts, put together: the Alertmanager here, or those elsewhere, and the notifications that hear of alerts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from fairway.kube.clock import Clock
from fairway.manifests import yaml
from fairway.manifests.errors import ManifestError
from fairway.notify.alertmanager import api
from fairway.notify.alertmanager.alert import BadAlert
from fairway.notify.alertmanager.controller import Alertmanager, RemoteAlertmanagers, Sender
from fairway.notify.alertmanager.receivers import News
from fairway.notify.alertmanager.spec import AlertmanagerMistake, Config, decode_config, default_config
from fairway.notify.controller import Outbox
from fairway.notify.decide import Message
from fairway.notify.spec import Addresses, NotifyMistake

log = logging.getLogger("fairway.notify.alerts")

LOOK_EVERY_S = 5.0

Alerts = Sequence[Mapping[str, Any]]


class Alerting:
    """`take` gets alerts in the form of `POST /api/v2/alerts`."""

    def __init__(
        self, clock: Clock, outbox: Outbox, *, configuration: Path, file: Path, url: str, elsewhere: Addresses = (),
    ) -> None:  # fmt: skip
        config, library = _config(configuration)
        self._configuration = configuration
        self._read_at = _changed_at(configuration)
        self._sender = Sender()
        self._clock = clock
        self._outbox = outbox
        self.manager = Alertmanager(config, clock, send=self._sender, tell_here=self._tell, file=file, url=url, library=library)
        self._remote = RemoteAlertmanagers((address, dict(headers)) for address, headers in elsewhere) if elsewhere else None

    async def take(self, alerts: Alerts) -> None:
        post: Callable[[Alerts], Awaitable[None]] = self._remote.post if self._remote is not None else self.manager.post
        try:
            await post(alerts)
        except BadAlert as bad:  # our own alerts: a rule whose labels are no labels
            log.warning("an alert could not be taken: %s", bad)

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.manager.run())
                tasks.create_task(self._follow())
        finally:
            await self._sender.close()

    async def _follow(self) -> None:
        """Read the configuration again when it changes; one that cannot be read changes nothing."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if (changed := _changed_at(self._configuration)) == self._read_at:
                continue
            self._read_at = changed
            try:
                self.manager.reconfigure(*_config(self._configuration))
                log.info("%s was read again", self._configuration)
            except NotifyMistake as mistake:
                log.error("%s; the configuration before goes on", mistake)

    def routes(self) -> Iterable[web.RouteDef]:
        return api.routes(self.manager, self._clock)

    def _tell(self, news: News) -> None:
        trigger = "alert-firing" if news.firing else "alert-resolved"
        facts = [("Alerts", news.text)]
        name = dict(news.group_labels).get("alertname", "")
        identity = f"{news.group_key}/{news.now.timestamp():.0f}"
        self._outbox.put(Message(identity, trigger, "Alert", "", name, news.title, tuple(facts), news.now))  # type: ignore[arg-type]


def _changed_at(path: Path) -> int:
    """0 where there is no such file."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _config(path: Path) -> tuple[Config, tuple[str, ...]]:
    """(configuration, texts of its template files). Raises `NotifyMistake`; without a file there is a default."""
    if not path.is_file():
        return default_config(), ()
    text = path.read_text()
    try:
        written = yaml.load(text, str(path))
        config = decode_config(written, yaml.dump(_without_secrets(written)))
        library = tuple(file.read_text() for pattern in config.templates for file in sorted(path.parent.glob(pattern)))
    except ManifestError as error:
        raise NotifyMistake(str(error)) from None
    except (AlertmanagerMistake, UnicodeDecodeError, OSError) as error:
        raise NotifyMistake(f"{path}: {error}") from None
    return config, library


_SECRET = ("url", "key", "token", "password", "credentials", "secret")


def _without_secrets(written: Any) -> Any:
    """The configuration as a status page may show it: values whose names say that they are secret are hidden."""
    if isinstance(written, Mapping):
        return {name: "<secret>" if isinstance(value, str) and any(part in str(name).lower() for part in _SECRET)
                else _without_secrets(value) for name, value in written.items()}  # fmt: skip
    return [_without_secrets(one) for one in written] if isinstance(written, list) else written
