"""What a job asks for, and which program of this machine can be it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["postgres", "redis"]
_KINDS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("postgres", re.compile(r"postgres(ql)?|postgis|timescaledb|pgvector")),
    ("redis", re.compile(r"redis(-stack)?(-server)?|valkey|keydb")),
)
DEFAULT_PORTS: Mapping[str, int] = {"postgres": 5432, "redis": 6379}


class ServiceError(Exception):
    """A service that cannot be started here; the message says why and what helps."""


@dataclass(frozen=True)
class ServiceWish:
    """`names` are host names under which the job means it. `ports` are as written below `ports` (`5432:5432`, `6379`)."""

    image: str
    names: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    options: str = ""
    volumes: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind | None:
        name = self.image.partition("@")[0].rpartition("/")[2].partition(":")[0].lower()
        return next((kind for kind, pattern in _KINDS if pattern.fullmatch(name)), None)

    @property
    def version(self) -> str:
        """`16` of `postgres:16-alpine`; "" where the tag names none."""
        tag = self.image.partition("@")[0].rpartition("/")[2].partition(":")[2]
        found = re.match(r"(?:pg)?(\d+)", tag)
        return found[1] if found else ""


@dataclass(frozen=True, slots=True)
class PortMap:
    """`host` is 0 where any free port will do."""

    host: int
    container: int


def port_maps(wish: ServiceWish, default: int = 0) -> tuple[PortMap, ...]:
    """Raises `ServiceError` for a port that is none."""
    found = []
    for text in wish.ports:
        match = re.fullmatch(r"(?:(?:[\d.]+:)?(\d+)?:)?(\d+)(?:/(?:tcp|udp))?", text.strip())
        if match is None or int(match[2]) > 65535 or int(match[1] or 0) > 65535:
            raise ServiceError(f"service {wish.image}: {text!r} is not a port; write HOST:CONTAINER, such as 5432:5432")
        found.append(PortMap(int(match[1] or 0), int(match[2])))
    return tuple(found) or ((PortMap(default, default),) if default else ())
