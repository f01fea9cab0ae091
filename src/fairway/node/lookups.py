"""What a container's configuration refers to: ConfigMaps, Secrets, Services, claims."""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Iterable, Mapping

from fairway.kube.api import patch_status
from fairway.kube.cache import Informers
from fairway.kube.errors import NotFound
from fairway.kube.objects import Key, Obj, dig, is_deleting, key_of, spec_of, status_of
from fairway.kube.resources import CONFIG_MAPS, PERSISTENT_VOLUME_CLAIMS, SECRETS, SERVICES, Resource
from fairway.node.environment import ConfigProblem, Facts, service_variables
from fairway.node.paths import ServiceNames
from fairway.node.volumes import volume_sources

HOST_IP = "127.0.0.1"
_MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
_Found = dict[str, Obj | None]


class Lookups:
    """Caches first; an object that the caches do not have is asked for, because it may be younger than they are."""

    def __init__(self, informers: Informers, node_name: str, kubernetes: tuple[str, int]) -> None:
        self._informers, self._node_name = informers, node_name
        self._kubernetes = kubernetes
        self._caches = {row: informers.of(row) for row in (CONFIG_MAPS, SECRETS, SERVICES, PERSISTENT_VOLUME_CLAIMS)}

    async def facts(self, pod: Obj, address: str) -> tuple[Facts, ServiceNames]:
        namespace = key_of(pod).namespace
        maps = await self._fetch(CONFIG_MAPS, namespace, set(_references(pod, "configMap")))
        secrets = await self._fetch(SECRETS, namespace, set(_references(pod, "secret")))
        services = self._caches[SERVICES].list()
        mine = [service for service in services if key_of(service).namespace == namespace]
        variables = service_variables(mine) if spec_of(pod).get("enableServiceLinks", True) else {}
        host, port = self._kubernetes
        if host:
            variables |= {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": str(port),
                          "KUBERNETES_SERVICE_PORT_HTTPS": str(port)}
        addresses: dict[tuple[str, str], str] = {}
        for service in services:
            address_of = spec_of(service).get("clusterIP") or ""
            if address_of not in ("", "None"):
                addresses[key_of(service)] = address_of
        facts = Facts(pod, address, self._node_name, HOST_IP, maps.get, lambda name: _decoded(secrets.get(name)),
                      variables, allocatable={"cpu": float(os.cpu_count() or 1), "memory": float(_MEMORY)})
        return facts, ServiceNames(namespace, addresses)

    async def _fetch(self, resource: Resource, namespace: str, names: set[str]) -> _Found:
        found: _Found = {}
        for name in sorted(names):
            obj = self._caches[resource].get(Key(namespace, name))
            if obj is None:
                with contextlib.suppress(NotFound):
                    obj = await self._informers.api.get(resource, name, namespace)
            found[name] = obj
        return found

    async def pull_secrets(self, pod: Obj) -> tuple[tuple[Obj, ...], list[str]]:
        """The pod's `imagePullSecrets` (admission has added those of its service account), and the names of those that are not
        there."""
        names = {str(entry.get("name") or "") for entry in spec_of(pod).get("imagePullSecrets") or ()} - {""}
        found = await self._fetch(SECRETS, key_of(pod).namespace, names)
        return tuple(obj for obj in found.values() if obj is not None), [name for name, obj in found.items() if obj is None]

    async def bind_claims(self, pod: Obj) -> None:
        """A claim that a pod uses is bound: it is a folder of this node. Raises `ConfigProblem` where it is absent."""
        namespace = key_of(pod).namespace
        for volume in spec_of(pod).get("volumes") or ():
            name = dig(volume, "persistentVolumeClaim", "claimName")
            if not name:
                continue
            claim = (await self._fetch(PERSISTENT_VOLUME_CLAIMS, namespace, {name}))[name]
            if claim is None or is_deleting(claim):
                raise ConfigProblem(f'persistentvolumeclaim "{name}" not found', "ContainerCreating")
            if status_of(claim).get("phase") == "Bound":
                continue
            status = {"phase": "Bound", "accessModes": spec_of(claim).get("accessModes") or ["ReadWriteOnce"],
                      "capacity": dig(claim, "spec", "resources", "requests", default={})}
            await patch_status(self._informers.api, PERSISTENT_VOLUME_CLAIMS, claim, status, manager="fairway-node")


def _decoded(secret: Obj | None) -> Mapping[str, bytes] | None:
    if secret is None:
        return None
    return {name: base64.b64decode(value) for name, value in (secret.get("data") or {}).items()}


def _references(pod: Obj, kind: str) -> Iterable[str]:
    """Names of the ConfigMaps or Secrets that the pod's containers and volumes refer to."""
    spec = spec_of(pod)
    for container in (one for kind in ("initContainers", "containers", "ephemeralContainers") for one in spec.get(kind) or ()):
        for source in container.get("envFrom") or ():
            if f"{kind}Ref" in source:
                yield source[f"{kind}Ref"]["name"]
        for entry in container.get("env") or ():
            ref = dig(entry, "valueFrom", f"{kind}KeyRef")
            if ref:
                yield ref["name"]
    yield from volume_sources(pod, {"configMap": "ConfigMap", "secret": "Secret"}[kind])
