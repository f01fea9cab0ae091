"""A story plays in a world of its own, in virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fairway.gitops import Settings
from fairway.kube.clock import Clock, run_virtual
from tests.gitops.world import World

Story = Callable[[World], Awaitable[None]]
Play = Callable[..., None]


@pytest.fixture
def perform(tmp_path: Path) -> Play:
    def run(story: Story, settings: Settings | None = None) -> None:
        async def main(clock: Clock) -> None:
            world = World(clock, tmp_path)
            world.start(settings)
            try:
                await story(world)
            finally:
                await world.kill()

        run_virtual(main)

    return run
