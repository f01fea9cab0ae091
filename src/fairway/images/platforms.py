"""Which image of an index is for a machine. Pure. Source: opencontainers/image-spec `image-index.md`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairway.images.layout import INDEXES, Descriptor, Layout

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class NoPlatform(Exception):
    """The index has no image for the machine; the message lists those it has."""


def own_platform(machine: str) -> str:
    """`linux/amd64` for `x86_64`, as OCI spells it."""
    return f"linux/{_ARCHITECTURES.get(machine, machine)}"


def chosen(index: Mapping[str, Any], platform: str) -> Descriptor:
    """The manifest for `os/architecture[/variant]`: exact first, then any variant. Raises `NoPlatform`."""
    known: dict[str, Descriptor] = {}
    for entry in index.get("manifests") or ():
        its = entry.get("platform") or {}
        name = "/".join(part for part in (its.get("os", ""), its.get("architecture", ""), its.get("variant", "")) if part)
        if name and its.get("os") != "unknown":  # attestations of BuildKit stand in the index as unknown/unknown
            known.setdefault(name, Descriptor.of(entry))
    for name, manifest in known.items():
        if name == platform or name.startswith(f"{platform}/"):
            return manifest
    raise NoPlatform(f"there is no image for {platform}; there is one for {', '.join(sorted(known)) or 'no platform at all'}")


def image_manifest(layout: Layout, found: Descriptor, platform: str) -> str:
    """The digest of the image itself, where `found` may be an index of images for several platforms."""
    document = layout.read_json(found.digest)
    if found.media_type in INDEXES or "manifests" in document:
        return chosen(document, platform).digest
    return found.digest
