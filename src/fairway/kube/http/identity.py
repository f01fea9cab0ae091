"""Who asks: a bearer token, a client certificate of our own CA, or nobody."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairway.kube.errors import Forbidden, Unauthorized

OPEN_PATHS = frozenset({"/healthz", "/livez", "/readyz", "/version"})
"""What anybody may ask: whether the server lives, and what it is."""


@dataclass(frozen=True, slots=True)
class User:
    name: str
    groups: tuple[str, ...]


ADMIN = User("admin", ("system:masters", "system:authenticated"))
ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


def identify(authorization: str, certificate: Mapping[str, Any] | None, token: str) -> User:
    """The user behind a request; `Unauthorized` for credentials that are none.

    `certificate` is the peer's, already verified against our CA, as the `ssl` module tells it: its common name is the
    user, its organisations are the groups.
    """
    kind, _, given = authorization.partition(" ")
    if kind.lower() == "bearer":
        if token and hmac.compare_digest(given.strip().encode(), token.encode()):
            return ADMIN
        raise Unauthorized("Unauthorized")
    if certificate:
        return _of_certificate(certificate)
    return ANONYMOUS


def _of_certificate(certificate: Mapping[str, Any]) -> User:
    parts = [pair for names in certificate.get("subject", ()) for pair in names]
    name = next((value for key, value in parts if key == "commonName"), "")
    groups = tuple(value for key, value in parts if key == "organizationName")
    return User(name, (*groups, "system:authenticated"))


def authorize(user: User, method: str, path: str) -> None:
    """Whoever is known may do everything; nobody may look at whether the server lives."""
    if user is ANONYMOUS and path.rstrip("/") not in OPEN_PATHS:
        verb = method.lower()
        raise Forbidden(f'forbidden: User "{user.name}" cannot {verb} path "{path}"', details={})
