"""`hashFiles`: SHA-256 over the binary SHA-256 of each file that the patterns select, "" where none is.

Patterns are those of `@actions/glob`: relative to the work tree, `**` any folders, `!` excludes, a folder means
everything below it; files outside of the work tree are never read.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

_AT_ONCE = 1 << 20
"""A larger file is not read as a whole."""


def select_files(root: Path, patterns: Sequence[str], *, hidden: bool = True) -> list[Path]:
    """Files that the patterns select, in the order of their paths. Excludes apply whatever their place."""
    found: dict[str, Path] = {}
    excluded = [_regex(pattern[1:].strip()) for pattern in patterns if pattern.startswith("!")]
    for pattern in patterns:
        if pattern.startswith("!"):
            continue
        regex = _regex(pattern)
        for path, relative in _candidates(root, pattern):
            if relative in found or not regex.fullmatch(relative):
                continue
            if any(other.fullmatch(relative) for other in excluded):
                continue
            if hidden or not any(part.startswith(".") for part in relative.split("/")):
                found[relative] = path
    return [found[name] for name in sorted(found)]


def hash_files(root: Path, patterns: Sequence[str]) -> str:
    total = hashlib.sha256()
    files = select_files(root, [line for text in patterns for line in pattern_lines(text) if not line.startswith("--")])
    for path in files:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (thousands)
            total.update(hashlib.file_digest(file, "sha256").digest() if os.fstat(file.fileno()).st_size > _AT_ONCE else
                         hashlib.sha256(file.read()).digest())
    return total.hexdigest() if files else ""


def pattern_lines(text: str) -> list[str]:
    """One pattern a line; blank lines and comments aside."""
    return [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]


def _candidates(root: Path, pattern: str) -> Iterator[tuple[Path, str]]:
    """Files below the longest part of the pattern that has no wildcard."""
    fixed: list[str] = []
    for part in _relative(pattern).split("/"):
        if re.search(r"[*?\[]", part):
            break
        fixed.append(part)
    base = root.joinpath(*fixed)
    if base.is_file():
        yield base, "/".join(fixed)
        return
    if not base.is_dir() or ".." in fixed:
        return
    yield from _below(str(base), "/".join(fixed))


def _below(folder: str, relative: str) -> Iterator[tuple[Path, str]]:
    """Files in the folder and in those below it; links to folders are not followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = f"{relative}/{entry.name}" if relative else entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from _below(entry.path, name)
            elif entry.is_file():
                yield Path(entry.path), name


def _relative(pattern: str) -> str:
    return pattern.removeprefix("./").strip("/")


@lru_cache(maxsize=256)
def _regex(pattern: str) -> re.Pattern[str]:
    out: list[str] = []
    text = _relative(pattern)
    at = 0
    while at < len(text):
        if text.startswith("**/", at):
            out.append("(?:.*/)?")
            at += 3
        elif text.startswith("**", at):
            out.append(".*")
            at += 2
        elif text[at] == "*":
            out.append("[^/]*")
            at += 1
        elif text[at] == "?":
            out.append("[^/]")
            at += 1
        elif text[at] == "[" and (end := text.find("]", at + 2)) > 0:
            inside = text[at + 1 : end].replace("\\", "\\\\")
            out.append(f"[{'^' + inside[1:] if inside.startswith('!') else inside}]")
            at = end + 1
        else:
            out.append(re.escape(text[at]))
            at += 1
    if text in ("", "."):
        return re.compile(".*", re.DOTALL)
    return re.compile("".join(out) + "(?:/.*)?", re.DOTALL)
