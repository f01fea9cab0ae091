"""`fairway up --prometheus URL`: a real Prometheus is asked instead of the platform's own metrics; its absence is unknown."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from fairway.kube.objects import Obj, dig, status_of
from fairway.kube.resources import ANALYSIS_RUNS, ROLLBACK_POLICIES
from tests.platform.running import FAIRWAY, Running, as_json, platform
from tests.rollouts.world import analysis, blue_green, ingress, service

PROMETHEUS = shutil.which("prometheus")
pytestmark = pytest.mark.skipif(PROMETHEUS is None, reason="no prometheus on PATH")
CONFIG = """
global: {scrape_interval: 1s, external_labels: {}}
scrape_configs:
- job_name: itself
  static_configs: [{targets: ["%s"]}]
"""


@contextmanager
def a_prometheus(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """(its address, its process); it scrapes itself."""
    assert PROMETHEUS is not None
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    (folder / "prometheus.yml").write_text(CONFIG % address)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [PROMETHEUS, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address={address}"], stdout=log, stderr=log, env={**os.environ, "GOMAXPROCS": "1"})
    try:
        yield f"http://{address}", process
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with a_prometheus(tmp_path_factory.mktemp("prometheus")) as made:
        yield made


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, elsewhere: tuple[str, subprocess.Popen[bytes]]) -> Iterator[Running]:
    with platform(tmp_path_factory.mktemp("asks"), "--prometheus", elsewhere[0], "--without", "ci") as made:
        yield made


def analysis_run(name: str, query: str, **metric: object) -> Obj:
    settings = {"name": "m", "successCondition": "result[0] == 1", "provider": {"prometheus": {
        "address": "http://prometheus.monitoring:9090", "query": query}}, **metric}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun", "metadata": {"name": name, "namespace": "default"},
            "spec": {"metrics": [settings]}}


def _ended(running: Running, name: str) -> Obj:
    done = ("Successful", "Failed", "Error", "Inconclusive")
    return running.until_object(ANALYSIS_RUNS, name, "default", lambda run: status_of(run).get("phase") in done, f"{name} ends")


def test_queries_and_analyses_are_answered_by_the_real_one(running: Running, elsewhere: tuple[str, object]) -> None:
    def scraped() -> bool:
        found = as_json(running.fairway("query", 'up{job="itself"}', "-o", "json").stdout)
        return [row["value"][1] for row in found["result"]] == ["1"]

    running.until(scraped, "fairway query says what the Prometheus knows")
    running.apply(analysis_run("remote", 'up{job="itself"}'), analysis_run("nothing", "no_such_series", count=1, failureLimit=0,
                                                                           consecutiveErrorLimit=0))
    assert status_of(_ended(running, "remote"))["phase"] == "Successful"
    nothing = status_of(_ended(running, "nothing"))
    assert nothing["phase"] == "Error" and "metric result is nil or empty" in nothing["message"]
    up = as_json(running.fairway("up", "-o", "json").stdout)
    assert up["prometheus"] == elsewhere[0]
    assert f"metrics asked at {elsewhere[0]}" in running.fairway("status").stdout


def test_a_mistake_in_a_query_is_told_in_its_words(running: Running) -> None:
    refused = running.fairway("query", "sum(", check=False)
    assert refused.returncode != 0 and "parse error" in refused.stderr


def test_grafana_may_ask_through_the_platform(running: Running) -> None:
    base = f"{running.addresses.web_url}/api/v1"
    with urllib.request.urlopen(f"{base}/label/job/values", timeout=10) as answer:
        assert as_json(answer.read())["data"] == ["itself"]
    posted = urllib.request.Request(f"{base}/query_range", data=b"query=vector(1)&start=0&end=60&step=30")
    with urllib.request.urlopen(posted, timeout=10) as answer:
        assert len(as_json(answer.read())["data"]["result"][0]["values"]) == 3


def test_a_rehearsal_asks_it_for_the_series_of_the_queries(running: Running, elsewhere: tuple[str, object],
                                                           tmp_path: Path) -> None:
    metrics = [{"name": str(i), "interval": "30s", "count": 2, "successCondition": "len(result) > 0", "inconclusiveLimit": 1,
                "failureCondition": "false", "provider": {"prometheus": {"query": query}}}
               for i, query in enumerate(('up{job="itself"}', 'sum(up{job="others",instance=~".+",pod=~".*{{args.hash}}.*"})',
                                          "no_such_metric", 'up{job="itself",instance="elsewhere"}'))]
    files = [blue_green(postPromotionAnalysis=analysis()), ingress(), service("shop-stable"), service("shop-canary"),
             {"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate", "metadata": {"name": "success-rate"},
              "spec": {"args": [{"name": "hash"}], "metrics": metrics}}]
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(files))
    running.until(lambda: as_json(running.fairway("query", "up", "-o", "json").stdout)["result"], "it has scraped itself")
    shown = running.fairway("rehearse", str(tmp_path / "all.yaml"), "--prometheus", elsewhere[0]).stdout
    assert shown.partition("series at ")[2].splitlines() == [
        elsewhere[0],
        '  ✓  up{job="itself"}: 1',
        '  ✗  up{job="others",instance=~".+"}: none in the last hour: the metric is there, but nothing has job="others"',
        "  ✗  no_such_metric: none in the last hour: there is no metric no_such_metric",
        '  ✗  up{job="itself",instance="elsewhere"}: none in the last hour: the metric is there, but nothing has '
        'instance="elsewhere"',
    ]
    nowhere = as_json(running.fairway("rehearse", str(tmp_path / "all.yaml"), "--prometheus", "http://127.0.0.1:9",
                                      "-o", "json").stdout)["series"]
    assert {one["series"] for one in nowhere} == {None} and "Cannot connect" in nowhere[0]["says"]


def test_what_cannot_be_asked_is_unknown_and_says_so(running: Running, elsewhere: tuple[str, subprocess.Popen[bytes]]) -> None:
    """Last in this file: the Prometheus dies."""
    selector = {"app": "web"}
    pod = {"containers": [{"name": "web", "image": "host", "command": ["sleep", "1000"], "env": [{"name": "V", "value": "1"}]}]}
    rollout = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "web", "namespace": "default"},
               "spec": {"replicas": 1, "selector": {"matchLabels": selector}, "strategy": {"canary": {}},
                        "template": {"metadata": {"labels": selector}, "spec": pod}}}
    criterion = {"name": "down", "query": "sum(up)", "threshold": -1, "period": "1s"}  # violated by any answer
    policy = {"apiVersion": "fairway.dev/v1alpha1", "kind": "RollbackPolicy",
              "metadata": {"name": "web", "namespace": "default"}, "spec": {
                  "workloadRef": {"kind": "Rollout", "name": "web"}, "window": "4s", "every": "1s", "confirm": "1s",
                  "criteria": [criterion]}}
    running.apply(rollout, policy)
    running.until_object(ROLLBACK_POLICIES, "web", "default", lambda p: status_of(p).get("phase") == "Idle", "it is known")
    elsewhere[1].kill()
    elsewhere[1].wait()
    pod["containers"][0]["env"] = [{"name": "V", "value": "2"}]
    running.apply(rollout)
    passed = running.until_object(ROLLBACK_POLICIES, "web", "default", lambda p: status_of(p).get("phase") == "Passed",
                                  "its window ends")
    assert "nothing is known of down" in status_of(passed)["message"]
    assert "Cannot connect" in dig(passed, "status", "criteria", 0, "message", default=""), passed["status"]
    failed = running.fairway("query", "up", check=False)
    assert failed.returncode != 0 and f"the Prometheus at {elsewhere[0]} is not to be had" in failed.stderr
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{running.addresses.web_url}/api/v1/query?query=up", timeout=10)
    assert refused.value.code == 503
    refused.value.close()
    run = analysis_run("later", "up", consecutiveErrorLimit=0)
    running.apply(run)
    assert "Cannot connect" in status_of(_ended(running, "later"))["message"]


def test_a_running_platform_does_not_silently_ask_somebody_else(running: Running, elsewhere: tuple[str, object]) -> None:
    refused = subprocess.run([FAIRWAY, "--state", str(running.state.root), "up", "--prometheus", "http://u:p@127.0.0.1:1"],
                             capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1
    assert f"already runs and asks the Prometheus at {elsewhere[0]}" in refused.stderr and "u:p" not in refused.stderr
    daemon = Path(f"/proc/{running.addresses.pid}/cmdline").read_bytes()
    assert elsewhere[0].encode() not in daemon, "a password would stand where everybody can read it"


def test_an_address_that_is_none_is_refused_at_once(tmp_path: Path) -> None:
    done = subprocess.run([FAIRWAY, "--state", str(tmp_path / "state"), "up", "--prometheus", "localhost:9090"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "write it with its scheme" in done.stderr
