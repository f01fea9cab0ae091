"""Control groups: where they may be made, what is written, and what becomes of them. Folders stand for the kernel's tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairway.node import groups


def _tree(folder: Path, handed_down: str) -> tuple[Path, Path]:
    """A session in whose parent groups may be made."""
    tree = folder / "cgroup"
    session = tree / "user.slice" / "app.scope"
    session.mkdir(parents=True)
    for place, controllers in ((tree, ""), (session.parent, handed_down), (session, "")):
        (place / "cgroup.subtree_control").write_text(controllers)
        (place / "cgroup.procs").write_text("")
    own = folder / "own"
    own.write_text("1:name=systemd:/x\n0::/user.slice/app.scope\n")
    return own, tree


def test_the_nearest_part_of_the_tree_that_hands_memory_down_is_used(tmp_path: Path) -> None:
    own, tree = _tree(tmp_path, "cpu memory pids")
    base = groups.find(tmp_path / "node", own, tree)
    assert base is not None and base.parent == tree / "user.slice" and base.name.startswith("fairway-")
    assert (base / "cgroup.subtree_control").read_text() == "+memory +cpu"


@pytest.mark.parametrize("handed_down", ["", "cpu pids"])
def test_without_memory_there_are_none(tmp_path: Path, handed_down: str) -> None:
    own, tree = _tree(tmp_path, handed_down)
    assert groups.find(tmp_path / "node", own, tree) is None
    assert groups.find(tmp_path / "node", tmp_path / "absent", tree) is None


@pytest.mark.parametrize(("memory", "cpu", "expected"), [
    (0, 0.0, {}),
    (64 << 20, 0.0, {"memory.max": "67108864", "memory.swap.max": "0"}),
    (0, 0.25, {"cpu.max": "25000 100000"}),
    (0, 0.001, {"cpu.max": "1000 100000"}),
])
def test_limits(memory: int, cpu: float, expected: dict[str, str]) -> None:
    assert groups.limits(memory, cpu) == expected


def test_the_kernel_tells_who_was_killed(tmp_path: Path) -> None:
    group = groups.make(tmp_path, "u", "main", 3, {"memory.max": "1"})
    assert group is not None and (group / "memory.max").read_text() == "1"
    assert not groups.was_out_of_memory(tmp_path, "u", "main", 3)
    (group / "memory.events").write_text("low 0\nhigh 0\nmax 7\noom 1\noom_kill 1\n")
    assert groups.was_out_of_memory(tmp_path, "u", "main", 3)
