"""actions/upload-artifact and actions/download-artifact: files handed on within a run. An artifact is not changed."""

from __future__ import annotations

import asyncio
import fnmatch
import hashlib
import os
import shutil
import zlib
from datetime import timedelta
from pathlib import Path

from fairway.ci.actions.builtin import ActionFailed, BuiltIn, Use
from fairway.ci.hash_files import select_files

_DAYS, _MOST_DAYS = 90, 400
"""GitHub's default, and the most that a repository may ask for there."""
_BAD = '":<>|*?\r\n\\/'


async def upload(use: Use) -> None:
    name = use.text("name") or "artifact"
    if any(char in _BAD for char in name):
        raise ActionFailed(f"artifact name {name!r} is not allowed: none of {_BAD!r} may be in it")
    patterns = use.lines("path")
    if not patterns:
        raise ActionFailed("input 'path' is required")
    relative = [_relative(use, pattern) for pattern in patterns]
    files = await asyncio.to_thread(select_files, use.workspace, relative, hidden=use.flag("include-hidden-files"))
    if not files:
        _nothing(use, patterns)
        return
    store = use.run.folders.run.artifacts
    target = store / name
    if name in await asyncio.to_thread(use.host.shelf.listing, store):
        if not use.flag("overwrite"):
            raise ActionFailed(f"an artifact with the name {name!r} already exists in this run; give each job its own "
                               "name, or set overwrite: true")
        shutil.rmtree(target, ignore_errors=True)
    root = _common_root(files, use.workspace, patterns)
    digest = await asyncio.to_thread(_copy, files, root, target)
    until = use.run.now() + timedelta(days=_days(use))
    await asyncio.to_thread(use.run.folders.run.keep_until, name, until)
    use.log(f"Artifact {name} has been successfully uploaded: {len(files)} file(s), kept until {until:%Y-%m-%d}")
    use.output("artifact-id", str(zlib.crc32(str(target).encode())))
    use.output("artifact-digest", digest)
    use.output("artifact-url", target.as_uri())


def _days(use: Use) -> int:
    text = use.text("retention-days") or "0"
    if not text.isdigit() or int(text) > _MOST_DAYS:
        raise ActionFailed(f"input 'retention-days' must be a number of days up to {_MOST_DAYS}, not {text!r}")
    return int(text) or _DAYS


def _relative(use: Use, pattern: str) -> str:
    bang = "!" if pattern.startswith("!") else ""
    plain = pattern.removeprefix("!")
    if not plain.startswith("/"):
        return pattern
    path = Path(plain)
    if not path.is_relative_to(use.workspace):
        raise ActionFailed(f"path {plain!r} leads out of the work tree")
    return bang + path.relative_to(use.workspace).as_posix()


def _nothing(use: Use, patterns: list[str]) -> None:
    message = f"No files were found with the provided path: {', '.join(patterns)}. No artifacts will be uploaded."
    match use.text("if-no-files-found") or "warn":
        case "error":
            raise ActionFailed(message)
        case "ignore":
            use.log(message)
        case _:
            use.warn(message)


def _common_root(files: list[Path], workspace: Path, patterns: list[str]) -> Path:
    """One pattern: the folder before its first wildcard; several: the least common folder."""
    included = [pattern for pattern in patterns if not pattern.startswith("!")]
    if len(included) == 1:
        fixed = []
        for part in Path(included[0]).parts:
            if any(char in part for char in "*?["):
                break
            fixed.append(part)
        base = workspace.joinpath(*fixed)
        return base if base.is_dir() else base.parent
    return Path(os.path.commonpath([path.parent for path in files]))


def _copy(files: list[Path], root: Path, target: Path) -> str:
    new = target.with_name(f".{target.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    total = hashlib.sha256()
    for path in files:
        place = new / path.relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, place)
        total.update(str(path.relative_to(root)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    new.rename(target)
    return total.hexdigest()


async def download(use: Use) -> None:
    store = use.run.folders.run.artifacts
    target = use.inside(use.text("path") or ".")
    name, pattern = use.text("name"), use.text("pattern")
    have = sorted(await asyncio.to_thread(use.host.shelf.listing, store))
    if name:
        if name not in have:
            raise ActionFailed(f"Artifact not found for name: {name} (this run has: {', '.join(have) or 'none'})")
        await asyncio.to_thread(_handed, use, store / name, target)
    else:
        wanted = [entry for entry in have if not pattern or fnmatch.fnmatch(entry, pattern)]
        for entry in wanted:
            place = target if use.flag("merge-multiple") else target / entry
            await asyncio.to_thread(_handed, use, store / entry, place)
        use.log(f"{len(wanted)} artifact(s) downloaded")
    use.output("download-path", str(target))


def _handed(use: Use, kept: Path, place: Path) -> None:
    use.host.shelf.bring(kept)
    shutil.copytree(kept, place, dirs_exist_ok=True)


UPLOAD = BuiltIn(
    "actions/upload-artifact",
    {"name": "artifact", "path": "", "if-no-files-found": "warn", "retention-days": "", "compression-level": "6",
     "overwrite": "false", "include-hidden-files": "false", "archive": "true"},
    upload,
)
DOWNLOAD = BuiltIn(
    "actions/download-artifact",
    {"name": "", "artifact-ids": "", "path": "", "pattern": "", "merge-multiple": "false", "github-token": "",
     "repository": "", "run-id": "", "skip-decompress": "false", "digest-mismatch": ""},
    download,
)
