"""Memory and CPU limits by the kernel: control groups (version 2), where a part of their tree is ours to write.

A systemd user session has such a part, and root has the whole. One group per attempt of a container with limits, all of them in
one folder of the node's. Nothing is enabled in groups that were there before us: where the memory controller is not
handed down, the node watches memory itself (`memory.py`).
"""

from __future__ import annotations

import contextlib
import os
import zlib
from pathlib import Path

_PERIOD_US = 100_000  # the kernel's own default
_LEAST_QUOTA_US = 1_000  # what the kernel accepts


def find(node: Path, own: Path = Path("/proc/self/cgroup"), tree: Path = Path("/sys/fs/cgroup")) -> Path | None:
    """The folder for this node's groups, made; None where we may not, or memory is not handed down."""
    try:
        path = next(line[3:] for line in own.read_text().splitlines() if line.startswith("0::"))
        place = tree / path.strip("/")
        for parent in (place, *place.parents):
            if not parent.is_relative_to(tree):
                return None
            handed_down = (parent / "cgroup.subtree_control").read_text().split()
            if "memory" in handed_down and all(os.access(parent / name, os.W_OK) for name in (".", "cgroup.procs")):
                group = parent / f"fairway-{zlib.crc32(str(node).encode()):08x}"
                group.mkdir(exist_ok=True)
                wanted = [f"+{name}" for name in ("memory", "cpu") if name in handed_down]
                (group / "cgroup.subtree_control").write_text(" ".join(wanted))
                return group
    except (OSError, StopIteration):
        return None
    return None


def limits(memory: int, cpu: float) -> dict[str, str]:
    """What to write into which file of a group. `memory` in bytes, `cpu` in cores; 0 for no limit. Pure."""
    found: dict[str, str] = {}
    if memory:
        found |= {"memory.max": str(memory), "memory.swap.max": "0"}
    if cpu:
        found["cpu.max"] = f"{max(int(cpu * _PERIOD_US), _LEAST_QUOTA_US)} {_PERIOD_US}"
    return found


def make(base: Path, uid: str, container: str, attempt: int, wanted: dict[str, str]) -> Path | None:
    """The group of one attempt; None where memory cannot be limited in it."""
    group = base / f"{uid}.{container}.{attempt}"
    try:
        group.mkdir(exist_ok=True)
        for name, text in wanted.items():
            if name == "memory.max" or (group / name).exists():
                (group / name).write_text(text)
    except OSError:
        with contextlib.suppress(OSError):
            group.rmdir()
        return None
    return group


def was_out_of_memory(base: Path, uid: str, container: str, attempt: int) -> bool:
    try:
        events = (base / f"{uid}.{container}.{attempt}" / "memory.events").read_text().split()
    except OSError:
        return False
    return dict(zip(events[::2], events[1::2], strict=False)).get("oom_kill", "0") != "0"


def remove(base: Path, uid: str) -> None:
    """Groups of a pod in which nothing runs any more."""
    for group in base.glob(f"{uid}.*"):
        with contextlib.suppress(OSError):
            group.rmdir()
