"""Actions that log in and push: for real where the registry is reached, and said where it is not."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from fairway.images.credentials import Account
from fairway.images.distribution import Remote
from tests.ci.gitlab.test_runs import tree_of
from tests.images.servers import TOKEN, debians

WORKFLOW = """
on: push
jobs:
  image:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: docker/login-action@v3
        with: {registry: HOST, username: somebody, password: "${{ secrets.PASSWORD }}"}
      - uses: docker/login-action@v3
        with: {registry: registry.invalid, username: me, password: whatever}
      - id: build
        uses: docker/build-push-action@v6
        with: {push: true, tags: "HOST/team/app:1, registry.invalid/team/app:1"}
      - run: |
          echo "built ${{ steps.build.outputs.digest }}"
          grep -c auth "$HOME/.docker/config.json"
"""


async def run(folder: Path, host: str, password: str) -> tuple[int | None, str]:
    tree = tree_of(folder, {".github/workflows/ci.yml": WORKFLOW.replace("HOST", host),
                            "Dockerfile": "FROM python:3\nCOPY Dockerfile /srv/\n"})
    fairway = str(Path(sys.executable).with_name("fairway"))
    argv = (fairway, "--state", str(folder / "state"), "ci", "run", str(tree), "--secret", f"PASSWORD={password}")
    running = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    shown = (await running.communicate())[0].decode()
    return running.returncode, shown


def test_login_and_push_to_a_registry_with_a_password(tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "registry").mkdir()
        async with debians(tmp_path / "registry", locked=True) as host:
            code, shown = await run(tmp_path / "wrong", host, "not-the-token")
            assert code == 1
            assert "is refused to 'somebody'" in shown
            assert "Run docker/build-push-action@v6" not in shown, "nothing is built after a log-in that failed"
            code, shown = await run(tmp_path / "right", host, TOKEN)
            assert code == 0, shown
            assert "no login to registry.invalid is needed (FAIRWAY_PUSH_TO names registries" in shown
            async with Remote.open(host, "team/app", account=Account("somebody", TOKEN)) as remote:
                found, _ = await remote.manifest("1")
            assert f"built {found.digest}" in shown
            assert TOKEN not in shown

    asyncio.run(story())
