"""Which targets there are, and what their samples are called."""

from __future__ import annotations

from typing import Any

import pytest

from fairway.kube.objects import Obj
from fairway.metrics.relabel import relabelled, rules
from fairway.metrics.targets import Target, find_targets
from tests.metrics.cluster import SCRAPED, endpoint_slice, monitor, pod, service


def one(pods: list[Obj], services: list[Obj], slices: list[Obj], monitors: list[Obj]) -> Target:
    found = find_targets(pods, services, slices, monitors)
    assert found.problems == ()
    assert len(found.targets) == 1, found.targets
    return found.targets[0]


def test_an_annotated_pod_says_where_it_is_scraped() -> None:
    target = one([pod("shop-1", "127.1.0.2", template_hash="abc", annotations=SCRAPED)], [], [], [])
    assert target.url == "http://127.1.0.2:8000/m"
    assert dict(target.labels) == {
        "namespace": "shop", "pod": "shop-1", "container": "app", "job": "shop", "instance": "127.1.0.2:8000",
        "rollouts_pod_template_hash": "abc",
    }  # fmt: skip


def test_a_pod_keeps_its_service_label_while_a_rollout_moves_it_between_services() -> None:
    """At promotion the canary's pods become stable's; their series must go on under the same labels."""
    scraped = pod("shop-1", "127.1.0.2", template_hash="new", annotations=SCRAPED)
    root = service("shop")
    before = [root, service("shop-stable", selector={"app": "shop", "rollouts-pod-template-hash": "old"}),
              service("shop-canary", selector={"app": "shop", "rollouts-pod-template-hash": "new"})]  # fmt: skip
    after = [root, service("shop-stable", selector={"app": "shop", "rollouts-pod-template-hash": "new"}),
             service("shop-canary", selector={"app": "shop", "rollouts-pod-template-hash": "new"})]  # fmt: skip
    assert one([scraped], before, [], []) == one([scraped], after, [], [])
    assert dict(one([scraped], before, [], []).labels)["service"] == "shop"


@pytest.mark.parametrize("change", [{"phase": "Pending"}, {"annotations": {"prometheus.io/scrape": "false"}}])
def test_other_pods_are_left_alone(change: dict[str, Any]) -> None:
    assert find_targets([pod("p", "127.1.0.2", **{"annotations": SCRAPED, **change})], [], [], []).targets == ()


def test_a_service_monitor_finds_the_endpoints_of_its_services() -> None:
    target = one(
        [pod("shop-1", "127.1.0.2", template_hash="abc", tier="web")],
        [service("shop", team="a"), service("other", team="b")],
        [endpoint_slice("shop", {"shop-1": "127.1.0.2"}), endpoint_slice("other", {"shop-1": "127.1.0.2"})],
        [monitor(endpoint={"port": "http", "path": "/metrics", "interval": "30s", "params": {"a": ["1"]}},
                 podTargetLabels=["tier"], targetLabels=["team"])],
    )  # fmt: skip
    assert target.url == "http://127.1.0.2:8000/metrics?a=1"
    assert target.interval_s == 30
    assert dict(target.labels) == {
        "namespace": "shop", "pod": "shop-1", "container": "app", "service": "shop", "job": "shop", "endpoint": "http",
        "instance": "127.1.0.2:8000", "rollouts_pod_template_hash": "abc", "tier": "web", "team": "a",
    }  # fmt: skip


def test_a_monitor_and_an_annotation_for_the_same_address_are_one_target() -> None:
    target = one([pod("shop-1", "127.1.0.2", annotations={**SCRAPED, "prometheus.io/path": "/metrics"})],
                 [service("shop", team="a")], [endpoint_slice("shop", {"shop-1": "127.1.0.2"})], [monitor()])  # fmt: skip
    assert dict(target.labels)["endpoint"] == "http"


