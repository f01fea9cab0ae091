"""The main job: how long the platform itself takes between a commit and production, how fast it starts, what it weighs.

`platform_share_s` is what is left of the time from push to end when the team's own steps are taken out: its jobs, its
hooks, its containers' boot, its pauses. The demo runs without pauses for it. Goals: platform_share_s under
5 s a commit, start under 1 s, idle under 250 MB (proportional set size of daemon, Envoy and shims, without the applications).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from fairway.cli.platform_process import leftovers, start_platform, stop_platform
from fairway.state import StateDir

FAIRWAY = str(Path(sys.executable).parent / "fairway")


def measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="fairway-bench-") as folder:
        state = StateDir(Path(folder) / "state")
        begin = time.perf_counter()
        start_platform(state)
        start_s = time.perf_counter() - begin
        try:
            done = subprocess.run([FAIRWAY, "--state", str(state.root), "demo", "--no-pauses", "--keep", "-o", "json"],
                                  capture_output=True, text=True)
            if not done.stdout:
                raise RuntimeError(done.stderr[-3000:])
            answer = json.loads(done.stdout)
            time.sleep(10)  # idle: scaled-down pods are gone, the load has ended
            memory = {kind: round(sum(sizes), 1) for kind, sizes in _memory(state).items()}
        finally:
            stop_platform(state)
    return {
        "start_s": round(start_s, 2),
        "commits": [{key: commit[key] for key in ("outcome", "commit_to_production_s", "platform_share_s")}
                    for commit in answer["commits"]],
        "platform_share_s": answer["platform_share_s"],
        "lost_requests": answer["lost_requests"],
        "idle_pss_mb": {**memory, "all": round(sum(memory.values()), 1)},
    }  # fmt: skip


def _memory(state: StateDir) -> dict[str, list[float]]:
    """Proportional set sizes in MB of the platform's own processes: the applications are not among them."""
    found: dict[str, list[float]] = {"daemon": [], "envoy": [], "shims": []}
    for process in leftovers(state):
        kind = "envoy" if "bootstrap" in process.command else "shims" if "shim" in process.command else "daemon"
        if kind == "daemon" and "fairway.daemon" not in process.command:
            continue
        text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        kilobytes = next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
        found[kind].append(kilobytes / 1024)
    return found
