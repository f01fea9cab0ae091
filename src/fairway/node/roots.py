"""A pod's own root folder over an image that many pods share.

Links wherever nobody writes: `/usr` and the other system folders are one link each. Folders outside of them are real,
so that a pod may create files beside the image's (an SQLite file, a log, a pid file) and no other pod sees them. The
working folder's small files are copies, so that a program may change them in place. Volumes are links at their mount
paths; whatever the image has there is hidden.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

_SYSTEM = frozenset({"usr", "lib", "lib32", "lib64", "bin", "sbin", "proc", "sys", "dev"})
_COPIED_BYTES = 1024 * 1024
"""A file larger than this is data that nobody edits in place; linking it saves the copy."""


def build(root: Path, image: Path | None, working_dir: str, mounts: Mapping[str, Path]) -> None:
    """Idempotent: what is there is left as it is, except that mounts are pointed anew."""
    work = _parts(working_dir)
    inner = {_parts(path) for path in mounts}
    real = {parts[:i] for parts in (*inner, *([work] if work else [])) for i in range(len(parts))}
    if work:
        real.add(work)
    root.mkdir(parents=True, exist_ok=True)
    if image is not None:
        _mirror(image, root, (), real, inner, work)
    for path, target in sorted(mounts.items()):
        _mount(root, _parts(path), target)


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in PurePosixPath(path or "/").parts if part not in ("/", ".."))


def _mirror(source: Path, target: Path, at: tuple[str, ...], real: set[tuple[str, ...]],
            hidden: Iterable[tuple[str, ...]], work: tuple[str, ...]) -> None:
    inside_work = bool(work) and at[:len(work)] == work
    for entry in source.iterdir():
        here = (*at, entry.name)
        place = target / entry.name
        if here in hidden:
            continue
        if entry.is_dir() and not entry.is_symlink():
            system = here[0] in _SYSTEM and not inside_work and here[:len(work)] != work
            if system and here not in real:
                if not place.exists():
                    place.symlink_to(entry)
                continue
            place.mkdir(exist_ok=True)
            _mirror(entry, place, here, real, hidden, work)
        elif not place.exists() and not place.is_symlink():
            if entry.is_symlink():
                place.symlink_to(entry.readlink())
            elif inside_work and entry.stat().st_size <= _COPIED_BYTES:
                shutil.copy2(entry, place)
            else:
                place.symlink_to(entry)


def _mount(root: Path, parts: tuple[str, ...], target: Path) -> None:
    place = root.joinpath(*parts)
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink():
        if place.readlink() == target:
            return
        place.unlink()
    elif place.is_dir():
        shutil.rmtree(place)
    elif place.exists():
        place.unlink()
    place.symlink_to(target)


def site_packages(image: Path | None) -> list[str]:
    """The image's own Python packages, as paths inside of it."""
    if image is None:
        return []
    found = [*image.glob("usr/local/lib/python3*/site-packages"), *image.glob("usr/lib/python3/dist-packages")]
    return ["/" + str(path.relative_to(image)) for path in sorted(found)]
