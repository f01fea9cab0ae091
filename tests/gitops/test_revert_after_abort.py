"""A bad version is aborted by its analysis: git is corrected by a commit that names the evidence, once, and only then."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fairway.git import Change, LostRace, Person, ReadOnly
from fairway.kube.clock import Clock, run_virtual
from fairway.kube.objects import Obj, dig, owner_reference
from fairway.kube.resources import ROLLOUTS
from tests.gitops.world import World, hook

GOOD, BAD, BETTER = (f"registry.local/shop@sha256:{digit * 64}" for digit in "abc")
ROLLOUT = """\
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata:
  name: shop
spec:
  replicas: 2
  selector:
    matchLabels: {app: shop}
  strategy:
    canary:
      steps:
      - setWeight: 20
      - pause: {}
  template:
    metadata:
      labels: {app: shop}
    spec:
      containers:
      - name: shop
        image: shop
"""


def kustomization(image: str) -> str:
    name, _, digest = image.partition("@")
    return (f"# production\nresources:\n- rollout.yaml\n- smoke.yaml\nimages:\n- name: shop   # written by CI\n"
            f"  newName: {name}\n  digest: {digest}  # the release\nnamespace: default\n")


Story = Callable[[World], Awaitable[None]]
Play = Callable[[Story], None]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    def run(story: Story) -> None:
        async def main(clock: Clock) -> None:
            world = World(clock, tmp_path)
            world.start()
            try:
                await story(world)
            finally:
                await world.kill()

        run_virtual(main)

    return run


async def rollout(world: World) -> Obj:
    return await world.api.get(ROLLOUTS, "shop", "default")


async def observe(world: World, phase: str, *, stable: str, current: str, **status: object) -> None:
    """What the rollout controller would say."""
    generation = (await rollout(world))["metadata"]["generation"]
    body = {"phase": phase, "observedGeneration": str(generation), "stableRS": stable, "currentPodHash": current,
            "abort": None, "message": None, **status}
    await world.edit(ROLLOUTS, "shop", {"status": body}, status=True)


async def replica_set(world: World, pod_hash: str) -> None:
    owner = await rollout(world)
    template = owner["spec"]["template"]
    labels = {"app": "shop", "rollouts-pod-template-hash": pod_hash}
    await world.api.create({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": f"shop-{pod_hash}", "namespace": "default", "ownerReferences": [owner_reference(owner)]},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels},
                 "template": {**template, "metadata": {"labels": labels}}},
    })


async def deliver_good_then_bad(world: World) -> tuple[str, str]:
    """The good version is stable; the bad one is aborted by the background analysis."""
    good = world.push("good", prod__kustomization=kustomization(GOOD), prod__rollout=ROLLOUT,
                      prod__smoke=hook("smoke", "PostSync"))
    await world.create_app()
    await world.until(lambda o: any(r["kind"] == "Rollout" for r in dig(o, "status", "resources", default=[])))
    await world.until_live(ROLLOUTS, "shop", lambda o: True)
    await replica_set(world, "aaa")
    await observe(world, "Healthy", stable="aaa", current="aaa")
    await world.settled(good)
    bad = world.push("ship it", prod__kustomization=kustomization(BAD))
    await world.until_live(ROLLOUTS, "shop", lambda o: BAD in str(o["spec"]))
    await observe(world, "Progressing", stable="aaa", current="bbb")
    return good, bad


async def failed_run(world: World, pod_hash: str) -> None:
    await world.api.create({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun",
        "metadata": {"name": f"shop-{pod_hash}-2", "namespace": "default", "labels": {"rollouts-pod-template-hash": pod_hash},
                     "ownerReferences": [owner_reference(await rollout(world))]},
        "spec": {"metrics": [{"name": "success-rate", "successCondition": "result[0] >= 0.97",
                              "provider": {"prometheus": {"query": "up"}}}]},
        "status": {
            "phase": "Failed", "message": 'Metric "success-rate" assessed Failed due to failed (2) > failureLimit (1)',
            "metricResults": [{"name": "success-rate", "phase": "Failed", "failed": 2, "count": 2,
                               "measurements": [{"phase": "Failed", "value": "[0.921]"}]}]},
    })


async def abort(world: World, *, analysis: bool = True) -> None:
    if analysis:
        await failed_run(world, "bbb")
    await observe(world, "Degraded", stable="aaa", current="bbb", abort=True, message="RolloutAborted: analysis failed")


def test_the_bad_version_is_taken_back_in_git_with_the_evidence(play: Play) -> None:
    async def story(world: World) -> None:
        good, bad = await deliver_good_then_bad(world)
        await abort(world)
        await world.until_live(ROLLOUTS, "shop", lambda o: GOOD in str(o["spec"]))
        await observe(world, "Healthy", stable="aaa", current="aaa")
        head = world.repo.resolve("main")
        app = await world.settled(head)
        assert app["status"]["sync"]["status"] == "Synced" and app["status"]["health"]["status"] == "Healthy"
        commit = world.repo.log("main")[0]
        assert commit.author.name == "Fairway" and commit.parents == (bad,)
        assert commit.trailers() == {
            "Fairway-Revert": bad,
            "Fairway-Evidence": 'AnalysisRun default/shop-bbb-2: Metric "success-rate" assessed Failed due to failed (2) > '
                                "failureLimit (1) (success-rate = [0.921], wanted result[0] >= 0.97)"}
        assert world.repo.read_tree(head)["prod/kustomization.yaml"].decode() == kustomization(GOOD), "all else is as it was"
        assert good[:7] in commit.message and "Reverted" in await world.event_reasons()
        await asyncio.sleep(3600)
        assert world.repo.resolve("main") == head, "one revert, and no commit about its own commit"

    play(story)


def test_a_newer_commit_is_left_alone(play: Play) -> None:
    async def story(world: World) -> None:
        await deliver_good_then_bad(world)
        await world.kill()
        await abort(world)
        newer = world.push("the fix", prod__kustomization=kustomization(BETTER))
        world.start()
        await world.until_live(ROLLOUTS, "shop", lambda o: BETTER in str(o["spec"]))
        await asyncio.sleep(60)
        assert world.repo.resolve("main") == newer

    play(story)


def test_a_later_commit_about_something_else_does_not_stop_the_revert(play: Play) -> None:
    async def story(world: World) -> None:
        await deliver_good_then_bad(world)
        docs = world.push("docs", docs__readme="a: 1\n")
        await abort(world)
        await world.until_live(ROLLOUTS, "shop", lambda o: GOOD in str(o["spec"]))
        assert world.repo.log("main")[0].parents == (docs,)

    play(story)


def test_an_abort_by_hand_is_followed_by_a_commit_too(play: Play) -> None:
    async def story(world: World) -> None:
        await deliver_good_then_bad(world)
        await failed_run(world, "earlier")  # of a version that was refused before: no evidence against this one
        await abort(world, analysis=False)
        await world.until_live(ROLLOUTS, "shop", lambda o: GOOD in str(o["spec"]))
        assert "Rollout default/shop: RolloutAborted" in world.repo.log("main")[0].trailers()["Fairway-Evidence"]

    play(story)


def test_a_note_about_an_earlier_version_does_not_stand_in_the_way(play: Play) -> None:
    async def story(world: World) -> None:
        await deliver_good_then_bad(world)
        note = json.dumps({"bad": {"shop": "registry.example.com/shop:long-gone"}, "good": {}, "evidence": "e", "story": "s"})
        await world.edit(ROLLOUTS, "shop", {"metadata": {"annotations": {"fairway.dev/take-back": note}}})
        await abort(world)
        await world.until_live(ROLLOUTS, "shop", lambda o: GOOD in str(o["spec"]))
        assert world.repo.log("main")[0].trailers()["Fairway-Evidence"].startswith("AnalysisRun default/shop-bbb-2")

    play(story)


def test_a_lost_race_is_tried_again(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: World) -> None:
        await deliver_good_then_bad(world)
        commit, lost = world.repo.commit, []

        def racing(branch: str, change: Change, *, expected_head: str) -> str:
            if not lost:
                lost.append(commit(branch, Change({"other": b"1"}, "other", Person("B", "b@x"), change.when),
                                   expected_head=expected_head))
                raise LostRace("moved")
            return commit(branch, change, expected_head=expected_head)

        monkeypatch.setattr(world.repo, "commit", racing)
        await abort(world)
        await world.until_live(ROLLOUTS, "shop", lambda o: GOOD in str(o["spec"]))
        assert [c.subject for c in world.repo.log("main")][:2] == ["Revert shop to the last good version", "other"]

    play(story)


def test_without_write_access_it_says_what_to_do_by_hand(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: World) -> None:
        _, bad = await deliver_good_then_bad(world)

        def refused(branch: str, change: Change, *, expected_head: str) -> str:
            raise ReadOnly("the remote declined the push: give Fairway write access")

        monkeypatch.setattr(world.repo, "commit", refused)
        await abort(world)
        app = await world.until(lambda o: "RevertError" in str(dig(o, "status", "conditions")))
        text = next(c["message"] for c in app["status"]["conditions"] if c["type"] == "RevertError")
        assert f"{BAD} back to {GOOD}" in text and "write access" in text
        assert world.repo.resolve("main") == bad

    play(story)


def test_killed_between_the_commit_and_its_note_it_does_not_commit_twice(play: Play) -> None:
    async def story(world: World) -> None:
        await deliver_good_then_bad(world)
        await abort(world)
        for _ in range(60_000):
            if len(world.repo.log("main")) == 3:
                break
            await asyncio.sleep(0.001)
        await world.kill()
        world.start()
        await world.until_live(ROLLOUTS, "shop", lambda o: GOOD in str(o["spec"]))
        await asyncio.sleep(60)
        assert len(world.repo.log("main")) == 3

    play(story)


def test_rollback_asked_for_becomes_a_commit(play: Play) -> None:
    async def story(world: World) -> None:
        good, _ = await deliver_good_then_bad(world)
        await observe(world, "Healthy", stable="bbb", current="bbb")
        await world.until(lambda o: len(dig(o, "status", "history", default=[])) == 2)
        await world.edit_app({"metadata": {"annotations": {"fairway.dev/rollback-to": "0"}}})
        await world.until_live(ROLLOUTS, "shop", lambda o: GOOD in str(o["spec"]))
        assert world.repo.log("main")[0].trailers() == {"Fairway-Rollback": good}
        app = await world.app()
        assert "fairway.dev/rollback-to" not in (app["metadata"].get("annotations") or {})

    play(story)
