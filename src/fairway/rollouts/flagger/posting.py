"""The way out: webhooks and alerts are POSTs of JSON. A rehearsal puts a script in this place."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

import aiohttp

LONGEST_ANSWER = 300
"""Characters of a refusal that are shown: a page of HTML says no more than its beginning."""


class Post(Protocol):
    """"" where the other side answered 202 or less, else what went wrong. Never raises. `name` and `kind` are the webhook's."""

    async def __call__(self, url: str, body: str, *, timeout: timedelta, insecure: bool = False, name: str = "",
                       kind: str = "") -> str: ...


async def http_post(url: str, body: str, *, timeout: timedelta, insecure: bool = False, name: str = "",
                    kind: str = "") -> str:
    """The address may be a secret (a chat's webhook): no message repeats it."""
    limit = aiohttp.ClientTimeout(total=timeout.total_seconds())
    try:
        async with aiohttp.ClientSession(timeout=limit) as session, session.post(
                url, data=body, headers={"Content-Type": "application/json"}, ssl=not insecure) as response:
            if response.status <= 202:
                return ""
            text = (await response.text(errors="replace")).strip()
            return text[:LONGEST_ANSWER] or f"it answered {response.status}"
    except TimeoutError:
        return f"no answer within {timeout.total_seconds():g} s"
    except aiohttp.ClientConnectorError as error:
        return f"no connection: {error.os_error.strerror or 'the host is not known'}"
    except (aiohttp.ClientError, ValueError) as error:
        return type(error).__name__
