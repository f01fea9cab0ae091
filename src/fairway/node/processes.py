"""A container's processes: the one that was started and whatever it started in turn, as /proc shows them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_TREE_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class Held:
    """What a tree of processes holds now. `cpu_s` includes children that ended and were waited for; it falls where a process
    takes what it used with it. `own` counts bytes that no file backs; `working` adds the largest share of files, once."""

    processes: int = 0
    threads: int = 0
    cpu_s: float = 0.0
    own: int = 0
    working: int = 0


def tree(pid: int) -> Iterator[int]:
    """`pid` and its descendants; at most a few thousand."""
    waiting, seen = [pid], 0
    while waiting and seen < _TREE_LIMIT:
        one = waiting.pop()
        seen += 1
        yield one
        try:
            for task in Path(f"/proc/{one}/task").iterdir():
                waiting += [int(child) for child in (task / "children").read_text().split()]
        except (OSError, ValueError):
            continue


def held(pid: int) -> Held:
    """Nothing at all where there is no /proc, or no such process."""
    processes = threads = ticks = own = shared = 0
    for one in tree(pid):
        try:
            stat = Path(f"/proc/{one}/stat").read_bytes().rpartition(b") ")[2].split()
            pages = Path(f"/proc/{one}/statm").read_bytes().split()
        except OSError:
            continue
        processes, threads = processes + 1, threads + int(stat[17])
        ticks += sum(int(field) for field in stat[11:15])
        own += max(int(pages[1]) - int(pages[2]), 0)
        shared = max(shared, int(pages[2]))
    return Held(processes, threads, ticks / _TICKS, own * _PAGE, (own + shared) * _PAGE)
