"""Layers whose bytes depend on nothing but their files: sorted entries, one time, owner 0, no compiled Python."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fairway.images.layout import LAYER_GZIP, Descriptor, digest_of

_LEVEL = 6  # zlib's usual compromise; the dependency layer is compressed once per lock file


@dataclass(frozen=True, slots=True)
class Layer:
    """`diff_id` names the uncompressed tar, `descriptor` the blob."""

    descriptor: Descriptor
    diff_id: str
    data: bytes


def layer_of(files: Mapping[str, Path | bytes], *, epoch: int = 0, executable: frozenset[str] = frozenset()) -> Layer:
    """A gzipped tar of `files` (path in the image, no leading slash → file on disk or content), with their folders."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for folder in sorted({f for path in files for f in _folders(path)}):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o755, epoch
            archive.addfile(entry)
        for path, source in sorted(files.items()):
            _add(archive, path, source, epoch, path in executable)
    raw = buffer.getvalue()
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=_LEVEL, mtime=0, filename="") as stream:
        stream.write(raw)
    data = packed.getvalue()
    return Layer(Descriptor(LAYER_GZIP, digest_of(data), len(data)), "sha256:" + hashlib.sha256(raw).hexdigest(), data)


def _folders(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]


def _add(archive: tarfile.TarFile, path: str, source: Path | bytes, epoch: int, executable: bool) -> None:
    entry = tarfile.TarInfo(path)
    entry.mtime = epoch
    if isinstance(source, Path) and source.is_symlink():
        entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, str(source.readlink()), 0o777
        archive.addfile(entry)
        return
    data = source if isinstance(source, bytes) else source.read_bytes()
    runs = executable or (isinstance(source, Path) and bool(source.stat().st_mode & 0o100))
    entry.size, entry.mode = len(data), 0o755 if runs else 0o644
    archive.addfile(entry, io.BytesIO(data))
