"""A program of somebody who uses kubernetes_asyncio."""

import asyncio

from kubernetes_asyncio import client, config, watch
from kubernetes_asyncio.client.rest import ApiException
from kubernetes_asyncio.dynamic import DynamicClient
from kubernetes_asyncio.stream import WsApiClient

DEPLOYMENT = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "asyncio"},
    "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "asyncio"}},
             "template": {"metadata": {"labels": {"app": "asyncio"}}, "spec": {
                 "terminationGracePeriodSeconds": 0,
                 "containers": [{"name": "main", "image": "host", "command": ["sh", "-c", "echo hello; exec sleep 600"]}]}}},
}
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": "toys.asyncio.example.com"},
    "spec": {"group": "asyncio.example.com", "scope": "Namespaced", "names": {"kind": "Toy", "plural": "toys"},
             "versions": [{"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}, "schema": {
                 "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]},
}


async def config_maps(core: client.CoreV1Api) -> None:
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="asyncio", labels={"app": "shop"}), data={"a": "1"})
    made = await core.create_namespaced_config_map("default", body)
    assert made.metadata.creation_timestamp.tzinfo is not None
    await core.patch_namespaced_config_map("asyncio", "default", {"data": {"b": "2"}})
    await core.patch_namespaced_config_map("asyncio", "default", [{"op": "remove", "path": "/data/a"}])
    found = await core.read_namespaced_config_map("asyncio", "default")
    assert found.data == {"b": "2"}
    found.data = {"c": "3"}
    await core.replace_namespaced_config_map("asyncio", "default", found)
    try:
        found.metadata.resource_version = "1"
        await core.replace_namespaced_config_map("asyncio", "default", found)
        raise AssertionError("a stale write was accepted")
    except ApiException as error:
        assert error.status == 409
    first = await core.list_config_map_for_all_namespaces(limit=1)
    rest = await core.list_config_map_for_all_namespaces(limit=500, _continue=first.metadata._continue)
    assert len(first.items) == 1 and rest.items
    await core.delete_collection_namespaced_config_map("default", label_selector="app=shop")


async def rollout(core: client.CoreV1Api, apps: client.AppsV1Api) -> None:
    await apps.create_namespaced_deployment("default", DEPLOYMENT)
    await apps.patch_namespaced_deployment_scale("asyncio", "default", {"spec": {"replicas": 2}})
    async with watch.Watch().stream(apps.list_namespaced_deployment, "default", resource_version="0",
                                    field_selector="metadata.name=asyncio", timeout_seconds=30) as stream:
        async for event in stream:
            if event["object"].status.ready_replicas == 2:
                break
    pods = await core.list_namespaced_pod("default", label_selector="app=asyncio")
    name = pods.items[0].metadata.name
    assert await core.read_namespaced_pod_log(name, "default") == "hello\n"
    async with WsApiClient() as sockets:
        said = await client.CoreV1Api(sockets).connect_get_namespaced_pod_exec(
            name, "default", command=["sh", "-c", "echo out"], stderr=True, stdin=False, stdout=True, tty=False)
        assert said == "out\n"
    await apps.delete_namespaced_deployment("asyncio", "default", propagation_policy="Foreground")


async def custom(api: client.ApiClient) -> None:
    await client.ApiextensionsV1Api(api).create_custom_resource_definition(CRD)
    toys = client.CustomObjectsApi(api)
    where = ("asyncio.example.com", "v1", "default", "toys")
    toy = {"apiVersion": "asyncio.example.com/v1", "kind": "Toy", "metadata": {"name": "bear"}, "spec": {"size": 3}}
    await toys.create_namespaced_custom_object(*where, toy)
    await toys.patch_namespaced_custom_object_status(*where, "bear", {"status": {"ready": True}},
                                                     _content_type="application/merge-patch+json")
    dynamic = await DynamicClient(api)
    resource = await dynamic.resources.get(api_version="asyncio.example.com/v1", kind="Toy")
    found = await resource.get(name="bear", namespace="default")
    assert (found.spec.size, found.status.ready) == (3, True)
    await dynamic.server_side_apply(resource, body={**toy, "spec": {"colour": "red"}}, name="bear", namespace="default",
                                    field_manager="program", force_conflicts=True)
    listed = await toys.list_namespaced_custom_object(*where)
    assert [item["spec"] for item in listed["items"]] == [{"size": 3, "colour": "red"}]
    await toys.delete_namespaced_custom_object(*where, "bear")


async def main() -> None:
    await config.load_kube_config()
    async with client.ApiClient() as api:
        assert (await client.VersionApi(api).get_code()).major == "1"
        core = client.CoreV1Api(api)
        await config_maps(core)
        await rollout(core, client.AppsV1Api(api))
        await custom(api)
    print("done")


asyncio.run(main())
