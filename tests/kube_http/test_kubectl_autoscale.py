"""`kubectl autoscale` on a program that really burns CPU: measured, scaled, shown."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.kube_http.kubectl import Kubectl, needs_kubectl
from tests.kube_http.whole import whole

pytestmark = [pytest.mark.e2e, needs_kubectl]

LIMIT_S = 120.0
"""A fresh pod's CPU is that of its start for half a minute; an autoscaler looks every 15 seconds."""


def test_a_program_that_burns_cpu_gets_company(tmp_path: Path) -> None:
    with whole(tmp_path) as served:
        kubectl = Kubectl(served, tmp_path)
        kubectl.run("create", "deployment", "burn", "--image=host", "--", "sh", "-c", "while :; do :; done")
        kubectl.run("set", "resources", "deploy/burn", "--requests=cpu=20m")
        kubectl.run("autoscale", "deploy/burn", "--min=1", "--max=2", "--cpu-percent=50")
        deadline = time.monotonic() + LIMIT_S
        while kubectl.output("get", "deploy", "burn", "-o", "jsonpath={.spec.replicas}") != "2":
            assert time.monotonic() < deadline, kubectl.run("describe", "hpa", "burn")
            time.sleep(1)
        kubectl.says("ValidMetricFound", "describe", "hpa", "burn")
        kubectl.says("New size: 2; reason: cpu resource utilization (percentage of request) above target", "events",
                     "--for=hpa/burn")
        assert "cpu: <unknown>" not in kubectl.output("get", "hpa", "burn")
