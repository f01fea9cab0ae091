"""Root file systems of images, unpacked once per digest and shared by the pods that run them.

A layer may be hostile: entries that leave the root are refused, links are made but never followed while extracting, device
files are left out. Whiteouts remove what lower layers brought. Source: opencontainers/image-spec `layer.md`.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import platform
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from fairway.images.compression import Unpackable, tar_of
from fairway.images.layout import BadBlob, Layout
from fairway.images.platforms import NoPlatform, image_manifest, own_platform
from fairway.images.reference import parse_reference
from fairway.images.registry import LocalRegistry

_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"


@dataclass(frozen=True, slots=True)
class UnpackedImage:
    root: Path
    digest: str
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    working_dir: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


class EmbeddedImages:
    """Images of the embedded registry, ready to run. Two pods that ask for one image at once share the work."""

    def __init__(self, registry: LocalRegistry, unpacked: Path) -> None:
        self._registry = registry
        self._unpacked = unpacked
        self._busy: dict[str, asyncio.Lock] = {}

    async def ensure(self, reference: str) -> UnpackedImage:
        """Raises `BadReference`, `UnknownImage`, `BadBlob` or `Unpackable`."""
        parsed = parse_reference(reference)
        found = self._registry.resolve(parsed)
        layout = self._registry.layout(parsed.name)
        try:
            digest = image_manifest(layout, found, own_platform(platform.machine()))
        except NoPlatform as error:
            raise Unpackable(f"image {reference}: {error}") from None
        async with self._busy.setdefault(digest, asyncio.Lock()):
            root = self._unpacked / digest.removeprefix("sha256:")
            if not root.is_dir():
                await asyncio.to_thread(unpack, layout, digest, root)
        return _described(layout, digest, root)


def unpack(layout: Layout, digest: str, root: Path) -> None:
    """Extract the image's layers into `root`, which appears whole or not at all.

    Lower layers are extracted once for all images that share them, into `chains/` beside `root`: the next image links their
    files and extracts only what is its own.
    """
    layers = layout.read_json(digest)["layers"]
    if not layers:
        raise Unpackable(f"image {digest} has no layers: there is nothing to run")
    _stack(layout, layers, root, root.parent / "chains")


def _stack(layout: Layout, layers: list[dict[str, Any]], root: Path, chains: Path) -> None:
    if root.is_dir():
        return
    *lower, top = layers
    below = None
    if lower:
        below = chains / hashlib.sha256(" ".join(layer["digest"] for layer in lower).encode()).hexdigest()
        _stack(layout, lower, below, chains)
    root.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=".new-", dir=root.parent))
    try:
        if below is not None:
            shutil.copytree(below, new, symlinks=True, copy_function=_link, dirs_exist_ok=True)
        _extract(layout.read(top["digest"]), top["mediaType"], new)
        new.chmod(0o755)
        new.rename(root)
    except OSError:
        if not root.is_dir():  # where it is, another process was quicker: its work is as good
            raise
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _link(source: str, target: str) -> str:
    """A file of a lower layer in an upper root: the same file, for nobody writes into either."""
    os.link(source, target, follow_symlinks=False)
    return target


def _described(layout: Layout, digest: str, root: Path) -> UnpackedImage:
    config = layout.read_json(layout.read_json(digest)["config"]["digest"]).get("config") or {}
    env = dict(entry.partition("=")[::2] for entry in config.get("Env") or ())
    return UnpackedImage(
        root, digest, tuple(config.get("Entrypoint") or ()), tuple(config.get("Cmd") or ()), env,
        config.get("WorkingDir") or "", config.get("Labels") or {},
    )  # fmt: skip


def _extract(blob: bytes, media_type: str, root: Path) -> None:
    try:
        with tarfile.open(fileobj=io.BytesIO(tar_of(blob, media_type))) as archive:
            for entry in archive:
                _place(archive, entry, root)
    except tarfile.TarError as error:
        raise BadBlob(f"a layer is not a tar archive: {error}") from error


def _place(archive: tarfile.TarFile, entry: tarfile.TarInfo, root: Path) -> None:
    parts = PurePosixPath(entry.name).parts
    if ".." in parts:
        raise Unpackable(f"a layer's entry {entry.name!r} leaves the image's root")
    inner = tuple(part for part in parts if part not in ("/", "."))
    if not inner:
        return
    parent = _real_folder(root, inner[:-1], entry.name)
    target = parent / inner[-1]
    if inner[-1] == _OPAQUE:
        for old in parent.iterdir():
            _remove(old)
    elif inner[-1].startswith(_WHITEOUT):
        hidden = inner[-1].removeprefix(_WHITEOUT)
        if hidden in ("", ".", ".."):
            raise Unpackable(f"a layer's entry {entry.name!r} leaves the image's root")
        _remove(parent / hidden)
    elif entry.isdir():
        if target.is_symlink() or (target.exists() and not target.is_dir()):
            _remove(target)
        target.mkdir(exist_ok=True)
        target.chmod((entry.mode & 0o777) | 0o700)
    elif entry.issym():
        _remove(target)
        target.symlink_to(entry.linkname)
    elif entry.islnk():
        _remove(target)
        other = tuple(part for part in PurePosixPath(entry.linkname).parts if part not in ("/", "."))
        if ".." in other or not other:
            raise Unpackable(f"a layer's link {entry.name!r} leaves the image's root")
        os.link(_real_folder(root, other[:-1], entry.name) / other[-1], target, follow_symlinks=False)
    elif entry.isfile():
        _remove(target)
        source = archive.extractfile(entry)
        assert source is not None
        with target.open("wb") as file:
            shutil.copyfileobj(source, file)
        target.chmod((entry.mode & 0o777) | 0o600)


def _real_folder(root: Path, parts: tuple[str, ...], name: str) -> Path:
    """The folder inside `root`, made where absent; a link on the way would lead out, so it is refused."""
    folder = root
    for part in parts:
        folder = folder / part
        if folder.is_symlink():
            raise Unpackable(f"a layer's entry {name!r} goes through the link {folder.relative_to(root)}")
        folder.mkdir(exist_ok=True)
    return folder


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
