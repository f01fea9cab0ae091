"""Blue-green, delivered by git: looked at through the preview, promoted by a person, taken back at three different moments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fairway.kube.objects import Obj, dig, labels_of, status_of
from fairway.kube.resources import ANALYSIS_RUNS, PODS, ROLLOUTS
from tests.e2e.shop import NS, SELECTOR, Shop, ingress, pod_monitor, pod_template, service, shares, success_rate

pytestmark = pytest.mark.e2e
PREVIEW = "preview.shop.example.com"
DELAY_S = 8
BY_HASH: Obj = {"templates": [{"templateName": "success-rate"}],
                "args": [{"name": "hash", "valueFrom": {"podTemplateHashValue": "Latest"}}]}


def delivery(image: str, **green: Any) -> list[Obj]:
    """`green` replaces fields of the strategy; None leaves one out."""
    strategy = {
        "activeService": "shop-active", "previewService": "shop-preview", "autoPromotionEnabled": False,
        "scaleDownDelaySeconds": DELAY_S, "abortScaleDownDelaySeconds": 5, "prePromotionAnalysis": BY_HASH,
        "postPromotionAnalysis": BY_HASH, **green,
    }  # fmt: skip
    return [
        service("shop-active"), service("shop-preview"), ingress("shop-active"),
        ingress("shop-preview", name="preview", host=PREVIEW), pod_monitor(), success_rate(count=4),
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "shop"}, "spec": {
            "replicas": 2, "selector": {"matchLabels": SELECTOR}, "template": pod_template(image),
            "strategy": {"blueGreen": {k: v for k, v in strategy.items() if v is not None}},
        }},
    ]  # fmt: skip


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with Shop.serving(tmp_path_factory.mktemp("blue-green"), delivery) as made:
        yield made


@contextmanager
def requests(shop: Shop, name: str) -> Iterator[tuple[Any, Any]]:
    """Users on the active Service, and somebody who looks at the preview."""
    with shop.load(name) as users, shop.load(f"{name}-preview", host=PREVIEW) as preview:
        yield users, preview


def _rollout(shop: Shop) -> Obj:
    return shop.running.client.get(ROLLOUTS, "shop", NS)


def _paused(rollout: Obj) -> bool:
    return any(p["reason"] == "BlueGreenPause" for p in status_of(rollout).get("pauseConditions") or ())


def _until(shop: Shop, ready: Any, what: str) -> Obj:
    return shop.running.until_object(ROLLOUTS, "shop", NS, ready, what)


def _runs(shop: Shop, kind: str, version: str) -> list[Obj]:
    """The AnalysisRuns of one moment for one version."""
    return [run for run in shop.running.client.list(ANALYSIS_RUNS, NS)
            if run["metadata"]["name"].endswith(kind) and labels_of(run).get("rollouts-pod-template-hash") == version]


def test_a_good_version_is_previewed_promoted_by_a_person_and_its_predecessor_leaves_later(shop: Shop) -> None:
    old = status_of(_rollout(shop))["stableRS"]
    with requests(shop, "good") as (users, preview):
        revision = shop.push("Version 1.1.0", *delivery(shop.images["1.1.0"]))
        waiting = _until(shop, _paused, "it waits for a person")
        new = status_of(waiting)["currentPodHash"]
        assert [status_of(run).get("phase") for run in _runs(shop, "pre", new)] == ["Successful"]
        shop.running.until(lambda: shares(preview.answers()[-10:]).keys() == {"1.1.0"}, "the preview shows 1.1.0")
        assert set(shares(users.answers())) == {"1.0.0"}, "no user has met it"
        shop.running.fairway("rollout", "promote", "shop")
        shop.running.until(lambda: shares(users.answers()[-10:]).keys() == {"1.1.0"}, "users are on 1.1.0")
        done = _until(shop, lambda r: status_of(r).get("phase") == "Healthy", "it is healthy")
        assert status_of(done)["stableRS"] == new != old
        assert [status_of(run).get("phase") for run in _runs(shop, "post", new)] == ["Successful"]
        assert len(_pods(shop, old)) == 2, "the old pods stay for scaleDownDelaySeconds"
        shop.running.until(lambda: not _pods(shop, old), "the old pods leave after it", patience=DELAY_S + 20)
        failed = [a for a in users.answers() if a.status != 200]
    assert not failed, f"{len(failed)} requests failed: {failed[:3]}"
    shop.until_synced(revision)
    shop.until_release("1.1.0", "Promoted")


def _pods(shop: Shop, version: str) -> list[Obj]:
    return [p for p in shop.running.client.list(PODS, NS) if labels_of(p).get("rollouts-pod-template-hash") == version]


def test_a_version_that_fails_in_the_preview_meets_no_user_and_git_is_corrected(shop: Shop) -> None:
    with requests(shop, "preview-fails") as (users, preview):
        bad = shop.push("Version 1.2.0", *delivery(shop.images["1.2.0"]))
        aborted = _until(shop, lambda r: status_of(r).get("abort"), "the analysis before the switch aborts it")
        message = shop.until_commit(f"Fairway-Revert: {bad}")
        answers = users.answers()
        assert "1.2.0" in shares(preview.answers())
    run = _runs(shop, "pre", status_of(aborted)["currentPodHash"])[0]
    assert f"Fairway-Evidence: AnalysisRun {NS}/{run['metadata']['name']}: " in message
    assert set(shares(answers)) == {"1.1.0"} and not [a for a in answers if a.status != 200]
    assert shop.images["1.2.0"] not in shop.in_git()
    shop.until_release("1.2.0", "RolledBack")
    _until(shop, lambda r: status_of(r).get("phase") == "Healthy", "it is healthy again")


def test_a_person_aborts_while_it_waits(shop: Shop) -> None:
    before = status_of(_rollout(shop))["stableRS"]
    with requests(shop, "by-hand") as (users, _):
        refused = shop.push("Back to 1.0.0", *delivery(shop.images["1.0.0"]))
        _until(shop, _paused, "it waits for a person")
        shop.running.fairway("rollout", "abort", "shop")
        message = shop.until_commit(f"Fairway-Revert: {refused}")
        answers = users.answers()
    assert "Fairway-Evidence: Rollout shop/shop: " in message
    assert set(shares(answers)) == {"1.1.0"} and not [a for a in answers if a.status != 200]
    done = _until(shop, lambda r: status_of(r).get("phase") == "Healthy", "it is healthy again")
    assert status_of(done)["stableRS"] == before
    assert shop.images["1.1.0"] in shop.in_git()


def test_a_version_that_fails_after_the_switch_is_switched_back(shop: Shop) -> None:
    with requests(shop, "after") as (users, _):
        bad = shop.push("Version 1.2.0, unseen", *delivery(
            shop.images["1.2.0"], prePromotionAnalysis=None, autoPromotionEnabled=None))
        aborted = _until(shop, lambda r: status_of(r).get("abort"), "the analysis after the switch aborts it")
        shop.until_commit(f"Fairway-Revert: {bad}")
        shop.running.until(lambda: shares(users.answers()[-20:]).keys() == {"1.1.0"}, "users are back")
        answers = users.answers()
    assert _runs(shop, "post", status_of(aborted)["currentPodHash"])
    assert shares(answers)["1.2.0"] > 0, "it had users"
    assert dig(_rollout(shop), "status", "blueGreen", "activeSelector") == status_of(_rollout(shop))["stableRS"]
