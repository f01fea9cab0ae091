"""The real kubectl against the server: the commands that people and scripts use, unmodified."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.kube_http.kubectl import Kubectl, needs_kubectl
from tests.kube_http.serving import DEADLINE_S, Served, serving

pytestmark = needs_kubectl

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: c, image: "shop:1", ports: [{containerPort: 80}], env: [{name: A, value: "1"}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
"""
ROLLOUT = """
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec: {containers: [{name: c, image: "shop:1"}]}
  strategy: {canary: {steps: [{setWeight: 20}, {pause: {}}]}}
"""


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    folder = tmp_path_factory.mktemp("kubectl")
    with serving(folder) as served:
        yield Kubectl(served, folder)


def test_get_of_every_kind(kubectl: Kubectl) -> None:
    plurals = sorted({row.qualified for row in kubectl.served.run(_resources(kubectl.served))})
    assert len(plurals) > 40
    said = kubectl.run("get", ",".join(plurals), "--all-namespaces", "--ignore-not-found")
    assert "namespace/default" in said
    assert "error" not in said.lower()
    listed = kubectl.run("api-resources", "--no-headers")
    for kind in ("Deployment", "Rollout", "Application", "PipelineRun", "ServiceMonitor"):
        assert kind in listed


async def _resources(served: Served) -> list[object]:
    return list(served.api.resources)


def test_apply_diff_describe_delete(kubectl: Kubectl) -> None:
    assert "deployment.apps/web created" in kubectl.run("apply", "-f", "-", given=WEB)
    assert "unchanged" in kubectl.run("apply", "-f", "-", given=WEB)
    changed = WEB.replace("replicas: 2", "replicas: 3").replace("shop:1", "shop:2")
    diff = kubectl.run("diff", "-f", "-", given=changed, fails=True)
    assert [line[0] for line in diff.splitlines() if "image:" in line or "replicas:" in line] == ["-", "+", "-", "+"]
    assert kubectl.run("diff", "-f", "-", given=WEB) == ""
    assert "configured" in kubectl.run("apply", "-f", "-", given=changed)
    wide = kubectl.run("get", "deployment", "web", "-o", "wide").splitlines()
    assert wide[0].split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"]
    assert wide[1].split()[:4] == ["web", "0/3", "0", "0"]
    described = kubectl.run("describe", "deployment", "web")
    assert "Replicas:               3 desired" in described
    assert "Events:            <none>" in described
    assert "service/web" in kubectl.run("get", "svc", "web", "-o", "name")
    assert "deleted" in kubectl.run("delete", "-f", "-", given=WEB)
    assert "NotFound" in kubectl.run("get", "deployment", "web", fails=True)


def test_server_side_apply_and_its_conflicts(kubectl: Kubectl) -> None:
    web = WEB.replace("name: web", "name: ssa")
    assert "serverside-applied" in kubectl.run("apply", "--server-side", "-f", "-", given=web)
    other = kubectl.run("apply", "--server-side", "--field-manager=other", "-f", "-", given=web.replace("shop:1", "shop:2"),
                        fails=True)
    assert 'conflict with "kubectl": .spec.template.spec.containers[name="c"].image' in other
    kubectl.run("apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-",
                given=web.replace("shop:1", "shop:2"))
    shown = kubectl.run("get", "deploy", "ssa", "-o", "jsonpath={.spec.template.spec.containers[0].image}")
    assert shown == "shop:2"


def test_client_side_apply_is_taken_over_by_server_side_apply(kubectl: Kubectl) -> None:
    web = WEB.replace("name: web", "name: taken")
    kubectl.run("apply", "-f", "-", given=web)
    kubectl.run("apply", "--server-side", "-f", "-", given=web)
    managers = json.loads(kubectl.run("get", "deploy", "taken", "-o", "json", "--show-managed-fields"))
    named = {entry["manager"] for entry in managers["metadata"]["managedFields"]}
    assert named == {"kubectl", "kubectl-last-applied"}  # and no longer kubectl-client-side-apply


