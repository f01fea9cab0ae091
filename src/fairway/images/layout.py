"""An OCI image layout on disk: blobs by digest, and an index of named manifests.

Every file appears whole, by rename, so that a reader never sees half a blob and a killed writer leaves none. Writers of one
layout take a lock. Source: opencontainers/image-spec `image-layout.md`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec

_DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"
REF_NAME = "org.opencontainers.image.ref.name"
EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
SCHEMA_1 = frozenset({"application/vnd.docker.distribution.manifest.v1+json",
                      "application/vnd.docker.distribution.manifest.v1+prettyjws"})
"""What registries gave before 2016: no digest of it names an image's content."""
INDEXES = frozenset({INDEX, DOCKER_INDEX})
MANIFESTS = (MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX)
"""What a tag may name, ours first."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    media_type: str
    digest: str
    size: int

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Self:
        """As a manifest names a blob, or an index a manifest. Raises `BadBlob` on what is none."""
        try:
            kind, digest, size = str(entry["mediaType"]), str(entry["digest"]), int(entry["size"])
        except (KeyError, TypeError, ValueError) as error:
            raise BadBlob(f"a descriptor without {error}: it names nothing that could be fetched") from None
        if not _DIGEST.match(digest):
            raise BadBlob(f"{digest!r} is not sha256: and 64 hexadecimal digits")
        return cls(kind, digest, size)

    def as_json(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


class BadBlob(Exception):
    """A blob is missing, or its content is not what its digest says."""


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def encode(document: Any) -> bytes:
    """Canonical JSON: sorted keys, no white space; the same document gives the same digest."""
    return msgspec.json.encode(document, order="sorted")


class Layout:
    """One layout folder; made when something is first written."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def exists(self) -> bool:
        return (self.root / "oci-layout").is_file()

    def blob_path(self, digest: str) -> Path:
        """Where a blob lies. A name that is no digest names no blob: `BadBlob`."""
        if not _DIGEST.match(digest):
            raise BadBlob(f"{digest!r} is not sha256: and 64 hexadecimal digits")
        return self.root / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def has(self, digest: str) -> bool:
        return self.blob_path(digest).is_file()

    def read(self, digest: str) -> bytes:
        """The blob, checked against its digest. Raises `BadBlob`."""
        try:
            data = self.blob_path(digest).read_bytes()
        except FileNotFoundError:
            raise BadBlob(f"{self.root}: blob {digest} is missing") from None
        if digest_of(data) != digest:
            raise BadBlob(f"{self.root}: the content of blob {digest} is not what its name says; push the image again")
        return data

    def read_json(self, digest: str) -> dict[str, Any]:
        document = msgspec.json.decode(self.read(digest))
        if not isinstance(document, dict):
            raise BadBlob(f"{self.root}: blob {digest} is not a JSON object")
        return document

    def write(self, data: bytes, media_type: str) -> Descriptor:
        self._begin()
        digest = digest_of(data)
        path = self.blob_path(digest)
        if not path.is_file():
            _write_whole(path, data)
        return Descriptor(media_type, digest, len(data))

    def adopt(self, file: Path, descriptor: Descriptor) -> None:
        """Take a blob that lies elsewhere on this machine: by hard link where possible, else by copy."""
        self._begin()
        path = self.blob_path(descriptor.digest)
        if path.is_file():
            return
        try:
            os.link(file, path)
        except FileExistsError:
            pass
        except OSError:
            _write_whole(path, file.read_bytes())

    def manifests(self) -> dict[str, Descriptor]:
        """Tags of this layout and the manifests that they name now."""
        return {
            entry.get("annotations", {}).get(REF_NAME, ""): Descriptor(entry["mediaType"], entry["digest"], entry["size"])
            for entry in self._index()["manifests"]
        }

    def parts(self, manifest: Descriptor) -> list[Descriptor]:
        """What a manifest is made of: its blobs, or the manifests of an index that lie here."""
        document = self.read_json(manifest.digest)
        if manifest.media_type in INDEXES:
            return [part for entry in document.get("manifests") or () if self.has((part := Descriptor.of(entry)).digest)]
        return [Descriptor.of(entry) for entry in (document["config"], *document["layers"])]

    def tag(self, name: str, manifest: Descriptor) -> None:
        """`name` names this manifest from now on, and no other."""
        with self._locked():
            index = self._index()
            kept = [m for m in index["manifests"] if m.get("annotations", {}).get(REF_NAME) != name]
            index["manifests"] = [*kept, {**manifest.as_json(), "annotations": {REF_NAME: name}}]
            _write_whole(self.root / "index.json", encode(index))

    def _index(self) -> dict[str, Any]:
        try:
            index: dict[str, Any] = msgspec.json.decode((self.root / "index.json").read_bytes())
            return index
        except FileNotFoundError:
            return {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}

    def _begin(self) -> None:
        marker = self.root / "oci-layout"
        if not marker.is_file():
            (self.root / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
            _write_whole(marker, b'{"imageLayoutVersion":"1.0.0"}')

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._begin()
        with (self.root / ".lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def _write_whole(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    Path(temporary).chmod(0o644)
    Path(temporary).replace(path)
