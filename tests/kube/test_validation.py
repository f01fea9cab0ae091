"""What the API refuses in built-in kinds, word for word, and what it fills in: one row, one rule."""

from __future__ import annotations

from typing import Any

import pytest

from fairway.kube import defaults, validation
from fairway.kube.clock import Clock, run_virtual
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.errors import BadRequest
from fairway.kube.objects import Obj, dig
from fairway.kube.schedules import schedule_mistake

POD = {"containers": [{"name": "c", "image": "shop:1"}]}


def made(group: str, kind: str, **rest: Any) -> Obj:
    obj: Obj = {"metadata": {"name": "x", "namespace": "default", **rest.pop("metadata", {})}, **rest}
    defaults.apply_defaults(group, kind, obj)
    return obj


def pod(**container: Any) -> Obj:
    spec = container.pop("spec", {})
    return {"spec": {"containers": [{"name": "c", "image": "shop:1", **container}], **spec}}


def workload(kind: str, **spec: Any) -> Obj:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {**POD, **spec.pop("pod", {})}}
    return {"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template, **spec}}


def job(**spec: Any) -> Obj:
    labels = {"a": "b"}
    return {"spec": {"selector": {"matchLabels": labels}, "template": {
        "metadata": {"labels": labels}, "spec": {**POD, "restartPolicy": "Never", **spec.pop("pod", {})}}, **spec}}


def scaler(**spec: Any) -> Obj:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    return {"spec": {"maxReplicas": 3, "scaleTargetRef": target, **spec}}


def ingress(**path: Any) -> Obj:
    backend = path.pop("backend", {"service": {"name": "web", "port": {"number": 80}}})
    host = path.pop("host", "example.com")
    entry = {"path": "/", "pathType": "Prefix", "backend": backend, **path}
    return {"spec": {"rules": [{"host": host, "http": {"paths": [entry]}}]}}


@pytest.mark.parametrize(("group", "kind", "obj", "said"), [
    ("", "Pod", pod(ports=[{"name": "http_port", "containerPort": 80}]), 'spec.containers[0].ports[0].name: Invalid value: '
     '"http_port": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)'),
    ("", "Pod", pod(livenessProbe={"httpGet": {"port": 0}}),
     "spec.containers[0].livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive"),
    ("", "Pod", pod(livenessProbe={}), "spec.containers[0].livenessProbe: Required value: must specify a handler type"),
    ("", "Pod", pod(volumeMounts=[{"name": "v", "mountPath": "/v"}]),
     'spec.containers[0].volumeMounts[0].name: Not found: "v"'),
    ("", "Pod", pod(resources={"limits": {"gpu": "1"}}), 'spec.containers[0].resources.limits[gpu]: Invalid value: "gpu": '
     "must be a standard resource type or fully qualified"),
    ("", "Pod", pod(envFrom=[{}]), 'spec.containers[0].envFrom[0]: Invalid value: "": must specify one of: `configMapRef` or '
     "`secretRef`"),
    ("", "Pod", pod(spec={"volumes": [{"name": "v", "hostPath": {}}]}), "spec.volumes[0].hostPath.path: Required value"),
    ("", "Pod", pod(spec={"tolerations": [{"operator": "Exists", "value": "x"}]}),
     "spec.tolerations[0].operator: Invalid value: \"x\": value must be empty when `operator` is 'Exists'"),
    ("", "Pod", pod(spec={"initContainers": [{"name": "i", "image": "i", "readinessProbe": {"exec": {"command": ["a"]}}}]}),
     "spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always"),
    ("apps", "StatefulSet", workload("s", podManagementPolicy="Odd"),
     "spec.podManagementPolicy: Invalid value: \"Odd\": must be 'OrderedReady' or 'Parallel'"),
    ("apps", "DaemonSet", workload("d", updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}}),
     "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"),
    ("apps", "ReplicaSet", {"spec": {"selector": {}, "template": {"spec": POD}}}, "spec.selector: Required value"),
    ("batch", "Job", job(completionMode="Indexed", parallelism=2),
     "spec.completions: Required value: when completion mode is Indexed"),
    ("batch", "Job", job(pod={"restartPolicy": "Always"}),
     'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'),
    ("batch", "CronJob", {"spec": {"schedule": "61 * * * *", "jobTemplate": {"spec": {"template": {"spec": {
        **POD, "restartPolicy": "Never"}}}}}},
     'spec.schedule: Invalid value: "61 * * * *": end of range (61) above maximum (59): 61'),
    ("batch", "CronJob", {"spec": {"schedule": "@daily", "timeZone": "Nowhere/Land", "jobTemplate": {"spec": {"template": {
        "spec": {**POD, "restartPolicy": "Never"}}}}}},
     'spec.timeZone: Invalid value: "Nowhere/Land": unknown time zone Nowhere/Land'),
    ("autoscaling", "HorizontalPodAutoscaler", scaler(metrics=[{"type": "Resource"}]),
     "spec.metrics[0].resource: Required value: must populate information for the given metric source"),
    ("autoscaling", "HorizontalPodAutoscaler", scaler(behavior={"scaleUp": {"stabilizationWindowSeconds": 9999}}),
     "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 9999: must be less than or equal to 3600"),
    ("policy", "PodDisruptionBudget", {"spec": {"minAvailable": 1, "maxUnavailable": 1}},
     'spec: Invalid value: {"MinAvailable":1,"Selector":null,"MaxUnavailable":1,"UnhealthyPodEvictionPolicy":null}: '
     "minAvailable and maxUnavailable cannot be both set"),
    ("policy", "PodDisruptionBudget", {"spec": {"minAvailable": "120%"}},
     'spec.minAvailable: Invalid value: "120%": must not be greater than 100%'),
    ("", "Service", {"spec": {"ports": [{"port": 80, "nodePort": 30000}]}},
     "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"),
    ("", "Service", {"spec": {"type": "ExternalName"}}, "spec.externalName: Required value"),
    ("networking.k8s.io", "Ingress", ingress(host="10.0.0.1"),
     'spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address'),
    ("networking.k8s.io", "Ingress", ingress(path="/a/../b"),
     "spec.rules[0].http.paths[0].path: Invalid value: \"/a/../b\": must not contain '/../'"),
    ("networking.k8s.io", "Ingress", ingress(backend={}),
     'spec.rules[0].http.paths[0].backend: Invalid value: "": resource or service backend is required'),
    ("networking.k8s.io", "Ingress", {"spec": {}},
     "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"),
    ("networking.k8s.io", "NetworkPolicy", {"spec": {"ingress": [{"from": [{"ipBlock": {
        "cidr": "10.0.0.0/8", "except": ["192.168.0.0/16"]}}]}]}},
     'spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "192.168.0.0/16": must be a strict subset of `cidr`'),
    ("", "Secret", {"type": "kubernetes.io/tls", "data": {"tls.crt": "YQ=="}}, "data[tls.key]: Required value"),
    ("", "Secret", {"type": "kubernetes.io/service-account-token"},
     "metadata.annotations[kubernetes.io/service-account.name]: Required value"),
    ("", "ConfigMap", {"data": {"a": "x" * (1 << 20), "b": "y"}}, "[]: Too long: may not be more than 1048576 bytes"),
    ("", "ConfigMap", {"metadata": {"finalizers": ["mine"]}}, 'metadata.finalizers[0]: Invalid value: "mine": name is neither '
     "a standard finalizer name nor is it fully qualified"),
    ("", "PersistentVolumeClaim", {"spec": {"accessModes": ["ReadWriteOnce"]}}, "spec.resources[storage]: Required value"),
    ("", "PersistentVolume", {"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}}},
     "spec: Required value: must specify a volume type"),
    ("storage.k8s.io", "StorageClass", {}, "provisioner: Required value"),
    ("coordination.k8s.io", "Lease", {"spec": {"leaseDurationSeconds": 0}},
     "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", {"webhooks": [{"name": "short", "clientConfig": {
        "url": "https://x"}, "sideEffects": "None", "admissionReviewVersions": ["v1"]}]},
     'webhooks[0].name: Invalid value: "short": should be a domain with at least three segments separated by dots'),
])
def test_refusals(group: str, kind: str, obj: Obj, said: str) -> None:
    assert said in [str(error) for error in validation.check_new(group, kind, made(group, kind, **obj))]


