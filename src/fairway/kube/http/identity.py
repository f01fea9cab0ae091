"""Who asks: a bearer token, a client certificate of our own CA, or nobody; and whom they speak for.

Tokens are the admin's, those of a token file, and those of service accounts. Wrong credentials are a 401; none are the user
`system:anonymous`, who may do what the group `system:unauthenticated` may.
"""

from __future__ import annotations

import csv
import hmac
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from multidict import CIMultiDictProxy

from fairway.kube.errors import Unauthorized
from fairway.kube.guards import Guard
from fairway.kube.rbac import Attributes
from fairway.kube.tokens import API_AUDIENCE, Tokens, Untrusted
from fairway.kube.users import ACCOUNT_PREFIX, ADMIN, ANONYMOUS, AUTHENTICATED, User, account_user, known

__all__ = ["ADMIN", "ANONYMOUS", "Authenticator", "User", "impersonated", "read_token_file"]

_EXTRA = "impersonate-extra-"


@dataclass(frozen=True, slots=True)
class Authenticator:
    """`token` is the admin's; `static` maps further tokens to users; `tokens` checks those of service accounts."""

    token: str
    now: Callable[[], datetime]
    tokens: Tokens | None = None
    static: Mapping[str, User] = field(default_factory=dict)
    guard: Guard | None = None
    """Knows tokens of another making."""

    def identify(self, authorization: str, certificate: Mapping[str, Any] | None) -> User:
        """The user behind a request; `Unauthorized` for credentials that are none.

        `certificate` is the peer's, already verified against our CA, as the `ssl` module tells it: its common name is the
        user, its organisations are the groups.
        """
        kind, _, given = authorization.partition(" ")
        if kind.lower() == "bearer":
            try:
                return self.holder(given.strip())[0]
            except Untrusted:
                raise Unauthorized("Unauthorized") from None
        return _of_certificate(certificate) if certificate else ANONYMOUS

    def holder(self, token: str, audiences: Sequence[str] = ()) -> tuple[User, list[str]]:
        """Whose token this is, and for which of `audiences` (none: the API's own); `Untrusted` for nobody's."""
        wanted = list(audiences) or [API_AUDIENCE]
        user = self._static(token)
        if user is not None:
            if API_AUDIENCE not in wanted:
                raise Untrusted("the token is for the API alone")
            return user, [API_AUDIENCE]
        try:
            if self.tokens is None:
                raise Untrusted("not a token")
            return self.tokens.check(token, self.now(), wanted)
        except Untrusted:
            if self.guard is None or API_AUDIENCE not in wanted:
                raise
            return known(self.guard.holder(token, self.now())), [API_AUDIENCE]

    def _static(self, token: str) -> User | None:
        if self.token and hmac.compare_digest(token.encode(), self.token.encode()):
            return ADMIN
        for known_token, user in self.static.items():
            if hmac.compare_digest(token.encode(), known_token.encode()):
                return known(user)
        return None


def _of_certificate(certificate: Mapping[str, Any]) -> User:
    parts = [pair for names in certificate.get("subject", ()) for pair in names]
    name = next((value for key, value in parts if key == "commonName"), "")
    return known(User(name, tuple(value for key, value in parts if key == "organizationName")))


def impersonated(headers: CIMultiDictProxy[str]) -> tuple[User, list[Attributes]] | None:
    """Whom a request speaks for, and what its sender must be allowed for that. None: for themselves."""
    name, groups = headers.get("Impersonate-User", ""), tuple(headers.getall("Impersonate-Group", []))
    uid = headers.get("Impersonate-Uid", "")
    extra = {key[len(_EXTRA) :].lower(): tuple(headers.getall(key, [])) for key in headers
             if key.lower().startswith(_EXTRA)}
    if not name:
        if groups or uid or extra:
            raise Unauthorized("requested groups, uid or extra without impersonating a user")
        return None
    namespace, _, account = name.removeprefix(ACCOUNT_PREFIX).partition(":")
    is_account = name.startswith(ACCOUNT_PREFIX) and bool(account)
    if is_account:
        needed = [Attributes("impersonate", "", "v1", "serviceaccounts", "", namespace, account)]
    else:
        needed = [Attributes("impersonate", "", "v1", "users", "", "", name)]
    needed += [Attributes("impersonate", "", "v1", "groups", "", "", group) for group in groups]
    api = "authentication.k8s.io"
    needed += [Attributes("impersonate", api, "v1", "uids", "", "", uid)] if uid else []
    for key, found in extra.items():
        needed += [Attributes("impersonate", api, "v1", "userextras", key, "", value) for value in found]
    if is_account and not groups:
        return account_user(namespace, account, uid, extra), needed
    user = User(name, groups, uid, extra)
    return (user if name == ANONYMOUS.name and not groups else known(user)), needed


def read_token_file(text: str) -> dict[str, User]:
    """Lines of `token,user,uid[,"group,group"]`, as kube-apiserver reads them. ValueError names the line."""
    found: dict[str, User] = {}
    for number, row in enumerate(csv.reader(io.StringIO(text)), 1):
        if not row or row[0].startswith("#"):
            continue
        if len(row) < 3 or not row[0] or not row[1]:
            raise ValueError(f"line {number}: expected token,user,uid and optional groups, found {len(row)} columns")
        groups = tuple(part.strip() for part in row[3].split(",") if part.strip()) if len(row) > 3 else ()
        found[row[0]] = User(row[1], (*groups, AUTHENTICATED), row[2])
    return found
