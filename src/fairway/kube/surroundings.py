"""Admission that looks around: what the other objects of a cluster say about a new one.

After an object is completed by what it says itself, LimitRanges, its ServiceAccount and its PriorityClass add what it leaves
open (nobody owns these fields); after it is checked, LimitRanges and ResourceQuotas may refuse it. Everything is decided
against the writes accepted last, in one step with the write itself, so that two writes never both take the last place.
"""

from __future__ import annotations

from collections.abc import Iterator

from fairway.kube import limits, preparation, quotas, service_accounts, service_addresses
from fairway.kube.errors import Forbidden
from fairway.kube.identities import Identities
from fairway.kube.objects import Key, Obj, dig
from fairway.kube.refusals import invalid
from fairway.kube.resources import (
    LIMIT_RANGES,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    PRIORITY_CLASSES,
    RESOURCE_QUOTAS,
    SERVICE_ACCOUNTS,
    SERVICES,
    Resource,
)
from fairway.kube.store import Store, Table

_SYSTEM_CLASSES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}
"""Priority classes that every cluster has."""
_REMEMBERED = 20_000  # objects; some 10 MB, and twice what a large platform runs
_CHANGED = (SERVICES.group_kind, PERSISTENT_VOLUME_CLAIMS.group_kind)
"""Kinds whose objects may come to use more while they live."""


def _table(resource: Resource) -> Table:
    return Table(resource.group, resource.plural)


