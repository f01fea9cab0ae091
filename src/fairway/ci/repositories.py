"""The port through which jobs reach git repositories: a name or a URL to where it can be cloned from and pushed to."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Access:
    """`path` is a local repository to fetch from (fast); `url` is what `origin` becomes, where a push goes to.

    `token` authenticates against `url` as the password of the user `x-access-token`; "" where none is needed, or where each
    job gets its own. `name` is the repository's; `writers` are repositories whose jobs may push to it (None: all).
    """

    url: str
    path: Path | None = None
    token: str = ""
    name: str = ""
    writers: tuple[str, ...] | None = None


def basic(token: str) -> str:
    """What a token is behind `Authorization: basic`."""
    return base64.b64encode(f"x-access-token:{token}".encode()).decode()


def credentials(access: Access) -> dict[str, str]:
    """git's configuration for one command, by environment: it is in no file and no process list."""
    if not access.token:
        return {}
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{access.url}.extraheader",
        "GIT_CONFIG_VALUE_0": f"AUTHORIZATION: basic {basic(access.token)}",
    }


class Repositories(Protocol):
    def resolve(self, name_or_url: str) -> Access | None:
        """`shop/deploy` or `https://git.example.com/shop/deploy.git`; None where it is not one of ours."""
        ...


class NoRepositories:
    """Only what is on this machine under a path can be checked out."""

    def resolve(self, name_or_url: str) -> Access | None:
        path = Path(name_or_url)
        return Access(str(path), path) if path.is_absolute() and path.is_dir() else None
