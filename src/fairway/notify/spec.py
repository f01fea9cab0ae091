"""Who hears of what: the configuration of notifications, decoded strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Trigger = Literal[
    "release-promoted", "release-rolled-back", "release-failed", "rollout-aborted", "app-degraded", "app-synced",
    "app-sync-failed", "pipeline-failed", "alert-firing", "alert-resolved",
]  # fmt: skip
TRIGGERS: tuple[Trigger, ...] = get_args(Trigger)
BAD_NEWS: frozenset[Trigger] = frozenset(TRIGGERS) - {"release-promoted", "app-synced", "alert-resolved"}


@dataclass(frozen=True, slots=True)
class Webhook:
    """`url` is a secret: it is never printed. `triggers` are those that this webhook hears of."""

    name: str
    url: str
    triggers: frozenset[Trigger] = frozenset(TRIGGERS)
    headers: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"Webhook({self.name!r})"


class NotifyMistake(ValueError):
    """The configuration cannot be used; the message names the path of the mistake."""


def decode_webhooks(written: object, path: str = "webhooks") -> tuple[Webhook, ...]:
    """`[{name, url, triggers?, headers?}]` as YAML gave it."""
    if not isinstance(written, list):
        raise NotifyMistake(f"{path}: a list is needed")
    found = tuple(_webhook(one, f"{path}[{i}]") for i, one in enumerate(written))
    names = [webhook.name for webhook in found]
    for name in names:
        if names.count(name) > 1:
            raise NotifyMistake(f"{path}: two webhooks are called {name!r}")
    return found


def _webhook(written: object, path: str) -> Webhook:
    if not isinstance(written, Mapping):
        raise NotifyMistake(f"{path}: a mapping is needed")
    for field in written:
        if field not in ("name", "url", "triggers", "headers"):
            raise NotifyMistake(f"{path}.{field}: unknown field; known are headers, name, triggers, url")
    url = _text(written, "url", path)
    if not url.startswith(("http://", "https://")):
        raise NotifyMistake(f"{path}.url: an http:// or https:// URL is needed")
    headers = written.get("headers") or {}
    if not isinstance(headers, Mapping) or not all(isinstance(v, str) for v in headers.values()):
        raise NotifyMistake(f"{path}.headers: a mapping of texts is needed")
    return Webhook(_text(written, "name", path), url, _triggers(written.get("triggers"), f"{path}.triggers"),
                   tuple(sorted((str(name), value) for name, value in headers.items())))  # fmt: skip


def _text(written: Mapping[Any, Any], field: str, path: str) -> str:
    value = written.get(field)
    if not isinstance(value, str) or not value.strip():
        raise NotifyMistake(f"{path}.{field}: a text is needed")
    return value


def _triggers(written: object, path: str) -> frozenset[Trigger]:
    if written is None:
        return frozenset(TRIGGERS)
    if not isinstance(written, list):
        raise NotifyMistake(f"{path}: a list is needed")
    wanted = {name for name in TRIGGERS if name in written}
    for name in written:
        if name not in TRIGGERS:
            raise NotifyMistake(f"{path}: unknown trigger {name!r}; known are {', '.join(TRIGGERS)}")
    return frozenset(wanted)


Addresses = tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
"""(address, headers) of servers elsewhere; the headers are secrets."""


def decode_alertmanagers(written: object, path: str = "alertmanagers") -> Addresses:
    """`[{url, headers?}]`: real Alertmanagers that get the alerts instead of the one here."""
    if not isinstance(written, list):
        raise NotifyMistake(f"{path}: a list is needed")
    found = []
    for i, one in enumerate(written):
        webhook = _webhook({"name": "alertmanager", **one} if isinstance(one, Mapping) else one, f"{path}[{i}]")
        found.append((webhook.url, webhook.headers))
    return tuple(found)
