"""Cluster mode: one Fairway plays the cluster, another one delivers to it from its own git repositories."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from fairway.kube.http.pki import client_certificate
from fairway.kube.objects import Obj, dig
from fairway.kube.resources import APPLICATIONS, PODS, ROLLOUTS
from fairway.parts import DELIVERY
from fairway.state import StateDir
from tests.platform.running import Repository, Running, as_json, platform
from tests.platform.test_platform import application, deployment

ELSEWHERE = ",".join(DELIVERY)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Pods, traffic and an API, and nobody who delivers."""
    with platform(tmp_path_factory.mktemp("cluster"), "--without", ELSEWHERE) as made:
        yield made


@pytest.fixture(scope="module")
def delivering(cluster: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    options = ("--kubeconfig", str(cluster.state.kubeconfig), "--context", "fairway")
    with platform(tmp_path_factory.mktemp("delivering"), *options) as made:
        yield made


def test_a_commit_here_becomes_a_rollout_there(cluster: Running, delivering: Running, tmp_path: Path) -> None:
    repository = Repository.begin(delivering, tmp_path / "tree", "team/deploy")
    repository.write(deployment("1", pause="1s"))
    repository.push("version 1")
    delivering.apply(application(f"{delivering.addresses.web_url}/git/team/deploy.git"))
    delivering.until_object(APPLICATIONS, "web", "argocd", _healthy, "version 1 is synced and healthy")
    assert cluster.client.get(ROLLOUTS, "web", "web")["status"]["phase"] == "Healthy"
    assert len(cluster.client.list(PODS, "web")) == 2
    repository.write(deployment("2", pause="1h"))
    repository.push("version 2")
    delivering.until_object(ROLLOUTS, "web", "web", lambda r: dig(r, "status", "pauseConditions"), "the canary pauses")
    assert "CanaryPauseStep" in delivering.fairway("rollout", "get", "web", "-o", "json").stdout
    delivering.fairway("rollout", "promote", "web")
    delivering.until_object(ROLLOUTS, "web", "web", _on("2"), "version 2 is promoted in the cluster")
    shown = as_json(delivering.fairway("status", "-o", "json", check=False).stdout)
    assert [app["name"] for app in shown["applications"]] == ["web"]
    assert [part["state"] for part in shown["parts"]] == ["ok", "ok", "ok"]
    assert "web" in delivering.fairway("app", "list").stdout
    assert delivering.fairway("kubeconfig").stdout.strip() == str(cluster.state.kubeconfig)


def test_a_cluster_that_was_away_is_delivered_to_when_it_is_back(cluster: Running, delivering: Running) -> None:
    cluster.kill_9()
    failed = delivering.fairway("rollout", "list", check=False)
    assert failed.returncode == 3
    assert "cannot be reached" in failed.stderr
    cluster.up()
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "b"}}
    repository = Repository.begin(delivering, cluster.state.root.parent / "later", "team/later")
    repository.write({"web/all.yaml": yaml.safe_dump(config)})
    repository.push("after the cluster came back")
    later = application(f"{delivering.addresses.web_url}/git/team/later.git")
    later["metadata"]["name"], later["spec"]["destination"]["namespace"] = "later", "later"
    delivering.apply(later)
    delivering.until_object(APPLICATIONS, "later", "argocd", _healthy, "it is synced")


def test_of_two_for_one_cluster_one_stands_by_and_goes_on_when_the_other_stops(
        cluster: Running, delivering: Running, tmp_path: Path) -> None:
    def leadership(running: Running) -> str:
        parts = as_json(running.fairway("status", "-o", "json", check=False).stdout)["parts"]
        return str(next(part["state"] for part in parts if part["part"] == "leadership"))

    delivering.until(lambda: leadership(delivering) == "ok", "the only one leads")
    first_name = (delivering.state.root / "identity").read_text()
    without = ",".join(part for part in DELIVERY if part != "notify")
    with platform(tmp_path / "other", "--kubeconfig", str(cluster.state.kubeconfig), "--without", without) as other:
        assert leadership(other).startswith("standing by: notify is run by") and leadership(other).endswith(first_name)
        assert leadership(delivering) == "ok"
        delivering.down()
        other.until(lambda: leadership(other) == "ok", "the other one leads")
        delivering.up()
        assert leadership(delivering).startswith("standing by: notify is run by")
    delivering.until(lambda: leadership(delivering) == "ok", "the first one leads again")


def test_whoever_may_not_read_is_told_at_the_start(cluster: Running, tmp_path: Path) -> None:
    """A user with a certificate, who may look at what everybody may look at: nothing."""
    refused = Running(StateDir(tmp_path / "state"), ("--kubeconfig", str(_of_user(cluster, tmp_path))))
    failed = refused.fairway("up", *refused.options, check=False)
    assert failed.returncode == 1
    assert 'cannot list resource "customresourcedefinitions"' in failed.stderr
    wrong = refused.fairway("up", "--without", "gitopz", check=False)
    assert wrong.returncode == 2
    assert "there is no part 'gitopz'" in wrong.stderr


def test_a_running_platform_does_not_change_its_cluster(cluster: Running) -> None:
    failed = cluster.fairway("up", "--kubeconfig", str(cluster.state.kubeconfig), check=False)
    assert "already runs and embeds its cluster" in failed.stderr


def _healthy(app: Obj) -> bool:
    return dig(app, "status", "health", "status") == "Healthy" and dig(app, "status", "sync", "status") == "Synced"


def _on(version: str) -> Callable[[Obj], bool]:
    """The Rollout is done with the version."""

    def done(rollout: Obj) -> bool:
        env = dig(rollout, "spec", "template", "spec", "containers")[0]["env"]
        status = rollout["status"]
        return env == [{"name": "VERSION", "value": version}] and status["stableRS"] == status["currentPodHash"]

    return done


def _of_user(cluster: Running, folder: Path) -> Path:
    """A kubeconfig of somebody with a good certificate and no role."""
    pair = client_certificate(cluster.state.pki, "eve", (), datetime.now(UTC))
    config = yaml.safe_load(cluster.state.kubeconfig.read_text())
    config["users"][0]["user"] = {f"client-{name}-data": base64.b64encode(pem.encode()).decode()
                                  for name, pem in zip(("certificate", "key"), pair, strict=True)}
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    return path
