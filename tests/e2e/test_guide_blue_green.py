"""The blue-green of guide S4 on a running platform, its minutes shortened: what a rehearsal says of it happens.

Its analysis before the switch selects by the name of the preview Service, which showed the old pods until the update. So it
passes on the old version's requests, and a bad version goes to everybody.

Corrected, because nothing would run otherwise: the templates stand in another file, and the Services need the label and the
port's name that the guide's ServiceMonitor looks for. The image is the example's, and two pods do instead of five.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from fairway.kube.objects import Obj, dig, labels_of, status_of
from fairway.kube.resources import ANALYSIS_RUNS, ROLLOUTS
from tests.e2e.shop import NS, Shop, ingress, pod_template, shares

GUIDE = Path(os.environ.get("FAIRWAY_GUIDES", "../shared/guides")).absolute() / "S4" / "kubernetes"
pytestmark = [pytest.mark.e2e, pytest.mark.skipif(not GUIDE.is_dir(), reason=f"no guide at {GUIDE}; set FAIRWAY_GUIDES")]
NAME = "fastapi-app-bg"
SHORTER = {'"30s"': '"3s"', "[5m]": "[2m]", '"15s"': '"1s"', '"10s"': '"1s"', "< 0.5": "< 5", "> 1.0": "> 10",
           '"autoPromotionSeconds": 300': '"autoPromotionSeconds": 3'}
"""Starting pods takes its time whatever the guide says, so the window is the least shortened; more latency is allowed."""


def delivery(image: str) -> list[Obj]:
    files = [obj for name in ("rollout-blue-green", "rollout", "servicemonitor")
             for obj in yaml.safe_load_all((GUIDE / f"{name}.yaml").read_text(errors="replace"))]
    found = [obj for obj in files if obj["kind"] not in ("Rollout", "ClusterRole") or obj["metadata"]["name"] == NAME]
    for obj in found:
        obj["metadata"].pop("namespace", None)
        if obj["kind"] == "Service":
            obj["metadata"]["labels"] = dict(obj["spec"]["selector"])
            obj["spec"]["ports"][0]["name"] = "http"
        if obj["kind"] == "ServiceMonitor":
            obj["spec"]["namespaceSelector"] = {"matchNames": [NS]}
        if obj["kind"] == "Rollout":
            obj["spec"]["replicas"] = obj["spec"]["strategy"]["blueGreen"]["previewReplicaCount"] = 2
            obj["spec"]["template"]["spec"] = pod_template(image)["spec"]
    text = json.dumps([*found, ingress("fastapi-app-active")])
    for long, short in SHORTER.items():
        text = text.replace(long, short)
    made: list[Obj] = json.loads(text)
    return made


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with Shop.serving(tmp_path_factory.mktemp("s4"), delivery) as made:
        yield made


def test_a_bad_version_passes_on_the_old_ones_requests_and_a_person_takes_it_back(shop: Shop) -> None:
    def until(ready: str, what: str) -> Obj:
        def look() -> Obj | None:
            rollout = shop.running.client.get(ROLLOUTS, NAME, NS)
            status = status_of(rollout)
            there = status.get("abort") or any(p["reason"] == ready for p in status.get("pauseConditions") or ())
            return rollout if there else None

        return shop.running.until(look, what, patience=180.0)

    with shop.load("users") as users:
        known = 'http_requests_total{service="fastapi-app-preview"}'
        shop.running.until(lambda: "preview" in shop.running.fairway("query", known).stdout, "the old pods are the preview's")
        shop.running.until(lambda: len(users.answers()) > 400, "the old version has a record")
        bad = shop.push("Version 1.2.0", *delivery(shop.images["1.2.0"]))
        held = until("InconclusiveAnalysisRun", "the analysis after the switch is undecided: it sees the old version, too")
        new = status_of(held)["currentPodHash"]
        assert dig(held, "status", "blueGreen", "activeSelector") == new, "users are on the bad version"
        (before,) = [run for run in shop.running.client.list(ANALYSIS_RUNS, NS)
                     if run["metadata"]["name"].endswith("-pre") and labels_of(run)["rollouts-pod-template-hash"] == new]
        assert status_of(before)["phase"] == "Successful", "although nobody had asked the new version anything"
        shop.running.fairway("rollout", "abort", NAME)
        shop.until_commit(f"Fairway-Revert: {bad}")
        shop.running.until(lambda: shares(users.answers()[-20:]).keys() == {"1.0.0"}, "users are back")
        answers = users.answers()
    assert shares(answers)["1.2.0"] > 0 and not [a for a in answers if a.version == "1.0.0" and a.status != 200]
    shop.until_release("1.2.0", "RolledBack")
