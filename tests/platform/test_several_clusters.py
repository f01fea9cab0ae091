"""One Fairway delivers to itself and to another one, which is registered as a cluster."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from fairway.kube.objects import Obj, dig
from fairway.kube.resources import APPLICATIONS, CONFIG_MAPS, PODS, ROLLOUTS, SECRETS, SERVICE_ACCOUNTS
from fairway.parts import DELIVERY
from tests.platform.running import Repository, Running, as_json, platform
from tests.platform.test_platform import application, deployment

WITHOUT = ",".join(part for part in DELIVERY if part != "rollouts")


@pytest.fixture(scope="module")
def east(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A cluster of its own: an API, pods, traffic, rollouts."""
    with platform(tmp_path_factory.mktemp("east"), "--without", WITHOUT) as made:
        yield made


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with platform(tmp_path_factory.mktemp("hub")) as made:
        yield made


def test_a_registered_cluster_is_delivered_to_and_followed(east: Running, hub: Running, tmp_path: Path) -> None:
    added = hub.fairway("cluster", "add", "fairway", "--kubeconfig", str(east.state.kubeconfig), "--name", "east",
                        "--label", "region=east")
    assert "cluster 'east'" in added.stdout
    assert east.client.find(SERVICE_ACCOUNTS, "argocd-manager", "kube-system") is not None
    again = hub.fairway("cluster", "add", "fairway", "--kubeconfig", str(east.state.kubeconfig), check=False)
    assert again.returncode == 1
    assert "is registered already, as 'east'" in again.stderr
    repository = Repository.begin(hub, tmp_path / "tree", "team/deploy")
    repository.write(deployment("1", pause="1s"))
    repository.push("version 1")
    app = application(f"{hub.addresses.web_url}/git/team/deploy.git")
    app["spec"]["destination"] = {"name": "east", "namespace": "web"}
    hub.apply(app)
    hub.until_object(APPLICATIONS, "web", "argocd", _healthy, "version 1 is synced and healthy in the other cluster")
    assert len(east.client.list(PODS, "web")) == 2
    assert hub.client.list(PODS, "web") == []
    listed = hub.fairway("app", "list").stdout
    assert "east" in listed.splitlines()[1]
    assert "Pod/web-" in hub.fairway("app", "get", "web", "-o", "tree").stdout
    assert hub.fairway("app", "diff", "web").stdout == ""
    rows = {row["name"]: row for row in as_json(hub.fairway("cluster", "list", "-o", "json").stdout)}
    assert rows["east"]["status"] == "Successful"
    assert rows["east"]["version"] == rows["in-cluster"]["version"] != ""
    assert (rows["east"]["applications"], rows["in-cluster"]["applications"]) == (1, 0)


def test_credentials_are_never_printed(east: Running, hub: Running) -> None:
    made = east.client.get(SECRETS, "argocd-manager-token", "kube-system")["data"]["token"]
    token = base64.b64decode(made).decode()
    assert token != east.state.token.read_text().strip(), "nobody's own credentials"
    for arguments in (("cluster", "list"), ("cluster", "get", "east"), ("cluster", "get", "east", "-o", "json")):
        shown = hub.fairway(*arguments).stdout
        assert "east" in shown
        assert token not in shown
        assert base64.b64encode(token.encode()).decode()[:20] not in shown
    assert "bearer token" in hub.fairway("cluster", "get", "east").stdout


def test_an_action_is_done_in_the_cluster_by_whoever_may(hub: Running, east: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the token of a project's role, which knows nothing of that cluster."""
    hub.apply({"apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject",
               "metadata": {"name": "default", "namespace": "argocd"},
               "spec": {"sourceRepos": ["*"], "destinations": [{"server": "*", "name": "*", "namespace": "*"}],
                        "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
                        "roles": [{"name": "ci", "policies": [
                            f"p, proj:default:ci, applications, {action}, default/*, allow"
                            for action in ("get", "action/argoproj.io/Rollout/restart")]}]}})
    token = hub.fairway("proj", "role", "create-token", "default", "ci", "--token-only").stdout.strip()
    monkeypatch.setenv("FAIRWAY_AUTH_TOKEN", token)
    done = hub.fairway("app", "actions", "run", "web", "restart", "--kind", "Rollout").stdout
    assert done == "restart of Rollout/web is done\n"
    refused = hub.fairway("app", "actions", "run", "web", "pause", "--kind", "Rollout", check=False)
    assert "permission denied: applications, action/argoproj.io/Rollout/pause, default/web" in refused.stderr
    assert "permission denied" in hub.fairway("app", "sync", "web", check=False).stderr
    monkeypatch.delenv("FAIRWAY_AUTH_TOKEN")
    assert "restartAt" in east.client.get(ROLLOUTS, "web", "web")["spec"]


def test_a_cluster_that_dies_is_unknown_and_comes_back(east: Running, hub: Running) -> None:
    east.kill_9()
    app = hub.until_object(APPLICATIONS, "web", "argocd", lambda o: dig(o, "status", "sync", "status") == "Unknown",
                           "the Application is unknown")
    (condition,) = app["status"]["conditions"]
    assert condition["type"] == "ComparisonError"
    assert "cluster east at " in condition["message"]
    assert dig(app, "status", "health", "status") == "Unknown"
    east.up()
    hub.until_object(APPLICATIONS, "web", "argocd", _healthy, "it is synced and healthy again")
    assert len(east.client.list(PODS, "web")) == 2


def test_an_application_goes_with_its_objects_and_a_forgotten_cluster_keeps_them(east: Running, hub: Running,
                                                                               tmp_path: Path) -> None:
    hub.fairway("app", "delete", "web", "--yes", "--wait")
    assert not [pod for pod in east.client.list(PODS, "web") if "deletionTimestamp" not in pod["metadata"]]
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "b"}}
    repository = Repository.begin(hub, tmp_path / "later", "team/later")
    repository.write({"web/all.yaml": yaml.safe_dump(config)})
    repository.push("settings")
    later = application(f"{hub.addresses.web_url}/git/team/later.git")
    later["metadata"]["name"] = "later"
    later["spec"]["destination"] = {"server": east.addresses.api_url, "namespace": "later"}
    hub.apply(later)
    hub.until_object(APPLICATIONS, "later", "argocd", _healthy, "it is synced")
    hub.fairway("cluster", "rm", "east", "--yes")
    assert [secret for secret in hub.client.list(SECRETS, "argocd") if "east" in json.dumps(secret["metadata"])] == []
    app = hub.until_object(APPLICATIONS, "later", "argocd", lambda o: dig(o, "status", "sync", "status") == "Unknown",
                           "its cluster is not known any more")
    assert app["status"]["conditions"][0]["type"] == "InvalidSpecError"
    assert east.client.get(CONFIG_MAPS, "settings", "later")["data"] == {"a": "b"}


def _healthy(app: Obj) -> bool:
    return dig(app, "status", "health", "status") == "Healthy" and dig(app, "status", "sync", "status") == "Synced"