def test_label_annotate_patch_scale_edit_of_images(kubectl: Kubectl) -> None:
    kubectl.run("apply", "-f", "-", given=WEB.replace("name: web", "name: many"))
    kubectl.run("label", "deploy", "many", "tier=front")
    kubectl.run("annotate", "deploy", "many", "why=tests")
    kubectl.run("patch", "deploy", "many", "-p", '{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"x:1"}]}}}}')
    kubectl.run("patch", "deploy", "many", "--type=merge", "-p", '{"spec":{"paused":true}}')
    kubectl.run("patch", "deploy", "many", "--type=json", "-p", '[{"op":"replace","path":"/spec/paused","value":false}]')
    assert "scaled" in kubectl.run("scale", "deploy/many", "--replicas=5")
    kubectl.run("set", "image", "deploy/many", "c=x:2")
    found = json.loads(kubectl.run("get", "deploy", "many", "-o", "json"))
    assert (found["metadata"]["labels"]["tier"], found["metadata"]["annotations"]["why"]) == ("front", "tests")
    assert (found["spec"]["replicas"], found["spec"].get("paused", False)) == (5, False)
    container = found["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], container["env"]) == ("x:2", [{"name": "A", "value": "1"}])


def test_custom_kinds_are_as_good_as_built_in_ones(kubectl: Kubectl) -> None:
    assert "rollout.argoproj.io/shop created" in kubectl.run("apply", "-f", "-", given=ROLLOUT)
    assert "configured" in kubectl.run("apply", "-f", "-", given=ROLLOUT.replace("shop:1", "shop:2"))
    assert "scaled" in kubectl.run("scale", "rollout/shop", "--replicas=4")
    assert "shop" in kubectl.run("get", "ro")
    assert "Replicas:  4" in kubectl.run("describe", "rollout", "shop")
    wrong = ROLLOUT.replace("replicas: 2", "replicas: many")
    assert "spec.replicas" in kubectl.run("apply", "-f", "-", given=wrong, fails=True)


def test_mistakes_are_told_before_anything_changes(kubectl: Kubectl) -> None:
    wrong = WEB.replace("name: web", "name: typo").replace("containers:", "containerz:")
    said = kubectl.run("apply", "-f", "-", given=wrong, fails=True)
    assert 'unknown field "spec.template.spec.containerz"' in said
    assert "NotFound" in kubectl.run("get", "deploy", "typo", fails=True)


def test_watching_prints_a_line_for_each_change(kubectl: Kubectl) -> None:
    config_map = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"w"},"data":{"a":"b"}}'
    kubectl.run("create", "-f", "-", given=config_map)
    watch = kubectl.begin("get", "configmap", "w", "-w")
    try:
        assert watch.stdout is not None
        assert watch.stdout.readline().split() == ["NAME", "DATA", "AGE"]
        assert watch.stdout.readline().split()[:2] == ["w", "1"]
        kubectl.run("patch", "configmap", "w", "--type=merge", "-p", '{"data":{"c":"d"}}')
        assert watch.stdout.readline().split()[:2] == ["w", "2"]
    finally:
        watch.kill()
        watch.communicate()


def test_delete_waits_for_the_finalizer(kubectl: Kubectl) -> None:
    held = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"held","finalizers":["a.b/c"]}}'
    kubectl.run("create", "-f", "-", given=held)
    deleting = kubectl.begin("delete", "configmap", "held")
    try:
        assert deleting.stdout is not None
        assert "deleted" in deleting.stdout.readline()
        assert deleting.poll() is None
        kubectl.run("patch", "configmap", "held", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        assert deleting.wait(DEADLINE_S) == 0
    finally:
        deleting.kill()
        deleting.communicate()


def test_logs(kubectl: Kubectl) -> None:
    kubectl.run("create", "-f", "-", given='{"apiVersion":"v1","kind":"Pod","metadata":{"name":"talks"},'
                                           '"spec":{"containers":[{"name":"c","image":"i"}]}}')
    assert kubectl.run("logs", "talks") == "line 0\nline 1\nline 2\n"
    assert kubectl.run("logs", "talks", "--tail=1", "-c", "c") == "line 2\n"
    assert "container z is not valid for pod talks" in kubectl.run("logs", "talks", "-c", "z", fails=True)
    follow = kubectl.begin("logs", "-f", "talks")
    try:
        assert follow.stdout is not None
        assert [follow.stdout.readline() for _ in range(3)] == ["line 0\n", "line 1\n", "line 2\n"]
        kubectl.served.tell_log(b"later\n")
        assert follow.stdout.readline() == "later\n"
        kubectl.served.tell_log(None)
        assert follow.wait(DEADLINE_S) == 0
    finally:
        follow.kill()
        follow.communicate()


def test_explain_wait_and_version(kubectl: Kubectl) -> None:
    assert "maxSurge" in kubectl.run("explain", "deployment.spec.strategy.rollingUpdate")
    assert "setWeight" in kubectl.run("explain", "rollout.spec.strategy.canary.steps")
    kubectl.run("wait", "namespace/default", "--for=jsonpath={.status.phase}=Active", "--timeout=5s")
    assert "Server Version: v1.35.0" in kubectl.run("version")
