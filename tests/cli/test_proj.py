"""`fairway proj` and `fairway account`: tokens of a project's roles, what their holder may do, and sync windows."""

from __future__ import annotations

import pytest

from fairway.cli.client import AUTH_TOKEN, Client
from fairway.kube.objects import Obj, dig
from fairway.kube.resources import APP_PROJECTS, APPLICATIONS, NAMESPACES, SECRETS
from tests.cli.platform import Running


@pytest.fixture
def shop(platform: Running) -> Client:
    client = Client.of(platform.state)
    if client.find(NAMESPACES, "argocd") is None:
        client.create(NAMESPACES, {"metadata": {"name": "argocd"}})
    client.apply(APP_PROJECTS, {
        "apiVersion": APP_PROJECTS.api_version, "kind": "AppProject", "metadata": {"name": "shop", "namespace": "argocd"},
        "spec": {"description": "the shop", "sourceRepos": ["*"], "destinations": [{"server": "*", "namespace": "shop"}],
                 "roles": [{"name": "ci", "description": "deploys", "policies": [
                     f"p, proj:shop:ci, applications, {action}, shop/*, allow" for action in ("get", "sync")]}]}})
    for name, project in (("web", "shop"), ("other", "default")):
        client.apply(APPLICATIONS, {
            "apiVersion": APPLICATIONS.api_version, "kind": "Application", "metadata": {"name": name, "namespace": "argocd"},
            "spec": {"project": project, "source": {"repoURL": "https://git.example.com/a.git"}, "destination": {}}})
    return client


def project(client: Client) -> Obj:
    return client.get(APP_PROJECTS, "shop", "argocd")


def test_the_token_of_a_role_does_what_its_policies_say_until_it_is_revoked(
        platform: Running, shop: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    token = platform.fairway("proj", "role", "create-token", "shop", "ci", "--id", "first", "-t").stdout.strip()
    assert dig(project(shop), "status", "jwtTokensByRole", "ci", "items")[0]["id"] == "first"
    assert len(shop.get(SECRETS, "argocd-secret", "argocd")["data"]["server.secretkey"]) > 40
    assert "first" in platform.fairway("proj", "role", "list-tokens", "shop", "ci").output
    used = platform.fairway("proj", "role", "create-token", "shop", "ci", "--id", "first", code=1)
    assert "has been used" in used.output
    monkeypatch.setenv(AUTH_TOKEN, token)
    assert "proj:shop:ci" in platform.fairway("account", "get-user-info").output
    listed = platform.fairway("app", "list", "-o", "name").output.split()
    assert listed == ["argocd/web"]
    platform.fairway("app", "sync", "web", "--async")
    refused = platform.fairway("app", "set", "web", "--revision", "v2", code=1)
    assert "permission denied: applications, update, shop/web, sub: proj:shop:ci" in refused.output
    assert platform.fairway("app", "get", "other", code=1).output.count("forbidden") == 1
    for asked, answer, code in (("sync", "yes", 0), ("delete", "no", 1)):
        assert platform.fairway("account", "can-i", asked, "applications", "shop/web", code=code).output.strip() == answer
    monkeypatch.delenv(AUTH_TOKEN)
    platform.fairway("proj", "role", "delete-token", "shop", "ci", "first")
    monkeypatch.setenv(AUTH_TOKEN, token)
    assert "Unauthorized" in platform.fairway("app", "list", code=1).output


def test_tokens_end(platform: Running, shop: Client) -> None:
    shown = platform.fairway("proj", "role", "create-token", "shop", "ci", "-e", "30d", "-i", "month").output
    assert "Create token succeeded for proj:shop:ci." in shown
    items = {one["id"]: one for one in dig(project(shop), "status", "jwtTokensByRole", "ci", "items")}
    assert items["month"]["exp"] - items["month"]["iat"] == 30 * 86400
    assert "--expires-in" in platform.fairway("proj", "role", "create-token", "shop", "ci", "-e", "soon", code=2).output
    assert "role 'x' does not exist" in platform.fairway("proj", "role", "create-token", "shop", "x", code=1).output
    assert "has no token" in platform.fairway("proj", "role", "delete-token", "shop", "ci", "x", code=1).output


def test_projects_and_roles_are_shown(platform: Running, shop: Client) -> None:
    assert "shop  the shop" in platform.fairway("proj", "list").output
    assert "*,shop" in platform.fairway("proj", "get", "shop").output
    assert "ci         deploys" in platform.fairway("proj", "role", "list", "shop").output
    role = platform.fairway("proj", "role", "get", "shop", "ci").output
    assert "p, proj:shop:ci, projects, get, shop, allow" in role
    assert "p, proj:shop:ci, applications, sync, shop/*, allow" in role


def test_sync_windows_are_added_changed_and_taken_away(platform: Running, shop: Client) -> None:
    add = ("proj", "windows", "add", "shop", "--kind", "deny", "--schedule", "* * * * *", "--duration", "1h")
    assert "at least one of applications, namespaces or clusters" in platform.fairway(*add, code=1).output
    platform.fairway(*add, "--applications", "web,api-*", "--sync-overrun")
    assert "already exists" in platform.fairway(*add, "--clusters", "x", code=1).output
    wrong = platform.fairway(*add[:-1], "soon", "--clusters", "x", code=1)
    assert "duration" in wrong.output
    shown = platform.fairway("proj", "windows", "list", "shop").output
    assert "Active" in shown and "web,api-*" in shown and "a sync that began before goes on" in shown
    platform.fairway("proj", "windows", "enable-manual-sync", "shop", "0")
    assert project(shop)["spec"]["syncWindows"] == [{
        "kind": "deny", "schedule": "* * * * *", "duration": "1h", "manualSync": True, "applications": ["web", "api-*"],
        "syncOverrun": True}]
    assert "has no window 1" in platform.fairway("proj", "windows", "delete", "shop", "1", code=1).output
    platform.fairway("proj", "windows", "delete", "shop", "0")
    assert "syncWindows" not in project(shop)["spec"]
