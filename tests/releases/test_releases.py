"""Releases as a delivery goes on: three commits, one of them bad, told by the objects that other rooms write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from fairway.kube.api import MergePatch
from fairway.kube.cache import Informers
from fairway.kube.clock import Clock, run_virtual
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.objects import Obj, parse_time, rfc3339, rfc3339_micro
from fairway.kube.reconcile import ControllerLoop
from fairway.kube.resources import APPLICATIONS, JOBS, PIPELINE_RUNS, RELEASES, ROLLOUTS
from fairway.releases.controller import ReleaseController
from fairway.releases.dora import dora

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


class Delivery:
    def __init__(self, clock: Clock, api: EmbeddedApi) -> None:
        self.clock, self.api = clock, api

    async def pipeline(self, sha: str, digest: str) -> None:
        """A commit 60 s old, pushed 30 s ago, whose image is ready now."""
        now = self.clock.now()
        await self.api.create({"apiVersion": "fairway.dev/v1alpha1", "kind": "PipelineRun",
                               "metadata": {"name": f"run-{sha}", "namespace": "fairway"},
                               "spec": {"repository": "shop/app", "sha": sha, "workflow": "ci.yml", "event": "push"}})
        commit = {"committedAt": rfc3339_micro(now - timedelta(seconds=60)),
                  "pushedAt": rfc3339_micro(now - timedelta(seconds=30))}
        status = {"phase": "Succeeded", "commit": commit, "images": [{"name": "shop/app", "digest": digest}],
                  "finishedAt": rfc3339_micro(now)}
        await self.api.patch(PIPELINE_RUNS, f"run-{sha}", "fairway", MergePatch({"status": status}), subresource="status")

    async def sync(self, revision: str, digest: str) -> None:
        """The Application begins to sync, and the Rollout asks for the digest."""
        await self.application(revision, "Running")
        template = {"metadata": {"labels": {"app": "shop"}},
                    "spec": {"containers": [{"name": "shop", "image": f"registry.example.com/shop/app@{digest}"}]}}
        spec = {"selector": {"matchLabels": {"app": "shop"}}, "template": template, "strategy": {"canary": {}}}
        found = (await self.api.list(ROLLOUTS, "shop")).items
        if not found:
            notes = {"argocd.argoproj.io/tracking-id": "shop:argoproj.io/Rollout:shop/shop"}
            await self.api.create({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
                                   "metadata": {"name": "shop", "namespace": "shop", "annotations": notes}, "spec": spec})
        else:
            await self.api.patch(ROLLOUTS, "shop", "shop", MergePatch({"spec": {"template": template}}))

    async def application(self, revision: str, phase: str, message: str = "") -> None:
        state = {"phase": phase, "startedAt": rfc3339(self.clock.now()), "message": message,
                 "syncResult": {"revision": revision}, "operation": {}}
        await self.api.patch(APPLICATIONS, "shop", "argocd", MergePatch({"status": {"operationState": state}}))

    async def rollout(self, **status: Any) -> None:
        generation = (await self.api.get(ROLLOUTS, "shop", "shop"))["metadata"]["generation"]
        await self.api.patch(ROLLOUTS, "shop", "shop",
                             MergePatch({"status": {"observedGeneration": str(generation), **status}}), subresource="status")

    async def releases(self) -> dict[str, Obj]:
        """By the first letter of the digest and of the revision."""
        await asyncio.sleep(0.01)
        found = (await self.api.list(RELEASES, "shop")).items
        return {r["spec"]["digest"][7] + r["spec"]["revision"][0]: r for r in found}


@asynccontextmanager
async def a_delivery(clock: Clock) -> AsyncIterator[Delivery]:
    api = EmbeddedApi.in_memory(clock)
    informers = Informers(api)
    task = asyncio.create_task(ControllerLoop(ReleaseController(informers), informers, clock).run())
    await api.create({"apiVersion": "v1", "kind": "Namespace",
                      "metadata": {"name": "shop", "labels": {"fairway.dev/environment": "production"}}})
    destination = {"namespace": "shop", "server": "https://kubernetes.default.svc"}
    source = {"repoURL": "https://git.example.com/shop/deploy.git", "path": "overlays/production"}
    await api.create({"apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
                      "metadata": {"name": "shop", "namespace": "argocd"},
                      "spec": {"project": "default", "source": source, "destination": destination}})
    try:
        yield Delivery(clock, api)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await informers.close()


async def promoted(delivery: Delivery, sha: str, digest: str, revision: str, old: str, new: str) -> None:
    await delivery.pipeline(sha, digest)
    await asyncio.sleep(2)
    await delivery.sync(revision, digest)
    share = {"weight": 5, "podTemplateHash": new}
    await delivery.rollout(phase="Progressing", currentPodHash=new, stableRS=old or None,
                           canary={"weights": {"canary": share}})
    await asyncio.sleep(10)
    await delivery.rollout(phase="Healthy", currentPodHash=new, stableRS=new, availableReplicas=3)
    await asyncio.sleep(1)
    await delivery.application(revision, "Succeeded")


def test_a_good_version_is_recorded_from_commit_to_promotion() -> None:
    async def story(clock: Clock) -> None:
        async with a_delivery(clock) as delivery:
            await promoted(delivery, "c1", A, "r1" * 20, "", "h1")
            release, = (await delivery.releases()).values()
            assert release["metadata"]["name"] == "shop-" + "a" * 12 + "-r1r1r1r"
            assert release["spec"] == {"application": "shop", "environment": "production", "repository": "shop/app",
                                       "sha": "c1", "digest": A, "revision": "r1" * 20}
            status = release["status"]
            assert status["outcome"] == "Promoted"
            assert status["phases"] == {"ci": 30.0, "sync": 2.0, "rollout": 10.0, "verify": 1.0}
            assert parse_time(status["finishedAt"]) - parse_time(status["committedAt"]) == timedelta(seconds=73)

    run_virtual(story)


@pytest.mark.parametrize(("exposed", "judged"), [
    (
        {"canary": {"weights": {"canary": {"weight": 5, "podTemplateHash": "h2"}}}},
        ("canary", "currentBackgroundAnalysisRunStatus"),
    ),
    ({"blueGreen": {"activeSelector": "h2"}}, ("blueGreen", "postPromotionAnalysisRunStatus")),
])  # fmt: skip
def test_a_bad_version_is_rolled_back_and_the_revert_is_no_deployment(exposed: Obj, judged: tuple[str, str]) -> None:
    async def story(clock: Clock) -> None:
        async with a_delivery(clock) as delivery:
            await promoted(delivery, "c1", A, "1" * 40, "", "h1")
            await delivery.pipeline("c2", B)
            await delivery.sync("2" * 40, B)
            await delivery.rollout(phase="Progressing", currentPodHash="h2", **exposed)
            await asyncio.sleep(4)
            run = {"name": "shop-h2-2", "status": "Failed", "message": 'Metric "success-rate" assessed Failed'}
            await delivery.rollout(phase="Degraded", abort=True, message="RolloutAborted: …",
                                   **{judged[0]: {judged[1]: run}})
            bad = (await delivery.releases())["b2"]
            assert bad["status"]["outcome"] == "InProgress", "until the old version is back in git and in the cluster"
            assert bad["status"]["evidence"] == 'AnalysisRun shop/shop-h2-2: Metric "success-rate" assessed Failed'
            await asyncio.sleep(3)
            await delivery.sync("3" * 40, A)
            assert (await delivery.releases())["b2"]["status"]["outcome"] == "InProgress"
            await delivery.rollout(phase="Healthy", abort=None, currentPodHash="h1", stableRS="h1")
            await delivery.application("3" * 40, "Succeeded")
            found = await delivery.releases()
            assert found.keys() == {"a1", "b2"}
            status = found["b2"]["status"]
            assert status["outcome"] == "RolledBack"
            assert status["phases"]["rollout"] == 4.0
            figures = dora(found.values(), clock.now(), timedelta(days=30))
            assert figures.change_failure_rate.value == 0.5
            assert figures.lead_time.value == 72.0
            assert figures.time_to_restore.value is not None and 7 <= figures.time_to_restore.value < 7.1
            assert figures.deployment_frequency.value == 1.0

    run_virtual(story)


def test_a_failed_sync_ends_the_release_with_its_message() -> None:
    async def story(clock: Clock) -> None:
        async with a_delivery(clock) as delivery:
            await delivery.pipeline("c1", A)
            await delivery.sync("1" * 40, A)
            await delivery.releases()
            await delivery.application("1" * 40, "Failed", "hook migrate failed: no such table")
            status = (await delivery.releases())["a1"]["status"]
            assert (status["outcome"], status["evidence"]) == ("Failed", "hook migrate failed: no such table")

    run_virtual(story)


def test_a_version_that_another_overtakes_was_never_promoted() -> None:
    async def story(clock: Clock) -> None:
        async with a_delivery(clock) as delivery:
            await delivery.sync("1" * 40, A)
            await delivery.releases()
            await delivery.sync("2" * 40, B)
            found = await delivery.releases()
            assert found["a1"]["status"]["outcome"] == "Failed"
            assert found["a1"]["status"]["evidence"].startswith("superseded by bbbbbbbbbbbb")
            assert found["b2"]["status"]["outcome"] == "InProgress"
            assert found["b2"]["spec"]["sha"] == "", "no pipeline of ours made it: unknown, not invented"

    run_virtual(story)


def test_a_migration_is_not_counted_as_sync_as_well() -> None:
    async def story(clock: Clock) -> None:
        async with a_delivery(clock) as delivery:
            await delivery.pipeline("c1", A)
            begun = clock.now()
            await asyncio.sleep(5)
            notes = {"argocd.argoproj.io/hook": "PreSync", "argocd.argoproj.io/tracking-id": "shop:batch/Job:shop/migrate"}
            template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "m", "image": "x"}]}}
            await delivery.api.create({"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": template},
                                       "metadata": {"name": "migrate", "namespace": "shop", "annotations": notes}})
            done = {"startTime": rfc3339(begun + timedelta(seconds=1)), "completionTime": rfc3339(begun + timedelta(seconds=4)),
                    "conditions": [{"type": "Complete", "status": "True"}], "succeeded": 1}
            await delivery.api.patch(JOBS, "migrate", "shop", MergePatch({"status": done}), subresource="status")
            await delivery.sync("1" * 40, A)
            phases = (await delivery.releases())["a1"]["status"]["phases"]
            assert phases == {"ci": 30.0, "sync": 2.0, "migration": 3.0}

    run_virtual(story)


def test_a_digest_on_record_stays_the_one_that_counts_when_its_pipeline_is_gone() -> None:
    async def story(clock: Clock) -> None:
        async with a_delivery(clock) as delivery:
            await delivery.pipeline("c1", A)
            await delivery.sync("1" * 40, A)
            sidecar = [{"name": "proxy", "image": f"registry.example.com/proxy@{B}"},
                       {"name": "shop", "image": f"registry.example.com/shop/app@{A}"}]
            patch = {"spec": {"template": {"spec": {"containers": sidecar}}}}
            await delivery.api.patch(ROLLOUTS, "shop", "shop", MergePatch(patch))
            assert (await delivery.releases()).keys() == {"a1"}
            await delivery.api.delete(PIPELINE_RUNS, "run-c1", "fairway")
            assert (await delivery.releases()).keys() == {"a1"}, "the sidecar is no deployment of ours"

    run_virtual(story)
