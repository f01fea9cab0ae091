"""SIGKILL of the daemon in the middle of a job."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fairway.kube.clock import WallClock
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.resources import PIPELINE_RUNS
from tests.ci.world import World, is_alive

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


GITLAB = """
done:
  script: [echo once >> $MARKS/done]
long:
  needs: [done]
  script:
    - echo $$ >> $MARKS/long
    - if [ "$(wc -l < $MARKS/long)" = 1 ]; then kill -9 $DAEMON; exec sleep 600; fi
"""


@pytest.mark.parametrize(("file", "text"), [(".github/workflows/ci.yml", WORKFLOW), (".gitlab-ci.yml", GITLAB)],
                         ids=["github", "gitlab"])
def test_jobs_that_ran_when_the_daemon_was_killed_run_again_and_say_so(tmp_path: Path, file: str, text: str) -> None:
    World(tmp_path).push("shop/app", {file: text})
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
        assert {entry["name"]: (entry["phase"], entry["attempt"]) for entry in run["status"]["jobs"]} == {
            "done": ("Succeeded", 1), "long": ("Succeeded", 2)}
        [log] = (tmp_path / "ci/runs" / run["metadata"]["name"] / "jobs").glob("long*/log.txt")
        assert "attempt 2: the platform was stopped while this job ran; it runs again from its beginning" in log.read_text()
        await api.close()

    asyncio.run(look())
