"""`python -m tests.ci.daemon ROOT`: CI over a database on disk, until it is killed."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from fairway.kube.clock import WallClock
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.errors import AlreadyExists
from tests.ci.world import World


async def main(root: Path) -> None:
    world = World(root, job_env={"MARKS": str(root), "DAEMON": str(os.getpid())})
    world.api = await EmbeddedApi.open(root / "api.db", WallClock())
    try:
        await world.declare("shop/app")
    except AlreadyExists:
        print("found what was there", flush=True)
    async with world.running() as daemon:
        [run] = await daemon.finished()
        print(run["status"]["phase"], flush=True)
    await world.api.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
