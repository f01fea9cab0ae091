"""What the surroundings of a new object add to it and refuse: limits, quotas, accounts, priorities."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fairway.kube.api import MergePatch, WriteOptions
from fairway.kube.cache import Informers
from fairway.kube.clock import Clock, run_virtual
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.errors import ApiError, Forbidden, Invalid
from fairway.kube.housekeeping import NamespaceAccounts, QuotaStatus
from fairway.kube.limits import pod_total
from fairway.kube.objects import Obj
from fairway.kube.reconcile import ControllerLoop
from fairway.kube.resources import CONFIG_MAPS, PERSISTENT_VOLUME_CLAIMS, PODS, RESOURCE_QUOTAS, SERVICE_ACCOUNTS

Story = Callable[[EmbeddedApi], Coroutine[Any, Any, None]]


def run(story: Story) -> None:
    async def main(clock: Clock) -> None:
        await story(EmbeddedApi.in_memory(clock))

    run_virtual(main)


def obj(kind: str, name: str, api_version: str = "v1", **rest: Any) -> Obj:
    namespaced = {} if kind in ("PriorityClass", "Namespace") else {"namespace": "default"}
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, **namespaced}, **rest}


def pod(name: str, requests: dict[str, str] | None = None, limits: dict[str, str] | None = None, **spec: Any) -> Obj:
    resources = {part: given for part, given in (("requests", requests), ("limits", limits)) if given}
    return obj("Pod", name, spec={"containers": [{"name": "c", "image": "shop:1", "resources": resources}], **spec})


async def refused(api: EmbeddedApi, wanted: Obj) -> str:
    with pytest.raises(Forbidden) as caught:
        await api.create(wanted)
    return caught.value.message


# --- limit ranges -----------------------------------------------------------------------------------------------------


def limit_range(**item: Any) -> Obj:
    return obj("LimitRange", "limits", spec={"limits": [{"type": "Container", **item}]})


def test_containers_get_what_they_leave_open() -> None:
    async def story(api: EmbeddedApi) -> None:
        made = await api.create(limit_range(default={"cpu": "500m"}, max={"memory": "1Gi"}, min={"cpu": "100m"}))
        assert made["spec"]["limits"][0] == {
            "type": "Container", "default": {"cpu": "500m", "memory": "1Gi"}, "max": {"memory": "1Gi"}, "min": {"cpu": "100m"},
            "defaultRequest": {"cpu": "500m", "memory": "1Gi"},
        }  # fmt: skip
        made = await api.create(pod("p", {"cpu": "200m"}))
        assert made["spec"]["containers"][0]["resources"] == {
            "requests": {"cpu": "200m", "memory": "1Gi"}, "limits": {"cpu": "500m", "memory": "1Gi"}}
        assert made["metadata"]["annotations"] == {"kubernetes.io/limit-ranger": (
            "LimitRanger plugin set: memory request for container c; cpu, memory limit for container c")}
        assert made["status"]["qosClass"] == "Burstable"

    run(story)


@pytest.mark.parametrize(
    ("item", "wanted", "why"),
    [
        ({"max": {"cpu": "1"}}, pod("p", limits={"cpu": "2"}), "maximum cpu usage per Container is 1, but limit is 2"),
        ({"min": {"memory": "64Mi"}}, pod("p", {"memory": "1Mi"}),
         "minimum memory usage per Container is 64Mi, but request is 1Mi"),
        ({"maxLimitRequestRatio": {"cpu": "2"}}, pod("p", {"cpu": "100m"}, {"cpu": "1"}),
         "cpu max limit to request ratio per Container is 2, but provided ratio is 10"),
    ],
)  # fmt: skip
def test_limits_are_kept(item: dict[str, Any], wanted: Obj, why: str) -> None:
    async def story(api: EmbeddedApi) -> None:
        await api.create(limit_range(**item))
        assert await refused(api, wanted) == f'pods "p" is forbidden: {why}'

    run(story)


def test_whole_pods_and_claims_have_limits_too() -> None:
    async def story(api: EmbeddedApi) -> None:
        items = [{"type": "Pod", "max": {"cpu": "1"}}, {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}]
        await api.create(obj("LimitRange", "limits", spec={"limits": items}))
        assert await refused(api, pod("p")) == 'pods "p" is forbidden: maximum cpu usage per Pod is 1. No limit is specified'
        claim = obj("PersistentVolumeClaim", "c", spec={"accessModes": ["ReadWriteOnce"],
                                                        "resources": {"requests": {"storage": "2Gi"}}})
        assert "maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi" in await refused(api, claim)
        wrong = obj("LimitRange", "wrong", spec={"limits": [{"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}}]})
        with pytest.raises(Invalid, match="min value 2 is greater than max value 1"):
            await api.create(wrong)

    run(story)


def test_init_containers_count_only_where_they_are_more() -> None:
    def container(cpu: str, **rest: Any) -> Obj:
        return {"name": "x", "resources": {"requests": {"cpu": cpu}}, **rest}

    spec = {"containers": [container("100m"), container("100m")], "initContainers": [
        container("50m", restartPolicy="Always"), container("180m")]}
    assert pod_total(spec, "requests")["cpu"] == pytest.approx(250 / 1000, abs=0)  # two and the sidecar
    spec["initContainers"][1] = container("1")
    assert str(pod_total(spec, "requests")["cpu"]) == "1.050"


# --- quotas -----------------------------------------------------------------------------------------------------------


def quota(**hard: str) -> Obj:
    return obj("ResourceQuota", "q", spec={"hard": {name.replace("__", "/").replace("_", "."): v for name, v in hard.items()}})


def test_the_last_place_is_the_last() -> None:
    async def story(api: EmbeddedApi) -> None:
        await api.create(quota(pods="2", count__deployments_apps="0"))
        await api.create(pod("a"))
        await api.create(pod("b"))
        assert await refused(api, pod("c")) == (
            'pods "c" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2')
        await api.patch(PODS, "a", "default", MergePatch({"status": {"phase": "Succeeded"}}), subresource="status")
        await api.create(pod("c"))
        template = {"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]}
        web = obj("Deployment", "web", "apps/v1", spec={"selector": {"matchLabels": {"a": "b"}}, "template": template})
        assert await refused(api, web) == (
            'deployments.apps "web" is forbidden: exceeded quota: q, requested: count/deployments.apps=1, used: '
            "count/deployments.apps=0, limited: count/deployments.apps=0")

    run(story)


def test_compute_is_counted_and_must_be_named() -> None:
    async def story(api: EmbeddedApi) -> None:
        await api.create(quota(requests_cpu="1", limits_memory="1Gi"))
        assert await refused(api, pod("p")) == (
            'pods "p" is forbidden: failed quota: q: must specify limits.memory for: c; requests.cpu for: c')
        await api.create(pod("a", {"cpu": "600m"}, {"memory": "512Mi"}))
        assert await refused(api, pod("b", {"cpu": "500m"}, {"memory": "512Mi"})) == (
            'pods "b" is forbidden: exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: '
            "requests.cpu=1")

    run(story)


def test_what_grows_is_counted_again() -> None:
    async def story(api: EmbeddedApi) -> None:
        await api.create(quota(services_nodeports="0", requests_storage="1Gi"))
        made = await api.create(obj("Service", "s", spec={"ports": [{"port": 80}]}))
        with pytest.raises(Forbidden, match=r"exceeded quota: q, requested: services\.nodeports=1"):
            await api.replace({**made, "spec": {**made["spec"], "type": "NodePort"}})
        claim = await api.create(obj("PersistentVolumeClaim", "c", spec={
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}))
        bound = MergePatch({"status": {"phase": "Bound"}})
        await api.patch(PERSISTENT_VOLUME_CLAIMS, "c", "default", bound, subresource="status")
        with pytest.raises(Forbidden, match=r"requested: requests\.storage=1Gi, used: requests\.storage=1Gi"):
            await api.patch(PERSISTENT_VOLUME_CLAIMS, "c", "default",
                            MergePatch({"spec": {"resources": {"requests": {"storage": "2Gi"}}}}))
        await api.replace({**claim, "metadata": {"name": "c", "namespace": "default"}})

    run(story)


@pytest.mark.parametrize(
    ("scopes", "fits"),
    [(["BestEffort"], False), (["NotBestEffort"], True), (["Terminating"], True), (["NotTerminating"], False)],
)
def test_scopes_choose_pods(scopes: list[str], fits: bool) -> None:
    async def story(api: EmbeddedApi) -> None:
        await api.create(obj("ResourceQuota", "q", spec={"hard": {"pods": "0"}, "scopes": scopes}))
        if fits:
            await api.create(pod("p"))
        else:
            await refused(api, pod("p"))

    run(story)


def test_a_dry_run_is_refused_as_the_run_would_be() -> None:
    async def story(api: EmbeddedApi) -> None:
        await api.create(quota(configmaps="0"))
        with pytest.raises(Forbidden):
            await api.create(obj("ConfigMap", "c"), WriteOptions(dry_run=True))

    run(story)


# --- accounts and priorities ------------------------------------------------------------------------------------------


def test_a_pod_runs_as_its_account() -> None:
    async def story(api: EmbeddedApi) -> None:
        before = await api.create(pod("before"))
        assert "serviceAccountName" not in before["spec"]  # nobody keeps accounts here yet
        await api.create(obj("ServiceAccount", "default", imagePullSecrets=[{"name": "registry"}]))
        await api.create(obj("ServiceAccount", "shy", automountServiceAccountToken=False))
        made = (await api.create(pod("p")))["spec"]
        volume = made["volumes"][0]
        assert (made["serviceAccountName"], made["serviceAccount"]) == ("default", "default")
        assert made["imagePullSecrets"] == [{"name": "registry"}]
        assert made["containers"][0]["volumeMounts"] == [
            {"name": volume["name"], "readOnly": True, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}]
        assert [next(iter(source)) for source in volume["projected"]["sources"]] == [
            "serviceAccountToken", "configMap", "downwardAPI"]
        for wanted in (pod("q", serviceAccountName="shy"), pod("r", automountServiceAccountToken=False)):
            assert "volumes" not in (await api.create(wanted))["spec"]
        mounted = (await api.create(pod("s", serviceAccountName="shy", automountServiceAccountToken=True)))["spec"]
        assert "volumes" in mounted
        assert await refused(api, pod("t", serviceAccountName="gone")) == (
            'pods "t" is forbidden: error looking up service account default/gone: serviceaccount "gone" not found')

    run(story)


def test_priorities_come_from_classes() -> None:
    async def story(api: EmbeddedApi) -> None:
        await api.create(obj("PriorityClass", "high", "scheduling.k8s.io/v1", value=1000, preemptionPolicy="Never"))
        made = (await api.create(pod("a", priorityClassName="high")))["spec"]
        assert (made["priority"], made["preemptionPolicy"]) == (1000, "Never")
        assert (await api.create(pod("b", priorityClassName="system-node-critical")))["spec"]["priority"] == 2000001000
        assert await refused(api, pod("c", priorityClassName="no")) == (
            'pods "c" is forbidden: no PriorityClass with name no was found')
        await api.create(obj("PriorityClass", "usual", "scheduling.k8s.io/v1", value=5, globalDefault=True))
        made = (await api.create(pod("d")))["spec"]
        assert (made["priority"], made["priorityClassName"]) == (5, "usual")
        assert "must not be provided in pod spec" in await refused(api, pod("e", priorityClassName="high", priority=7))
        changed = obj("PriorityClass", "usual", "scheduling.k8s.io/v1", value=6)
        with pytest.raises(ApiError, match=r"value: Forbidden: may not be changed in an update\."):
            await api.replace(changed)

    run(story)


# --- housekeeping -----------------------------------------------------------------------------------------------------


async def kept(clock: Clock, story: Story) -> None:
    api = EmbeddedApi.in_memory(clock)
    informers = Informers(api)
    loops = [ControllerLoop(c, informers, clock) for c in (NamespaceAccounts(informers, "PEM"), QuotaStatus(informers))]
    running = [asyncio.create_task(loop.run()) for loop in loops]
    await story(api)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await informers.close()


def test_every_namespace_has_an_account_and_the_ca() -> None:
    async def story(api: EmbeddedApi) -> None:
        await api.create(obj("Namespace", "shop"))
        await asyncio.sleep(1)
        assert (await api.get(CONFIG_MAPS, "kube-root-ca.crt", "shop"))["data"] == {"ca.crt": "PEM"}
        assert len((await api.list(SERVICE_ACCOUNTS)).items) == len((await api.list(CONFIG_MAPS)).items) == 5
        await api.delete(SERVICE_ACCOUNTS, "default", "shop")
        await api.patch(CONFIG_MAPS, "kube-root-ca.crt", "shop", MergePatch({"data": {"ca.crt": "other"}}))
        await asyncio.sleep(1)
        assert (await api.get(CONFIG_MAPS, "kube-root-ca.crt", "shop"))["data"] == {"ca.crt": "PEM"}
        await api.get(SERVICE_ACCOUNTS, "default", "shop")

    run_virtual(lambda clock: kept(clock, story))


def test_quotas_say_what_is_used() -> None:
    async def story(api: EmbeddedApi) -> None:
        await api.create(quota(pods="5", requests_memory="1Gi", count__rollouts_argoproj_io="3"))
        await api.create(pod("a", {"memory": "100Mi"}))
        await asyncio.sleep(1)
        found = (await api.get(RESOURCE_QUOTAS, "q", "default"))["status"]
        assert found["used"] == {"pods": "1", "requests.memory": "100Mi", "count/rollouts.argoproj.io": "0"}
        assert found["hard"] == {"pods": "5", "requests.memory": "1Gi", "count/rollouts.argoproj.io": "3"}
        await api.patch(RESOURCE_QUOTAS, "q", "default", MergePatch({"spec": {"hard": {"requests.memory": None}}}))
        await asyncio.sleep(1)
        assert set((await api.get(RESOURCE_QUOTAS, "q", "default"))["status"]["used"]) == {"pods", "count/rollouts.argoproj.io"}

    run_virtual(lambda clock: kept(clock, story))
