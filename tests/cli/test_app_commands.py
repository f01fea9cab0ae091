"""`fairway app create|set|delete|list|actions|manifests|resources`: what they write, print and refuse."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fairway.cli.client import Client
from fairway.git import Change, Person, Repositories
from fairway.kube.objects import dig
from fairway.kube.resources import APPLICATIONS, CONFIG_MAPS, DEPLOYMENTS
from tests.cli.platform import Running

WHAT = ("--repo", "shop/deploy", "--path", "prod", "--dest-namespace", "default")


def spec(platform: Running, name: str) -> dict[str, Any]:
    return dict(Client.of(platform.state).get(APPLICATIONS, name, "argocd")["spec"])


def test_an_application_is_made_changed_and_deleted(platform: Running, tmp_path: Path) -> None:
    platform.fairway("app", "create", "shop", *WHAT, "--sync-policy", "automated", "--self-heal",
                     "--sync-option", "CreateNamespace=true")
    assert spec(platform, "shop")["syncPolicy"] == {"automated": {"selfHeal": True}, "syncOptions": ["CreateNamespace=true"]}
    assert "exists and is another one" in platform.fairway("app", "create", "shop", *WHAT, "--revision", "v1", code=1).output
    platform.fairway("app", "set", "shop", "--auto-prune", "--sync-option", "!CreateNamespace", "--sync-option",
                     "PruneLast=true", "--kustomize-image", "shop=shop:2", "-p", "size=2", "--sync-retry-limit", "3")
    found = spec(platform, "shop")
    assert found["syncPolicy"] == {"automated": {"selfHeal": True, "prune": True}, "syncOptions": ["PruneLast=true"],
                                   "retry": {"limit": 3}}
    assert found["source"] == {"repoURL": "shop/deploy", "path": "prod", "kustomize": {"images": ["shop=shop:2"]},
                               "helm": {"parameters": [{"name": "size", "value": "2"}]}}
    assert "of the automation" in platform.fairway("app", "create", "x", "--repo", "y", "--auto-prune", code=2).output
    assert "not deleted" in platform.fairway("app", "delete", "shop", code=1).output
    file = tmp_path / "other.yaml"
    file.write_text("apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: other, labels: {team: web}}\n"
                    "spec: {project: team, source: {repoURL: shop/deploy, path: a}, destination: {namespace: default}}\n")
    platform.fairway("app", "create", "-f", str(file))
    assert platform.fairway("app", "list", "-l", "team=web", "-o", "name").output == "argocd/other\n"
    assert "argocd/other" not in platform.fairway("app", "list", "-p", "default", "-o", "name").output
    assert "Auto-Prune" in platform.fairway("app", "list").output
    platform.fairway("app", "delete", "other", "--yes", "--no-cascade")
    left = [app["metadata"]["name"] for app in json.loads(platform.fairway("app", "list", "-o", "json").output)]
    assert "shop" in left and "other" not in left
    platform.fairway("app", "delete", "shop", "--yes", "--propagation-policy", "background")
    going = Client.of(platform.state).get(APPLICATIONS, "shop", "argocd")["metadata"]
    assert going["finalizers"] == ["resources-finalizer.argocd.argoproj.io/background"] and going["deletionTimestamp"]


def test_what_belongs_to_git_is_not_changed_here(platform: Running) -> None:
    platform.fairway("app", "create", "owned", *WHAT)
    note = {"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "all:argoproj.io/Application:argocd/owned"}}}
    Client.of(platform.state).patch(APPLICATIONS, "owned", "argocd", note)
    assert "part of application 'all'" in platform.fairway("app", "set", "owned", "--revision", "v1", code=1).output
    assert "targetRevision" not in spec(platform, "owned")["source"]


def test_actions_on_live_objects(platform: Running) -> None:
    client = Client.of(platform.state)
    pods = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}
    client.create(DEPLOYMENTS, {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": pods}})
    once = {"spec": {**pods["spec"], "restartPolicy": "Never"}}
    cron = {"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": once}}}
    client.raw("POST", "/apis/batch/v1/namespaces/default/cronjobs", body={
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"}, "spec": cron})
    platform.fairway("app", "create", "acting", *WHAT)
    client.patch(APPLICATIONS, "acting", "argocd", {"status": {"resources": [
        {"group": "apps", "kind": "Deployment", "namespace": "default", "name": "web", "status": "Synced"},
        {"group": "batch", "kind": "CronJob", "namespace": "default", "name": "nightly", "status": "Synced"}]}})
    rows = json.loads(platform.fairway("app", "actions", "list", "acting", "-o", "json").output)
    assert [(r["kind"], r["action"]) for r in rows if not r["disabled"]] == [
        ("Deployment", "restart"), ("Deployment", "pause"), ("Deployment", "scale"), ("CronJob", "create-job"),
        ("CronJob", "suspend")]
    assert "has no Service" in platform.fairway("app", "actions", "run", "acting", "x", "--kind", "Service", code=1).output
    late = platform.fairway("app", "actions", "run", "acting", "restart", "--kind", "Deployment", "--timeout", "0", code=1)
    assert "was not done within 0 s" in late.output, "nobody runs GitOps here"
    asked = json.loads(client.get(APPLICATIONS, "acting", "argocd")["metadata"]["annotations"]["fairway.dev/run-action"])
    assert (asked["action"], asked["kind"], asked["name"]) == ("restart", "Deployment", "web")
    again = platform.fairway("app", "actions", "run", "acting", "pause", "--kind", "Deployment", code=1)
    assert "another action is under way" in again.output


def test_manifests_of_git_and_live_and_what_belongs_to_nobody(platform: Running) -> None:
    client, repositories = Client.of(platform.state), Repositories(platform.state.git)
    text = ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {value: '1'}\n---\n"
            "apiVersion: v1\nkind: Secret\nmetadata: {name: b}\nstringData: {password: horse}\n")
    change = Change({"prod/a.yaml": text.encode()}, "first", Person("Ann", "ann@example.com"), datetime.now(UTC))
    repositories.create("shop/deploy").commit("main", change, expected_head="")
    url = f"{client.addresses.web_url}/git/shop/deploy.git"
    platform.fairway("app", "create", "shown", "--repo", url, "--path", "prod", "--dest-namespace", "default")
    shown = platform.fairway("app", "manifests", "shown").output
    assert "name: a" in shown and "password: ++++++++" in shown and "horse" not in shown
    client.create(CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "stray", "namespace": "default"}})
    orphans = json.loads(platform.fairway("app", "resources", "shown", "--orphaned", "-o", "json").output)
    assert ("ConfigMap", "stray") in [(r["kind"], r["name"]) for r in orphans]
    assert platform.fairway("app", "manifests", "shown", "--source", "live").output.strip() == ""


def test_a_sync_says_how_it_is_meant(platform: Running) -> None:
    platform.fairway("app", "create", "asked", *WHAT)
    platform.fairway("app", "sync", "asked", "--async", "--prune", "--strategy", "apply", "--force", "--replace",
                     "--retry-limit", "2", "--info", "ticket=42")
    operation = Client.of(platform.state).get(APPLICATIONS, "asked", "argocd")["operation"]
    assert operation["sync"] == {"prune": True, "syncStrategy": {"apply": {"force": True}}, "syncOptions": ["Replace=true"]}
    assert (operation["retry"], operation["info"]) == ({"limit": 2}, [{"name": "ticket", "value": "42"}])
    assert dig(operation, "initiatedBy", "username")
    assert "already in progress" in platform.fairway("app", "sync", "asked", "--async", code=1).output
