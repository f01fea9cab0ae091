"""What `kubectl` says about workloads whose controllers run: rollouts and their history, drains, autoscalers, CronJobs."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fairway.kube.cache import Informers
from fairway.kube.clock import WallClock
from fairway.kube.reconcile import ControllerLoop
from fairway.node.simulated import Script, SimulatedNode
from fairway.workloads.controllers import workload_controllers
from tests.kube_http.serving import Served, serving
from tests.workloads.test_stateful_sets import stateful_set

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


class Kubectl:
    def __init__(self, served: Served) -> None:
        self._served = served

    def __call__(self, *words: str, stdin: str = "", fails: bool = False) -> str:
        done = subprocess.run(["kubectl", "--kubeconfig", str(self._served.kubeconfig), *words], input=stdin, text=True,
                              capture_output=True, timeout=20)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + (done.stderr if fails else "")


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    folder: Path = tmp_path_factory.mktemp("kubectl")
    with serving(folder) as served:
        tasks: list[asyncio.Task[None]] = []

        async def begin() -> None:
            clock, informers = WallClock(), Informers(served.api)
            loops = [ControllerLoop(one, informers, clock) for one in workload_controllers(informers, clock)]
            node = SimulatedNode(informers, clock, Script(start_s=0.02, ready_s=0.02, stop_s=0.02))
            tasks.extend(asyncio.create_task(one.run()) for one in loops)
            tasks.append(asyncio.create_task(node.run()))

        async def end() -> None:
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        served.run(begin())
        yield Kubectl(served)
        served.run(end())


def _images(kubectl: Kubectl, app: str) -> set[str]:
    return set(kubectl("get", "pods", "-l", f"app={app}", "--field-selector=status.phase=Running", "-o",
                       "jsonpath={.items[*].spec.containers[0].image}").split())


def test_a_rollout_is_followed_undone_paused_and_restarted(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "web", "--image=web:1", "--replicas=2")
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=10s")
    kubectl("set", "image", "deployment/web", "web=web:2")
    kubectl("rollout", "status", "deployment/web", "--timeout=10s")
    assert "REVISION" in (history := kubectl("rollout", "history", "deployment/web"))
    assert [line.split()[0] for line in history.splitlines()[2:] if line] == ["1", "2"]
    assert "web:1" in kubectl("rollout", "history", "deployment/web", "--revision=1")
    kubectl("rollout", "undo", "deployment/web")
    kubectl("rollout", "status", "deployment/web", "--timeout=10s")
    assert _images(kubectl, "web") == {"web:1"}
    kubectl("rollout", "pause", "deployment/web")
    kubectl("set", "image", "deployment/web", "web=web:3")
    kubectl("rollout", "resume", "deployment/web")
    kubectl("rollout", "restart", "deployment/web")
    kubectl("rollout", "status", "deployment/web", "--timeout=10s")
    assert _images(kubectl, "web") == {"web:3"}


def test_a_stateful_set_is_followed_and_undone(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=json.dumps(stateful_set(replicas=2)))
    assert "roll out complete" in kubectl("rollout", "status", "statefulset/db", "--timeout=10s")
    kubectl("set", "image", "statefulset/db", "app=db:2")
    kubectl("rollout", "status", "statefulset/db", "--timeout=10s")
    assert _images(kubectl, "db") == {"db:2"}
    assert "db:1" in kubectl("rollout", "history", "statefulset/db", "--revision=1")
    kubectl("rollout", "undo", "statefulset/db")
    kubectl("rollout", "status", "statefulset/db", "--timeout=10s")
    assert _images(kubectl, "db") == {"db:1"}
    assert "Bound" in kubectl("get", "pvc", "data-db-0")


def test_a_drain_asks_the_budget(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "kept", "--image=kept:1")
    kubectl("create", "poddisruptionbudget", "kept", "--selector=app=kept", "--min-available=1")
    kubectl("rollout", "status", "deployment/kept", "--timeout=10s")
    refused = kubectl("drain", "fairway", "--pod-selector=app=kept", "--timeout=1s", fails=True)
    assert "Cannot evict pod as it would violate the pod's disruption budget." in refused
    kubectl("delete", "poddisruptionbudget", "kept")
    assert "evicted" in kubectl("drain", "fairway", "--pod-selector=app=kept", "--timeout=10s")
    kubectl("uncordon", "fairway")


def test_cron_jobs_and_autoscalers_as_kubectl_makes_them(kubectl: Kubectl) -> None:
    kubectl("create", "cronjob", "tick", "--image=task:1", "--schedule=@daily", "--", "true")
    kubectl("create", "job", "now", "--from=cronjob/tick")
    assert "tick" in kubectl("get", "cronjob", "tick")
    kubectl("create", "deployment", "busy", "--image=busy:1")
    kubectl("autoscale", "deployment", "busy", "--min=2", "--max=4", "--cpu-percent=50")
    kubectl("wait", "deployment/busy", "--for=jsonpath={.status.readyReplicas}=2", "--timeout=10s")
    assert "SuccessfulRescale" in kubectl("describe", "hpa", "busy")
