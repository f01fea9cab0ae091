"""Image references: `[registry/]repository[:tag][@digest]`, taken apart and put together."""

from __future__ import annotations

import re
from dataclasses import dataclass

_DIGEST = re.compile(r"^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,}$")


@dataclass(frozen=True, slots=True)
class ImageReference:
    """`name` includes the registry and its port; `tag` and `digest` ("sha256:…") are "" where absent."""

    name: str
    tag: str = ""
    digest: str = ""

    @staticmethod
    def parse(text: str) -> ImageReference:
        """Never fails on what stands in a manifest: what has no tag or digest is all name."""
        rest, _, digest = text.partition("@")
        slash, colon = rest.rfind("/"), rest.rfind(":")
        if colon > slash:
            return ImageReference(rest[:colon], rest[colon + 1 :], digest)
        return ImageReference(rest, "", digest)

    @staticmethod
    def parse_checked(text: str) -> ImageReference:
        """For what a person asked to be written: ValueError where it has neither a tag nor a well-formed digest."""
        found = ImageReference.parse(text)
        if found.digest and not _DIGEST.match(found.digest):
            raise ValueError(f"image {text!r}: {found.digest!r} is not a digest such as sha256:<64 hex digits>")
        if not found.name or not (found.tag or found.digest):
            raise ValueError(f"image {text!r}: a reference such as name:tag or name@sha256:<64 hex digits> is needed")
        return found

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")