def test_relabelling_chooses_and_renames() -> None:
    relabelings = [
        {"sourceLabels": ["__meta_kubernetes_pod_name"], "regex": "shop-1", "action": "keep"},
        {"action": "labelmap", "regex": "__meta_kubernetes_pod_label_(t.+)"},
        {"sourceLabels": ["__address__"], "regex": "(.*):\\d+", "replacement": "$1:9", "targetLabel": "__address__"},
        {"action": "labeldrop", "regex": "endpoint|container"},
    ]
    target = one(
        [pod("shop-1", "127.1.0.2", tier="web"), pod("shop-2", "127.1.0.3")],
        [service("shop", team="a")],
        [endpoint_slice("shop", {"shop-1": "127.1.0.2", "shop-2": "127.1.0.3"})],
        [monitor(endpoint={"port": "http", "relabelings": relabelings})],
    )
    assert target.url == "http://127.1.0.2:9/metrics"
    labels = dict(target.labels)
    assert labels["tier"] == "web"
    assert "endpoint" not in labels


def test_a_monitor_that_cannot_be_read_is_named_and_the_others_go_on() -> None:
    found = find_targets(
        [pod("p", "127.1.0.2", annotations=SCRAPED)], [service("shop", team="a")], [endpoint_slice("shop", {"p": "127.1.0.2"})],
        [monitor("broken", endpoint={"port": "http", "relabelings": [{"action": "explode"}]})],
    )  # fmt: skip
    assert len(found.targets) == 1
    assert found.problems[0].startswith("ServiceMonitor shop/broken: relabeling action 'explode' is not supported")


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"sourceLabels": ["a", "b"], "targetLabel": "c", "separator": "-"}, {"a": "1", "b": "x", "c": "1-x"}),
        ({"sourceLabels": ["a"], "regex": "2", "action": "drop"}, {"a": "1", "b": "x"}),
        ({"sourceLabels": ["a"], "regex": "1", "action": "drop"}, None),
        ({"sourceLabels": ["a"], "targetLabel": "b", "regex": "1", "replacement": ""}, {"a": "1"}),
        ({"regex": "a", "action": "labelkeep"}, {"a": "1"}),
        ({"sourceLabels": ["b"], "targetLabel": "b", "action": "Uppercase"}, {"a": "1", "b": "X"}),
        ({"sourceLabels": ["b"], "targetLabel": "a", "action": "keepequal"}, None),
    ],
)
def test_rules(rule: dict[str, Any], expected: dict[str, str] | None) -> None:
    assert relabelled({"a": "1", "b": "x"}, rules([rule])) == expected


def test_a_pod_monitor_finds_pods_by_port_name_with_its_secrets_timeouts_and_limits() -> None:
    watched = pod("shop-1", "127.1.0.2", template_hash="abc")
    one = {
        "apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": {"name": "shop", "namespace": "shop"},
        "spec": {
            "selector": {"matchLabels": {"app": "shop"}}, "sampleLimit": 100,
            "podMetricsEndpoints": [{
                "port": "http", "path": "/m", "interval": "10s", "scrapeTimeout": "2s", "params": {"match": ["x"]},
                "basicAuth": {"username": {"name": "login", "key": "user"}, "password": {"name": "login", "key": "password"}},
                "relabelings": [{"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}],
            }],
        },
    }  # fmt: skip
    secret = {"kind": "Secret", "metadata": {"name": "login", "namespace": "shop"},
              "data": {"user": "b3Bz", "password": "c2VjcmV0"}}  # fmt: skip
    (target,) = find_targets([watched], [], [], [], [one], [secret]).targets
    assert (target.url, target.interval_s, target.timeout_s, target.sample_limit) == (
        "http://127.1.0.2:8000/m?match=x", 10.0, 2.0, 100
    )  # fmt: skip
    labels = dict(target.labels)
    assert (labels["job"], labels["pod"], labels["node"]) == ("shop/shop", "shop-1", "fairway")
    assert target.authorization == "Basic b3BzOnNlY3JldA==" and "b3Bz" not in repr(target)
    found = find_targets([watched], [], [], [], [one])
    assert found.targets == () and found.problems == (
        "PodMonitor shop/shop: secret 'login' does not exist in namespace 'shop'",
    )
