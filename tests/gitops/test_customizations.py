"""Users' own rules: Lua health checks in their sandbox, ignored fields by jq and by manager, excluded kinds, explanations."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fairway.gitops.explain import explain
from fairway.gitops.ignoring import BadExpression, IgnoreRule, check_expression, without_ignored
from fairway.gitops.lua_health import LuaHealth
from fairway.kube.objects import dig
from fairway.kube.resources import CONFIG_MAPS, DEPLOYMENTS
from tests.gitops.conftest import Play
from tests.gitops.test_sources import DEPLOYMENT
from tests.gitops.world import World, config_map

SCRIPT = """
hs = {status = "Progressing", message = "waiting"}
if obj.data ~= nil and obj.data.value == "ready" then
  hs.status = "Healthy"
  hs.message = "is " .. obj.data.value
end
return hs
"""


def settings(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm", "namespace": "argocd"}, "data": data}


def test_a_check_of_the_users_own_decides_waves(perform: Play) -> None:
    async def story(world: World) -> None:
        await world.api.create(settings(**{"resource.customizations.health._ConfigMap": SCRIPT}))
        world.push(prod__a=config_map("a", wave=0), prod__b=config_map("b", "ready", wave=1))
        await world.create_app(self_heal=False)
        app = await world.until(lambda o: "waiting for healthy state" in dig(o, "status", "operationState", "message",
                                                                             default=""))
        assert app["status"]["health"]["status"] == "Progressing" and await world.get(CONFIG_MAPS, "b") is None
        await world.edit(CONFIG_MAPS, "a", {"data": {"value": "ready"}})
        await world.until(lambda o: dig(o, "status", "operationState", "phase") == "Succeeded")
        app = await world.app()
        assert {r["health"]["message"] for r in app["status"]["resources"]} == {"is ready"}

    perform(story)


@pytest.mark.parametrize(("script", "message"), [
    ("while true do end", "too many instructions"),
    ("while true do pcall(function() while true do end end) end", "too many instructions"),
    ("local t = {} for n = 1, 1e9 do t[n] = ('x'):rep(1000) .. n end", "failed"),
    ("return io.open('/etc/passwd')", "nil value"), ("return os.execute('true')", "nil value"),
    ("return os.getenv('HOME')", "nil value"), ("return require('ffi')", "nil value"),
    ("return python.eval('1')", "nil value"), ("return load('return 1')()", "nil value"),
    ("return obj.__class__.__name__", "nil value"), ("return 7", "did not return a table"),
    ("return {status = 'Fine'}", "invalid health status: Fine"), ("return {", "expected"),
])  # fmt: skip
def test_a_script_that_misbehaves_is_unknown_and_harmless(script: str, message: str) -> None:
    found = LuaHealth(script)({"kind": "X"})
    assert found is not None and found.status == "Unknown" and message in found.message


def test_string_and_math_have_to_be_opened() -> None:
    script = "return {status = 'Healthy', message = string.upper('a') .. math.floor(1.5)}"
    closed, opened = LuaHealth(script)({}), LuaHealth(script, open_libs=True)({})
    assert closed is not None and closed.status == "Unknown"
    assert opened is not None and opened.message == "A1"


def test_fields_are_ignored_by_jq_and_by_manager(perform: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(prod__web=DEPLOYMENT)
        await world.create_app(self_heal=False, ignoreDifferences=[
            {"group": "apps", "kind": "Deployment", "managedFieldsManagers": ["tuner"],
             "jqPathExpressions": ['.spec.template.spec.containers[] | select(.name == "web") | .image']}])
        await world.settled(first)
        containers = [{"name": "web", "image": "web:9"}]
        await world.edit(DEPLOYMENTS, "web", {"spec": {"template": {"spec": {"containers": containers}}}})
        await world.edit(DEPLOYMENTS, "web", {"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/"
                                                                           "Deployment:default/web"}}}, manager="tuner")
        await asyncio.sleep(5)
        app, live = await world.app(), await world.get(DEPLOYMENTS, "web")
        assert live is not None and live["spec"]["template"]["spec"]["containers"][0]["image"] == "web:9"
        assert app["status"]["sync"]["status"] == "Synced"
        await world.edit(DEPLOYMENTS, "web", {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:9",
                                                                                           "command": ["x"]}]}}}})
        await asyncio.sleep(5)
        assert world.why() == ["InSync"], "a field that git does not name is nobody's drift"

    perform(story)


def test_excluded_kinds_are_left_alone(perform: Play) -> None:
    async def story(world: World) -> None:
        await world.api.create(settings(**{"resource.exclusions": "- apiGroups: ['']\n  kinds: [Secret]\n"}))
        world.push(prod__a=config_map("a"), prod__s="apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n")
        await world.create_app()
        app = await world.until(lambda o: dig(o, "status", "operationState", "phase") == "Succeeded")
        assert [c["type"] for c in app["status"]["conditions"]] == ["ExcludedResourceWarning"]
        assert [r["name"] for r in app["status"]["resources"]] == ["a"]

    perform(story)


@pytest.mark.parametrize("text", [
    "repeat(.)", "def f: f; f", "recurse(.)", "range(1; 1e12)", "[while(true; .)]", '.a = ("x" * 1e9)', "$ENV", ".a[",
])
def test_expressions_that_need_not_end_are_refused(text: str) -> None:
    with pytest.raises(BadExpression):
        check_expression(text)


def test_an_expression_that_fails_on_an_object_ignores_nothing() -> None:
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}}
    assert without_ignored(obj, [IgnoreRule("ConfigMap", jq_paths=(".data.x.y",))]) == obj
    assert without_ignored(obj, [IgnoreRule("Config*", jq_paths=(".data.x",))])["data"] == {}


def test_each_difference_says_where_it_comes_from() -> None:
    base = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    live = {**base, "data": {"theirs": "2", "gone": "1", "rule": "x"}}
    live["metadata"] = {"name": "a", "managedFields": [
        {"manager": "argocd-controller", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1",
         "fieldsV1": {"f:data": {"f:gone": {}, "f:rule": {}}}},
        {"manager": "kubectl-edit", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
         "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:data": {"f:theirs": {}}}}]}
    target = {**base, "data": {"theirs": "1", "new": "1", "rule": "y"}}
    found = explain(target, live, target, [IgnoreRule("ConfigMap", json_pointers=("/data/rule",))], "argocd-controller")
    assert [str(difference) for difference in found] == [
        "/data/gone: git no longer says it", "/data/new: git sets it",
        "/data/theirs: kubectl-edit (update at 2026-01-01T00:00:00Z) changed it; git says otherwise",
        "/data/rule: ignored by the jsonPointer /data/rule"]
