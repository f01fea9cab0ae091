"""A Flagger Canary that git delivers: a good version is promoted by weights, a bad one is taken back, in git too."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fairway.kube.objects import Obj, dig, status_of
from fairway.kube.resources import APPLICATIONS, CANARIES, DEPLOYMENTS, PODS
from tests.e2e.shop import NS, SELECTOR, Shop, ingress, pod_template, shares
from tests.platform.running import platform

pytestmark = pytest.mark.e2e
FAILING = """
100 - 100 * sum(rate(http_requests_total{namespace="{{ namespace }}",pod=~"{{ target }}-[0-9a-z]+-[0-9a-z]+",route=~"/api/.*",status!~"5.."}[{{ interval }}]))
  / sum(rate(http_requests_total{namespace="{{ namespace }}",pod=~"{{ target }}-[0-9a-z]+-[0-9a-z]+",route=~"/api/.*"}[{{ interval }}]))
"""  # noqa: E501
HOOKS = ("confirm-rollout", "pre-rollout", "rollout", "confirm-promotion", "post-rollout", "event")
"""Every type that a person may ask about; `rollback` would roll back on success."""


class Listener:
    """Answers every webhook with 200 and remembers it."""

    def __init__(self) -> None:
        heard: list[dict[str, Any]] = []
        self.heard = heard

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                heard.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def of(self, checksum: str) -> list[str]:
        """The types that were asked about one version, each once, in order."""
        return list(dict.fromkeys(h["type"] for h in self.heard if h.get("checksum") == checksum and h.get("type") != "event"))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def delivery(image: str, hooks: str) -> list[Obj]:
    """What the repository holds: the Deployment as a team writes it, its Ingress, the Canary and its own metric."""
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"},
         "spec": {"selector": {"matchLabels": SELECTOR}, "template": pod_template(image)}},
        ingress("shop"),
        {"apiVersion": "flagger.app/v1beta1", "kind": "MetricTemplate", "metadata": {"name": "failing"},
         "spec": {"provider": {"type": "prometheus", "address": "http://prometheus.monitoring:9090"}, "query": FAILING}},
        {"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {"name": "shop"}, "spec": {
            "provider": "nginx", "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
            "ingressRef": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "shop"},
            "service": {"port": 80, "targetPort": "http"},
            "analysis": {
                "interval": "10s", "threshold": 2, "stepWeight": 25, "maxWeight": 50,
                "metrics": [
                    {"name": "failing", "interval": "15s", "thresholdRange": {"max": 2}, "templateRef": {"name": "failing"}},
                    {"name": "request-duration", "interval": "15s", "thresholdRange": {"max": 2000}},
                ],
                "webhooks": [{"name": kind, "type": kind, "url": hooks} for kind in HOOKS],
            }}},
    ]  # fmt: skip


@pytest.fixture(scope="module")
def hooks() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, hooks: Listener) -> Iterator[Shop]:
    """Version 1.0.0 is there: the primary serves it, the target rests."""
    folder: Path = tmp_path_factory.mktemp("flagger")
    with platform(folder) as running:
        made = Shop.begin(running, folder)
        revision = made.push("Version 1.0.0", *delivery(made.images["1.0.0"], hooks.url))
        made.begin_application()
        running.until_object(CANARIES, "shop", NS, lambda c: status_of(c).get("phase") == "Initialized", "the Canary is ready")
        made.until_synced(revision)
        yield made


def _in_phase(shop: Shop, phase: str, *, seen: set[int], patience: float = 150.0) -> Obj:
    """The Canary, once it is in this phase; the weights on the way there are added to `seen`."""

    def look() -> Obj | None:
        canary = shop.running.client.get(CANARIES, "shop", NS)
        seen.add(int(status_of(canary).get("canaryWeight") or 0))
        return canary if status_of(canary).get("phase") == phase else None

    return shop.running.until(look, f"the Canary is {phase}", patience=patience)


def test_the_first_version_is_served_by_the_primary(shop: Shop) -> None:
    assert dig(shop.running.client.get(DEPLOYMENTS, "shop", NS), "spec", "replicas") == 0
    with shop.load("first") as load:
        shop.running.until(lambda: len(load.answers()) > 20, "requests are answered")
        answers = load.answers()
    assert set(shares(answers)) == {"1.0.0"} and all(a.status == 200 for a in answers)
    shop.until_release("1.0.0", "Promoted")


def test_a_good_version_goes_up_by_weights_and_becomes_the_primary(shop: Shop, hooks: Listener) -> None:
    weights: set[int] = set()
    with shop.load("good") as load:
        revision = shop.push("Version 1.1.0", *delivery(shop.images["1.1.0"], hooks.url))
        _in_phase(shop, "Progressing", seen=weights)
        done = _in_phase(shop, "Succeeded", seen=weights)
        shop.running.until(lambda: set(shares(load.answers()[-40:])) == {"1.1.0"}, "1.1.0 serves alone")
        answers = load.answers()
    assert {0, 25, 50} <= weights
    lost = [a for a in answers if a.status != 200]
    assert not lost, f"{len(lost)} of {len(answers)} requests failed: {lost[:3]}"
    primary = shop.running.client.get(DEPLOYMENTS, "shop-primary", NS)
    assert dig(primary, "spec", "template", "spec", "containers", 0, "image") == shop.images["1.1.0"]
    assert dig(shop.running.client.get(DEPLOYMENTS, "shop", NS), "spec", "replicas") == 0
    assert hooks.of(status_of(done)["lastAppliedSpec"]) == [
        "confirm-rollout", "pre-rollout", "rollout", "confirm-promotion", "post-rollout"]
    shop.until_synced(revision)
    shop.until_release("1.1.0", "Promoted")


def test_a_bad_version_is_rolled_back_and_git_names_the_good_one_again(shop: Shop, hooks: Listener) -> None:
    with shop.load("bad") as load:
        bad = shop.push("Version 1.2.0", *delivery(shop.images["1.2.0"], hooks.url))
        _in_phase(shop, "Progressing", seen=set())
        failed = _in_phase(shop, "Failed", seen=set())
        message = shop.until_commit(f"Fairway-Revert: {bad}")
        shop.running.until(lambda: set(shares(load.answers()[-40:])) == {"1.1.0"}, "1.1.0 serves alone")
        answers = load.answers()
    assert status_of(failed).get("canaryWeight") == 0
    assert any("failing" in said and "> 2" in said for said in shop.events("Canary"))
    said = re.search(r"^Fairway-Evidence: Canary shop/shop: .*threshold reached 2: failing \d+\.\d+ > 2$", message, re.M)
    assert said, message
    assert shop.images["1.2.0"] not in shop.in_git() and shop.images["1.1.0"] in shop.in_git()
    assert shares(answers)["1.2.0"] < shares(answers)["1.1.0"]
    release = shop.until_release("1.2.0", "RolledBack")
    assert "Canary shop/shop" in status_of(release)["evidence"]
    assert dig(shop.running.client.get(DEPLOYMENTS, "shop-primary", NS), "spec", "template", "spec", "containers", 0,
               "image") == shop.images["1.1.0"]


def test_what_was_refused_is_not_tried_again_and_the_application_comes_to_rest(shop: Shop) -> None:
    shop.running.until_object(APPLICATIONS, "shop", "argocd", lambda a: dig(a, "status", "sync", "status") == "Synced",
                              "the application is in sync with the revert")
    before = shop.running.client.get(CANARIES, "shop", NS)
    assert status_of(before)["phase"] == "Failed"
    said = shop.running.fairway("app", "get", "shop").stdout
    assert "NotOurVersion" not in said, "the note has served its purpose"
    shop.push("Other webhooks", *delivery(shop.images["1.1.0"], "http://127.0.0.1:1/"))  # the pods are the same
    shop.running.until_object(CANARIES, "shop", NS, lambda c: "127.0.0.1:1/" in str(c["spec"]), "git is applied")
    canary = shop.running.client.get(CANARIES, "shop", NS)
    assert status_of(canary) == status_of(before)
    bad = shop.images["1.2.0"]
    assert not [p for p in shop.running.client.list(PODS, NS) if dig(p, "spec", "containers", 0, "image") == bad]
    assert len([text for text in shop.commits() if "Fairway-Revert" in text]) == 1


def test_whoever_insists_gets_another_analysis_and_another_answer(shop: Shop, hooks: Listener) -> None:
    with shop.load("again"):
        again = shop.push("Version 1.2.0 once more", *delivery(shop.images["1.2.0"], hooks.url))
        _in_phase(shop, "Progressing", seen=set())
        _in_phase(shop, "Failed", seen=set())
        shop.until_commit(f"Fairway-Revert: {again}")
    assert len([text for text in shop.commits() if "Fairway-Revert" in text]) == 2
