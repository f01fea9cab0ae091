"""Memory limits without control groups: look at what a container's processes hold, and end it where that is too much.

Address-space limits (RLIMIT_AS, RLIMIT_DATA) count what a program reserves, and a thread reserves 8 MiB of stack: they
would end honest programs. So the node looks every `LOOK_S` seconds; a container that grows faster than that is
caught late. It is reported as the kernel's own killer would be: OOMKilled, exit code 137.
"""

from __future__ import annotations

import os
from pathlib import Path

LOOK_S = 2.0
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TREE_LIMIT = 4096


def held_bytes(pid: int) -> int:
    """Memory of a process and its descendants that they share with no file; 0 where there is no /proc."""
    total, waiting, seen = 0, [pid], 0
    while waiting and seen < _TREE_LIMIT:
        one = waiting.pop()
        seen += 1
        try:
            fields = Path(f"/proc/{one}/statm").read_text().split()
            total += (int(fields[1]) - int(fields[2])) * _PAGE
            for task in Path(f"/proc/{one}/task").iterdir():
                waiting += [int(child) for child in (task / "children").read_text().split()]
        except (OSError, ValueError, IndexError):
            continue
    return total
