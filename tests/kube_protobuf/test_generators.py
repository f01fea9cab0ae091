"""Every `kubectl create` generator sends protobuf: what is stored is what the same command says as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kube_http.kubectl import Kubectl, needs_kubectl
from tests.kube_http.serving import serving

pytestmark = needs_kubectl

GENERATORS = (
    "namespace made",
    "configmap c --from-literal=a=b --from-literal=empty=",
    "secret generic s --from-literal=password=x",
    "secret docker-registry d --docker-username=u --docker-password=p --docker-server=registry.local",
    "serviceaccount robot",
    "role r --verb=get,list --resource=pods,deployments.apps --resource-name=a",
    "rolebinding rb --role=r --user=alice --group=devs --serviceaccount=default:robot",
    "clusterrole cr --verb=get --non-resource-url=/metrics/*",
    "clusterrole agg --aggregation-rule=team=a",
    "clusterrolebinding crb --clusterrole=cr --group=devs",
    "quota q --hard=pods=100,requests.cpu=20,count/deployments.apps=20",
    "poddisruptionbudget p --selector=app=web --min-available=50%",
    "priorityclass high --value=1000 --preemption-policy=Never",
    "ingress i --rule=shop.local/api*=web:80,tls=cert --class=nginx",
    "deployment web --image=shop:1 --replicas=0 --port=80",
    "job j --image=shop:1 -- sh -c true",
    "cronjob cj --image=shop:1 --schedule=*/5_*_*_*_* -- true",
    "service clusterip svc --tcp=80:8080",
    "service externalname ext --external-name=example.com",
    "service nodeport np --tcp=5678:8080 --node-port=30100",
)
_GIVEN = {"uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"}


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    folder = tmp_path_factory.mktemp("generators")
    with serving(folder) as served:
        yield Kubectl(served, folder)


def _said(kubectl: Kubectl, *arguments: str) -> dict[str, Any]:
    obj: dict[str, Any] = json.loads(kubectl.run(*arguments, "-o", "json"))
    obj["metadata"] = {name: value for name, value in obj["metadata"].items() if name not in _GIVEN}
    return obj


@pytest.mark.parametrize("generator", GENERATORS)
def test_what_is_stored_is_what_was_meant(kubectl: Kubectl, generator: str) -> None:
    words = ["create", *(word.replace("_", " ") for word in generator.split())]
    command = words[: words.index("--")] if "--" in words else words
    rest = words[len(command) :]
    meant = _said(kubectl, *command, "--dry-run=client", *rest) if not rest else json.loads(
        kubectl.run(*command, "--dry-run=client", "-o", "json", *rest))
    as_json = kubectl.served.ask("POST", _collection(meant) + "?dryRun=All", meant)[1]
    kubectl.run(*words)
    stored = kubectl.served.ask("GET", f"{_collection(meant)}/{meant['metadata']['name']}")[1]
    for obj in (as_json, stored):
        obj["metadata"] = {name: value for name, value in obj["metadata"].items() if name not in _GIVEN and name != "labels"}
        obj.get("spec", {}).pop("selector", None)
        if obj["kind"] == "Job":  # its labels have its uid
            obj["spec"]["template"]["metadata"].pop("labels", None)
    assert stored == as_json


def _collection(obj: dict[str, Any]) -> str:
    row = {
        "Namespace": "namespaces", "PodDisruptionBudget": "poddisruptionbudgets", "PriorityClass": "priorityclasses",
        "Ingress": "ingresses", "ResourceQuota": "resourcequotas",
    }.get(obj["kind"], obj["kind"].lower() + "s")  # fmt: skip
    group = f"/apis/{obj['apiVersion']}" if "/" in obj["apiVersion"] else "/api/v1"
    cluster = ("Namespace", "ClusterRole", "ClusterRoleBinding", "PriorityClass")
    return f"{group}/{row}" if obj["kind"] in cluster else f"{group}/namespaces/default/{row}"


def test_questions_and_tokens_are_asked_in_protobuf(kubectl: Kubectl) -> None:
    kubectl.run("create", "serviceaccount", "asker")
    assert kubectl.run("auth", "can-i", "delete", "pods").strip() == "yes"
    assert kubectl.run("auth", "can-i", "get", "pods", "--as=bob", fails=True).strip() == "no"
    assert "system:masters" in kubectl.run("auth", "whoami")
    token = kubectl.run("create", "token", "asker", "--duration=20m").strip()
    said = kubectl.run("auth", "whoami", f"--token={token}", "-o", "json")
    assert '"username": "system:serviceaccount:default:asker"' in said
    assert kubectl.served.ask("GET", "/api/v1/namespaces/default/pods", token=token)[0] == 403
    listed = kubectl.run("auth", "can-i", "--list")
    assert "*.*" in listed


def test_autoscale_expose_and_reconcile(kubectl: Kubectl) -> None:
    kubectl.run("create", "deployment", "scaled", "--image=shop:1", "--port=80")
    kubectl.run("autoscale", "deployment", "scaled", "--min=1", "--max=3", "--cpu-percent=70")
    scaler = json.loads(kubectl.run("get", "hpa", "scaled", "-o", "json"))
    assert scaler["spec"]["maxReplicas"] == 3
    roles = """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reconciled, namespace: default}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
"""
    assert "reconciled" in kubectl.run("auth", "reconcile", "-f", "-", given=roles)
    assert "reconciled" in kubectl.run("auth", "reconcile", "-f", "-", given=roles.replace("[get]", "[get, list]"))
    rules = json.loads(kubectl.run("get", "role", "reconciled", "-o", "json"))["rules"]
    assert [verb for rule in rules for verb in rule["verbs"]] == ["get", "list"]
