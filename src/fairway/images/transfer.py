"""Images between the embedded registry and real ones: `pull` and `push`.

An image keeps its digest on the way, or the transfer fails: the digest is the identity of a release.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from fairway.images.attach import attachments, referrers_tag, signature_tag
from fairway.images.distribution import NotThere, Progress, Remote
from fairway.images.layout import INDEXES, MANIFESTS, BadBlob, Descriptor, Layout
from fairway.images.platforms import chosen
from fairway.images.reference import Reference
from fairway.images.registry import LocalRegistry

_SIDE_BY_SIDE = 4  # blobs at once: more gain nothing on one connection's bandwidth


@dataclass(frozen=True, slots=True)
class Moved:
    """`sent` counts the bytes that went over the network; what the other side had is not among them."""

    manifest: Descriptor
    sent: int


async def pull(remote: Remote, reference: Reference, registry: LocalRegistry, platform: str,
               progress: Progress | None = None) -> Moved:
    """The image, for one platform where there are several, into the embedded registry, with what is said about it.

    Raises `RegistryError`, `NotThere`, `NoPlatform`, `BadBlob`.
    """
    layout = registry.layout(reference.name)
    top, data = await remote.manifest(reference.digest or reference.tag)
    image, document = top, _decoded(data)
    if top.media_type in INDEXES:
        image = chosen(document, platform)
        inner, inner_data = await remote.manifest(image.digest)
        document = _decoded(inner_data)
        image = Descriptor(inner.media_type, image.digest, len(inner_data))
        layout.write(inner_data, inner.media_type)
    sent = await _fetch_all(remote, layout, document, progress)
    layout.write(data, top.media_type)
    for said in {top.digest, image.digest}:
        await _pull_attachments(remote, said, layout)
        await _pull_signatures(remote, said, layout)
    if reference.tag:
        layout.tag(reference.tag, top)
    return Moved(top, sent)


async def push(registry: LocalRegistry, reference: Reference, remote: Remote, progress: Progress | None = None) -> Moved:
    """An image of the embedded registry to a real one: blobs, manifests, what is said about it, and last its tag.

    Raises `UnknownImage`, `RegistryError`, `BadBlob`.
    """
    found = registry.resolve(reference)
    layout = registry.layout(reference.name)
    sent = await _send(layout, found, remote, reference.tag or found.digest, progress)
    listed = attachments(layout, found.digest)
    for one in listed:
        await _send(layout, one.manifest, remote, one.manifest.digest, None)
    if listed:
        index = layout.manifests()[referrers_tag(found.digest)]
        await remote.put_manifest(referrers_tag(found.digest), index, layout.read(index.digest))
    if signatures := layout.manifests().get(signature_tag(found.digest)):
        await _send(layout, signatures, remote, signature_tag(found.digest), None)
    return Moved(found, sent)


async def _send(layout: Layout, manifest: Descriptor, remote: Remote, name: str, progress: Progress | None) -> int:
    parts = layout.parts(manifest)

    async def blob(part: Descriptor) -> int:
        return part.size if await remote.send(part, layout, progress) else 0

    blobs = {part.digest: part for part in parts if part.media_type not in MANIFESTS}
    sent = sum(await _side_by_side(blob, blobs.values()))
    for part in parts:
        if part.media_type in MANIFESTS:
            sent += await _send(layout, part, remote, part.digest, progress)
    await remote.put_manifest(name, manifest, layout.read(manifest.digest))
    return sent


async def _fetch_all(remote: Remote, layout: Layout, document: dict[str, Any], progress: Progress | None) -> int:
    try:
        listed = [document["config"], *document["layers"]]
    except (KeyError, TypeError):
        raise BadBlob(f"{remote}: the manifest names no config and layers: it is no image") from None
    blobs = {blob.digest: blob for blob in map(Descriptor.of, listed)}
    missing = [blob for blob in blobs.values() if not layout.has(blob.digest)]

    async def fetch(blob: Descriptor) -> int:
        await remote.fetch(blob, layout, progress)
        return blob.size

    return sum(await _side_by_side(fetch, missing))


async def _side_by_side(move: Callable[[Descriptor], Coroutine[Any, Any, int]], blobs: Iterable[Descriptor]) -> list[int]:
    """All of them, a few at once. The first failure ends the others, and is what is raised."""
    gate = asyncio.Semaphore(_SIDE_BY_SIDE)

    async def one(blob: Descriptor) -> int:
        async with gate:
            return await move(blob)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(blob)) for blob in blobs]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


async def _pull_attachments(remote: Remote, digest: str, layout: Layout) -> None:
    try:
        index, data = await remote.manifest(referrers_tag(digest))
    except NotThere:
        return
    for entry in _decoded(data).get("manifests") or ():
        one = Descriptor.of(entry)
        _, manifest = await remote.manifest(one.digest)
        await _fetch_all(remote, layout, _decoded(manifest), None)
        layout.write(manifest, one.media_type)
    layout.tag(referrers_tag(digest), layout.write(data, index.media_type))


async def _pull_signatures(remote: Remote, digest: str, layout: Layout) -> None:
    """Signatures that were made here and are not at the registry stay only where it has none."""
    try:
        manifest, data = await remote.manifest(signature_tag(digest))
    except NotThere:
        return
    await _fetch_all(remote, layout, _decoded(data), None)
    layout.tag(signature_tag(digest), layout.write(data, manifest.media_type))


def _decoded(data: bytes) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise BadBlob(f"a manifest is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise BadBlob("a manifest is not a JSON object")
    return document
