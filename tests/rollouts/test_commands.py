"""`fairway rollout`: what people type, what it sends, and what they see."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from fairway.cli import client as cli_client
from fairway.cli.rollout import command
from fairway.kube.api import MergePatch
from fairway.kube.clock import VIRTUAL_EPOCH, Clock, run_virtual
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.objects import Obj, dig
from fairway.kube.resources import ANALYSIS_RUNS, EXPERIMENTS, PODS, REPLICA_SETS, ROLLOUTS, Resource
from fairway.rollouts import commands
from fairway.rollouts.tree import Picture, facts, rows, tree
from fairway.state import StateDir
from tests.rollouts.world import NS, World, a_world, analysis, rollout, success_rate, template

OWNED = {"argocd.argoproj.io/tracking-id": "shop:argoproj.io/Rollout:default/shop"}


async def picture(world: World) -> Picture:
    async def every(resource: Resource) -> list[Obj]:
        return (await world.api.list(resource, NS)).items

    return Picture(await world.get(), await every(REPLICA_SETS), await every(PODS), await every(ANALYSIS_RUNS))


def test_the_tree_in_the_middle_of_a_canary() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock) as world:
            await world.api.create(success_rate())
            await world.api.create(rollout(analysis=analysis()))
            stable = (await world.healthy())["status"]["stableRS"]
            await world.image("shop:2")
            found = await world.until(lambda r: dig(r, "status", "currentStepIndex") == 3)
            await asyncio.sleep(1)
            canary = found["status"]["currentPodHash"]
            seen = await picture(world)
            shown = facts(seen)
            for line in (("Status:", "॥ Paused"), ("Message:", "CanaryPauseStep"), ("  Step:", "3/8"), ("  SetWeight:", "20"),
                         ("  ActualWeight:", "20"), ("  Desired:", "4"), ("  Updated:", "1")):
                assert line in shown
            assert {value for name, value in shown if value.startswith("shop:")} == {"shop:1 (stable)", "shop:2 (canary)"}
            drawn = [" ".join(row).rstrip() for row in rows(tree(seen), clock.now())]
            assert drawn[0].startswith("⟳ shop Rollout ॥ Paused")
            assert drawn[1].startswith("├──# revision:2")
            assert drawn[2].startswith(f"│  ├──⧉ shop-{canary} ReplicaSet ✔ Healthy")
            assert drawn[3].startswith(f"│  │  └──□ shop-{canary}-")
            assert drawn[4].startswith(f"│  └──α shop-{canary}-2 AnalysisRun ◌ Running")
            assert drawn[5].startswith("└──# revision:1")
            assert drawn[6].startswith(f"   └──⧉ shop-{stable} ReplicaSet ✔ Healthy") and drawn[6].endswith("stable")
            assert len(drawn) == 11

    run_virtual(story)


@pytest.mark.parametrize(("status", "tags"), [
    ({"stableRS": "a", "currentPodHash": "b"}, {"shop:1 (stable)", "shop:2 (canary, Σ:trial)"}),
    ({"stableRS": "a", "currentPodHash": "b", "canary": {"stablePingPong": "pong"}},
     {"shop:1 (pong, stable)", "shop:2 (canary, ping, Σ:trial)"}),
    ({"stableRS": "a", "currentPodHash": "b", "blueGreen": {"activeSelector": "a", "previewSelector": "b"}},
     {"shop:1 (active, stable)", "shop:2 (preview, Σ:trial)"}),
    ({"stableRS": "a", "currentPodHash": "b", "blueGreen": {"activeSelector": "b", "previewSelector": "b"}},
     {"shop:1 (stable)", "shop:2 (active, Σ:trial)"}),
])  # fmt: skip
def test_every_image_says_as_what_it_runs(status: Obj, tags: set[str]) -> None:
    def replica_set(image: str, pod_hash: str, owner: str, **annotations: str) -> Obj:
        return {"metadata": {"labels": {"rollouts-pod-template-hash": pod_hash}, "annotations": annotations,
                             "ownerReferences": [{"uid": owner}]},
                "spec": {"replicas": 1, "template": {"spec": {"containers": [{"image": image}]}}}}

    sets = [replica_set("shop:1", "a", "r"), replica_set("shop:2", "b", "r"),
            replica_set("shop:2", "c", "e", **{"experiment.argoproj.io/template-name": "trial"})]
    seen = Picture({**rollout(), "status": status}, sets, experiments=[{"metadata": {"uid": "e"}}])
    assert {value for name, value in facts(seen) if value.startswith("shop:")} == tags


@pytest.mark.parametrize(("status", "asked", "wanted"), [
    ({"pauseConditions": [{"reason": "CanaryPauseStep", "startTime": "2030-01-01T00:00:00Z"}], "currentStepIndex": 1}, {},
     {"pauseConditions": None}),
    ({"pauseConditions": [{"reason": "InconclusiveAnalysisRun", "startTime": "2030-01-01T00:00:00Z"}], "currentStepIndex": 1},
     {}, {"pauseConditions": None, "controllerPause": False, "currentStepIndex": 2}),
    ({"currentStepIndex": 2}, {}, {"currentStepIndex": 3}),
    ({"currentStepIndex": 2}, {"skip_all": True}, {"currentStepIndex": 8, "pauseConditions": None}),
    ({"currentPodHash": "b", "stableRS": "a"}, {"full": True}, {"promoteFull": True}),
    ({"currentPodHash": "a", "stableRS": "a"}, {"full": True}, None),
])  # fmt: skip
def test_promoting(status: Obj, asked: dict[str, Any], wanted: Obj | None) -> None:
    found = commands.promote({**rollout(), "status": status}, **asked).status
    assert (found["status"] if found else None) == wanted


def test_what_git_owns_is_changed_in_git() -> None:
    owned = rollout()
    owned["metadata"]["annotations"] = OWNED
    for change in (lambda: commands.undo(owned, []), lambda: commands.set_image(owned, {"shop": "shop:9"})):
        with pytest.raises(commands.Refused, match="belongs to Application 'shop': what it runs is changed in git") as caught:
            change()
        assert "fairway rollout abort" in caught.value.mend
    assert commands.abort(owned).status == {"status": {"abort": True}}, "stopping exposure needs no commit"


class _InProcess:
    """The client that commands use, answered by an API in this process."""

    def __init__(self, api: EmbeddedApi) -> None:
        self._api = api

    def get(self, resource: Resource, name: str, namespace: str = "") -> Obj:
        return asyncio.run(self._api.get(resource, name, namespace))

    def list(self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Obj]:
        return asyncio.run(self._api.list(resource, namespace, labels=labels, fields=fields)).items

    def patch(self, resource: Resource, name: str, namespace: str, body: Obj, *, subresource: Any = "") -> Obj:
        return asyncio.run(self._api.patch(resource, name, namespace, MergePatch(body), subresource=subresource))


class _Still:
    def now(self) -> datetime:
        return VIRTUAL_EPOCH


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> EmbeddedApi:
    api = EmbeddedApi.in_memory(_Still())
    monkeypatch.setattr(cli_client.Client, "of", staticmethod(lambda state: _InProcess(api)))
    asyncio.run(api.create(rollout()))
    status = {"phase": "Paused", "message": "CanaryPauseStep", "currentStepIndex": 1, "currentPodHash": "b", "stableRS": "a",
              "controllerPause": True, "pauseConditions": [{"reason": "CanaryPauseStep", "startTime": "2030-01-01T00:00:00Z"}]}
    asyncio.run(api.patch(ROLLOUTS, "shop", NS, MergePatch({"status": status}), subresource="status"))
    return api


def run(*words: str) -> tuple[int, str]:
    found = CliRunner().invoke(command, words, obj=StateDir.default())
    return found.exit_code, found.output


def test_commands_as_they_are_typed(api: EmbeddedApi) -> None:
    assert run("status", "shop", "--no-watch") == (0, "Paused - CanaryPauseStep\n")
    assert run("promote", "shop") == (0, "rollout 'shop' promoted\n")
    assert "pauseConditions" not in asyncio.run(api.get(ROLLOUTS, "shop", NS))["status"]
    assert run("status", "shop", "--no-watch") == (0, "Progressing - waiting for rollout to unpause\n")
    assert run("abort", "shop", "-n", NS) == (0, "rollout 'shop' aborted\n")
    assert run("abort", "shop") == (0, "rollout 'shop' aborted (it already is)\n")
    assert run("retry", "shop") == (0, "rollout 'shop' retried\n")
    code, said = run("retry", "shop")
    assert code == 1 and "is not aborted: there is nothing to retry" in said
    assert run("set-image", "shop", "shop=shop:2") == (0, "rollout 'shop' image updated\n")
    found = asyncio.run(api.get(ROLLOUTS, "shop", NS))
    assert dig(found, "spec", "template", "spec", "containers", 0, "image") == "shop:2"
    code, said = run("set-image", "shop", "web=shop:2")
    assert code == 1 and "unable to find container named 'web' (there are: shop)" in said
    code, said = run("get", "nope")
    assert code == 1 and "no rollout is called 'nope'" in said and "there are: shop" in said
    code, said = run("list")
    assert code == 0 and said.splitlines()[1].split()[:4] == ["default", "shop", "Canary", "Progressing"]
    code, said = run("get", "shop")
    assert code == 0 and "Name:            shop" in said and "⟳ shop" in said


def test_the_words_of_upstreams_plugin_are_understood(api: EmbeddedApi) -> None:
    assert run("set", "image", "shop", "shop=shop:3") == (0, "rollout 'shop' image updated\n")
    assert run("get", "rollout", "shop")[1].startswith("Name:            shop")
    trial = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Experiment", "metadata": {"name": "trial", "namespace": NS},
             "spec": {"duration": "5m", "templates": [{"name": "new", "selector": {}, "template": template("shop:2")}]},
             "status": {"phase": "Running"}}
    asyncio.run(api.create(trial))
    code, said = run("list", "experiments")
    assert code == 0 and said.splitlines()[1].split()[:4] == ["default", "trial", "Pending", "5m"]
    code, said = run("get", "experiment", "trial")
    assert code == 0 and "Duration:        5m" in said and "Σ trial" in said
    assert run("terminate", "experiment", "trial") == (0, "experiment 'trial' terminated\n")
    assert asyncio.run(api.get(EXPERIMENTS, "trial", NS))["spec"]["terminate"] is True
    code, said = run("get", "service", "shop")
    assert code == 2 and "rollout or experiment and a name, is needed" in said


def test_lint_says_the_place_and_needs_no_platform(tmp_path: Path) -> None:
    bad = rollout(steps=[{"setWeight": 110}])
    file = tmp_path / "shop.yaml"
    file.write_text(yaml.safe_dump_all([{"kind": "ConfigMap"}, bad]))
    code, said = run("lint", "-f", str(file))
    assert code == 1 and "shop.yaml:3" in said and "SetWeight needs to be between 0 and 100" in said
    file.write_text(yaml.safe_dump(rollout()))
    assert run("lint", "-f", str(file)) == (0, "")


def test_a_degraded_rollout_is_an_exit_code(api: EmbeddedApi) -> None:
    status = {"phase": "Degraded", "message": "RolloutAborted: …", "controllerPause": None}
    asyncio.run(api.patch(ROLLOUTS, "shop", NS, MergePatch({"status": status}), subresource="status"))
    assert run("status", "shop") == (1, "Degraded - RolloutAborted: …\n")


def test_undo_takes_the_template_of_the_revision_before() -> None:
    def revision(number: int, image: str) -> Obj:
        spec = rollout(image=image)["spec"]["template"]
        spec["metadata"]["labels"]["rollouts-pod-template-hash"] = image
        return {"metadata": {"annotations": {"rollout.argoproj.io/revision": str(number)}}, "spec": {"template": spec}}

    history = [revision(1, "shop:1"), revision(3, "shop:3"), revision(2, "shop:2")]
    found = commands.undo(rollout(image="shop:3"), history).spec
    assert found == {"spec": {"template": rollout(image="shop:2")["spec"]["template"]}}
    with pytest.raises(commands.Refused, match="unable to find specified revision 9 in history"):
        commands.undo(rollout(), history, 9)
    assert commands.restart(rollout(), datetime(2030, 1, 1, tzinfo=UTC)).spec == {"spec": {"restartAt": "2030-01-01T00:00:00Z"}}
