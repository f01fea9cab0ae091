"""Actions on live objects: what each makes, what git has to say to it, users' own in Lua, and who answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fairway.gitops.action_request import REQUEST, RESULT, ActionRequest, ActionResult, read_request, read_result
from fairway.gitops.actions import Change, Refused, actions_of
from fairway.gitops.customizations import decode_customizations
from fairway.kube.objects import Obj, annotations_of, dig
from fairway.kube.patches.merge_patch import difference, merge
from fairway.kube.resources import CONFIG_MAPS, DEPLOYMENTS, JOBS
from tests.gitops.conftest import Play
from tests.gitops.test_clusters import registered
from tests.gitops.world import World

NOW = datetime(2030, 1, 1, tzinfo=UTC)
DEPLOYMENT = """apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  REPLICAS
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'web:1'}]}
"""


def obj(api_version: str, kind: str, *, spec: Obj | None = None, status: Obj | None = None) -> Obj:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "namespace": "default", "uid": "u"},
            "spec": spec or {}, "status": status or {}}


@pytest.mark.parametrize(("one", "possible"), [
    (obj("apps/v1", "Deployment"), ["restart", "pause", "scale"]),
    (obj("apps/v1", "Deployment", spec={"paused": True}), ["restart", "resume", "scale"]),
    (obj("apps/v1", "DaemonSet"), ["restart"]),
    (obj("apps/v1", "StatefulSet"), ["restart", "scale"]),
    (obj("batch/v1", "CronJob"), ["create-job", "suspend"]),
    (obj("batch/v1", "Job", status={"conditions": [{"type": "Complete", "status": "True"}]}), []),
    (obj("batch/v1", "Job", spec={"suspend": True}), ["resume", "terminate"]),
    (obj("external-secrets.io/v1", "ExternalSecret"), ["refresh"]),
    (obj("kustomize.toolkit.fluxcd.io/v1", "Kustomization"), ["reconcile", "suspend"]),
    (obj("v1", "ConfigMap"), []),
])
def test_what_is_possible_depends_on_the_kind_and_its_state(one: Obj, possible: list[str]) -> None:
    assert [action.name for action in actions_of(one).values() if not action.disabled] == possible


@pytest.mark.parametrize(("text", "replicas"), [("3", 3), ("0", 0), ("-1", None), ("", None), ("many", None)])
def test_scale_needs_a_number(text: str, replicas: int | None) -> None:
    scale = actions_of(obj("apps/v1", "Deployment"))["scale"]
    if replicas is None:
        with pytest.raises(Refused, match="replicas: a whole number is needed"):
            scale.make({}, NOW, {"replicas": text})
    else:
        assert scale.make({}, NOW, {"replicas": text}) == Change({"spec": {"replicas": replicas}})


@pytest.mark.parametrize(("old", "new"), [
    ({"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 4}}), ({"a": [1, 2]}, {"a": [2]}), ({}, {"a": {"b": []}}),
    ({"a": {"b": 1}}, {"a": {}}), ({"a": {"b": 1}}, {"a": 2}),
])
def test_the_difference_of_two_objects_is_a_merge_patch(old: Obj, new: Obj) -> None:
    assert merge(old, difference(old, new)) == new


def test_requests_and_results_are_text() -> None:
    request = ActionRequest("scale", "apps", "Deployment", "default", "web", "7", {"replicas": "2"})
    assert read_request(request.text()) == request
    assert read_result(ActionResult("7", True, "done").text()) == ActionResult("7", True, "done")
    for text in ("", "[]", "{}", '{"action": "x"}', '{"action": 1, "kind": "", "name": "x"}'):
        assert read_request(text) is None


# --- Lua ------------------------------------------------------------------------------------------------------------------

LUA = """
MERGE
discovery.lua: |
  actions = {}
  actions["label"] = {["disabled"] = obj.metadata.labels ~= nil, ["params"] = {{["name"] = "value"}}}
  actions["copy"] = {}
  actions["loop"] = {}
  actions["wrong"] = {}
  actions["undefined"] = {}
  return actions
definitions:
- name: label
  action.lua: |
    obj.metadata.labels = {}
    obj.metadata.labels.by = string.upper(actionParams["value"])
    return obj
- name: copy
  action.lua: |
    local about = {name = obj.metadata.name .. "-copy", namespace = "default"}
    local made = {apiVersion = "v1", kind = "ConfigMap", metadata = about}
    return {{operation = "create", resource = made}}