class Surroundings:
    """`identities`: where names of injected volumes come from."""

    def __init__(self, store: Store, identities: Identities, address_seed: str = "") -> None:
        self._store = store
        self._address_seed = address_seed
        self._identities = identities
        self._used: dict[str, tuple[str, quotas.Usage]] = {}

    def _of(self, resource: Resource, namespace: str) -> list[Obj]:
        table = _table(resource)
        if not self._store.rows(table) and not self._store.writing:
            return []
        return [version.obj for key, version in sorted(self._store.heads(table).items()) if key.namespace == namespace]

    def complete(self, resource: Resource, obj: Obj) -> None:
        """Add to a new object what its surroundings say. Changes `obj`."""
        if resource == LIMIT_RANGES:
            limits.complete(obj)
        if resource == SERVICES:
            self._address(obj)
        if resource != PODS:
            return
        namespace = obj["metadata"]["namespace"]
        limits.fill(obj, self._of(LIMIT_RANGES, namespace))
        self._account(obj, namespace)
        self._priority(obj)

    def allow(self, resource: Resource, old: Obj | None, new: Obj) -> None:
        """`Forbidden` where `new` would be too much for its namespace."""
        if not resource.namespaced or (old is not None and resource.group_kind not in _CHANGED):
            return
        namespace, name = new["metadata"]["namespace"], new["metadata"]["name"]
        if resource in (PODS, PERSISTENT_VOLUME_CLAIMS):
            over = limits.exceeded(resource.kind, new, self._of(LIMIT_RANGES, namespace))
            if over:
                raise _forbidden(resource, name, over[0] if len(over) == 1 else f"[{', '.join(over)}]")
        for quota in self._of(RESOURCE_QUOTAS, namespace):
            if not quotas.applies(quota, resource, new):
                continue
            before = quotas.usage_of(resource, old) if old is not None else {}
            more = {key: amount - before.get(key, 0) for key, amount in quotas.usage_of(resource, new).items()}
            why = quotas.refusal(quota, resource, new, more, quotas.total(quota, self._counted(quota, namespace), self._usage))
            if why:
                raise _forbidden(resource, name, why)

    def _address(self, service: Obj) -> None:
        others = self._services()
        taken = service_addresses.refusal(service, others)
        if taken is not None:
            raise invalid(SERVICES, service["metadata"]["name"], [taken])
        service_addresses.complete(service, others, seed=self._address_seed)

    def keep_address(self, old: Obj, new: Obj) -> None:
        """An update that does not name the address keeps it; one that makes the first use of one is given one."""
        preparation.keep_address(old, new)
        if dig(new, "spec", "clusterIP", default="") != dig(old, "spec", "clusterIP", default=""):
            self._address(new)
        else:
            service_addresses.complete(new, self._services() if not dig(new, "spec", "clusterIP") else (),
                                       seed=self._address_seed)

    def _services(self) -> list[Obj]:
        return [version.obj for version in self._store.heads(_table(SERVICES)).values()]

    def _usage(self, resource: Resource, obj: Obj) -> quotas.Usage:
        """Remembered by version: adding up is cheap, reading every quantity of a thousand pods is not."""
        meta = obj["metadata"]
        known = self._used.get(meta["uid"])
        if known is not None and known[0] == meta["resourceVersion"]:
            return known[1]
        if len(self._used) >= _REMEMBERED:
            self._used.clear()
        found = quotas.usage_of(resource, obj)
        self._used[meta["uid"]] = meta["resourceVersion"], found
        return found

    def _counted(self, quota: Obj, namespace: str) -> Iterator[tuple[Resource, Obj]]:
        """Every object that may count for `quota`."""
        for table in self._store.tables():
            resource = Resource(table.group, "", "", table.plural)
            if any(counts(key, resource) for key in dig(quota, "spec", "hard", default={})):
                for key, version in self._store.heads(table).items():
                    if key.namespace == namespace:
                        yield resource, version.obj

    # --- pods ---------------------------------------------------------------------------------------------------------

    def _account(self, pod: Obj, namespace: str) -> None:
        """A namespace without the account `default` is one in which nobody keeps accounts: its pods are left as they are."""
        table, wanted = _table(SERVICE_ACCOUNTS), service_accounts.named(pod)
        found = self._store.head(table, Key(namespace, wanted))
        if found is not None:
            service_accounts.inject(pod, found.obj, self._identities)
        elif self._store.head(table, Key(namespace, "default")) is not None:
            raise _forbidden(PODS, pod["metadata"]["name"], f"error looking up service account {namespace}/{wanted}: "
                                                            f'serviceaccount "{wanted}" not found')

    def _priority(self, pod: Obj) -> None:
        spec = pod["spec"]
        wanted, value, preemption = spec.get("priorityClassName") or "", 0, "PreemptLowerPriority"
        if wanted in _SYSTEM_CLASSES:
            value = _SYSTEM_CLASSES[wanted]
        else:
            found = self._class(wanted)
            if found is None and wanted:
                raise _forbidden(PODS, pod["metadata"]["name"], f"no PriorityClass with name {wanted} was found")
            if found is not None:
                spec["priorityClassName"] = found["metadata"]["name"]
                value, preemption = found.get("value") or 0, found.get("preemptionPolicy") or preemption
        if spec.get("priority", value) != value:
            raise _forbidden(PODS, pod["metadata"]["name"], f"the integer value of priority ({spec['priority']}) must not be "
                             f"provided in pod spec; priority admission controller computed {value} from the given "
                             "PriorityClass name")
        spec["priority"] = value
        spec.setdefault("preemptionPolicy", preemption)

    def _class(self, name: str) -> Obj | None:
        if name:
            found = self._store.head(_table(PRIORITY_CLASSES), Key("", name))
            return None if found is None else found.obj
        defaults = [row for row in self._of(PRIORITY_CLASSES, "") if row.get("globalDefault")]
        return min(defaults, key=lambda row: int(row.get("value") or 0), default=None)


def counts(key: str, resource: Resource) -> bool:
    """Whether the quota entry `key` counts objects of `resource`."""
    if key.startswith("count/"):
        return key == f"count/{resource.qualified}"
    if resource.group:
        return False
    match resource.plural:
        case "services":
            return key == "services" or key.startswith("services.")
        case "persistentvolumeclaims":
            return key in ("persistentvolumeclaims", "requests.storage") or ".storageclass.storage.k8s.io/" in key
        case "pods":
            return key in ("pods", "cpu", "memory", "ephemeral-storage") or key.startswith(("requests.", "limits."))
    return key == resource.plural


def _forbidden(resource: Resource, name: str, why: str) -> Forbidden:
    details = {"name": name, **({"group": resource.group} if resource.group else {}), "kind": resource.plural}
    return Forbidden(f'{resource.qualified} "{name}" is forbidden: {why}', details=details)
