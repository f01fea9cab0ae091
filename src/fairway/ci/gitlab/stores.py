"""Where a pipeline keeps artifacts (for the run) and caches (for the repository)."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from fairway.ci.archive import files_below, pack, unpack
from fairway.ci.gitlab.globs import path_pattern
from fairway.ci.gitlab.spec import Cache
from fairway.ci.shelf import OwnShelf, Shelf


def selected(work: Path, patterns: Iterable[str], *, exclude: Iterable[str] = (), untracked: bool = False) -> list[str]:
    """Files of the work tree that the patterns select: a folder that matches counts with all that is in it."""
    wanted = [path_pattern(_relative(pattern, work)) for pattern in patterns]
    unwanted = [path_pattern(_relative(pattern, work)) for pattern in exclude]
    extra = _untracked(work) if untracked else frozenset()
    return [name for name in files_below(work)
            if (name in extra or any(_covers(pattern, name) for pattern in wanted))
            and not any(pattern.fullmatch(name) for pattern in unwanted)]


def leads_out(pattern: str, work: Path) -> bool:
    """Whether the pattern means something outside of the project."""
    path = Path(pattern)
    return (path.is_absolute() and not path.is_relative_to(work)) or ".." in path.parts


def _relative(pattern: str, work: Path) -> str:
    path = Path(pattern)
    text = path.relative_to(work).as_posix() if path.is_absolute() and path.is_relative_to(work) else pattern
    return text.removeprefix("./").rstrip("/") or "**"


def _covers(pattern: object, name: str) -> bool:
    full = pattern.fullmatch  # type: ignore[attr-defined]
    if full(name) is not None:
        return True
    at = name.rfind("/")
    while at > 0:
        if full(name[:at]) is not None:
            return True
        at = name.rfind("/", 0, at)
    return False


def _untracked(work: Path) -> frozenset[str]:
    done = subprocess.run(["git", "ls-files", "--others", "-z"], cwd=work, capture_output=True, check=False)
    return frozenset(done.stdout.decode(errors="replace").split("\0")) - {""}


@dataclass(frozen=True, slots=True)
class Artifacts:
    """`<run>/artifacts/<leg>.tar`."""

    folder: Path
    shelf: Shelf = field(default_factory=OwnShelf)

    def save(self, leg: str, work: Path, names: Iterable[str]) -> int:
        return pack(work, names, self._path(leg))

    def restore(self, leg: str, work: Path) -> int:
        path = self._path(leg)
        if path.name not in self.shelf.listing(self.folder):
            return 0
        self.shelf.bring(path)
        return unpack(path, work)

    def read(self, leg: str, name: str) -> str | None:
        """One file of what a job left."""
        import tarfile

        path = self._path(leg)
        if not path.is_file():
            return None
        with tarfile.open(path) as tar:
            try:
                file = tar.extractfile(name.removeprefix("./"))
            except KeyError:
                return None
            return file.read().decode(errors="replace") if file is not None else None

    def _path(self, leg: str) -> Path:
        return self.folder / f"{leg}.tar"


@dataclass(frozen=True, slots=True)
class Caches:
    """`<cache>/<repository>/gitlab/<key>.tar`."""

    folder: Path
    shelf: Shelf = field(default_factory=OwnShelf)

    def find(self, keys: Iterable[str]) -> tuple[str, Path] | None:
        """The first key that has an entry."""
        kept = self.shelf.listing(self.folder)
        for key in keys:
            path = self.path(key)
            if path.name in kept:
                self.shelf.bring(path)
                return key, path
        return None

    def path(self, key: str) -> Path:
        return self.folder / f"{quote(key, safe='')[:200]}.tar"


def cache_key(cache: Cache, key: str, files: Iterable[str], work: Path) -> str:
    """The key, or a prefix and a hash over the files that make it; `default` where none of them exists."""
    if not cache.key_files:
        return key or "default"
    total = hashlib.sha256()
    found = False
    for pattern in files:
        for name in selected(work, [pattern]):
            total.update(name.encode() + b"\0" + hashlib.sha256((work / name).read_bytes()).digest())
            found = True
    made = total.hexdigest()[:40] if found else "default"
    return f"{key}-{made}" if key else made
