"""The gateway's counts under Istio's and nginx' names."""

from __future__ import annotations

from typing import Any

from fairway.metrics.envoy_stats import upstream_labels
from fairway.metrics.mesh_names import Backings, copies
from tests.metrics.cluster import NS, pod, service


def ingress(name: str, backend: str, **annotations: str) -> dict[str, Any]:
    path = {"path": "/", "backend": {"service": {"name": backend}}}
    return {"metadata": {"name": name, "namespace": NS, "annotations": annotations},
            "spec": {"rules": [{"host": "shop.example.com", "http": {"paths": [path]}}]}}  # fmt: skip


def canary_pod() -> dict[str, Any]:
    found = pod("shop-abc-1", "127.1.0.2", template_hash="abc")
    found["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "name": "shop-abc"}]
    return found


def named(**labels: str) -> dict[str, tuple[dict[str, str], float]]:
    ours = upstream_labels({"envoy_cluster_name": f"{NS}|shop-canary|80|abc", **labels})
    assert ours is not None
    canary = ingress("shop-canary", "shop-canary", **{"nginx.ingress.kubernetes.io/canary": "true"})
    find = Backings([canary_pod()], [service("shop"), service("shop-canary")], [ingress("shop", "shop"), canary])
    return {f"{copy['__name__']}/{copy.get('reporter', '')}": (copy, by) for copy, by in copies(ours, find)}


def test_requests_have_the_labels_that_istio_and_flagger_ask_for() -> None:
    found = named(__name__="envoy_cluster_upstream_rq", envoy_response_code="503")
    labels, _ = found["istio_requests_total/destination"]
    assert labels["destination_workload"] == "shop" and labels["destination_workload_namespace"] == NS
    assert labels["destination_service"] == "shop-canary.shop.svc.cluster.local"
    assert (labels["response_code"], labels["destination_version"]) == ("503", "abc")
    nginx, _ = found["nginx_ingress_controller_requests/"]
    assert (nginx["ingress"], nginx["status"], nginx["canary"]) == ("shop", "503", "shop-shop-canary-80")


def test_durations_keep_their_unit_for_istio_and_are_seconds_for_nginx() -> None:
    bucket = named(__name__="envoy_cluster_upstream_rq_time_bucket", le="250")
    assert bucket["istio_request_duration_milliseconds_bucket/source"][0]["le"] == "250"
    assert bucket["nginx_ingress_controller_request_duration_seconds_bucket/"][0]["le"] == "0.25"
    total = named(__name__="envoy_cluster_upstream_rq_time_sum")
    assert total["nginx_ingress_controller_request_duration_seconds_sum/"][1] == 0.001
    assert named(__name__="envoy_cluster_upstream_rq_retry") == {}
