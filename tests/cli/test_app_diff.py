"""`fairway app diff`: what would change, where each difference comes from, and what a branch would do, with nothing touched."""

from __future__ import annotations

from datetime import UTC, datetime

from fairway.cli.client import Client
from fairway.git import Change, Person, Repositories
from fairway.kube.resources import APPLICATIONS, CONFIG_MAPS
from tests.cli.platform import Running

CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{value: '{0}'}}\n"


def commit(repositories: Repositories, branch: str, head: str, value: str) -> str:
    change = Change({"prod/a.yaml": CONFIG_MAP.format(value).encode()}, value, Person("Ann", "ann@example.com"),
                    datetime.now(UTC))
    return repositories.open("shop/deploy").commit(branch, change, expected_head=head)


def test_a_difference_names_its_writer_and_a_branch_is_previewed(platform: Running) -> None:
    client, repositories = Client.of(platform.state), Repositories(platform.state.git)
    repositories.create("shop/deploy")
    head = commit(repositories, "main", "", "1")
    url = f"{client.addresses.web_url}/git/shop/deploy.git"
    client.create(APPLICATIONS, {
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": "shop", "namespace": "argocd"},
        "spec": {"project": "default", "source": {"repoURL": url, "path": "prod", "targetRevision": "main"},
                 "destination": {"server": "https://kubernetes.default.svc", "namespace": "default"}}})  # fmt: skip
    assert "+  value: '1'" in platform.fairway("app", "diff", "shop", code=1).output
    tracked = {"argocd.argoproj.io/tracking-id": "shop:/ConfigMap:default/a"}
    client.create(CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "data": {"value": "mine"},
                                "metadata": {"name": "a", "namespace": "default", "annotations": tracked}})
    output = platform.fairway("app", "diff", "shop", code=1).output
    assert "-  value: mine" in output and "+  value: '1'" in output
    assert "# /data/value: " in output and "changed it; git says otherwise" in output
    commit(repositories, "feature", commit(repositories, "feature", "", "0"), "2")
    assert "+  value: '2'" in platform.fairway("app", "diff", "shop", "--revision", "feature", code=1).output
    live = client.get(CONFIG_MAPS, "a", "default")
    assert live["data"] == {"value": "mine"} and head
