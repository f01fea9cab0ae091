"""What every namespace has, and what its quotas say is used: two controllers that belong to the API itself.

- `NamespaceAccounts` gives every namespace the ServiceAccount `default` and the ConfigMap `kube-root-ca.crt`. From then on its
  pods run as an account and are given a token (`fairway.kube.service_accounts`).
- `QuotaStatus` counts: `status.hard` and `status.used` of every ResourceQuota. Admission counts itself and does
  not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from fairway.kube import quotas
from fairway.kube.api import patch_status
from fairway.kube.cache import Informers
from fairway.kube.decision import Apply, Create, Outcome, Reason, carry_out
from fairway.kube.errors import NotFound
from fairway.kube.objects import Key, Obj, dig, is_deleting, key_of, status_of
from fairway.kube.reconcile import Watch
from fairway.kube.resources import (
    BUILT_IN,
    CONFIG_MAPS,
    NAMESPACES,
    RESOURCE_QUOTAS,
    SERVICE_ACCOUNTS,
    Resource,
)
from fairway.kube.service_accounts import ROOT_CA
from fairway.kube.surroundings import counts

_MANAGER = "kube-controller-manager"
_COUNTED_KINDS = tuple(
    row for row in BUILT_IN if row.namespaced and (row.group in ("", "apps", "batch") or row.kind == "Ingress")
    and row.kind not in ("Event", "Endpoints", "LimitRange", "ControllerRevision")
)  # fmt: skip
"""Kinds whose changes make quotas count again at once; the rest is counted within the loop's resync."""


class NamespaceAccounts:
    """`ca`: the certificate of the API's CA as PEM, for pods to trust."""

    name = "namespace-accounts"
    resource = NAMESPACES
    workers = 1

    def __init__(self, informers: Informers, ca: str) -> None:
        self._informers = informers
        self._ca = ca
        self._namespaces = informers.of(NAMESPACES)
        self._accounts = informers.of(SERVICE_ACCOUNTS)
        self._maps = informers.of(CONFIG_MAPS)

    def watches(self) -> Sequence[Watch]:
        return (Watch(SERVICE_ACCOUNTS, _namespace_of("default")), Watch(CONFIG_MAPS, _namespace_of(ROOT_CA)))

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        namespace = self._namespaces.get(key)
        if namespace is None or is_deleting(namespace):
            return Outcome()
        wanted: list[Create | Apply] = []
        if dig(self._maps.get(Key(key.name, ROOT_CA)), "data", "ca.crt") != self._ca:
            meta = {"name": ROOT_CA, "namespace": key.name,
                    "annotations": {"kubernetes.io/description": "The CA of this platform's API, for pods to trust."}}
            held = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"ca.crt": self._ca}}
            wanted.append(Apply(held, _MANAGER))
        if self._accounts.get(Key(key.name, "default")) is None:
            meta = {"name": "default", "namespace": key.name}
            wanted.append(Create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}))
        await carry_out(self._informers.api, wanted, manager=_MANAGER)
        return Outcome(reasons=tuple(Reason("Made", f"{one.obj['kind']} {one.obj['metadata']['name']}") for one in wanted))


def _namespace_of(name: str) -> Callable[[Obj], Iterable[Key]]:
    """For `Watch`: the namespace of the object that is called so."""

    def keys(obj: Obj) -> Iterable[Key]:
        key = key_of(obj)
        return (Key("", key.namespace),) if key.name == name else ()

    return keys


class QuotaStatus:
    name = "resource-quota"
    resource = RESOURCE_QUOTAS
    workers = 1

    def __init__(self, informers: Informers) -> None:
        self._informers = informers
        self._quotas = informers.of(RESOURCE_QUOTAS)

    def watches(self) -> Sequence[Watch]:
        return tuple(Watch(row, self._quotas_beside) for row in _COUNTED_KINDS if row != RESOURCE_QUOTAS)

    def _quotas_beside(self, obj: Obj) -> Iterable[Key]:
        return [key_of(quota) for quota in self._quotas.list(key_of(obj).namespace)]

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        quota = self._quotas.get(key)
        if quota is None or is_deleting(quota):
            return Outcome()
        hard = dig(quota, "spec", "hard", default={})
        found = [(row, obj) for row in self._counted(hard) for obj in await self._objects(row, key.namespace)]
        used = quotas.total(quota, found)
        status = {"hard": hard, "used": {name: quotas.shown(name, amount, hard) for name, amount in used.items()}}
        if status != status_of(quota):
            gone = {part: {name: None for name in dig(quota, "status", part, default={}) if name not in hard}
                    for part in ("hard", "used")}
            wanted = {part: {**gone[part], **status[part]} for part in ("hard", "used")}
            try:
                await patch_status(self._informers.api, RESOURCE_QUOTAS, quota, wanted, manager=_MANAGER)
            except NotFound:
                return Outcome()
        return Outcome(reasons=(Reason("Counted", f"{len(found)} objects"),))

    def _counted(self, hard: Obj) -> list[Resource]:
        """Each kind once, in the version that is served first."""
        rows: dict[tuple[str, str], Resource] = {}
        for row in self._informers.api.resources:
            if row.namespaced and any(counts(name, row) for name in hard):
                rows.setdefault(row.group_kind, row)
        return list(rows.values())

    async def _objects(self, resource: Resource, namespace: str) -> list[Obj]:
        """From the cache where it follows this kind anyway: what it has seen is what woke us."""
        if resource in _COUNTED_KINDS:
            return self._informers.of(resource).list(namespace)
        return (await self._informers.api.list(resource, namespace)).items
