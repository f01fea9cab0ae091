"""A program of somebody who uses lightkube."""

from lightkube import ApiError, Client, codecs, operators
from lightkube.core.exceptions import ConditionError
from lightkube.generic_resource import create_namespaced_resource, load_in_cluster_generic_resources
from lightkube.models.apps_v1 import DeploymentSpec
from lightkube.models.autoscaling_v1 import ScaleSpec
from lightkube.models.core_v1 import Container, PodSpec, PodTemplateSpec
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Namespace, Pod
from lightkube.types import CascadeType, PatchType

client = Client(field_manager="lightkube-program")
client.create(Namespace(metadata=ObjectMeta(name="lightkube")))
client = Client(field_manager="lightkube-program", namespace="lightkube")

made = client.create(ConfigMap(metadata=ObjectMeta(name="settings", labels={"app": "shop"}), data={"a": "1"}))
assert made.metadata is not None and made.metadata.uid
made.data = {"a": "2"}
client.replace(made)
client.patch(ConfigMap, "settings", {"data": {"b": "3"}})
client.patch(ConfigMap, "settings", {"data": {"a": None}}, patch_type=PatchType.MERGE)
client.patch(ConfigMap, "settings", [{"op": "add", "path": "/data/c", "value": "4"}], patch_type=PatchType.JSON)
assert client.get(ConfigMap, "settings").data == {"b": "3", "c": "4"}
applied = client.apply(ConfigMap(apiVersion="v1", kind="ConfigMap", metadata=ObjectMeta(name="settings"), data={"d": "5"}))
assert applied.data == {"b": "3", "c": "4", "d": "5"}
try:
    client.apply(ConfigMap(apiVersion="v1", kind="ConfigMap", metadata=ObjectMeta(name="settings"), data={"d": "6"}),
                 field_manager="somebody-else")
    raise AssertionError("two managers own one field")
except ApiError as error:
    assert error.status.code == 409
named = [found.metadata.name for found in client.list(ConfigMap, labels={"app": operators.in_(["shop", "store"])})]
assert named == ["settings"]
for kind, seen in client.watch(ConfigMap, fields={"metadata.name": "settings"}):
    assert (kind, seen.metadata.name) == ("ADDED", "settings")
    break

main = Container(name="main", image="host", command=["sh", "-c", "echo hello; exec sleep 600"])
template = PodTemplateSpec(metadata=ObjectMeta(labels={"app": "web"}),
                           spec=PodSpec(containers=[main], terminationGracePeriodSeconds=0))
client.create(Deployment(metadata=ObjectMeta(name="web"), spec=DeploymentSpec(
    replicas=1, selector=LabelSelector(matchLabels={"app": "web"}), template=template)))
client.wait(Deployment, "web", for_conditions=["Available"])
scale = client.get(Deployment.Scale, "web")
assert scale.spec.replicas == 1
client.replace(Deployment.Scale(metadata=ObjectMeta(name="web", namespace="lightkube"), spec=ScaleSpec(replicas=2)), "web")
for _, seen in client.watch(Deployment, fields={"metadata.name": "web"}):
    if seen.status.readyReplicas == 2:
        break
pods = list(client.list(Pod, labels={"app": "web"}))
assert len(pods) == 2
assert list(client.log(pods[0].metadata.name)) == ["hello\n"]
try:
    client.wait(Pod, pods[0].metadata.name, for_conditions=["Never"], raise_for_conditions=["Ready"])
    raise AssertionError("no condition was raised for")
except ConditionError:
    pass

[crd] = codecs.load_all_yaml("""
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: toys.lightkube.example.com}
spec:
  group: lightkube.example.com
  scope: Namespaced
  names: {kind: Toy, plural: toys}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
""")
client.create(crd)
load_in_cluster_generic_resources(client)
Toy = create_namespaced_resource("lightkube.example.com", "v1", "Toy", "toys")
toy = client.create(Toy(metadata=ObjectMeta(name="bear"), spec={"size": 3}))
client.patch(Toy.Status, "bear", {"status": {"ready": True}}, patch_type=PatchType.MERGE)
assert client.get(Toy, "bear")["status"] == {"ready": True}
assert toy["spec"] == {"size": 3}

client.delete(Deployment, "web", cascade=CascadeType.FOREGROUND)
client.deletecollection(ConfigMap)
client.delete(Namespace, "lightkube")
try:
    client.get(ConfigMap, "settings")
    raise AssertionError("still there")
except ApiError as error:
    assert error.status.reason == "NotFound"
print("done")
