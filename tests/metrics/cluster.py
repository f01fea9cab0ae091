"""Objects that targets are found in."""

from __future__ import annotations

from typing import Any

from fairway.kube.objects import Obj

NS = "shop"


def pod(name: str, ip: str, *, template_hash: str = "", annotations: dict[str, str] | None = None, phase: str = "Running",
        restarts: int = 0, ready: bool = True, **labels: str) -> Obj:
    hashed = {"rollouts-pod-template-hash": template_hash} if template_hash else {}
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": NS, "labels": {"app": "shop", **hashed, **labels},
                     "annotations": annotations or {}},
        "spec": {"nodeName": "fairway", "containers": [
            {"name": "app", "image": "shop", "ports": [{"name": "http", "containerPort": 8000}]}]},
        "status": {"phase": phase, "podIP": ip, "conditions": [{"type": "Ready", "status": str(ready)}],
                   "containerStatuses": [{"name": "app", "ready": ready, "restartCount": restarts, "image": "shop",
                                          "imageID": "", "state": {"running": {}}}]},
    }  # fmt: skip


def service(name: str, *, selector: dict[str, str] | None = None, **labels: str) -> Obj:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": NS, "labels": labels},
            "spec": {"selector": selector or {"app": "shop"}, "ports": [{"name": "http", "port": 80, "targetPort": 8000}]}}


def endpoint_slice(service_name: str, members: dict[str, str], *, port: int = 8000) -> Obj:
    """`members`: pod name to address."""
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": f"{service_name}-x", "namespace": NS, "labels": {"kubernetes.io/service-name": service_name}},
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [ip], "conditions": {"ready": True},
                       "targetRef": {"kind": "Pod", "name": name, "namespace": NS}} for name, ip in members.items()],
    }  # fmt: skip


def monitor(name: str = "shop", *, endpoint: dict[str, Any] | None = None, **spec: Any) -> Obj:
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor", "metadata": {"name": name, "namespace": NS},
            "spec": {"selector": {"matchLabels": {"team": "a"}}, "endpoints": [endpoint or {"port": "http"}], **spec}}


SCRAPED = {"prometheus.io/scrape": "true", "prometheus.io/port": "8000", "prometheus.io/path": "/m"}
