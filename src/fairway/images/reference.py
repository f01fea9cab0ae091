"""Image references: `registry.example.com/shop/app:1.2@sha256:…`, taken apart and put together again. Pure.

Source: the grammar of distribution/reference; names without a registry belong to docker.io, single names to library/.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace

_DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")
_TAG = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")
_PATH = re.compile(r"^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$")
_HOST = re.compile(r"^[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::\d+)?$")


class BadReference(ValueError):
    """Not an image reference; the message says which part is wrong and what it should look like."""


@dataclass(frozen=True, slots=True)
class Reference:
    """`tag` and `digest` are "" where the text has none; `digest` wins where it has both."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """Registry and repository: where the image lives, whatever its version."""
        return f"{self.registry}/{self.repository}"

    def with_digest(self, digest: str) -> Reference:
        return replace(self, digest=digest, tag="")

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}" + (f"@{self.digest}" if self.digest else "")


def parse_reference(text: str) -> Reference:
    """A `Reference`, with `latest` as tag where neither tag nor digest is given. Raises `BadReference`."""
    rest, at, digest = text.strip().partition("@")
    if at and not _DIGEST.match(digest):
        raise BadReference(f"image {text!r}: the digest is not sha256: and 64 hexadecimal digits")
    head, slash, last = rest.rpartition("/")
    last, colon, tag = last.partition(":")
    if colon and not _TAG.match(tag):
        raise BadReference(f"image {text!r}: {tag!r} is not a tag (letters, digits, '_', '.', '-', at most 128)")
    registry, repository = _split(f"{head}{slash}{last}")
    if not _HOST.match(registry):
        raise BadReference(f"image {text!r}: {registry!r} is not a registry host")
    for part in repository.split("/"):
        if not _PATH.match(part):
            hint = "; names of images are lower case" if part != part.lower() else ""
            raise BadReference(f"image {text!r}: {part!r} cannot be part of a repository name{hint}")
    return Reference(registry, repository, tag or ("" if digest else "latest"), digest)


def _split(path: str) -> tuple[str, str]:
    first, slash, rest = path.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first, rest
    return "docker.io", path if slash else f"library/{path}"


def is_loopback(registry: str) -> bool:
    """Whether `HOST[:PORT]` is this machine: such a registry speaks HTTP."""
    host = registry.rpartition(":")[0] if ":" in registry else registry
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
