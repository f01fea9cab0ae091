"""An operator of somebody who uses kopf: it keeps a ConfigMap and a Deployment for each Toy, tells in the Toy's status how many
of its pods are ready, and cleans up in a finalizer."""

import kopf
import kr8s
from kr8s.asyncio.objects import ConfigMap, Deployment, new_class

Toy = new_class(kind="Toy", version="kopf.example.com/v1", namespaced=True, asyncio=True)


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: object) -> None:
    settings.persistence.finalizer = "kopf.example.com/finalizer"
    settings.posting.level = 20


@kopf.on.create("kopf.example.com", "v1", "toys")
async def created(spec: kopf.Spec, name: str, namespace: str, patch: kopf.Patch, body: kopf.Body, retry: int,
                  **_: object) -> dict[str, str]:
    if retry == 0:
        raise kopf.TemporaryError("not at the first try", delay=0.1)
    child = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"toy-{name}", "namespace": namespace},
             "data": {"size": str(spec["size"])}}
    kopf.adopt(child, owner=body)
    await (await ConfigMap(child, api=await kr8s.asyncio.api())).create()
    labels = {"toy": name}
    pods = {"containers": [{"name": "plays", "image": "host", "command": ["sleep", "600"]}], "terminationGracePeriodSeconds": 0}
    plays = {"apiVersion": "apps/v1", "kind": "Deployment",
             "metadata": {"name": f"toy-{name}", "namespace": namespace, "labels": labels},
             "spec": {"replicas": 2, "selector": {"matchLabels": labels},
                      "template": {"metadata": {"labels": labels}, "spec": pods}}}
    kopf.adopt(plays, owner=body)
    await (await Deployment(plays, api=await kr8s.asyncio.api())).create()
    patch.status["phase"] = "Made"
    kopf.info(body, reason="Made", message=f"{name} is made")
    return {"child": f"toy-{name}"}


@kopf.on.field("kopf.example.com", "v1", "toys", field="spec.size")
async def resized(old: int | None, new: int, name: str, namespace: str, **_: object) -> None:
    if old is not None:
        child = await ConfigMap.get(f"toy-{name}", namespace=namespace)
        await child.patch({"data": {"size": str(new)}})


@kopf.on.event("apps", "v1", "deployments", labels={"toy": kopf.PRESENT})
async def played(status: kopf.Status, labels: kopf.Labels, namespace: str, type: str | None, **_: object) -> None:
    if type != "DELETED":
        toy = await Toy.get(labels["toy"], namespace=namespace)
        await toy.patch({"status": {"ready": status.get("readyReplicas", 0)}}, subresource="status")


@kopf.on.delete("kopf.example.com", "v1", "toys")
async def deleted(name: str, namespace: str, **_: object) -> None:
    farewell = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"farewell-{name}", "namespace": namespace}}
    await (await ConfigMap(farewell, api=await kr8s.asyncio.api())).create()
