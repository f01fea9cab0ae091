"""How much of a repository's caches is kept, as GitHub keeps them: what nobody used for a week goes, then the longest unused
until the rest fits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

UNUSED = timedelta(days=7)
LARGEST = 10 << 30


@dataclass(frozen=True, slots=True)
class Entry:
    path: Path
    bytes: int
    used: datetime


def without_room(entries: Iterable[Entry], now: datetime, largest: int = LARGEST) -> tuple[Entry, ...]:
    """The entries that go."""
    gone: list[Entry] = []
    kept = 0
    for entry in sorted(entries, key=lambda entry: entry.used, reverse=True):
        if now - entry.used > UNUSED or kept + entry.bytes > largest:
            gone.append(entry)
        else:
            kept += entry.bytes
    return tuple(gone)


def make_room(cache: Path, repository: str, now: datetime) -> int:
    """Drop what has no room in the caches of one repository; how many entries. Blocks."""
    found = []
    for path in (cache / quote(repository, safe="")).rglob("*.tar"):
        try:
            stat = path.stat()
        except FileNotFoundError:
            continue  # somebody else was quicker
        found.append(Entry(path, stat.st_size, datetime.fromtimestamp(max(stat.st_atime, stat.st_mtime), UTC)))
    gone = without_room(found, now)
    for entry in gone:
        entry.path.unlink(missing_ok=True)
    return len(gone)
