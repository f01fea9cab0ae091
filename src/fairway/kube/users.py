"""Who asks: a name and groups, as a request proves them or an access review supposes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

MASTERS = "system:masters"
AUTHENTICATED, UNAUTHENTICATED = "system:authenticated", "system:unauthenticated"
SERVICE_ACCOUNTS = "system:serviceaccounts"
ACCOUNT_PREFIX = "system:serviceaccount:"


@dataclass(frozen=True, slots=True)
class User:
    """`extra` is what the way of proving adds, such as the pod that a token is bound to."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    @property
    def unrestricted(self) -> bool:
        return MASTERS in self.groups

    def info(self) -> dict[str, Any]:
        """`UserInfo` of reviews."""
        found: dict[str, Any] = {"username": self.name}
        if self.uid:
            found["uid"] = self.uid
        found["groups"] = list(self.groups)
        if self.extra:
            found["extra"] = {name: list(values) for name, values in sorted(self.extra.items())}
        return found


ADMIN = User("admin", (MASTERS, AUTHENTICATED))
ANONYMOUS = User("system:anonymous", (UNAUTHENTICATED,))


def known(user: User) -> User:
    """`user` as one who has proved it: everybody who has is in the group of all who have."""
    return user if AUTHENTICATED in user.groups else replace(user, groups=(*user.groups, AUTHENTICATED))


def account_user(namespace: str, name: str, uid: str = "", extra: Mapping[str, Iterable[str]] | None = None) -> User:
    """The user that a ServiceAccount is."""
    groups = (SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{namespace}", AUTHENTICATED)
    given = {key: tuple(values) for key, values in (extra or {}).items()}
    return User(f"{ACCOUNT_PREFIX}{namespace}:{name}", groups, uid, given)