@pytest.mark.parametrize(("group", "kind", "old", "new", "said"), [
    ("apps", "StatefulSet", workload("s"), workload("s", serviceName="other"), "spec: Forbidden: updates to statefulset spec "
     "for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', "
     "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"),
    ("storage.k8s.io", "StorageClass", {"provisioner": "a/b"}, {"provisioner": "c/d"},
     "provisioner: Forbidden: updates to provisioner are forbidden."),
    ("", "ConfigMap", {"immutable": True, "data": {"a": "1"}}, {"immutable": True, "data": {"a": "2"}},
     "data: Forbidden: field is immutable when `immutable` is set"),
    ("", "PersistentVolumeClaim", {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}},
     {"spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}},
     "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound "
     "claims"),
])
def test_refused_changes(group: str, kind: str, old: Obj, new: Obj, said: str) -> None:
    found = validation.check_change(group, kind, made(group, kind, **old), made(group, kind, **new))
    assert said in [str(error) for error in found]


@pytest.mark.parametrize(("group", "kind", "obj", "path", "value"), [
    ("", "Service", {"spec": {"externalIPs": ["1.2.3.4"], "ports": [{"port": 80}]}}, "spec.externalTrafficPolicy", "Cluster"),
    ("", "ReplicationController", workload("rc"), "spec.replicas", 1),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy", {"spec": {"matchConstraints": {}}},
     "spec.matchConstraints.matchPolicy", "Equivalent"),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema", {}, "spec.matchingPrecedence", 1000),
    ("storage.k8s.io", "CSIDriver", {}, "spec.fsGroupPolicy", "ReadWriteOnceWithFSType"),
])
def test_defaults(group: str, kind: str, obj: Obj, path: str, value: Any) -> None:
    assert dig(made(group, kind, **obj), *path.split(".")) == value


