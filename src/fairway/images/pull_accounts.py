"""Which accounts of a docker configuration are for an image: by host, with wildcards, and by path; the closest first. Pure.

Source: Kubernetes' rules for `imagePullSecrets` (concepts/containers/images, "Interpretation of config.json").
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fairway.images.credentials import Account
from fairway.images.reference import Reference

_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")
_TYPES = {"kubernetes.io/dockerconfigjson": ".dockerconfigjson", "kubernetes.io/dockercfg": ".dockercfg"}


def configurations(secrets: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """The `auths` of Secrets of the two types that docker's configuration has; others, and what is no JSON, hold none."""
    found: list[Mapping[str, Any]] = []
    for secret in secrets:
        key = _TYPES.get(str(secret.get("type") or ""))
        try:
            content = json.loads(base64.b64decode((secret.get("data") or {}).get(key, "")))
        except (binascii.Error, ValueError):
            continue
        auths = content.get("auths") if key == ".dockerconfigjson" and isinstance(content, dict) else content
        if isinstance(auths, dict):
            found.append(auths)
    return tuple(found)


def accounts_for(reference: Reference, auths: Sequence[Mapping[str, Any]]) -> list[Account]:
    """All that may open it, the most specific first: a registry tries them one after the other."""
    found: list[tuple[int, int, Account]] = []
    for number, entries in enumerate(auths):
        for key, entry in entries.items():
            if isinstance(entry, dict) and _matches(str(key), reference) and (account := _account(entry)) is not None:
                found.append((-len(_plain(str(key))), number, account))
    return [account for _, _, account in sorted(found, key=lambda row: row[:2])]


def _plain(key: str) -> str:
    """`https://index.docker.io/v1/` is `index.docker.io`."""
    text = key.partition("://")[2] or key
    text = text.rstrip("/")
    return text.removesuffix("/v1").removesuffix("/v2")


def _matches(key: str, reference: Reference) -> bool:
    host, _, path = _plain(key).partition("/")
    if path and reference.repository != path and not reference.repository.startswith(f"{path}/"):
        return False
    if reference.registry in _HUB:
        return host in _HUB
    wanted, wanted_port = _parts(host)
    given, given_port = _parts(reference.registry)
    return wanted_port == given_port and len(wanted) == len(given) and all(map(fnmatch.fnmatchcase, given, wanted))


def _parts(host: str) -> tuple[list[str], str]:
    name, _, port = host.partition(":")
    return name.split("."), port


def _account(entry: Mapping[str, Any]) -> Account | None:
    token = str(entry.get("identitytoken") or "")
    if entry.get("username") is not None:
        return Account(str(entry["username"]), str(entry.get("password") or ""), token)
    return next(_of_auth(str(entry.get("auth") or ""), token), None)


def _of_auth(packed: str, token: str) -> Iterator[Account]:
    try:
        user, colon, password = base64.b64decode(packed, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return
    if colon or token:
        yield Account(user, password.rstrip("\0"), token)
