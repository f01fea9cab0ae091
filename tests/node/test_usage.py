"""What containers use: read from real processes, followed over restarts, and shown as metrics-server shows it."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fairway.container_series import claim_samples, samples
from fairway.node.attempt import Attempt
from fairway.node.processes import Held, held
from fairway.node.spec import decode
from fairway.node.usage import UsageMeter
from tests.node.machine import DEADLINE_S

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
POD: dict[str, Any] = {"metadata": {"name": "web", "namespace": "shop", "uid": "u", "labels": {"app": "web"}},
       "spec": {"containers": [{"name": "app", "image": "web:1"}], "nodeName": "fairway"}}


def test_a_tree_of_processes_is_one_sum() -> None:
    burn = ("import os, time; os.fork(); x = bytearray(30 << 20); end = time.process_time() + 0.1\n"
            "while time.process_time() < end: pass\nos.write(1, b'.'); time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", burn], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.read(2) == b".."
            found = held(process.pid)
        finally:
            subprocess.run(["pkill", "-KILL", "-P", str(process.pid)], check=False)
            process.kill()
    assert (found.processes, found.threads) == (2, 2)
    assert found.cpu_s >= 0.2 and found.own > 60 << 20
    assert found.own < found.working < found.own + (30 << 20), "shared pages count once"
    deadline = time.monotonic() + DEADLINE_S
    while held(process.pid) != Held() and time.monotonic() < deadline:
        pass
    assert held(process.pid) == Held()


class _Pod:
    """What the meter asks of a pod."""

    def __init__(self) -> None:
        self.uid, self.pod = "u", POD
        self.attempt = Attempt(0, 100, "1", NOW)

    def running(self) -> list[Any]:
        return [(decode(POD).containers[0], self.attempt)]


def test_seconds_only_grow_and_rates_are_over_a_window() -> None:
    used = {"cpu_s": 0.0}
    meter, pod = UsageMeter("fairway", lambda pid: Held(1, 1, used["cpu_s"], 1 << 20, 2 << 20)), _Pod()

    def look(seconds: int, cpu_s: float) -> float:
        used["cpu_s"] = cpu_s
        meter.look([pod], NOW + timedelta(seconds=seconds))  # type: ignore[list-item]
        return meter.containers[0].cpu_s

    assert look(0, 3.0) == 3.0
    assert meter.pods() == [], "one look makes no rate"
    assert [look(5, 4.0), look(10, 6.0), look(15, 9.0), look(20, 9.5)] == [4.0, 6.0, 9.0, 9.5]
    shown = meter.pods()[0]
    assert shown["metadata"]["labels"] == {"app": "web"}
    assert (shown["timestamp"], shown["window"]) == ("2026-03-01T12:00:20Z", "15s")
    assert shown["containers"] == [{"name": "app", "usage": {"cpu": f"{round(5.5 / 15 * 1e9)}n", "memory": "2048Ki"}}]
    assert look(25, 8.0) == 9.5, "a process took its seconds with it"
    pod.attempt = Attempt(1, 101, "2", NOW)
    assert look(30, 0.5) == 10.0, "a new run goes on from there"
    assert meter.pods() == []
    meter.look([], NOW + timedelta(seconds=35))
    assert (meter.containers, meter.pods()) == ([], [])


def test_what_is_shown_to_the_metrics(tmp_path: Path) -> None:
    meter, pod = UsageMeter("fairway", lambda pid: Held(2, 3, 4.5, 1 << 20, 2 << 20)), _Pod()
    pod.pod = {**POD, "spec": {**POD["spec"], "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]}}
    meter.look([pod], NOW)  # type: ignore[list-item]
    found = {name: (labels, value) for name, labels, value in samples(meter)}
    labels, seconds = found["container_cpu_usage_seconds_total"]
    assert (seconds, labels["namespace"], labels["pod"], labels["container"], labels["image"], labels["cpu"]) == (
        4.5, "shop", "web", "app", "web:1", "total")
    assert [found[f"container_{name}"][1] for name in ("memory_working_set_bytes", "memory_rss", "processes", "threads")] == [
        2 << 20, 1 << 20, 2, 3]
    claims = {name: (labels["persistentvolumeclaim"], value) for name, labels, value in claim_samples(meter, tmp_path)}
    whole, used, free = (claims[f"kubelet_volume_stats_{name}_bytes"] for name in ("capacity", "used", "available"))
    assert whole[0] == "data" and whole[1] >= used[1] + free[1] > 0
    assert list(claim_samples(meter, tmp_path / "absent")) == []
