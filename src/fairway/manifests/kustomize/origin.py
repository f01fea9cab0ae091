"""`buildMetadata`: where an object came from and what has transformed it, as annotations; the label that says who built it.

Paths are written relative to the folder that is built. What upstream keeps for itself in `internal.config.kubernetes.io/`
annotations is kept here in `Resource` and never printed; files that carry such annotations are read as upstream reads them.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fairway.kube.objects import Obj
from fairway.manifests import yaml
from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.kustomize.resource import Id, Resource

ORIGIN = "config.kubernetes.io/origin"
TRANSFORMATIONS = "alpha.config.kubernetes.io/transformations"
MANAGED_BY = "app.kubernetes.io/managed-by"
KINDS = frozenset(("managedByLabel", "originAnnotations", "transformerAnnotations"))

_INTERNAL = "internal.config.kubernetes.io/"
_MANAGED_BY_VALUE = "kustomize-v5.7.1"
"""The release whose behaviour is built here; upstream writes its own version, and a label holds no other text."""


@dataclass(frozen=True, slots=True)
class Whence:
    """The tree that a layer was read from: this repository, or a remote one (`repo`, `ref`)."""

    top: str
    repo: str = ""
    ref: str = ""

    def of_file(self, file: str) -> dict[str, Any]:
        return {**self._remote(), "path": self.relative(file)}

    def of_config(self, file: str, kind: str, meta: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """An object that a generator made, or what a transformer leaves behind."""
        by: dict[str, Any] = {"apiVersion": "builtin", "kind": kind}
        by |= {key: str(meta[key]) for key in ("name", "namespace") if meta and meta.get(key)}
        return {**self._remote(), "configuredIn": self.relative(file), "configuredBy": by}

    def _remote(self) -> dict[str, Any]:
        return {key: value for key, value in (("repo", self.repo), ("ref", self.ref)) if value}

    def relative(self, file: str) -> str:
        return posixpath.relpath(file, self.top or ".")


def wanted_of(entries: Iterable[Any], place: Place) -> frozenset[str]:
    found = frozenset(map(str, entries))
    if unknown := found - KINDS:
        raise ManifestError(place, f"buildMetadata option must be one of {sorted(KINDS)}, not {sorted(unknown)[0]!r}",
                            "correct the word")
    return found


def annotate(items: Iterable[Resource], wanted: frozenset[str]) -> None:
    """Write what was asked for into the objects."""
    for item in items:
        if "originAnnotations" in wanted and item.origin:
            _set(item, "annotations", ORIGIN, yaml.dump(item.origin, sort_keys=False))
        if "transformerAnnotations" in wanted and item.transformations:
            _set(item, "annotations", TRANSFORMATIONS, yaml.dump(item.transformations, sort_keys=False))
        if "managedByLabel" in wanted:
            _set(item, "labels", MANAGED_BY, _MANAGED_BY_VALUE)


def _set(item: Resource, section: str, key: str, value: str) -> None:
    meta = item.meta()
    meta[section] = {**(meta.get(section) or {}), key: value}


def take_internal(item: Resource) -> None:
    """What an object says in internal annotations becomes its history; the annotations go."""
    meta = item.meta()
    annotations = meta.get("annotations")
    if not isinstance(annotations, dict) or not any(key.startswith(_INTERNAL) for key in annotations):
        return
    said = {key.removeprefix(_INTERNAL): str(value) for key, value in annotations.items() if key.startswith(_INTERNAL)}
    kept = {key: value for key, value in annotations.items() if not key.startswith(_INTERNAL)}
    item.obj["metadata"] = {**meta, "annotations": kept} if kept else {k: v for k, v in meta.items() if k != "annotations"}
    item.previous = _history(item.obj, said)
    item.prefixes += [part for part in said.get("prefixes", "").split(",") if part]
    item.suffixes += [part for part in said.get("suffixes", "").split(",") if part]
    item.needs_hash = item.needs_hash or said.get("needsHashSuffix") == "enabled"
    item.by_helm = said.get("helm-generated") == "true"


def _history(obj: Obj, said: Mapping[str, str]) -> list[Id]:
    names, kinds, namespaces = (said.get(f"previous{what}", "").split(",") for what in ("Names", "Kinds", "Namespaces"))
    if names == [""] or not len(names) == len(kinds) == len(namespaces):
        return []
    group, _, version = str(obj.get("apiVersion") or "").rpartition("/")
    return [Id(group, version, kind, "" if space in ("default", "_non_namespaceable_") else space, name)
            for name, kind, space in zip(names, kinds, namespaces, strict=True)]
