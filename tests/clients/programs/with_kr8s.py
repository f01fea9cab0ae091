"""A program of somebody who uses kr8s."""

import urllib.request

import kr8s
from kr8s.objects import ConfigMap, CustomResourceDefinition, Deployment, Pod, Service, new_class

api = kr8s.api()
assert api.version()["major"] == "1"
assert api.whoami() == "admin"
assert any(row["kind"] == "Rollout" for row in api.api_resources())

settings = ConfigMap({"metadata": {"name": "kr8s", "namespace": "default"}, "data": {"a": "1"}})
settings.create()
settings.patch({"data": {"b": "2"}})
settings.label({"tier": "front"})
settings.label(app="shop")
settings.annotate({"why": "tests"})
settings.refresh()
assert (settings.data, settings.labels["app"]) == ({"a": "1", "b": "2"}, "shop")
assert [found.name for found in kr8s.get("configmaps", label_selector={"app": "shop"}, namespace=kr8s.ALL)] == ["kr8s"]
assert [found.name for found in kr8s.get("cm", field_selector="metadata.name=kr8s")] == ["kr8s"]
kind, seen = next(iter(api.watch("configmaps", namespace="default", label_selector={"app": "shop"})))
assert (kind, seen.name) == ("ADDED", "kr8s")

container = {"name": "main", "image": "host", "command": ["sh", "-c", "echo hello; exec sleep 600"]}
deployment = Deployment({
    "metadata": {"name": "kr8s", "namespace": "default"},
    "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "kr8s"}},
             "template": {"metadata": {"labels": {"app": "kr8s"}},
                          "spec": {"containers": [container], "terminationGracePeriodSeconds": 0}}},
})
deployment.create()
deployment.wait("condition=Available", timeout=20)
deployment.scale(2)
assert deployment.replicas == 2
deployment.wait("jsonpath='{$.status.readyReplicas}'=2", timeout=20)
pods = deployment.pods()
assert len(pods) == 2
pod = pods[0]
assert isinstance(pod, Pod) and pod.ready()
assert list(pod.logs()) == ["hello"]
done = pod.exec(["sh", "-c", "echo out; echo err >&2"])
assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 0)
assert pod.exec(["sh", "-c", "exit 3"], check=False).returncode == 3
page = Pod({"metadata": {"name": "page", "namespace": "default"}, "spec": {
    "terminationGracePeriodSeconds": 0,
    "containers": [{"name": "main", "image": "host", "readinessProbe": {"tcpSocket": {"port": 8080}},
                    "command": ["sh", "-c", "echo hello > index.html; exec python3 -m http.server --bind $POD_IP 8080"]}]}})
page.create()
page.wait("condition=Ready", timeout=20)
with page.portforward(remote_port=8080, local_port="auto") as port:
    for _ in range(2):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as response:
            assert response.read() == b"hello\n"

service = Service({"metadata": {"name": "kr8s", "namespace": "default"},
                   "spec": {"selector": {"app": "kr8s"}, "ports": [{"port": 80}]}})
service.create()
assert service.exists()

CustomResourceDefinition({
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "toys.kr8s.example.com"},
    "spec": {"group": "kr8s.example.com", "scope": "Namespaced", "names": {"kind": "Toy", "plural": "toys", "singular": "toy"},
             "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                 "type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}}}]},
}).create()
Toy = new_class("Toy", version="kr8s.example.com/v1", namespaced=True)
toy = Toy({"metadata": {"name": "bear", "namespace": "default"}, "spec": {"size": 3}})
toy.create()
assert Toy.get("bear", namespace="default").spec.size == 3
try:
    Toy({"metadata": {"name": "wrong", "namespace": "default"}, "spec": {"size": "big"}}).create()
    raise AssertionError("a wrong size was accepted")
except kr8s.ServerError as error:
    assert "spec.size" in str(error)

for obj in (page, toy, service, settings, deployment):
    obj.delete()
    obj.wait("delete", timeout=20)
    assert not obj.exists()
print("done")
