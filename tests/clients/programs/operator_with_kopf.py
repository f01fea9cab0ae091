"""An operator of somebody who uses kopf: it keeps a ConfigMap for each Toy and cleans up in a finalizer."""

import kopf
import kr8s
from kr8s.asyncio.objects import ConfigMap


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: object) -> None:
    settings.persistence.finalizer = "kopf.example.com/finalizer"
    settings.posting.level = 20


@kopf.on.create("kopf.example.com", "v1", "toys")
async def created(spec: kopf.Spec, name: str, namespace: str, patch: kopf.Patch, body: kopf.Body,
                  **_: object) -> dict[str, str]:
    child = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"toy-{name}", "namespace": namespace},
             "data": {"size": str(spec["size"])}}
    kopf.adopt(child, owner=body)
    await (await ConfigMap(child, api=await kr8s.asyncio.api())).create()
    patch.status["phase"] = "Made"
    kopf.info(body, reason="Made", message=f"{name} is made")
    return {"child": f"toy-{name}"}


@kopf.on.field("kopf.example.com", "v1", "toys", field="spec.size")
async def resized(old: int | None, new: int, name: str, namespace: str, **_: object) -> None:
    if old is not None:
        child = await ConfigMap.get(f"toy-{name}", namespace=namespace)
        await child.patch({"data": {"size": str(new)}})


@kopf.on.delete("kopf.example.com", "v1", "toys")
async def deleted(name: str, namespace: str, **_: object) -> None:
    farewell = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"farewell-{name}", "namespace": namespace}}
    await (await ConfigMap(farewell, api=await kr8s.asyncio.api())).create()
