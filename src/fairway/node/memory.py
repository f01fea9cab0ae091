"""Memory limits without control groups: look at what a container's processes hold, and end it where that is too much.

Address-space limits (RLIMIT_AS, RLIMIT_DATA) count what a program reserves, and a thread reserves 8 MiB of stack: they
would end honest programs. So the node looks every `LOOK_S` seconds; a container that grows faster than that is
caught late. It is reported as the kernel's own killer would be: OOMKilled, exit code 137.
"""

from __future__ import annotations

from fairway.node.processes import held

LOOK_S = 2.0


def held_bytes(pid: int) -> int:
    """Memory of a process and its descendants that they share with no file; 0 where there is no /proc."""
    return held(pid).own
