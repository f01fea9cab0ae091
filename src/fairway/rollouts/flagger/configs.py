"""ConfigMaps and Secrets that the target mounts or reads: copies of them go with the primary.

A change of one of them is a new version, as a change of the pod template is. Only their checksums stand in the status.
An annotation `flagger.app/config-tracking: disabled` on one leaves it alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fairway.kube.objects import Obj, annotations_of, copy_of, dig, labels_of, meta_of

TRACKING = "flagger.app/config-tracking"
_SECRET_TYPES = ("", "Opaque", "SecretTypeOpaque", "kubernetes.io/basic-auth", "kubernetes.io/ssh-auth", "kubernetes.io/tls")
"""Registry and token secrets are not the version's."""


@dataclass(frozen=True, slots=True)
class Config:
    kind: str
    name: str

    @property
    def key(self) -> str:
        """As status.trackedConfigs names it."""
        return f"{self.kind.lower()}/{self.name}"


Configs = Mapping[Config, Obj]


def tracked(target: Obj, present: Configs) -> dict[Config, Obj]:
    """Those that the target names and that are there."""
    found = {}
    for holder, field in _references(dig(target, "spec", "template", "spec", default={})):
        config = Config("Secret" if "ecret" in field[0] else "ConfigMap", str(holder[field[1]]))
        obj = present.get(config)
        if obj is None or annotations_of(obj).get(TRACKING) == "disabled":
            continue
        if config.kind == "ConfigMap" or str(obj.get("type") or "") in _SECRET_TYPES:
            found[config] = obj
    return found


def checksums(configs: Configs) -> dict[str, str]:
    return {config.key: _checksum({k: obj.get(k) for k in ("data", "binaryData") if obj.get(k)})
            for config, obj in configs.items()}


def _checksum(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def primary_copy(config: Config, obj: Obj, owner: Obj) -> Obj:
    """What `<name>-primary` has to be."""
    made: Obj = {"apiVersion": "v1", "kind": config.kind,
                 "metadata": {"name": f"{config.name}-primary", "namespace": meta_of(obj)["namespace"],
                              "labels": dict(labels_of(obj)), "ownerReferences": [owner]}}
    for name in ("data", "binaryData"):
        if obj.get(name):
            made[name] = dict(obj[name])
    if config.kind == "Secret":
        made["type"] = obj.get("type") or "Opaque"
    return made


def with_primary_names(pod_spec: Obj, configs: Configs) -> Obj:
    """The pod spec with every tracked reference led to its copy."""
    made = copy_of(pod_spec)
    for holder, (what, name) in list(_references(made)):
        if Config("Secret" if "ecret" in what else "ConfigMap", str(holder[name])) in configs:
            holder[name] = f"{holder[name]}-primary"
    return made


def _references(pod_spec: Obj) -> Iterator[tuple[Obj, tuple[str, str]]]:
    """Every place that names a ConfigMap or Secret: the object that holds the name, and (what it is, its field)."""
    for volume in pod_spec.get("volumes") or ():
        yield from _named(volume, (("configMap", "name"), ("secret", "secretName")))
        for source in dig(volume, "projected", "sources", default=[]):
            yield from _named(source, (("configMap", "name"), ("secret", "name")))
    for container in (*(pod_spec.get("initContainers") or ()), *(pod_spec.get("containers") or ())):
        for env in container.get("env") or ():
            yield from _named(env.get("valueFrom") or {}, (("configMapKeyRef", "name"), ("secretKeyRef", "name")))
        for source in container.get("envFrom") or ():
            yield from _named(source, (("configMapRef", "name"), ("secretRef", "name")))


def _named(at: Obj, fields: tuple[tuple[str, str], ...]) -> Iterator[tuple[Obj, tuple[str, str]]]:
    for what, name in fields:
        holder = at.get(what)
        if isinstance(holder, dict) and holder.get(name):
            yield holder, (what, name)
