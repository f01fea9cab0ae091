"""AppProjects are kept: sources, destinations, kinds, roles, windows; and what refuses says so in Argo CD's words."""

from __future__ import annotations

from typing import Any

import pytest

from fairway.gitops.project import Project, decode_project
from fairway.gitops.rbac import Enforcer
from fairway.gitops.spec import InvalidSpec
from fairway.kube.objects import dig
from fairway.kube.resources import CONFIG_MAPS
from tests.gitops.conftest import Play
from tests.gitops.world import URL, World, config_map


def team(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": {"name": "team", "namespace": "argocd"},
        "spec": {"sourceRepos": ["https://git.example.com/shop/*"],
                 "destinations": [{"server": "https://kubernetes.default.svc", "namespace": "default"}], **spec},
    }  # fmt: skip


def conditions(app: dict[str, Any]) -> list[tuple[str, str]]:
    return [(c["type"], c["message"]) for c in app["status"].get("conditions") or ()]


def test_a_project_that_does_not_exist_refuses_and_its_arrival_lets_go(perform: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(prod__a=config_map("a"))
        await world.create_app(project="team")
        app = await world.until(lambda o: dig(o, "status", "conditions"))
        assert conditions(app) == [("InvalidSpecError", "Application referencing project team which does not exist")]
        assert await world.get(CONFIG_MAPS, "a") is None
        await world.api.create(team())
        app = await world.settled(first)
        assert conditions(app) == []

    perform(story)


@pytest.mark.parametrize(("spec", "words"), [
    ({"sourceRepos": ["https://git.example.com/other/*"]}, f"application repo {URL} is not permitted in project 'team'"),
    ({"sourceRepos": ["*", f"!{URL}"]}, f"application repo {URL} is not permitted in project 'team'"),
    ({"destinations": [{"server": "*", "namespace": "prod-*"}]},
     "application destination server 'https://kubernetes.default.svc' and namespace 'default' do not match any of the allowed "
     "destinations in project 'team'"),
    ({"destinations": [{"name": "in-cluster", "namespace": "*"}, {"name": "in-cluster", "namespace": "!default"}]},
     "application destination server 'https://kubernetes.default.svc' and namespace 'default' do not match any of the allowed "
     "destinations in project 'team'"),
    ({"syncWindows": [{"kind": "deny", "schedule": "* * * * 9", "duration": "1h", "applications": ["*"]}]},
     "AppProject team: spec.syncWindows[0]: cannot parse schedule '* * * * 9': day of week: '9' is outside of 0-6"),
])  # fmt: skip
def test_what_the_project_does_not_permit(perform: Play, spec: dict[str, Any], words: str) -> None:
    async def story(world: World) -> None:
        world.push(prod__a=config_map("a"))
        await world.api.create(team(**spec))
        await world.create_app(project="team")
        app = await world.until(lambda o: dig(o, "status", "conditions"))
        assert conditions(app) == [("InvalidSpecError", words)]
        assert app["status"]["sync"]["status"] == "Unknown"

    perform(story)


def test_a_kind_on_the_deny_list_is_unknown_and_fails_the_sync(perform: Play) -> None:
    async def story(world: World) -> None:
        world.push(prod__a=config_map("a"), prod__s="apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n")
        await world.api.create(team(namespaceResourceBlacklist=[{"group": "", "kind": "Secret"}]))
        await world.create_app(project="team", policy={"retry": {"limit": 0}})
        app = await world.until(lambda o: dig(o, "status", "operationState", "phase") == "Failed")
        assert "resource :Secret is not permitted in project team" in app["status"]["operationState"]["message"]
        assert {r["name"]: r["status"] for r in app["status"]["resources"]} == {"a": "OutOfSync", "s": "Unknown"}
        assert await world.get(CONFIG_MAPS, "a") is None, "nothing is applied where a part is refused"

    perform(story)


def test_a_base_in_a_repository_that_the_project_does_not_permit(perform: Play) -> None:
    async def story(world: World) -> None:
        world.push(prod__kustomization="resources: ['https://git.example.com/secret/plans//base']\n")
        await world.api.create(team())
        await world.create_app(project="team")
        app = await world.until(lambda o: dig(o, "status", "conditions"))
        assert [kind for kind, _ in conditions(app)] == ["ComparisonError"]
        assert "project 'team' does not permit the repository https://git.example.com/secret/plans" in conditions(app)[0][1]

    perform(story)


def test_live_objects_that_the_project_does_not_permit_are_not_pruned(perform: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(prod__a=config_map("a"), prod__b=config_map("b"))
        await world.create_app(project="team")
        await world.api.create(team())
        await world.settled(first)
        await world.edit_project({"spec": {"namespaceResourceBlacklist": [{"group": "", "kind": "ConfigMap"}]}})
        world.push(prod__b=None)
        await world.until(lambda o: dig(o, "status", "operationState", "phase") == "Failed", within=900)
        assert await world.get(CONFIG_MAPS, "b") is not None

    perform(story)


def test_orphans_are_told_of_and_some_are_meant(perform: Play) -> None:
    async def story(world: World) -> None:
        await world.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "stray", "namespace": "default"}})
        first = world.push(prod__a=config_map("a"))
        await world.api.create(team(orphanedResources={"warn": True}))
        await world.create_app(project="team")
        app = await world.settled(first)
        assert conditions(app) == [("OrphanedResourceWarning", "Application has 1 orphaned resources")]
        await world.edit_project({"spec": {"orphanedResources": {"ignore": [{"kind": "ConfigMap", "name": "stray"}]}}})
        await world.until(lambda o: not o["status"].get("conditions"))

    perform(story)


