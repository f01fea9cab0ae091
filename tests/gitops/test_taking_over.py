"""Objects that `kubectl apply` or Argo CD applied before are taken over: what git has dropped goes, what others have stays."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from fairway.gitops.strategies import LAST_APPLIED
from fairway.kube.api import MergePatch, WriteOptions
from fairway.kube.objects import Obj, annotations_of, dig
from fairway.kube.resources import CONFIG_MAPS, DEPLOYMENTS
from tests.gitops.conftest import Play
from tests.gitops.world import World

BEFORE: Obj = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"team": "a", "old": "x"}},
    "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {
        "metadata": {"labels": {"app": "web"}}, "spec": {"priorityClassName": "high", "containers": [
            {"name": "web", "image": "web:1", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
            {"name": "side", "image": "side:1"}]}}},
}  # fmt: skip


def without(obj: Obj, *paths: str) -> Obj:
    found = json.loads(json.dumps(obj))
    for path in paths:
        *steps, last = [int(step) if step.isdigit() else step for step in path.split("/")]
        inner: Any = found
        for step in steps:
            inner = inner[step]
        del inner[last]
    return dict(found)


async def applied_by_a_client(world: World, obj: Obj, manager: str = "kubectl-client-side-apply") -> None:
    note = {LAST_APPLIED: json.dumps(obj) + "\n"}
    made = {**obj, "metadata": {**obj["metadata"], "namespace": "default", "annotations": note}}
    await world.api.create(made, WriteOptions(manager=manager))


def is_synced(app: Obj) -> bool:
    return dig(app, "status", "sync", "status") == "Synced" and dig(app, "status", "operationState", "phase") == "Succeeded"


@pytest.mark.parametrize("manager", ["kubectl-client-side-apply", "argocd-controller"])
def test_what_git_has_dropped_goes_though_the_old_manager_has_it(perform: Play, manager: str) -> None:
    async def story(world: World) -> None:
        await applied_by_a_client(world, BEFORE, manager)
        wanted = without(BEFORE, "metadata/labels/old", "spec/template/spec/priorityClassName",
                         "spec/template/spec/containers/1", "spec/template/spec/containers/0/env/1")
        world.push(prod__web=yaml.safe_dump(wanted))
        await world.create_app()
        await world.until(is_synced)
        live = await world.api.get(DEPLOYMENTS, "web", "default")
        assert live["metadata"]["labels"] == {"team": "a"}
        pod = live["spec"]["template"]["spec"]
        assert "priorityClassName" not in pod
        assert [c["name"] for c in pod["containers"]] == ["web"]
        assert [e["name"] for e in pod["containers"][0]["env"]] == ["A"]
        assert "priorityClassName" not in annotations_of(live)[LAST_APPLIED], "what was said last is said anew"
        version = live["metadata"]["resourceVersion"]
        again = without(wanted, "metadata/labels/team")
        world.push("again", prod__web=yaml.safe_dump(again))
        await world.settled(world.repo.resolve("main"))
        live = await world.api.get(DEPLOYMENTS, "web", "default")
        assert "labels" not in live["metadata"], "and later drops go as well"
        assert live["metadata"]["resourceVersion"] != version

    perform(story)


def test_what_another_manager_has_stays(perform: Play) -> None:
    async def story(world: World) -> None:
        await applied_by_a_client(world, BEFORE)
        await world.api.patch(DEPLOYMENTS, "web", "default", MergePatch({"spec": {"replicas": 7}}),
                              WriteOptions(manager="autoscaler"))
        world.push(prod__web=yaml.safe_dump(without(BEFORE, "spec/replicas")))
        await world.create_app()
        await world.until(is_synced)
        assert (await world.api.get(DEPLOYMENTS, "web", "default"))["spec"]["replicas"] == 7

    perform(story)


def test_whoever_does_not_want_it_says_so(perform: Play) -> None:
    async def story(world: World) -> None:
        await applied_by_a_client(world, BEFORE)
        world.push(prod__web=yaml.safe_dump(without(BEFORE, "metadata/labels/old")))
        await world.create_app(options=("ClientSideApplyMigration=false",))
        await world.until(is_synced)
        assert "old" in (await world.api.get(DEPLOYMENTS, "web", "default"))["metadata"]["labels"]

    perform(story)


def test_what_was_never_applied_by_a_client_is_written_once(perform: Play) -> None:
    async def story(world: World) -> None:
        world.push(prod__web=yaml.safe_dump(BEFORE))
        await world.create_app()
        await world.until(is_synced)
        assert LAST_APPLIED not in annotations_of(await world.api.get(DEPLOYMENTS, "web", "default"))

    perform(story)


@pytest.mark.parametrize("place", ["application", "object"])
def test_a_comparison_without_the_api_is_argo_cds_default(perform: Play, place: str) -> None:
    """`ServerSideDiff=false`: what was said last and is not said now is drift, whoever has it; a sync mends it."""
    note = {"argocd.argoproj.io/compare-options": "ServerSideDiff=false"}

    async def story(world: World) -> None:
        before: Obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "1", "b": "2"}}
        await applied_by_a_client(world, before)
        await world.api.patch(CONFIG_MAPS, "settings", "default", MergePatch({"data": {"b": "3", "c": "4"}}),
                              WriteOptions(manager="somebody"))
        wanted = without(before, "data/b")
        if place == "object":
            wanted["metadata"]["annotations"] = note
        world.push(prod__all=yaml.safe_dump(wanted))
        await world.create_app(automated=False, metadata={"annotations": note} if place == "application" else {})
        await world.until(lambda o: dig(o, "status", "sync", "status") == "OutOfSync")
        await world.edit_app({"operation": {"sync": {}}})
        await world.until(is_synced)
        data = (await world.api.get(CONFIG_MAPS, "settings", "default"))["data"]
        assert data == {"a": "1", "c": "4"}, "what only others have said is no drift"

    perform(story)


def test_an_object_that_says_server_side_apply_is_merged_by_structure(perform: Play) -> None:
    async def story(world: World) -> None:
        note = {"argocd.argoproj.io/compare-options": "ServerSideDiff=false"}
        world.push(prod__web=yaml.safe_dump(BEFORE))
        await world.create_app(metadata={"annotations": note}, options=("ServerSideApply=true",))
        await world.until(is_synced)
        await world.edit(DEPLOYMENTS, "web", {"spec": {"template": {"spec": {"priorityClassName": "low"}}}})
        await world.until(lambda o: dig(o, "status", "operationState", "operation", "sync", "autoHealAttemptsCount") == 1
                          and is_synced(o))
        live = await world.api.get(DEPLOYMENTS, "web", "default")
        assert live["spec"]["template"]["spec"]["priorityClassName"] == "high"

    perform(story)
