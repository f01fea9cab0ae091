"""SIGKILL of the daemon in the middle of a job."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from fairway.kube.clock import WallClock
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.resources import PIPELINE_RUNS
from tests.ci.world import World, is_alive, job, jobs

WORKFLOW = """
on: push
jobs:
  done:
    runs-on: ubuntu-latest
    steps: [{run: echo once >> $MARKS/done}]
  long:
    needs: done
    runs-on: ubuntu-latest
    steps:
      - run: |
          echo $$ >> $MARKS/long
          if [ "$(wc -l < $MARKS/long)" = 1 ]; then kill -9 $DAEMON; exec sleep 600; fi
"""


def start(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "tests.ci.daemon", str(root)], capture_output=True, text=True, timeout=60,
                          check=False, cwd=Path(__file__).parents[2], env={**os.environ, "PYTHONPATH": "."})


def test_jobs_that_ran_when_the_daemon_was_killed_run_again(tmp_path: Path) -> None:
    World(tmp_path).push("shop/app", {".github/workflows/ci.yml": WORKFLOW})
    killed = start(tmp_path)
    assert killed.returncode == -9, killed.stderr
    first = int((tmp_path / "long").read_text())
    assert is_alive(first)
    again = start(tmp_path)
    assert again.stdout.splitlines() == ["found what was there", "Succeeded"], again.stderr
    assert not is_alive(first)
    assert (tmp_path / "done").read_text() == "once\n"

    async def look() -> None:
        api = await EmbeddedApi.open(tmp_path / "api.db", WallClock())
        [run] = (await api.list(PIPELINE_RUNS)).items
        assert jobs(run) == {"done": "Succeeded", "long": "Succeeded"}
        assert (job(run, "done")["attempt"], job(run, "long")["attempt"]) == (1, 2)
        await api.close()

    asyncio.run(look())