@pytest.mark.parametrize(("name", "spec", "kind", "namespaced", "allowed"), [
    ("no list allows every namespaced kind", {}, "ConfigMap", True, True),
    ("an empty list allows none", {"namespaceResourceWhitelist": []}, "ConfigMap", True, False),
    ("a list allows what it names", {"namespaceResourceWhitelist": [{"group": "*", "kind": "Config*"}]}, "ConfigMap", True,
     True),
    ("a denial wins", {"namespaceResourceWhitelist": [{"group": "*", "kind": "*"}],
                       "namespaceResourceBlacklist": [{"group": "", "kind": "ConfigMap"}]}, "ConfigMap", True, False),
    ("no list allows no cluster-scoped kind", {}, "Namespace", False, False),
    ("a name limits the entry", {"clusterResourceWhitelist": [{"group": "", "kind": "Namespace", "name": "team-*"}]},
     "Namespace", False, True),
], ids=lambda value: value if isinstance(value, str) and " " in value else "")  # fmt: skip
def test_kinds(name: str, spec: dict[str, Any], kind: str, namespaced: bool, allowed: bool) -> None:
    project = decode_project(team(**spec))
    assert project.permits_kind("", kind, namespaced=namespaced, name="team-a") is allowed


def test_a_roles_policies_hold_for_the_projects_own_objects() -> None:
    role = {"name": "deployer", "groups": ["shop:deployers"],
            "policies": ["p, proj:team:deployer, applications, sync, team/*, allow"]}
    project = decode_project(team(roles=[role]))
    enforcer = Enforcer(project.policy())
    assert enforcer.allows("shop:deployers", "applications", "sync", "team/shop")
    assert not enforcer.allows("shop:deployers", "applications", "delete", "team/shop")
    with pytest.raises(InvalidSpec, match=r"object must be of form 'team/\*'"):
        decode_project(team(roles=[{**role, "policies": ["p, proj:team:deployer, applications, sync, other/*, allow"]}]))
    with pytest.raises(InvalidSpec, match="policy subject must be: 'proj:team:deployer'"):
        decode_project(team(roles=[{**role, "policies": ["p, role:admin, applications, sync, team/*, allow"]}]))


def test_ssh_and_https_forms_of_a_source_are_compared_without_their_ends() -> None:
    project = Project("p", ("git@git.example.com:shop/app.git",))
    assert project.permits_source("git@git.example.com:shop/app")
    assert not project.permits_source("git@git.example.com:shop/other")
