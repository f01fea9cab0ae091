"""Stopping pods without their controller: `fairway down`, also where no daemon runs any more, and pods of nobody."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from fairway.node.folder import PodFolder, kill_group
from fairway.node.shims import Shim, ShimError

QUIT_S = 2.0
"""What a shim may take beyond the grace period before it is killed."""


def pod_folders(pods: Path) -> list[PodFolder]:
    return [PodFolder(path) for path in sorted(pods.iterdir()) if path.is_dir()] if pods.is_dir() else []


async def halt_all(pods: Path, grace_s: float = 5.0) -> None:
    """Stop the processes of every pod below `pods`, within `grace_s` and a little more. Their folders stay as they are,
    with a note of what ran, so that the next controller starts it again."""
    await asyncio.gather(*(_halt(folder, grace_s) for folder in pod_folders(pods)))


async def _halt(folder: PodFolder, grace_s: float) -> None:
    if folder.shim() is None:
        return
    running = [f"{name}.{attempts[0].number}" for name, attempts in folder.attempts().items()
               if attempts and attempts[0].running]
    folder.halted.write_text("\n".join(running))
    await stop_folder(folder, grace_s)


async def stop_folder(folder: PodFolder, grace_s: float) -> None:
    shim = Shim(folder, lambda fields: None, lambda: None)
    with contextlib.suppress(ShimError, OSError):
        if await shim.adopt():
            shim.quit(grace_s)
    await wait_gone(folder, grace_s + QUIT_S)
    await shim.close()


async def wait_gone(folder: PodFolder, limit_s: float) -> bool:
    """Until the shim of the folder is gone, or the time is up; then it and its containers are killed."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            while folder.shim() is not None:  # noqa: ASYNC110 (another process ends)
                await asyncio.sleep(0.01)
            return True
    shim = folder.shim()
    for attempts in folder.attempts().values():
        if attempts and attempts[0].running:
            kill_group(attempts[0].pid, attempts[0].start)
    if shim is not None:
        kill_group(*shim)
    return False
