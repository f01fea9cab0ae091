"""Tokens of project roles, as Argo CD makes them: JSON Web Tokens, signed with the key of `argocd-secret` (HS256). Pure.

    iss argocd    sub proj:<project>:<role>    iat, nbf    jti the token's id    exp where it ends

A token is worth something while its AppProject lists it, by its id (by `iat` where it has none): under
`status.jwtTokensByRole.<role>.items`, or `spec.roles[].jwtTokens` as older versions did. Taking it off the list revokes it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fairway.kube.objects import Obj, dig, meta_of, spec_of
from fairway.kube.tokens import Untrusted

ISSUER = "argocd"
SECRET, KEY = "argocd-secret", "server.secretkey"
_HEAD = {"alg": "HS256", "typ": "JWT"}


@dataclass(frozen=True, slots=True)
class Listed:
    """A token as its project knows it; times in seconds since 1970, `expires` 0: never."""

    id: str
    issued: int
    expires: int = 0

    def as_object(self) -> Obj:
        return {"iat": self.issued, "id": self.id, **({"exp": self.expires} if self.expires else {})}


@dataclass(frozen=True, slots=True)
class Claims:
    project: str
    role: str
    id: str
    issued: int

    @property
    def subject(self) -> str:
        return subject_of(self.project, self.role)


def subject_of(project: str, role: str) -> str:
    return f"proj:{project}:{role}"


def signed(project: str, role: str, token: Listed, key: bytes) -> str:
    """The text of the token."""
    claims: Obj = {"iss": ISSUER, "sub": subject_of(project, role), "nbf": token.issued, "iat": token.issued, "jti": token.id}
    if token.expires:
        claims["exp"] = token.expires
    body = f"{_encode(_HEAD)}.{_encode(claims)}"
    return f"{body}.{_text(_mac(body, key))}"


def claims_of(text: str, key: bytes, now: datetime) -> Claims:
    """What a token of ours says that is valid now. Raises `Untrusted`."""
    body, dot, signature = text.rpartition(".")
    head, _, payload = body.partition(".")
    try:
        if not dot or not key or json.loads(_bytes(head)).get("alg") != "HS256":
            raise Untrusted("not a token of a project")
        if not hmac.compare_digest(_bytes(signature), _mac(body, key)):
            raise Untrusted("not signed by this platform")
        said = json.loads(_bytes(payload))
        issued, begins, ends = int(said.get("iat") or 0), int(said.get("nbf") or 0), int(said.get("exp") or 0)
        words = str(said.get("sub") or "").split(":")
    except (ValueError, AttributeError, TypeError, binascii.Error):
        raise Untrusted("not a token") from None
    seconds = now.timestamp()
    if said.get("iss") != ISSUER or len(words) != 3 or words[0] != "proj":
        raise Untrusted("not a token of a project")
    if seconds < begins or (ends and seconds >= ends):
        raise Untrusted("the token has expired, or is not valid yet")
    return Claims(words[1], words[2], str(said.get("jti") or ""), issued)


def listed(project: Obj, role: str) -> list[Listed]:
    """The tokens of a role that have not been revoked, the newest first."""
    named: Obj = next((one for one in spec_of(project).get("roles") or () if one.get("name") == role), {})
    items = [*(dig(project, "status", "jwtTokensByRole", role, "items", default=[]) or ()), *(named.get("jwtTokens") or ())]
    found = {one.id: one for one in map(_listed, items)}
    return sorted(found.values(), key=lambda one: -one.issued)


def is_listed(project: Obj, claims: Claims) -> bool:
    """Whether the project still has the role, and lists the token."""
    if not any(one.get("name") == claims.role for one in spec_of(project).get("roles") or ()):
        return False
    return any(one.id == claims.id if claims.id else one.issued == claims.issued for one in listed(project, claims.role))


def with_tokens(project: Obj, role: str, tokens: list[Listed]) -> Obj:
    """The merge patch that makes these the tokens of the role, in both places."""
    items = [one.as_object() for one in tokens]
    roles = [{**one, "jwtTokens": items} if one.get("name") == role and one.get("jwtTokens") else one
             for one in spec_of(project).get("roles") or ()]
    return {"metadata": {"resourceVersion": meta_of(project).get("resourceVersion")}, "spec": {"roles": roles},
            "status": {"jwtTokensByRole": {role: {"items": items}}}}


def _listed(item: Mapping[str, Any]) -> Listed:
    issued = int(item.get("iat") or 0)
    return Listed(str(item.get("id") or issued), issued, int(item.get("exp") or 0))


def _mac(body: str, key: bytes) -> bytes:
    return hmac.new(key, body.encode(), hashlib.sha256).digest()


def _encode(value: Obj) -> str:
    return _text(json.dumps(value, separators=(",", ":")).encode())


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
