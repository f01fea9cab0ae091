"""Tokens of service accounts: made, and believed only while all that they speak of is still there.

A token is a JSON Web Token signed with a key of the platform's own (ES256). It names the account and its uid, whom it is meant
for, when it ends, and may be bound to a pod or a secret: it is worth nothing after the account, or what it is bound to, is
deleted and made again.
"""

from __future__ import annotations

import binascii
import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from fairway.kube.objects import Obj, dig, uid_of
from fairway.kube.users import User, account_user

ISSUER = "https://kubernetes.default.svc"
API_AUDIENCE = ISSUER
"""Whom a token is for that asks for nobody: the API itself."""
DEFAULT_LIFE, SHORTEST_LIFE = timedelta(hours=1), timedelta(minutes=10)
LONGEST_S = 1 << 32
_HALF = 32  # bytes of r and of s in an ES256 signature
_POD, _NODE, _CREDENTIAL = (f"authentication.kubernetes.io/{name}" for name in ("pod-name", "node-name", "credential-id"))

Lookup = Callable[[str, str, str], Obj | None]
"""(kind, namespace, name) to the object as it is now."""


class Untrusted(Exception):
    """A token that is not believed; the message says why."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What a token lives and dies with: a Pod or a Secret of the account's namespace."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Token:
    text: str
    expires: datetime


class TokenKey:
    """The signing key. `load` reads it, or makes it where it is absent or no key."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.key_id = _encode(hashlib.sha256(public).digest())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TokenKey) and self.key_id == other.key_id

    def __hash__(self) -> int:
        return hash(self.key_id)

    @classmethod
    def load(cls, path: Path, write: Callable[[Path, str], None]) -> TokenKey:
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), None)
        except (OSError, ValueError, TypeError):
            key = None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            key = ec.generate_private_key(ec.SECP256R1())
            pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            write(path, pem.decode())
        return cls(key)

    @classmethod
    def fresh(cls) -> TokenKey:
        """A key that nobody keeps: its tokens end with the process."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    def jwk(self) -> dict[str, str]:
        """The public half, as others check tokens with it (RFC 7517)."""
        point = self._key.public_key().public_numbers()
        return {"use": "sig", "kty": "EC", "kid": self.key_id, "crv": "P-256", "alg": "ES256",
                "x": _encode(point.x.to_bytes(_HALF)), "y": _encode(point.y.to_bytes(_HALF))}

    def sign(self, claims: Mapping[str, Any]) -> str:
        head = {"alg": "ES256", "kid": self.key_id}
        signed = f"{_json(head)}.{_json(claims)}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_encode(r.to_bytes(_HALF) + s.to_bytes(_HALF))}"

    def claims(self, text: str) -> dict[str, Any]:
        """The claims of a token that this key signed; `Untrusted` for any other text."""
        parts = text.split(".")
        if len(parts) != 3:
            raise Untrusted("not a token")
        try:
            signature, claims, head = _decode(parts[2]), json.loads(_decode(parts[1])), json.loads(_decode(parts[0]))
            if len(signature) != 2 * _HALF or not isinstance(claims, dict) or head.get("alg") != "ES256":
                raise Untrusted("not a token of this platform")
            pair = (int.from_bytes(signature[:_HALF]), int.from_bytes(signature[_HALF:]))
            self._key.public_key().verify(encode_dss_signature(*pair), f"{parts[0]}.{parts[1]}".encode(),
                                          ec.ECDSA(hashes.SHA256()))
        except (ValueError, AttributeError, binascii.Error, InvalidSignature):
            raise Untrusted("not a token of this platform") from None
        return claims


class Tokens:
    """Makes and checks tokens. `lookup` reads ServiceAccounts, Pods and Secrets as they are at that moment."""

    def __init__(self, key: TokenKey, lookup: Lookup) -> None:
        self.key = key
        self._lookup = lookup

    def issue(self, account: Obj, now: datetime, *, audiences: Sequence[str] = (), life: timedelta = DEFAULT_LIFE,
              bound: Bound | None = None, node: str = "", identity: str) -> Token:
        """A token of `account` (a ServiceAccount). `identity`: a new uid, the token's own."""
        meta = account["metadata"]
        start = now.replace(microsecond=0)
        about: dict[str, Any] = {"namespace": meta["namespace"],
                                 "serviceaccount": {"name": meta["name"], "uid": meta["uid"]}}
        if bound is not None:
            about[bound.kind.lower()] = {"name": bound.name, "uid": bound.uid}
        if node:
            about["node"] = {"name": node}
        claims = {
            "aud": list(audiences) or [API_AUDIENCE], "exp": int((start + life).timestamp()), "iat": int(start.timestamp()),
            "iss": ISSUER, "jti": identity, "kubernetes.io": about, "nbf": int(start.timestamp()),
            "sub": f"system:serviceaccount:{meta['namespace']}:{meta['name']}",
        }  # fmt: skip
        return Token(self.key.sign(claims), start + life)

    def check(self, text: str, now: datetime, audiences: Sequence[str] = (API_AUDIENCE,)) -> tuple[User, list[str]]:
        """Who holds the token, and for which of `audiences` it is meant; `Untrusted` where it is not to be believed."""
        claims = self.key.claims(text)
        moment = int(now.astimezone(UTC).timestamp())
        if claims.get("iss") != ISSUER:
            raise Untrusted("the token is of another issuer")
        if moment >= claims.get("exp", 0):
            raise Untrusted("service account token has expired")
        if moment + 60 < claims.get("nbf", 0):
            raise Untrusted("the token is not valid yet")
        meant = [audience for audience in audiences if audience in claims.get("aud", ())]
        if not meant:
            raise Untrusted(f"token audiences {json.dumps(claims.get('aud'))} is invalid for the target audiences "
                            f"{json.dumps(list(audiences))}")
        return self._holder(claims), meant

    def _holder(self, claims: Mapping[str, Any]) -> User:
        about: Mapping[str, Any] = claims.get("kubernetes.io") or {}
        namespace, name = str(about.get("namespace")), str(dig(about, "serviceaccount", "name"))
        account = self._lookup("ServiceAccount", namespace, name)
        if account is None or uid_of(account) != dig(about, "serviceaccount", "uid"):
            raise Untrusted("service account token has been invalidated")
        extra = {_CREDENTIAL: [f"JTI={claims.get('jti')}"]}
        for kind in ("Pod", "Secret"):
            bound = about.get(kind.lower())
            if bound is not None:
                found = self._lookup(kind, namespace, str(bound.get("name")))
                if found is None or uid_of(found) != bound.get("uid"):
                    raise Untrusted("service account token has been invalidated")
                if kind == "Pod":
                    extra |= {_POD: [bound["name"]], "authentication.kubernetes.io/pod-uid": [bound["uid"]]}
        if node := dig(about, "node", "name"):
            extra[_NODE] = [node]
        return account_user(namespace, name, uid_of(account), extra)


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _json(value: Mapping[str, Any]) -> str:
    return _encode(json.dumps(value, separators=(",", ":")).encode())
