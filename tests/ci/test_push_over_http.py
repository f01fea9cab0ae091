"""The whole way of the demo: a job pushes to another repository over smart HTTP, and that push is seen."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import web

from fairway.git import http_backend
from tests.ci.world import World, log_of

WORKFLOW = """
on: push
jobs:
  deploy:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
        with: {repository: shop/deploy, path: deploy, token: "${{ secrets.DEPLOY_TOKEN }}"}
      - working-directory: deploy
        run: |
          git config user.name ci; git config user.email ci@example.com
          echo "$GITHUB_SHA" > source; git add source; git commit -qm "deploy"
          git push
          git fetch -q && git status -sb
"""
REFUSED = WORKFLOW.replace("path: deploy,", "path: deploy, persist-credentials: false,")


async def delivered(world: World, workflow: str) -> tuple[str, list[str], str]:
    """Phase of the run, repositories that were pushed to, the job's log."""
    pushed: list[str] = []
    app = web.Application()
    app.add_routes(http_backend.routes(world.repositories, token=world.token, on_push=pushed.append))
    server = web.AppRunner(app)
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", 0).start()
    world.base_url = f"http://127.0.0.1:{server.addresses[0][1]}/git/"
    world.push("shop/app", {".github/workflows/ci.yml": workflow})
    await world.declare("shop/app")
    try:
        async with world.running() as daemon:
            [run] = await daemon.finished()
        return run["status"]["phase"], pushed, log_of(world, run, "deploy")
    finally:
        await server.cleanup()


def test_a_push_with_the_credentials_of_the_checkout(tmp_path: Path) -> None:
    world = World(tmp_path, token="the-token-of-the-platform")
    world.push("shop/deploy", {"a": "b"})
    phase, pushed, log = asyncio.run(delivered(world, WORKFLOW))
    assert phase == "Succeeded", log
    assert pushed == ["shop/deploy"]
    assert "## main...origin/main" in log
    assert "the-token-of-the-platform" not in log
    deploy = world.repositories.open("shop/deploy")
    assert [commit.subject for commit in deploy.log("main")] == ["deploy", "change"]


def test_without_persisted_credentials_a_push_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path, token="the-token-of-the-platform")
    world.push("shop/deploy", {"a": "b"})
    phase, pushed, log = asyncio.run(delivered(world, REFUSED))
    assert phase == "Failed"
    assert pushed == []
    assert "could not read Username" in log or "terminal prompts disabled" in log
