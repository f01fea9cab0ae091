"""After the promotion: a version that goes bad while it is watched is taken back once; what is unknown is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fairway.kube.objects import Obj, status_of
from fairway.kube.resources import ROLLBACK_POLICIES, ROLLOUTS
from tests.e2e.shop import NS, SELECTOR, Shop, ingress, pod_monitor, pod_template, service, shares
from tests.platform.running import platform

pytestmark = pytest.mark.e2e
REQUESTS = 'http_requests_total{namespace="shop",route=~"/api/.*"'
ERRORS = f'100 * (sum(rate({REQUESTS},status=~"5.."}}[6s])) or vector(0)) / sum(rate({REQUESTS}}}[6s]))'


def policy(name: str, *criteria: Obj, window: str = "25s") -> Obj:
    return {"apiVersion": "fairway.dev/v1alpha1", "kind": "RollbackPolicy", "metadata": {"name": name, "namespace": NS},
            "spec": {"workloadRef": {"kind": "Rollout", "name": "shop"}, "window": window, "every": "2s", "confirm": "2s",
                     "criteria": list(criteria)}}


def criterion(name: str, query: str, action: str, threshold: float = 3) -> Obj:
    return {"name": name, "query": query, "threshold": threshold, "period": "4s", "action": action}


def delivery(image: str) -> list[Obj]:
    return [
        service("shop"), ingress("shop"), pod_monitor(),
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "shop"}, "spec": {
            "replicas": 2, "selector": {"matchLabels": SELECTOR}, "template": pod_template(image), "strategy": {"canary": {}}}},
        # the decision matrix: what is violated by a bad version, and what follows
        policy("shop", criterion("errors", ERRORS, "rollback"), criterion("told", ERRORS, "alert"),
               criterion("tolerated", f"sum(rate({REQUESTS}}}[6s]))", "ignore", threshold=0)),
        policy("tells-only", criterion("errors", ERRORS, "alert"), criterion("tolerated", ERRORS, "ignore")),
        policy("blind", criterion("errors", 'sum(rate(nobody_counts_this_total[6s]))', "rollback"), window="15s"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder: Path = tmp_path_factory.mktemp("rollback")
    with platform(folder) as running:
        made = Shop.begin(running, folder)
        revision = made.push("Version 1.0.0", *delivery(made.images["1.0.0"]))
        made.begin_application()
        made.until_synced(revision)
        for name in ("shop", "tells-only", "blind"):
            _until(made, name, "Idle")
        yield made


def _until(shop: Shop, policy: str, phase: str) -> Obj:
    return shop.running.until_object(ROLLBACK_POLICIES, policy, NS, lambda p: status_of(p).get("phase") == phase,
                                     f"RollbackPolicy {policy} is {phase}")


def test_a_good_version_passes_and_one_without_metrics_is_not_called_good(shop: Shop) -> None:
    with shop.load("good"):
        shop.push("Version 1.1.0", *delivery(shop.images["1.1.0"]))
        _until(shop, "shop", "Watching")
        passed, blind = _until(shop, "shop", "Passed"), _until(shop, "blind", "Passed")
    assert "nothing against it" in status_of(passed)["message"]
    assert "nothing is known of errors" in status_of(blind)["message"]
    assert shop.running.fairway("watch", "shop").returncode == 0
    assert shop.running.fairway("watch", "blind", check=False).returncode == 3
    assert not [text for text in shop.commits() if "Fairway-Revert" in text]


def test_a_bad_version_is_taken_back_once_by_a_commit(shop: Shop) -> None:
    with shop.load("bad") as load:
        bad = shop.push("Version 1.2.0", *delivery(shop.images["1.2.0"]))
        _until(shop, "shop", "Watching")
        _until(shop, "shop", "Suspect")
        message = shop.until_commit(f"Fairway-Revert: {bad}")
        done = _until(shop, "shop", "RolledBack")
        shop.running.until(lambda: set(shares(load.answers()[-40:])) == {"1.1.0"}, "1.1.0 serves alone")
    assert "Fairway-Evidence: RollbackPolicy shop/shop: errors > 3 for 4 s" in message
    assert shop.images["1.1.0"] in shop.in_git() and shop.images["1.2.0"] not in shop.in_git()
    said = shop.events("RollbackPolicy")
    assert [text for text in said if text.startswith("told > 3 for 4 s")], "the criterion with action alert is told"
    assert not [text for text in said if "tolerated" in text], "the ignored one is not"
    assert status_of(done)["evidence"].startswith("errors > 3")
    assert shop.running.fairway("watch", "shop", check=False).returncode == 1


def test_what_it_went_back_to_is_left_alone_and_nobody_acts_twice(shop: Shop) -> None:
    rollout = shop.running.client.get(ROLLOUTS, "shop", NS)
    assert status_of(rollout)["phase"] == "Healthy"
    assert status_of(shop.running.client.get(ROLLBACK_POLICIES, "shop", NS))["phase"] == "RolledBack"
    blind = _until(shop, "blind", "Passed")
    assert "nothing is known" in status_of(blind)["message"]
    assert len([text for text in shop.commits() if "Fairway-Revert" in text]) == 1
    shop.until_release("1.2.0", "RolledBack")
