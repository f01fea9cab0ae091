"""Releases that somebody else judges: a Canary before the promotion, a RollbackPolicy after it."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from fairway.kube.api import MergePatch
from fairway.kube.clock import Clock, run_virtual
from fairway.kube.objects import Obj, status_of
from fairway.kube.resources import CANARIES, DEPLOYMENTS, ROLLOUTS, Resource
from fairway.releases.dora import dora
from tests.releases.test_releases import A, B, Delivery, a_delivery, promoted

TRACKED = {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/shop"}


def image(digest: str) -> str:
    return f"registry.example.com/shop/app@{digest}"


def deployment(name: str, digest: str, notes: dict[str, str]) -> Obj:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "shop", "image": image(digest)}]}}
    meta = {"name": name, "namespace": "shop", "annotations": notes}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta,
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": template}}


async def runs(delivery: Delivery, name: str, digest: str) -> None:
    body = {"spec": {"template": {"spec": {"containers": [{"name": "shop", "image": image(digest)}]}}}}
    await delivery.api.patch(DEPLOYMENTS, name, "shop", MergePatch(body))


async def note(delivery: Delivery, resource: Resource, bad: str, good: str, why: str, *, done: bool = False) -> None:
    text = json.dumps({"bad": {"shop": image(bad)}, "good": {"shop": image(good)}, "evidence": why, "story": why})
    notes = {"fairway.dev/take-back": None if done else text, "fairway.dev/taken-back": text if done else None}
    body = {"metadata": {"annotations": notes}}
    await delivery.api.patch(resource, "shop", "shop", MergePatch(body))


async def canary(delivery: Delivery, **status: Any) -> None:
    await delivery.api.patch(CANARIES, "shop", "shop", MergePatch({"status": status}), subresource="status")


@pytest.mark.parametrize("quick", [False, True])
def test_a_canarys_target_is_promoted_when_its_primary_serves_the_digest(quick: bool) -> None:
    """`quick`: git was corrected before the refusal was looked at."""

    async def story(clock: Clock) -> None:
        async with a_delivery(clock) as delivery:
            await delivery.application("1" * 40, "Running")
            await delivery.api.create(deployment("shop", A, TRACKED))
            await delivery.api.create({"apiVersion": "flagger.app/v1beta1", "kind": "Canary",
                                       "metadata": {"name": "shop", "namespace": "shop"}, "spec": {
                                           "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
                                           "service": {"port": 80}, "analysis": {"stepWeight": 10, "maxWeight": 50}}})
            assert status_of((await delivery.releases())["a1"])["outcome"] == "InProgress"
            await delivery.api.create(deployment("shop-primary", A, {}))
            await canary(delivery, phase="Initialized")
            await delivery.application("1" * 40, "Succeeded")
            assert status_of((await delivery.releases())["a1"])["outcome"] == "Promoted", "although the target has no pods"

            await delivery.application("2" * 40, "Succeeded")
            await runs(delivery, "shop", B)
            await canary(delivery, phase="Progressing", canaryWeight=10)
            under_way = status_of((await delivery.releases())["b2"])
            assert (under_way["outcome"], bool(under_way["exposedAt"])) == ("InProgress", True)
            await canary(delivery, phase="Failed", canaryWeight=0)
            await note(delivery, DEPLOYMENTS, B, A, "Canary shop/shop: failing 7.8 > 2", done=quick)
            await asyncio.sleep(0 if quick else 5)
            await runs(delivery, "shop", A)
            found = await delivery.releases()
            assert found.keys() == {"a1", "b2"}, "going back is no deployment"
            assert status_of(found["b2"])["outcome"] == "RolledBack"
            assert status_of(found["b2"])["evidence"] == "Canary shop/shop: failing 7.8 > 2"

    run_virtual(story)


def test_a_promoted_version_that_turns_out_bad_is_a_failed_change() -> None:
    async def story(clock: Clock) -> None:
        async with a_delivery(clock) as delivery:
            await promoted(delivery, "c1", A, "1" * 40, "", "h1")
            await promoted(delivery, "c2", B, "2" * 40, "h1", "h2")
            assert status_of((await delivery.releases())["b2"])["outcome"] == "Promoted"
            await asyncio.sleep(60)
            await note(delivery, ROLLOUTS, B, A, "RollbackPolicy shop/shop: errors > 3")
            stopped = status_of((await delivery.releases())["b2"])
            assert (stopped["outcome"], stopped["evidence"]) == ("InProgress", "RollbackPolicy shop/shop: errors > 3")
            await delivery.sync("3" * 40, A)
            await delivery.rollout(phase="Healthy", currentPodHash="h1", stableRS="h1")
            await delivery.application("3" * 40, "Succeeded")
            found = await delivery.releases()
            assert found.keys() == {"a1", "b2"}
            assert status_of(found["b2"])["outcome"] == "RolledBack"
            figures = dora(found.values(), clock.now(), timedelta(days=30))
            assert figures.change_failure_rate.value == 0.5
            assert figures.time_to_restore.value is not None and figures.time_to_restore.value >= 70

    run_virtual(story)
