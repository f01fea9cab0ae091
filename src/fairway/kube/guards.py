"""Permission that depends on what an object says, beside RBAC. A port; who knows the objects stands behind it.

RBAC judges a request by its verb and its path, and what it allows is not asked about further. A request that it does not allow
may be allowed by a guard, which looks at the object: whose it is, and which of its fields a write changes. Such a request is
made through the guard from its beginning to its end: lists and watches show what the guard lets be seen, and a write is judged
with the object as it was and as it will be stored, at the moment that it is. An object that may not be seen is refused like
one that is not there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Protocol

from fairway.kube.api import WatchEvent
from fairway.kube.errors import Forbidden
from fairway.kube.objects import Obj, meta_of
from fairway.kube.rbac import Attributes
from fairway.kube.resources import Resource
from fairway.kube.users import User


class Guard(Protocol):
    def holder(self, token: str, now: datetime) -> User:
        """Whose token this is. Raises `Untrusted`."""
        ...

    def may_ask(self, user: User, asked: Attributes) -> bool:
        """Whether some object could be named so that this is allowed."""
        ...

    def may_see(self, user: User, obj: Obj) -> bool: ...

    def refusal(self, user: User, old: Obj | None, new: Obj | None) -> str:
        """Why this write is not allowed; "" where it is. `old` is None for a creation, `new` for a deletion."""
        ...


class Guarded:
    """One request that a guard allows, and RBAC does not."""

    def __init__(self, guard: Guard, user: User, resource: Resource) -> None:
        self._guard = guard
        self._user = user
        self._resource = resource

    def sees(self, obj: Obj) -> bool:
        return self._guard.may_see(self._user, obj)

    def check(self, old: Obj | None, new: Obj | None) -> None:
        """Raises `Forbidden`."""
        why = self._guard.refusal(self._user, old, new)
        if why:
            meta = meta_of(new or old or {})
            raise Forbidden(f'{self._resource.qualified} "{meta.get("name", "")}" is forbidden: {why}', details={
                "name": str(meta.get("name", "")), "group": self._resource.group, "kind": self._resource.plural})

    async def seen(self, events: AsyncIterator[WatchEvent]) -> AsyncIterator[WatchEvent]:
        try:
            async for event in events:
                if event.type == "BOOKMARK" or self.sees(event.object):
                    yield event
        finally:
            if (close := getattr(events, "aclose", None)) is not None:
                await close()
