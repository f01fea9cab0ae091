"""actions/cache, its /restore and /save: folders kept from run to run under a key.

An entry is never changed. It is found by its exact key, else by the restore keys as prefixes, newest first, among the
entries of the same paths. Branches see their own entries and those of the default branch.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tarfile
import tempfile
from pathlib import Path
from urllib.parse import quote, unquote

from fairway.ci.actions.builtin import ActionFailed, BuiltIn, Use
from fairway.ci.hash_files import select_files

_LONGEST_KEY = 512
_DEFAULT_BRANCHES = ("refs/heads/main", "refs/heads/master")


class _Store:
    """`<cache>/<repository>/<scope>/<version>/<key>.tar`; the version is a hash of the paths."""

    def __init__(self, use: Use, paths: list[str]) -> None:
        version = hashlib.sha256("|".join(paths).encode()).hexdigest()[:16]
        base = use.run.folders.cache / quote(use.context("repository"), safe="")
        own = use.context("ref")
        scopes = dict.fromkeys((own, *_DEFAULT_BRANCHES))
        self.folders = [base / quote(scope, safe="") / version for scope in scopes]
        self.shelf = use.host.shelf

    def find(self, key: str, prefixes: list[str]) -> Path | None:
        """The entry of this key, else the newest that begins with the first prefix that any has."""
        kept = {folder: self.shelf.listing(folder) for folder in self.folders}
        for folder, names in kept.items():
            if f"{quote(key, safe='')}.tar" in names:
                return self.target(key, folder)
        for prefix in prefixes:
            for folder, names in kept.items():
                found = [name for name in names if name.endswith(".tar") and name.startswith(quote(prefix, safe=""))]
                if found:
                    return folder / max(found, key=lambda name: names[name])
        return None

    def has(self, key: str) -> bool:
        return f"{quote(key, safe='')}.tar" in self.shelf.listing(self.folders[0])

    def target(self, key: str, folder: Path | None = None) -> Path:
        return (folder or self.folders[0]) / f"{quote(key, safe='')}.tar"


def _key_of(path: Path) -> str:
    return unquote(path.name.removesuffix(".tar"))


def _checked(use: Use) -> tuple[str, list[str]]:
    key, paths = use.text("key"), use.lines("path")
    if not key or not paths:
        raise ActionFailed("inputs 'key' and 'path' are required")
    if len(key) > _LONGEST_KEY or "," in key:
        raise ActionFailed(f"key {key[:60]!r} is not allowed: at most {_LONGEST_KEY} characters and no comma")
    return key, paths


async def _restore(use: Use) -> str:
    """The key that was found, or ""."""
    key, paths = _checked(use)
    store = _Store(use, paths)
    found = await asyncio.to_thread(store.find, key, use.lines("restore-keys"))
    matched = _key_of(found) if found is not None else ""
    use.output("cache-primary-key", key)
    use.output("cache-matched-key", matched)
    use.output("cache-hit", "true" if matched == key else "false" if matched else "")
    if found is None:
        if use.flag("fail-on-cache-miss"):
            raise ActionFailed(f"Failed to restore cache entry. Exiting as fail-on-cache-miss is set. Input key: {key}")
        use.log(f"Cache not found for input keys: {', '.join([key, *use.lines('restore-keys')])}")
        return ""
    if not use.flag("lookup-only"):
        await asyncio.to_thread(store.shelf.bring, found)
        await asyncio.to_thread(_unpack, found, _roots(use))
    use.log(f"Cache restored from key: {matched}")
    return matched


def _roots(use: Use) -> dict[str, Path]:
    """Where the parts of an archive belong in this job: each job has folders of its own."""
    return {"work": use.workspace, "home": use.run.folders.home, "root": Path("/")}


def _unpack(archive: Path, roots: dict[str, Path]) -> None:
    with tarfile.open(archive) as tar:
        for name, root in roots.items():
            members = [member for member in tar if member.name.startswith(f"{name}/")]
            for member in members:
                member.name = member.name.removeprefix(f"{name}/")
                if member.islnk():
                    member.linkname = member.linkname.removeprefix(f"{name}/")
            tar.extractall(root, members, filter="tar")


async def _save(use: Use) -> None:
    key, paths = _checked(use)
    store = _Store(use, paths)
    target = store.target(key)
    if await asyncio.to_thread(store.has, key):
        use.log(f"Cache hit occurred on the primary key {key}, not saving cache.")
        return
    home = use.run.folders.home
    files = await asyncio.to_thread(_files, use.workspace, home, paths)
    if not files:
        use.warn(f"Path Validation Error: Path(s) specified in the action for caching do(es) not exist: "
                 f"{', '.join(paths)}")
        return
    await asyncio.to_thread(_pack, files, target, _roots(use))
    use.log(f"Cache saved with key: {key}")


def _files(workspace: Path, home: Path, paths: list[str]) -> list[Path]:
    found: list[Path] = []
    relative: list[str] = []
    for entry in paths:
        if entry.startswith(("~", "/")):
            path = home / entry[1:].strip("/") if entry.startswith("~") else Path(entry)
            if path.exists():
                found.append(path)
        else:
            relative.append(entry)
    for entry in relative:
        plain = workspace / entry
        if not entry.startswith("!") and plain.is_dir():
            found.append(plain)
            relative = [other for other in relative if other != entry]
    return [*found, *select_files(workspace, relative)]


def _pack(files: list[Path], target: Path, roots: dict[str, Path]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".new-")
    with os.fdopen(handle, "wb") as raw, tarfile.open(fileobj=raw, mode="w") as tar:
        for path in files:
            part, root = next((part, root) for part, root in roots.items() if path.is_relative_to(root))
            tar.add(path, arcname=f"{part}/{path.relative_to(root).as_posix()}")
    Path(name).rename(target)


async def cache(use: Use) -> None:
    matched = await _restore(use)
    if matched != use.text("key"):
        condition = "always()" if use.flag("save-always") else "success()"
        use.at_end("Run actions/cache", lambda: _save(use), condition=condition)


async def restore(use: Use) -> None:
    await _restore(use)


async def save(use: Use) -> None:
    await _save(use)


_INPUTS = {"path": "", "key": "", "restore-keys": "", "upload-chunk-size": "", "enableCrossOsArchive": "false",
           "fail-on-cache-miss": "false", "lookup-only": "false", "save-always": "false"}

CACHE = BuiltIn("actions/cache", _INPUTS, cache)
CACHE_RESTORE = BuiltIn("actions/cache/restore", _INPUTS, restore)
CACHE_SAVE = BuiltIn("actions/cache/save", _INPUTS, save)