def test_what_is_right_is_not_refused() -> None:
    for group, kind, obj in (("", "Pod", pod()), ("apps", "Deployment", workload("d")), ("batch", "Job", job()),
                             ("autoscaling", "HorizontalPodAutoscaler", scaler()), ("networking.k8s.io", "Ingress", ingress())):
        assert validation.check_new(group, kind, made(group, kind, **obj)) == []
    for schedule in ("*/5 * * * *", "0 9-17 * * mon-fri", "@every 5m", "0,30 * 1 jan ?"):
        assert schedule_mistake(schedule) == ""


def test_what_was_wrong_before_is_no_reason_to_refuse_a_change() -> None:
    old = made("", "Service", spec={"ports": [{"port": 80, "nodePort": 30000}]})
    new = {**old, "metadata": {**old["metadata"], "labels": {"a": "b"}}}
    assert validation.check_change("", "Service", old, new) == []
    worse = {**old, "spec": {**old["spec"], "sessionAffinity": "Odd"}}
    assert [error.path for error in validation.check_change("", "Service", old, worse)] == ["spec.sessionAffinity"]


def test_a_template_is_printed_as_the_server_holds_it() -> None:
    old, new = made("batch", "Job", **job()), made("batch", "Job", **job(pod={"nodeSelector": {"z": "1", "a": "2"}}))
    [error] = validation.check_change("batch", "Job", old, new)
    assert error.message.startswith('Invalid value: {"labels":{"a":"b"},"Spec":{"Volumes":null,"InitContainers":null,'
                                    '"Containers":[{"Name":"c","Image":"shop:1","Command":null,')
    assert '"DNSPolicy":"ClusterFirst","NodeSelector":{"a":"2","z":"1"},"ServiceAccountName":"",' in error.message
    assert error.message.endswith('"SchedulingGroup":null}}: field is immutable')


@pytest.mark.parametrize(("metadata", "said"), [
    ({"finalizers": [{}]}, "ObjectMeta.metadata.finalizers"),
    ({"ownerReferences": True}, "ObjectMeta.metadata.ownerReferences"),
    ({"labels": {"a": 1}}, "ObjectMeta.metadata.labels"),
])  # fmt: skip
def test_the_metadata_of_custom_kinds_has_its_types_too(metadata: Obj, said: str) -> None:
    async def story(clock: Clock) -> None:
        rollout: Obj = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "spec": {},
                        "metadata": {"name": "a", "namespace": "default", **metadata}}
        with pytest.raises(BadRequest, match=said):
            await EmbeddedApi.in_memory(clock).create(rollout)

    run_virtual(story)


@pytest.mark.parametrize(("containers", "said"), [
    ([["c"]], "PodSpec.spec.template.spec.containers of type v1.Container"),
    ([{"name": "c", "image": "i", "lifecycle": True}], "spec.template.spec.containers.lifecycle of type v1.Lifecycle"),
    ([{"name": "c", "image": "i", "fromTheFuture": {}}], ""),
])  # fmt: skip
def test_a_rollout_s_pods_have_the_types_of_pods(containers: list[Any], said: str) -> None:
    async def story(clock: Clock) -> None:
        api, spec = EmbeddedApi.in_memory(clock), {"template": {"spec": {"containers": containers}}}
        rollout: Obj = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "spec": spec,
                        "metadata": {"name": "a", "namespace": "default"}}
        if said:
            with pytest.raises(BadRequest, match=said):
                await api.create(rollout)
        else:
            assert (await api.create(rollout))["spec"]["template"] == spec["template"]

    run_virtual(story)
