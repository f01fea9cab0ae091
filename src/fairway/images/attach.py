"""What is said about an image, beside it: its bill of materials, its provenance, the verdict of a scan.

Each is an artifact manifest whose `subject` is the image; an index tagged `sha256-<hex>` lists them, which registries without
the referrers API understand too. Source: opencontainers/image-spec `manifest.md`, distribution-spec "referrers tag schema".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from fairway.images.layout import EMPTY, INDEX, MANIFEST, BadBlob, Descriptor, Layout, encode

SBOM = "application/vnd.cyclonedx+json"
PROVENANCE = "application/vnd.in-toto+json"
SCAN = "application/sarif+json"

_TAG = re.compile(r"^sha256-[0-9a-f]{64}$")


@dataclass(frozen=True, slots=True)
class Attachment:
    """`kind` is the artifact type: SBOM, PROVENANCE or SCAN for those of our own."""

    kind: str
    manifest: Descriptor
    annotations: Mapping[str, str] = field(default_factory=dict)


def attach(layout: Layout, subject: Descriptor, kind: str, content: bytes) -> Attachment:
    """Say `content` (of media type `kind`) about an image of this layout; the same said twice is said once."""
    blob = layout.write(content, kind)
    empty = layout.write(b"{}", EMPTY)
    document = {
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind, "config": empty.as_json(),
        "layers": [blob.as_json()], "subject": subject.as_json(),
    }  # fmt: skip
    found = Attachment(kind, layout.write(encode(document), MANIFEST))
    register(layout, subject.digest, found)
    return found


def register(layout: Layout, subject: str, attached: Attachment) -> None:
    """List an attachment, whose manifest lies in the layout, with its image."""
    known = attachments(layout, subject)
    kept = [one for one in known if one.manifest.digest != attached.manifest.digest]
    entries = [{**one.manifest.as_json(), "artifactType": one.kind, **({"annotations": dict(one.annotations)}
                if one.annotations else {})} for one in (*kept, attached)]  # fmt: skip
    index = layout.write(encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}), INDEX)
    layout.tag(referrers_tag(subject), index)


def attachments(layout: Layout, subject: str) -> list[Attachment]:
    index = layout.manifests().get(referrers_tag(subject))
    listed = layout.read_json(index.digest).get("manifests") or () if index else ()
    return [Attachment(str(entry.get("artifactType") or ""), Descriptor.of(entry), entry.get("annotations") or {})
            for entry in listed]  # fmt: skip


def attached(layout: Layout, subject: str, kind: str) -> bytes | None:
    """The newest content of this kind that is said about an image, or None."""
    for one in reversed(attachments(layout, subject)):
        if one.kind == kind:
            layers = layout.read_json(one.manifest.digest)["layers"]
            if not layers:
                raise BadBlob(f"{layout.root}: the attachment {one.manifest.digest} says nothing")
            return layout.read(layers[0]["digest"])
    return None


def referrers_tag(digest: str) -> str:
    return digest.replace(":", "-")


def signature_tag(digest: str) -> str:
    """Where cosign keeps an image's signatures."""
    return f"{referrers_tag(digest)}.sig"


def is_signature_tag(tag: str) -> bool:
    return tag.endswith(".sig") and is_referrers_tag(tag.removesuffix(".sig"))


def is_referrers_tag(tag: str) -> bool:
    return _TAG.match(tag) is not None
