"""Folders packed into one file and back: caches and artifacts. Links and rights are kept."""

from __future__ import annotations

import contextlib
import os
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

_NOT_COPIED = frozenset({".git"})


def files_below(root: Path) -> Iterator[str]:
    """Every file below the folder, without git's own, relative with `/`."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _NOT_COPIED)
        base = os.path.relpath(folder, root)
        prefix = "" if base == "." else f"{base}/"
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in sorted([*files, *links]):
            yield f"{prefix}{name}"


def pack(root: Path, names: Iterable[str], target: Path) -> int:
    """The named files of the folder, by atomic rename; their number."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, new = tempfile.mkstemp(dir=target.parent, prefix=".new-")
    count = 0
    try:
        with os.fdopen(handle, "wb") as raw, tarfile.open(fileobj=raw, mode="w") as tar:
            for name in names:
                tar.add(root / name, arcname=name, recursive=False)
                count += 1
        Path(new).rename(target)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(new).unlink()
        raise
    return count


def unpack(archive: Path, root: Path) -> int:
    """Into the folder; what is there already is replaced. The number of entries."""
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
        for member in members:
            place = root / member.name
            if place.is_symlink() or (place.is_file() and not member.isdir()):
                place.unlink()
        tar.extractall(root, members, filter="tar")
    return len(members)
