"""A control plane of its own process, for tests that kill it: `python -m tests.node.daemon FOLDER REPORT`.

Keeps its objects in FOLDER, makes a Deployment of two web servers where there is none, writes REPORT (JSON: pod name to
[address, pid of the server, restart count]) once both are ready, and again whenever that changes. SIGTERM stops every pod.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path

from fairway.kube.cache import Informers
from fairway.kube.clock import WallClock
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.errors import AlreadyExists
from fairway.kube.objects import is_true, status_of
from fairway.kube.reconcile import ControllerLoop
from fairway.kube.resources import PODS
from fairway.node.controller import NodeController
from fairway.node.folder import PodFolder, write_atomic
from fairway.node.settings import NodeSettings
from fairway.workloads.controllers import workload_controllers
from tests.node.no_images import NoImages

COMMAND = ["python3", "-m", "http.server", "--bind", "0.0.0.0", "8000"]
CONTAINER = {"name": "main", "image": "host", "command": COMMAND,
             "readinessProbe": {"httpGet": {"port": 8000}, "periodSeconds": 1}}
DEPLOYMENT = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
    "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
             "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [CONTAINER]}}},
}


async def main(folder: Path, report: Path) -> None:
    clock = WallClock()
    api = await EmbeddedApi.open(folder / "fairway.db", clock)
    informers = Informers(api)
    settings = NodeSettings(folder / "node")
    node = NodeController(informers, clock, settings, NoImages())
    tasks = [asyncio.create_task(ControllerLoop(one, informers, clock).run())
             for one in workload_controllers(informers, clock)]
    tasks.append(asyncio.create_task(node.run()))
    with contextlib.suppress(AlreadyExists):
        await api.create(DEPLOYMENT)
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    written = ""
    while not told.is_set():
        pods = (await api.list(PODS)).items
        if len(pods) == 2 and all(is_true(pod, "Ready") for pod in pods):
            seen = {}
            for pod in pods:
                attempts = PodFolder(settings.pods / pod["metadata"]["uid"]).attempts()["main"]
                seen[pod["metadata"]["name"]] = [status_of(pod)["podIP"], attempts[0].pid, attempts[0].number]
            text = json.dumps(seen, sort_keys=True)
            if text != written:
                write_atomic(report, text)
                written = text
        await asyncio.sleep(0.02)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await node.stop_all(1.0)
    await informers.close()
    await api.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
