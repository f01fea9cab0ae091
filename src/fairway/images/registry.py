"""The embedded registry: one OCI image layout per repository, in folders named like the repository."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fairway.images.attach import attachments, is_referrers_tag, is_signature_tag, register, signature_tag
from fairway.images.layout import MANIFESTS, Descriptor, Layout
from fairway.images.reference import Reference


class UnknownImage(Exception):
    """No such image here; the message names the mend."""


class LocalRegistry:
    def __init__(self, root: Path) -> None:
        self.root = root

    def layout(self, name: str) -> Layout:
        """The layout of a repository (`registry.example.com/shop/app`), whether or not it exists."""
        return Layout(self.root / name)

    def resolve(self, reference: Reference) -> Descriptor:
        """The manifest that a reference names now. Raises `UnknownImage`."""
        layout = self.layout(reference.name)
        if reference.digest:
            if layout.has(reference.digest):
                path = layout.blob_path(reference.digest)
                return Descriptor(layout.read_json(reference.digest).get("mediaType", ""), reference.digest,
                                  path.stat().st_size)
        elif found := layout.manifests().get(reference.tag):
            return found
        raise UnknownImage(self._what_is_missing(reference, layout))

    def tags(self, name: str) -> list[str]:
        return sorted(tag for tag in self.layout(name).manifests() if tag and not _is_beside(tag))

    def push(self, source: Layout, manifest: Descriptor, reference: Reference) -> None:
        """Copy an image into its repository, blobs first, then its tag: a reader never meets half an image."""
        target = self.layout(reference.name)
        copy(source, manifest, target)
        for attached in attachments(source, manifest.digest):
            copy(source, attached.manifest, target)
            register(target, manifest.digest, attached)
        if signatures := source.manifests().get(signature_tag(manifest.digest)):
            copy(source, signatures, target)
            target.tag(signature_tag(manifest.digest), signatures)
        if reference.tag:
            target.tag(reference.tag, manifest)

    def images(self) -> Iterator[tuple[str, str, Descriptor, int]]:
        """(name, tag, manifest, bytes of its blobs) of everything that is tagged here, by name."""
        for marker in sorted(self.root.rglob("oci-layout")):
            layout, name = Layout(marker.parent), marker.parent.relative_to(self.root).as_posix()
            for tag, found in sorted(layout.manifests().items()):
                if tag and not _is_beside(tag):
                    yield name, tag, found, _size(layout, found)

    def _what_is_missing(self, reference: Reference, layout: Layout) -> str:
        if not layout.exists():
            return (f"image {reference}: nothing was ever pushed to {reference.name} here; "
                    f"build and push it: fairway image build PATH -t {reference.name}:TAG --push")
        if reference.digest:
            return f"image {reference}: {reference.name} has no image with this digest; push it, or name one it has"
        known = ", ".join(self.tags(reference.name)[-5:]) or "none"
        return f"image {reference}: {reference.name} has no tag {reference.tag!r} (its last tags: {known})"


def _is_beside(tag: str) -> bool:
    """A tag of what is said about an image, and no image's."""
    return is_referrers_tag(tag) or is_signature_tag(tag)


def copy(source: Layout, manifest: Descriptor, target: Layout) -> None:
    """A manifest and all that it is made of, from one layout to another; the manifest last."""
    for part in source.parts(manifest):
        if part.media_type in MANIFESTS:
            copy(source, part, target)
        else:
            target.adopt(source.blob_path(part.digest), part)
    target.adopt(source.blob_path(manifest.digest), manifest)


def _size(layout: Layout, manifest: Descriptor) -> int:
    return sum(_size(layout, part) if part.media_type in MANIFESTS else part.size for part in layout.parts(manifest))
