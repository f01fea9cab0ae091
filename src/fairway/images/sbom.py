"""An image's bill of materials as CycloneDX 1.6. Pure: the same image gives the same text. Source: CycloneDX's schema."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from fairway.images.layout import encode
from fairway.images.packages import Package
from fairway.images.reference import Reference

_NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 4122's namespace for URLs


def bill_of_materials(image: Reference, digest: str, packages: Sequence[Package], *, created: str = "") -> bytes:
    """`created` is the image's own time (RFC 3339), "" where it has none."""
    purl = f"pkg:oci/{image.repository.rpartition('/')[2]}@{digest.replace(':', '%3A')}?repository_url={image.name}"
    metadata: dict[str, Any] = {
        "component": {"type": "container", "bom-ref": purl, "name": image.name, "version": digest, "purl": purl},
        "tools": {"components": [{"type": "application", "name": "fairway"}]},
    }
    if created:
        metadata["timestamp"] = created
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, purl)}",
        "version": 1,
        "metadata": metadata,
        "components": [_component(package) for package in packages],
        "dependencies": [{"ref": purl, "dependsOn": [package.purl for package in packages]}],
    }
    return encode(document)


def _component(package: Package) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "library", "bom-ref": package.purl, "name": package.name, "version": package.version,
                             "purl": package.purl}  # fmt: skip
    if package.licence:
        found["licenses"] = [{"expression": package.licence}]
    return found
