"""Where messages go: the console, or a webhook that understands Slack's `text`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import aiohttp

from fairway.notify.decide import Message
from fairway.notify.spec import TRIGGERS, Trigger, Webhook

_TIMEOUT_S = 10.0
_LONGEST_TEXT = 3000  # Slack cuts a section at 3 000 characters


class SinkFailed(Exception):
    """Not delivered. `again` says whether trying once more makes sense, `after_s` when at the earliest."""

    def __init__(self, message: str, *, again: bool, after_s: float = 0.0) -> None:
        super().__init__(message)
        self.again = again
        self.after_s = after_s


class Sink(Protocol):
    """A place where messages of some triggers go. `send` raises `SinkFailed`."""

    @property
    def name(self) -> str: ...

    @property
    def triggers(self) -> frozenset[Trigger]: ...

    async def send(self, message: Message) -> None: ...

    async def close(self) -> None: ...


Mask = Callable[[str], str]
"""Takes secrets out of a text."""


class ConsoleSink:
    """Every message as lines of text to `write`."""

    name = "console"
    triggers: frozenset[Trigger] = frozenset(TRIGGERS)

    def __init__(self, write: Callable[[str], None], mask: Mask = str) -> None:
        self._write = write
        self._mask = mask

    async def send(self, message: Message) -> None:
        self._write(self._mask(message.text))

    async def close(self) -> None:
        return None


class WebhookSink:
    """POSTs JSON: `text` for chats, `event` for programs. The URL is a secret and in no message of ours."""

    def __init__(self, webhook: Webhook, mask: Mask = str) -> None:
        self._webhook = webhook
        self._mask = mask
        self._session: aiohttp.ClientSession | None = None

    @property
    def name(self) -> str:
        return f"webhook {self._webhook.name}"

    @property
    def triggers(self) -> frozenset[Trigger]:
        return self._webhook.triggers

    async def send(self, message: Message) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S))
        headers = {**dict(self._webhook.headers), "Idempotency-Key": message.id}
        try:
            async with self._session.post(self._webhook.url, json=self.body(message), headers=headers) as answer:
                status, after = answer.status, answer.headers.get("Retry-After", "")
        except TimeoutError:
            raise SinkFailed(f"no answer within {_TIMEOUT_S:g} s", again=True) from None
        except (aiohttp.ClientError, OSError) as error:
            # the error's own text would name the URL
            raise SinkFailed(f"it cannot be reached ({type(error).__name__})", again=True) from None
        if status >= 300:
            again = status >= 500 or status in (408, 425, 429)
            raise SinkFailed(f"it answered {status}", again=again, after_s=float(after) if after.isdecimal() else 0.0)

    def body(self, message: Message) -> dict[str, Any]:
        mask = self._mask
        return {
            "text": mask(message.text)[:_LONGEST_TEXT],
            "event": {
                "id": message.id, "trigger": message.trigger, "kind": message.kind, "namespace": message.namespace,
                "name": message.name, "title": mask(message.title), "at": message.at.isoformat() if message.at else None,
                "facts": {name: mask(value) for name, value in message.facts},
            },
        }  # fmt: skip

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()
