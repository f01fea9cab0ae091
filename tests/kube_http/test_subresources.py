"""Subresources of pods beside status and logs: binding, ephemeral containers, resize, and the proxies."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kube_http.serving import Served

PODS = "/api/v1/namespaces/default/pods"
STRATEGIC = "application/strategic-merge-patch+json"


def pod(served: Served, name: str, **container: Any) -> None:
    served.create(PODS, name, spec={"containers": [{"name": "app", "image": "shop:1", **container}]})


def test_a_binding_puts_a_pod_on_a_node_once(served: Served) -> None:
    pod(served, "bound")
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "bound"}, "target": {"kind": "Node", "name": "n1"}}
    status, answer = served.ask("POST", f"{PODS}/bound/binding", binding)
    assert (status, answer["status"]) == (201, "Success")
    found = served.ask("GET", f"{PODS}/bound")[1]
    assert found["spec"]["nodeName"] == "n1"
    assert found["status"]["conditions"][0]["type"] == "PodScheduled"
    status, answer = served.ask("POST", "/api/v1/namespaces/default/bindings", binding)
    assert status == 409
    assert 'pod bound is already assigned to node "n1"' in answer["message"]


def test_an_ephemeral_container_may_come_and_not_change(served: Served) -> None:
    pod(served, "debugged")
    path = f"{PODS}/debugged/ephemeralcontainers"
    body = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "busybox", "targetContainerName": "app"}]}}
    status, changed = served.ask("PATCH", path, body, Content_Type=STRATEGIC)
    assert status == 200, changed
    assert changed["spec"]["ephemeralContainers"][0]["terminationMessagePolicy"] == "File"
    body["spec"]["ephemeralContainers"][0]["image"] = "other"
    status, refused = served.ask("PATCH", path, body, Content_Type=STRATEGIC)
    assert status == 422
    assert 'existing ephemeral containers "debug" may not be changed' in refused["message"]
    status, refused = served.ask("PATCH", f"{PODS}/debugged", {"spec": {"ephemeralContainers": None}}, Content_Type=STRATEGIC)
    assert status == 422, "only through its own door"


def test_resize_changes_resources_and_nothing_else(served: Served) -> None:
    pod(served, "small", resources={"requests": {"cpu": "1"}})
    more = {"spec": {"containers": [{"name": "app", "image": "other", "resources": {"requests": {"cpu": "2"}}}]}}
    status, changed = served.ask("PATCH", f"{PODS}/small/resize", more, Content_Type=STRATEGIC)
    assert status == 200, changed
    assert changed["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "2"}
    assert changed["spec"]["containers"][0]["image"] == "shop:1"
    more["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "3"}}
    status, refused = served.ask("PATCH", f"{PODS}/small", more, Content_Type=STRATEGIC)
    assert status == 422, "only through its own door"
    assert "pod updates may not change fields" in refused["message"]


class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"{self.path} {self.headers.get('Authorization')}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


def test_a_pod_and_a_service_are_reached_through_the_api(served: Served, port: int) -> None:
    pod(served, "web", ports=[{"name": "http", "containerPort": port}])
    served.ask("PATCH", f"{PODS}/web/status", {"status": {"podIP": "127.0.0.1"}}, Content_Type=STRATEGIC)
    for name in ("web", "web:http", f"http:web:{port}"):
        assert served.ask("GET", f"{PODS}/{name}/proxy/a/b?c=d") == (200, "/a/b?c=d None"), "the credential stays here"
    services = "/api/v1/namespaces/default/services"
    served.create(services, "web", spec={"ports": [{"name": "http", "port": 80}]})
    status, refused = served.ask("GET", f"{services}/web:http/proxy/")
    assert (status, refused["message"]) == (503, 'no endpoints available for service "web"')
    served.create("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", "web-1", addressType="IPv4",
                  metadata={"labels": {"kubernetes.io/service-name": "web"}},
                  endpoints=[{"addresses": ["127.0.0.1"]}], ports=[{"name": "http", "port": port}])
    assert served.ask("GET", f"{services}/web:80/proxy/x")[1] == "/x None"


def test_the_components_are_one(served: Served) -> None:
    status, listed = served.ask("GET", "/api/v1/componentstatuses")
    assert status == 200
    assert [row["conditions"][0]["type"] for row in listed["items"]] == ["Healthy"]
