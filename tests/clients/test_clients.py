"""Programs written for other people's Kubernetes clients, unchanged, against our API.

Each runs in a process of its own and finds the server by its kubeconfig, as it would find any cluster.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kube_http.whole import Whole, whole

pytestmark = pytest.mark.e2e

PROGRAMS = Path(__file__).parent / "programs"
LIMIT_S = 60.0
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
TOYS = "/apis/kopf.example.com/v1/namespaces/default/toys"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


def needs(package: str) -> pytest.MarkDecorator:
    absent = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(absent, reason=f"{package} is not installed: pip install 'fairway[clients]'")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    with whole(tmp_path_factory.mktemp("clients")) as running:
        yield running


def environment(served: Whole) -> dict[str, str]:
    return {**os.environ, "KUBECONFIG": str(served.kubeconfig), "HOME": str(served.folder)}


@pytest.mark.parametrize("client", [
    pytest.param("kr8s", marks=needs("kr8s")),
    pytest.param("lightkube", marks=needs("lightkube")),
    pytest.param("kubernetes_asyncio", marks=needs("kubernetes_asyncio")),
])  # fmt: skip
def test_a_program(served: Whole, client: str) -> None:
    argv = [sys.executable, "-W", "error::UserWarning", str(PROGRAMS / f"with_{client}.py")]
    done = subprocess.run(argv, env=environment(served), capture_output=True, text=True, timeout=LIMIT_S)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stdout + done.stderr


@needs("kopf")
@needs("kr8s")
def test_an_operator_with_a_finalizer(served: Whole, tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {
        "spec": {"type": "object", "properties": {"size": {"type": "integer"}}},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}
    version = {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}},
               "schema": {"openAPIV3Schema": schema}}
    served.create(CRDS, "toys.kopf.example.com", spec={
        "group": "kopf.example.com", "scope": "Namespaced", "names": {"kind": "Toy", "plural": "toys", "singular": "toy"},
        "versions": [version]})
    log = tmp_path / "operator.log"
    argv = [sys.executable, "-m", "kopf", "run", "--namespace=default", "--verbose", str(PROGRAMS / "operator_with_kopf.py")]
    with log.open("wb") as out:
        operator = subprocess.Popen(argv, env=environment(served), stdout=out, stderr=out)
    try:
        served.create(TOYS, "bear", spec={"size": 3})
        until(lambda: data(served, "toy-bear") == {"size": "3"}, log)
        toy = until(lambda: with_phase(served), log)
        until(lambda: served.ask("GET", f"{TOYS}/bear")[1].get("status", {}).get("ready") == 2, log)
        assert toy["metadata"]["finalizers"] == ["kopf.example.com/finalizer"]
        assert toy["status"]["created"] == {"child": "toy-bear"}
        served.ask("PATCH", f"{TOYS}/bear", {"spec": {"size": 5}}, Content_Type="application/merge-patch+json")
        until(lambda: data(served, "toy-bear") == {"size": "5"}, log)
        until(lambda: "Made" in [event["reason"] for event in events(served)], log)
        status, held = served.ask("DELETE", f"{TOYS}/bear")
        assert (status, held["metadata"]["finalizers"]) == (200, ["kopf.example.com/finalizer"])
        until(lambda: served.ask("GET", f"{TOYS}/bear")[0] == 404, log)
        assert served.ask("GET", f"{CONFIG_MAPS}/farewell-bear")[0] == 200
        until(lambda: served.ask("GET", f"{CONFIG_MAPS}/toy-bear")[0] == 404, log)  # it was owned by the toy
        until(lambda: served.ask("GET", "/api/v1/namespaces/default/pods?labelSelector=toy")[1]["items"] == [], log)
    finally:
        operator.terminate()
        assert operator.wait(LIMIT_S) == 0


def data(served: Whole, name: str) -> Any:
    status, found = served.ask("GET", f"{CONFIG_MAPS}/{name}")
    return found.get("data") if status == 200 else None


def with_phase(served: Whole) -> Any:
    found = served.ask("GET", f"{TOYS}/bear")[1]
    return found if found.get("status", {}).get("phase") == "Made" and "created" in found["status"] else None


def events(served: Whole) -> Any:
    chosen = "fieldSelector=involvedObject.kind%3DToy"
    return served.ask("GET", f"/api/v1/namespaces/default/events?{chosen}")[1]["items"]


def until(holds: Callable[[], Any], log: Path) -> Any:
    """The first true answer of `holds`: another process acts meanwhile."""
    deadline = time.monotonic() + LIMIT_S / 2
    while time.monotonic() < deadline:
        if answer := holds():
            return answer
        time.sleep(0.05)
    raise AssertionError(log.read_text()[-6000:])
