"""Who we are at a registry: `fairway image login`'s own file first, then what docker and podman keep.

Read: `registries.json` of the state folder, `$REGISTRY_AUTH_FILE`, `$DOCKER_CONFIG/config.json` (`~/.docker/config.json`), with
its credential helpers. Written: the first of these only, readable by its owner alone. Source: docker's config.json.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_HUB_KEY = "https://index.docker.io/v1/"  # under this name docker keeps the account of docker.io


@dataclass(frozen=True, slots=True)
class Account:
    """`token` is an identity token in place of a password. Neither is ever printed."""

    user: str
    password: str = field(repr=False)
    token: str = field(default="", repr=False)


class BadCredentials(Exception):
    """A file of accounts that cannot be read; the message names it and the mend."""


def files(own: Path, environment: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Where accounts are looked for, in order; `own` is the file that `login` writes."""
    home = Path(environment.get("HOME") or "~").expanduser()
    folder = environment.get("DOCKER_CONFIG")
    found = [own]
    if named := environment.get("REGISTRY_AUTH_FILE"):
        found.append(Path(named))
    return (*found, (Path(folder) if folder else home / ".docker") / "config.json")


def account_of(registry: str, places: Sequence[Path]) -> Account | None:
    """The first account for a registry's host, or None: then it is asked without one. Raises `BadCredentials`."""
    keys = (registry, f"https://{registry}", f"https://{registry}/", *((_HUB_KEY,) if registry == "docker.io" else ()))
    for path in places:
        content = _read(path)
        helpers = content.get("credHelpers") or {}
        helper = next((helpers[key] for key in keys if key in helpers), content.get("credsStore"))
        if helper and (found := _ask(str(helper), keys[-1] if registry == "docker.io" else registry)):
            return found
        auths = content.get("auths") or {}
        for key in keys:
            if found := _decoded(auths.get(key) or {}, path, key):
                return found
    return None


def remember(registry: str, account: Account, own: Path) -> None:
    content = _read(own)
    packed = base64.b64encode(f"{account.user}:{account.password}".encode()).decode()
    _write(own, {**content, "auths": {**(content.get("auths") or {}), registry: {"auth": packed}}})


def forget(registry: str, own: Path) -> bool:
    """Whether there was an account to forget."""
    content = _read(own)
    auths = dict(content.get("auths") or {})
    if auths.pop(registry, None) is None:
        return False
    _write(own, {**content, "auths": auths})
    return True


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BadCredentials(f"{path}: accounts of registries cannot be read ({error}); mend or move the file away") from None
    if not isinstance(content, dict):
        raise BadCredentials(f"{path}: a JSON object is needed; mend or move the file away")
    return content


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(content, file, indent=1)
    new.replace(path)


def _decoded(entry: Mapping[str, Any], path: Path, key: str) -> Account | None:
    token = str(entry.get("identitytoken") or "")
    if entry.get("username") is not None:
        return Account(str(entry["username"]), str(entry.get("password") or ""), token)
    if not entry.get("auth"):
        return Account("", "", token) if token else None
    try:
        user, _, password = base64.b64decode(str(entry["auth"]), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise BadCredentials(f"{path}: the `auth` of {key} is not base64 of user:password; log in again") from None
    return Account(user, password.rstrip("\0"), token)


def _ask(helper: str, server: str) -> Account | None:
    """docker's protocol of credential helpers: the server on standard input, JSON back; a failure means 'none'."""
    try:
        done = subprocess.run([f"docker-credential-{helper}", "get"], input=server, capture_output=True, text=True, timeout=30)
        answer = json.loads(done.stdout) if done.returncode == 0 else {}
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    if not isinstance(answer, dict) or "Secret" not in answer:
        return None
    user = str(answer.get("Username") or "")
    return Account("", "", str(answer["Secret"])) if user == "<token>" else Account(user, str(answer["Secret"]))
