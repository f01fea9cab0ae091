"""Pods outlive the control plane: killing it stops nothing, and the next one goes on with what it finds."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fairway.kube.clock import WallClock
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.objects import status_of
from fairway.kube.resources import PODS
from fairway.node.folder import PodFolder, lives
from fairway.node.halting import halt_all
from fairway.node.shims import SOURCE, Shim, compiled
from tests.node.machine import Machine, alive, machine, shell


def _wait(holds: Callable[[], Any], what: str, limit_s: float = 15.0) -> Any:
    end = time.monotonic() + limit_s
    while not (found := holds()):
        assert time.monotonic() < end, f"{what} did not happen within {limit_s} s"
        time.sleep(0.02)
    return found


@contextmanager
def _daemon(folder: Path, report: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "daemon.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "tests.node.daemon", str(folder), str(report)],
                                   stdout=log, stderr=log)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@contextmanager
def _nothing_left(folder: Path) -> Iterator[None]:
    """Also where a test fails half-way."""
    try:
        yield
    finally:
        asyncio.run(halt_all(folder / "node" / "pods", 0.0))


def _read(report: Path) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = json.loads(report.read_text()) if report.exists() else {}
    return found


def _answers(address: str) -> bool:
    with urllib.request.urlopen(f"http://{address}:8000/", timeout=2) as answer:
        return bool(answer.status == 200)


def test_killing_the_control_plane_stops_no_pod_and_the_next_one_adopts_them(tmp_path: Path) -> None:
    with _nothing_left(tmp_path):
        _kill_and_adopt(tmp_path)


def _kill_and_adopt(tmp_path: Path) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    with _daemon(tmp_path, first) as daemon:
        before = _wait(lambda: _read(first), "two ready pods")
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
        assert all(_answers(address) for address, _, _ in before.values())
    victim = sorted(before)[0]
    with _daemon(tmp_path, second) as daemon:
        assert _wait(lambda: _read(second), "adoption") == before
        os.kill(before[victim][1], signal.SIGKILL)
        after = _wait(lambda: (seen := _read(second)) != before and seen, "a restart of the killed container")
        assert after[victim][0] == before[victim][0]
        assert after[victim][2] == 1
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(timeout=15) == 0
    assert not any(alive(pid) for _, pid, _ in after.values())
    assert not any(PodFolder(path).shim() for path in (tmp_path / "node" / "pods").iterdir())


def test_what_stop_all_stopped_starts_again_without_counting_as_a_crash(tmp_path: Path) -> None:
    async def main() -> None:
        api = EmbeddedApi.in_memory(WallClock())
        spec = {"restartPolicy": "Always"}
        async with machine(tmp_path, api=api) as m:
            await api.create(shell("web", "trap 'exit 0' TERM; echo up; while :; do sleep 0.02; done", spec))
            found = await m.ready("web")
            (before,) = m.folder(found).attempts()["main"]
        assert not alive(before.pid)
        async with machine(tmp_path, api=api) as m:
            async def again() -> bool:
                attempts = m.folder(await m.pod("web")).attempts().get("main", [])
                return bool(attempts) and attempts[0].running and attempts[0].pid != before.pid

            await m.until(again, "a new start")
            found = await m.ready("web")
            assert status_of(found)["containerStatuses"][0]["restartCount"] == 0

    asyncio.run(main())


def test_a_shim_whose_pod_is_gone_is_stopped(tmp_path: Path) -> None:
    """The pod was deleted while no control plane was there to see it."""

    async def main() -> None:
        async with machine(tmp_path, leave=True) as m:
            await m.api.create(shell("orphan", "sleep 300"))
            folder = m.folder(await m.ready("orphan"))
            (attempt,) = folder.attempts()["main"]
        assert alive(attempt.pid)
        async with machine(tmp_path) as other:  # another API, which knows nothing of the pod
            async def gone() -> bool:
                return not folder.path.exists()

            await other.until(gone, "the folder is gone")
            assert not alive(attempt.pid)

    asyncio.run(main())


def test_a_shim_that_is_killed_takes_its_containers_along_and_they_start_again(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        await m.api.create(shell("web", "sleep 300", {"restartPolicy": "Always"}))
        folder = m.folder(await m.ready("web"))
        (before,) = folder.attempts()["main"]
        shim = folder.shim()
        assert shim is not None
        os.kill(shim[0], signal.SIGKILL)

        async def restarted() -> bool:
            return bool(status_of(await m.pod("web"))["containerStatuses"][0]["restartCount"] == 1)

        await m.until(restarted, "a restart")
        assert not alive(before.pid)
        status = status_of(await m.ready("web"))["containerStatuses"][0]
        assert status["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"

    async def main() -> None:
        async with machine(tmp_path) as made:
            await story(made)

    asyncio.run(main())


def test_a_shim_whose_folder_is_removed_ends(tmp_path: Path) -> None:
    """Somebody removed the state folder: nothing of it may run for ever."""
    folder = PodFolder(tmp_path / "pod")
    folder.create("default", "p", "u", "127.64.0.1")
    compiled(tmp_path)
    program = tmp_path / "shim.py"
    program.write_text(SOURCE.read_text().replace("IDLE_S = 20.0", "IDLE_S = 0.05"))

    async def main() -> int:
        shim = Shim(folder, lambda fields: None, lambda: None)
        await shim.open(program, sys.executable)
        await shim.start("main", 0, folder.log("main", 0), ["sleep", "300"], {"PATH": os.defpath}, "/")
        await shim.close()
        return folder.attempts()["main"][0].pid

    container = asyncio.run(main())
    shim = folder.shim()
    assert shim is not None and alive(container)
    folder.remove()
    _wait(lambda: not lives(*shim), "the end of the shim")
    assert not alive(container)


def test_a_shim_is_small(tmp_path: Path) -> None:
    async def main() -> None:
        async with machine(tmp_path) as m:
            for name in ("a", "b"):
                await m.api.create(shell(name, "sleep 300"))
            for name in ("a", "b"):
                shim = m.folder(await m.ready(name)).shim()
                assert shim is not None
                rollup = Path(f"/proc/{shim[0]}/smaps_rollup").read_text()
                kib = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
                assert kib < 6 * 1024, f"a shim needs {kib} KiB"
            await m.api.delete(PODS, "a", "default")

    asyncio.run(main())
