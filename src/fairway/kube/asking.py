"""Who is asked about a write to the embedded API: the webhooks and policies of the store, and how Services are reached.

Where there are none, a write costs nothing more. With them, a write is tried, asked about, and made of what came out of it;
where the object has changed meanwhile, from the beginning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairway.kube import policies
from fairway.kube.errors import ApiError, Unavailable
from fairway.kube.objects import Key, Obj, dig, labels_of, spec_of
from fairway.kube.resources import (
    ENDPOINT_SLICES,
    MUTATING_WEBHOOKS,
    NAMESPACES,
    SERVICES,
    VALIDATING_POLICIES,
    VALIDATING_POLICY_BINDINGS,
    VALIDATING_WEBHOOKS,
    Resource,
    ResourceMap,
)
from fairway.kube.reviewed import Reviewed
from fairway.kube.selectors import from_label_selector
from fairway.kube.store import Store, Table
from fairway.kube.webhooks import Place, Webhooks

SERVICE_LABEL = "kubernetes.io/service-name"


def _table(resource: Resource) -> Table:
    return Table(resource.group, resource.plural)


_ASKERS = tuple(map(_table, (MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS, VALIDATING_POLICY_BINDINGS)))


class Asking:
    def __init__(self, store: Store, resources: ResourceMap) -> None:
        self._store = store
        self._resources = resources
        self._webhooks = Webhooks(self.reach)

    @property
    def anybody(self) -> bool:
        return any(self._store.rows(table) for table in _ASKERS)

    def space(self, namespace: str) -> Obj | None:
        found = self._store.get(_table(NAMESPACES), Key("", namespace)) if namespace else None
        return found.obj if found is not None else None

    async def mutate(self, asked: Reviewed, warnings: list[str]) -> Obj:
        return await self._webhooks.mutate(asked, self._all(MUTATING_WEBHOOKS), warnings)

    async def validate(self, asked: Reviewed, warnings: list[str]) -> None:
        rows = self._all(VALIDATING_POLICIES), self._all(VALIDATING_POLICY_BINDINGS)
        warnings.extend(policies.judge(asked, *rows, self._params))
        await self._webhooks.validate(asked, self._all(VALIDATING_WEBHOOKS), warnings)

    def _all(self, resource: Resource) -> list[Obj]:
        return [version.obj for _, version in sorted(self._store.rows(_table(resource)).items())]

    def _params(self, api_version: str, kind: str, namespace: str, ref: Mapping[str, Any]) -> list[Obj]:
        try:
            resource = self._resources.of_kind(api_version, kind)
        except ApiError:
            return []
        space = (ref.get("namespace") or namespace) if resource.namespaced else ""
        rows = self._store.rows(_table(resource))
        if name := ref.get("name"):
            found = rows.get(Key(space, name))
            return [found.obj] if found is not None else []
        selector = from_label_selector(ref.get("selector"))
        return [version.obj for key, version in sorted(rows.items())
                if key.namespace == space and selector.matches(labels_of(version.obj))]

    def reach(self, service: Mapping[str, Any]) -> Place:
        """A ready endpoint of a Service. Certificates are made out to the Service's name."""
        namespace, name, port = service.get("namespace", ""), service.get("name", ""), int(service.get("port") or 443)
        found = self._store.get(_table(SERVICES), Key(namespace, name))
        if found is None:
            raise Unavailable(f'service "{name}" not found')
        row = next((row for row in spec_of(found.obj).get("ports") or () if row.get("port") == port), None)
        if row is None:
            raise Unavailable(f'no service port {port} found for service "{name}"')
        for _, version in sorted(self._store.rows(_table(ENDPOINT_SLICES)).items()):
            slice_ = version.obj
            if slice_["metadata"].get("namespace") != namespace or labels_of(slice_).get(SERVICE_LABEL) != name:
                continue
            ports = [p for p in slice_.get("ports") or () if (p.get("name") or "") == (row.get("name") or "")]
            ready = [end for end in slice_.get("endpoints") or () if dig(end, "conditions", "ready", default=True)]
            if ports and ready:
                host = f"{name}.{namespace}.svc"
                path = "/" + str(service.get("path") or "").lstrip("/")
                return Place(f"https://{host}{path}", ready[0]["addresses"][0], int(ports[0]["port"]), host)
        raise Unavailable(f'no endpoints available for service "{name}"')
