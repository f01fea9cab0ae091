"""A pipeline's jobs in a cluster, in a runner's image that is built from Fairway's own wheel as docs/cluster-mode.md says."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fairway.kube.resources import PODS
from fairway.parts import DELIVERY
from tests.platform.running import platform
from tests.platform.test_jobs_in_pods import ended, job, log_of, pushed

pytestmark = pytest.mark.e2e
HERE = Path(__file__).parent.parent.parent
RUNNER = "registry.example.com/team/runner:1"
DOCKERFILE = """FROM python:3.11
WORKDIR /opt/runner
COPY requirements.txt *.whl ./
RUN pip install -r requirements.txt
"""
WORKFLOW = """
on: push
jobs:
  test:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: |
          cat hello.txt
          tr '\\0' ' ' < /proc/$PPID/cmdline
      - uses: actions/upload-artifact@v4
        with: {name: hello, path: hello.txt}
"""


def wheel(folder: Path) -> str:
    """The project's own, as somebody would release it; its name."""
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", str(folder), str(HERE)], check=True, timeout=300)
    [made] = folder.glob("*.whl")
    return made.name


def test_the_runners_image_of_the_guide(tmp_path: Path) -> None:
    source = tmp_path / "runner"
    source.mkdir()
    (source / "requirements.txt").write_text(f"./{wheel(source)}\n")
    (source / "Dockerfile").write_text(DOCKERFILE)
    with platform(tmp_path / "cluster", "--without", ",".join(DELIVERY)) as cluster:
        cluster.fairway("image", "build", str(source), "-t", RUNNER, "--push")
        state = tmp_path / "delivering" / "state"
        state.mkdir(parents=True)
        (state / "jobs.yaml").write_text(yaml.safe_dump({"images": {"*": RUNNER}}))
        with platform(tmp_path / "delivering", "--kubeconfig", str(cluster.state.kubeconfig)) as delivering:
            name = pushed(delivering, tmp_path / "tree", "shop/app",
                          {".github/workflows/ci.yml": WORKFLOW, "hello.txt": "hello from the commit\n"})
            run = ended(delivering, name)
            lines = log_of(delivering, name, "test")
            assert run["status"]["phase"] == "Succeeded", "\n".join([json.dumps(job(run, "test"), indent=1), *lines])
            assert "hello from the commit" in lines
            assert any("-m fairway.job_pod /fairway/order" in line for line in lines), "\n".join(lines)
            kept = delivering.state.ci / "runs" / name / "artifacts" / "hello" / "hello.txt"
            assert kept.read_text() == "hello from the commit\n"
            [pod] = cluster.client.list(PODS, "fairway")
            assert pod["status"]["containerStatuses"][0]["image"] == RUNNER
            shown = delivering.fairway("logs", f"run/{name}").stdout
            assert "hello from the commit" in shown