- name: loop
  action.lua: "while true do end"
- name: wrong
  action.lua: "return {{operation = 'delete', resource = obj}}"
"""


def lua(merged: bool = False) -> Any:
    found = decode_customizations({"resource.customizations.actions.apps_Deployment": LUA.replace(
        "MERGE", "mergeBuiltinActions: true" if merged else "")})
    assert found.mistakes == ()
    return found


def test_users_own_actions_take_the_place_of_the_built_in_ones_or_stand_beside_them() -> None:
    deployment = obj("apps/v1", "Deployment")
    assert sorted(lua().actions_of(deployment)) == ["copy", "label", "loop", "wrong"]
    assert {"restart", "label"} <= lua(merged=True).actions_of(deployment).keys()
    assert lua().actions_of(obj("apps/v1", "StatefulSet")).keys() == {"restart", "scale"}
    label = lua().actions_of(deployment)["label"]
    assert label.parameters == ("value",)
    assert label.make(deployment, NOW, {"value": "ann"}) == Change({"metadata": {"labels": {"by": "ANN"}}})
    assert lua().actions_of({**deployment, "metadata": {"name": "x", "labels": {"a": "b"}}})["label"].disabled
    assert lua().actions_of(deployment)["copy"].make(deployment, NOW, {}).create[0]["metadata"]["name"] == "x-copy"


@pytest.mark.parametrize(("action", "said"), [
    ("loop", "too many instructions"), ("wrong", "may create objects and patch its own"),
])
def test_a_script_that_misbehaves_is_refused(action: str, said: str) -> None:
    deployment = obj("apps/v1", "Deployment")
    with pytest.raises(Refused, match=said):
        lua().actions_of(deployment)[action].make(deployment, NOW, {})


@pytest.mark.parametrize("text", ["definitions: x", "definitions: [{name: x}]"])
def test_a_definition_that_cannot_be_read_is_named(text: str) -> None:
    found = decode_customizations({"resource.customizations.actions.apps_Deployment": text})
    assert "definitions: a list of {name, action.lua} is needed" in str(found.mistakes[0])


def test_empty_tables_stay_what_they_were() -> None:
    one = obj("example.com/v1", "Thing", spec={"map": {}, "list": [], "nested": [{"map": {}}]})
    found = decode_customizations({"resource.customizations.actions.example.com_Thing": (
        "discovery.lua: return {touch = {}}\ndefinitions:\n- {name: touch, action.lua: obj.spec.on = true return obj}\n")})
    assert found.actions_of(one)["touch"].make(one, NOW, {}) == Change({"spec": {"on": True}})


# --- done by the platform -------------------------------------------------------------------------------------------------


async def ask(world: World, action: str, *, kind: str = "Deployment", group: str = "apps", of: str = "web",
              **parameters: str) -> ActionResult:
    identity = str(world.clock.now().timestamp())
    text = ActionRequest(action, group, kind, "default", of, identity, parameters).text()
    await world.edit_app({"metadata": {"annotations": {REQUEST: text}}})

    def answered(app: Obj) -> ActionResult | None:
        found = read_result(annotations_of(app).get(RESULT, ""))
        return found if found is not None and found.id == identity and REQUEST not in annotations_of(app) else None

    found = answered(await world.until(answered))
    assert found is not None
    return found


def is_synced(app: Obj) -> bool:
    return dig(app, "status", "sync", "status") == "Synced"


@pytest.mark.parametrize("self_heal", [True, False])
def test_what_git_says_is_gits_to_change(perform: Play, self_heal: bool) -> None:
    async def story(world: World) -> None:
        world.push(prod__web=DEPLOYMENT.replace("REPLICAS", "replicas: 2"))
        await world.create_app(self_heal=self_heal)
        await world.until(is_synced)
        restarted = await ask(world, "restart")
        assert (restarted.done, restarted.message) == (True, "restart of Deployment/web is done")
        deployment = await world.api.get(DEPLOYMENTS, "web", "default")
        assert "kubectl.kubernetes.io/restartedAt" in deployment["spec"]["template"]["metadata"]["annotations"]
        result = await ask(world, "scale", replicas="5")
        deployment = await world.api.get(DEPLOYMENTS, "web", "default")
        if self_heal:
            assert not result.done
            assert result.message == ("git says /spec/replicas, and self-heal would take the change back at once; commit it "
                                      "instead")
            assert deployment["spec"]["replicas"] == 2
        else:
            assert result.message.endswith("git says otherwise about /spec/replicas: the next sync takes it back")
            assert deployment["spec"]["replicas"] == 5
        assert "ResourceActionRan" in await world.event_reasons()

    perform(story)


def test_what_git_leaves_open_may_be_said_by_hand(perform: Play) -> None:
    async def story(world: World) -> None:
        world.push(prod__web=DEPLOYMENT.replace("REPLICAS", ""))
        await world.create_app()
        await world.until(is_synced)
        assert (await ask(world, "scale", replicas="4")).done
        assert (await ask(world, "pause")).done
        app = await world.until(lambda o: dig(o, "status", "health", "status") == "Suspended")
        assert is_synced(app), "nothing of it is drift"
        assert "is not possible" in (await ask(world, "pause")).message
        assert (await world.api.get(DEPLOYMENTS, "web", "default"))["spec"]["replicas"] == 4

    perform(story)


def test_others_objects_and_unknown_actions_are_refused(perform: Play) -> None:
    async def story(world: World) -> None:
        world.push(prod__web=DEPLOYMENT.replace("REPLICAS", ""))
        await world.create_app()
        await world.until(is_synced)
        theirs = dict(obj("apps/v1", "Deployment"), spec=(await world.api.get(DEPLOYMENTS, "web", "default"))["spec"])
        theirs["metadata"] = {"name": "theirs", "namespace": "default"}
        await world.api.create(theirs)
        assert (await ask(world, "restart", of="theirs")).message == "shop has no live Deployment called 'theirs'"
        assert (await ask(world, "fly")).message == "Deployment/web has no action 'fly'"
        assert (await ask(world, "restart", kind="Nonsense")).done is False

    perform(story)


def test_an_action_is_done_though_git_cannot_be_read(perform: Play) -> None:
    async def story(world: World) -> None:
        world.push(prod__web=DEPLOYMENT.replace("REPLICAS", ""))
        await world.create_app()
        await world.until(is_synced)
        world.push("broken", prod__web="{")
        await world.until(lambda o: dig(o, "status", "sync", "status") == "Unknown")
        assert (await ask(world, "pause")).done

    perform(story)


def test_users_own_actions_are_done_where_the_object_is(perform: Play) -> None:
    async def story(world: World) -> None:
        east = await registered(world)
        await world.api.create({"apiVersion": "v1", "kind": "ConfigMap",
                                "metadata": {"name": "argocd-cm", "namespace": "argocd"},
                                "data": {"resource.customizations.actions.apps_Deployment": LUA.replace("MERGE", "")}})
        world.push(prod__web=DEPLOYMENT.replace("REPLICAS", ""))
        await world.create_app(destination={"name": "east", "namespace": "default"})
        await world.until(is_synced)
        assert (await ask(world, "label", value="ann")).done
        assert (await east.api.get(DEPLOYMENTS, "web", "default"))["metadata"]["labels"] == {"by": "ANN"}
        assert (await ask(world, "copy")).done
        assert (await east.api.get(CONFIG_MAPS, "web-copy", "default"))["kind"] == "ConfigMap"
        assert await world.get(CONFIG_MAPS, "web-copy") is None
        east.away = True
        await world.until(lambda o: dig(o, "status", "sync", "status") == "Unknown", within=40)
        assert "cannot be reached" in (await ask(world, "label", value="x")).message

    perform(story)


def test_a_project_says_what_actions_may_create(perform: Play) -> None:
    async def story(world: World) -> None:
        await world.api.create({"apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject",
                                "metadata": {"name": "default", "namespace": "argocd"},
                                "spec": {"sourceRepos": ["*"], "destinations": [{"server": "*", "namespace": "*"}],
                                         "namespaceResourceBlacklist": [{"group": "batch", "kind": "Job"}]}})
        cron = ("apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: nightly}\nspec:\n  schedule: 0 0 * * *\n  jobTemplate:\n"
                "    spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: a}]}}}\n")
        world.push(prod__cron=cron)
        await world.create_app()
        await world.until(is_synced)
        refused = await ask(world, "create-job", kind="CronJob", group="batch", of="nightly")
        assert refused.message == "resource batch:Job is not permitted in project default"
        assert (await world.api.list(JOBS, "default")).items == []

    perform(story)
