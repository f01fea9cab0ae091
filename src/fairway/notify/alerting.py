"""Alerts, put together: the Alertmanager here, or those elsewhere, and the notifications that hear of alerts."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from fairway.kube.cache import Informers
from fairway.kube.clock import Clock
from fairway.kube.events import EventRecorder
from fairway.kube.objects import Key, Obj, key_of, meta_of
from fairway.kube.resources import ALERTMANAGER_CONFIGS, SECRETS
from fairway.manifests import yaml
from fairway.manifests.errors import ManifestError
from fairway.notify.alertmanager import api
from fairway.notify.alertmanager.alert import BadAlert
from fairway.notify.alertmanager.controller import Alertmanager, RemoteAlertmanagers, Sender
from fairway.notify.alertmanager.objects import DEFAULT, merged
from fairway.notify.alertmanager.receivers import News
from fairway.notify.alertmanager.spec import AlertmanagerMistake, Config, decode_config
from fairway.notify.controller import Outbox
from fairway.notify.decide import Message
from fairway.notify.spec import Addresses, NotifyMistake

log = logging.getLogger("fairway.notify.alerts")

LOOK_EVERY_S = 5.0

Alerts = Sequence[Mapping[str, Any]]


class ConfigObjects:
    """AlertmanagerConfigs and the Secrets that they refer to, as they are now."""

    def __init__(self, informers: Informers, clock: Clock) -> None:
        self._configs, self._secrets = informers.of(ALERTMANAGER_CONFIGS), informers.of(SECRETS)
        self._events = EventRecorder(informers.api, clock, "fairway-alerting")
        self.changed = asyncio.Event()
        for cache in (self._configs, self._secrets):
            cache.on_change(lambda old, new: self.changed.set())

    def all(self) -> Sequence[Obj]:
        return self._configs.list()

    @property
    def version(self) -> tuple[str, ...]:
        """Another one after each change that may matter."""
        places = {key_of(obj).namespace for obj in self.all()}
        read = [*self.all(), *(secret for place in sorted(places) for secret in self._secrets.list(place))]
        return tuple(sorted(f"{meta_of(obj).get('uid')}/{meta_of(obj).get('resourceVersion')}" for obj in read))

    def secret(self, namespace: str, name: str, key: str) -> str:
        """KeyError where it is not there."""
        found = self._secrets.get(Key(namespace, name))
        if found is None:
            raise KeyError(f"secret {name!r} does not exist in namespace {namespace!r}")
        if key not in (found.get("data") or {}):
            raise KeyError(f"secret {name!r} has no key {key!r}")
        return base64.b64decode(found["data"][key]).decode()

    async def refuse(self, key: Key, why: str) -> None:
        if (obj := self._configs.get(key)) is not None:
            await self._events.event(obj, "Warning", "InvalidConfiguration", why)


class Alerting:
    """`take` gets alerts in the form of `POST /api/v2/alerts`."""

    def __init__(
        self, clock: Clock, outbox: Outbox, *, configuration: Path, file: Path, url: str, elsewhere: Addresses = (),
        objects: ConfigObjects | None = None,
    ) -> None:  # fmt: skip
        self._configuration = configuration
        self._objects = objects
        self._base, self._library = _written(configuration)
        self._read_at, self._seen = _changed_at(configuration), tuple[str, ...]()
        self._sender = Sender()
        self._clock = clock
        self._outbox = outbox
        self.manager = Alertmanager(_decoded(self._base), clock, send=self._sender, tell_here=self._tell, file=file, url=url,
                                    library=self._library)
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
        """Read the configuration again when its file or an object changes; a file that cannot be read changes nothing."""
        while True:
            now = self._objects.version if self._objects is not None else ()
            if (changed := _changed_at(self._configuration)) != self._read_at:
                self._read_at = changed
                try:
                    self._base, self._library = _written(self._configuration)
                    log.info("%s was read again", self._configuration)
                    await self._reconfigure()
                except NotifyMistake as mistake:
                    log.error("%s; the configuration before goes on", mistake)
            elif now != self._seen:
                await self._reconfigure()
            self._seen = now
            await self._change()

    async def _change(self) -> None:
        """Until an object changes, or it is time to look at the file."""
        if self._objects is None:
            await asyncio.sleep(LOOK_EVERY_S)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S):
                await self._objects.changed.wait()
        self._objects.changed.clear()

    async def _reconfigure(self) -> None:
        """The file with the objects below it."""
        if self._objects is None:
            self.manager.reconfigure(_decoded(self._base), self._library)
            return
        found = merged(self._base, self._objects.all(), self._objects.secret)
        self.manager.reconfigure(_decoded(found.written), self._library)
        for key, why in found.problems.items():
            log.warning("AlertmanagerConfig %s is left out: %s", key, why)
            await self._objects.refuse(key, why)

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


def _written(path: Path) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """(configuration, texts of its template files). Raises `NotifyMistake`; without a file there is a default."""
    if not path.is_file():
        return DEFAULT, ()
    try:
        written = yaml.load(path.read_text(), str(path))
        config = decode_config(written)
        return written, tuple(file.read_text() for pattern in config.templates for file in sorted(path.parent.glob(pattern)))
    except ManifestError as error:
        raise NotifyMistake(str(error)) from None
    except (AlertmanagerMistake, UnicodeDecodeError, OSError) as error:
        raise NotifyMistake(f"{path}: {error}") from None


def _decoded(written: Mapping[str, Any]) -> Config:
    return decode_config(written, yaml.dump(_without_secrets(written)))


_SECRET = ("url", "key", "token", "password", "credentials", "secret")


def _without_secrets(written: Any) -> Any:
    """The configuration as a status page may show it: values whose names say that they are secret are hidden."""
    if isinstance(written, Mapping):
        return {name: "<secret>" if isinstance(value, str) and any(part in str(name).lower() for part in _SECRET)
                else _without_secrets(value) for name, value in written.items()}  # fmt: skip
    return [_without_secrets(one) for one in written] if isinstance(written, list) else written
