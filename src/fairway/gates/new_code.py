"""Lines that a change adds, from git's own diff; and which of them a coverage report knows. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_HUNK = re.compile(r"^@@ -\S+ \+(\d+)(?:,(\d+))? @@")

Lines = Mapping[str, frozenset[int]]


def added_lines(diff: str) -> Lines:
    """Per file of `git diff --unified=0`: the numbers of the lines that are new or changed."""
    found: dict[str, set[int]] = {}
    now: set[int] = set()
    for line in diff.splitlines():
        if line.startswith("+++ "):
            name = line[4:].split("\t")[0].strip('"')
            now = found.setdefault(name.removeprefix("b/"), set()) if name != "/dev/null" else set()
        elif m := _HUNK.match(line):
            first, count = int(m[1]), int(m[2] or 1)
            now.update(range(first, first + count))
    return {name: frozenset(numbers) for name, numbers in found.items() if numbers}


def covered_of(added: Lines, measured: Iterable[Mapping[str, Mapping[int, bool]]]) -> tuple[int, int, str]:
    """(covered, measured, first line that is not covered) of the added lines that a report measures."""
    covered = total = 0
    first = ""
    for files in measured:
        for name, lines in sorted(files.items()):
            wanted = _same_file(name, added)
            for number in sorted(set(lines) & added[wanted]) if wanted else ():
                total += 1
                covered += lines[number]
                if not lines[number] and not first:
                    first = f"{wanted}:{number}"
    return covered, total, first


def _same_file(name: str, added: Lines) -> str | None:
    """A report names files from its own folder: the file whose path ends alike, where only one does."""
    plain = name.replace("\\", "/").removeprefix("./")
    if plain in added:
        return plain
    alike = [path for path in added if path.endswith(f"/{plain}") or plain.endswith(f"/{path}")]
    return alike[0] if len(alike) == 1 else None
