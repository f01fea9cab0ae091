"""Which lists merge by which keys: Kubernetes' own types, or the OpenAPI document that a kustomization brings.

A kind that neither knows has no lists that merge: they are replaced whole. The first `openapi:` of a build counts, the
overlay's before its bases', and takes the place of Kubernetes' own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from fairway.kube.objects import Obj
from fairway.kube.schema import ANY, Schema
from fairway.manifests.errors import ManifestError, Place

VERSIONS = frozenset(("v1.20.4", "v1.21.2"))
"""What upstream calls built in. Both are read as the types of today: the lists that they share have the same keys."""

_SUCCESSORS = {
    ("batch/v1beta1", "CronJob"): "batch/v1",
    ("policy/v1beta1", "PodDisruptionBudget"): "policy/v1",
    ("extensions/v1beta1", "Ingress"): "networking.k8s.io/v1",
    ("networking.k8s.io/v1beta1", "Ingress"): "networking.k8s.io/v1",
    ("autoscaling/v2beta1", "HorizontalPodAutoscaler"): "autoscaling/v2",
    ("autoscaling/v2beta2", "HorizontalPodAutoscaler"): "autoscaling/v2",
    ("rbac.authorization.k8s.io/v1beta1", "RoleBinding"): "rbac.authorization.k8s.io/v1",
    ("rbac.authorization.k8s.io/v1beta1", "ClusterRoleBinding"): "rbac.authorization.k8s.io/v1",
}
"""Versions that are served no more and still stand in files; their lists merge as those of the version after them."""


class Schemas:
    """The types of one build."""

    def __init__(self) -> None:
        self._custom: dict[tuple[str, str], Schema] | None = None
        self._fixed = False

    def choose(self, version: str, document: Any, place: Place) -> None:
        """Take what one `openapi:` says, unless a layer above has chosen."""
        if version and document is not None:
            raise ManifestError(place, "builtin version and custom schema provided, cannot use both", "keep one of the two")
        if self._fixed or (not version and document is None):
            return
        self._fixed = True
        if version:
            if version not in VERSIONS:
                raise ManifestError(place, "the specified OpenAPI version is not built in",
                                    f"one of {', '.join(sorted(VERSIONS))}, or leave `openapi` out")
            return
        definitions = document.get("definitions") if isinstance(document, dict) else None
        if not isinstance(definitions, dict):
            raise ManifestError(place, "an OpenAPI document has `definitions`", "write it with `kustomize openapi fetch`")
        self._custom = _kinds(definitions)

    def of(self, obj: Obj) -> Schema | None:
        """The type of an object; None where nobody knows it."""
        api_version, kind = str(obj.get("apiVersion") or ""), str(obj.get("kind") or "")
        if self._custom is not None:
            return self._custom.get((api_version, kind))
        return _built_in(api_version, kind)


@lru_cache(maxsize=1024)
def _built_in(api_version: str, kind: str) -> Schema | None:
    from fairway.kube.facts import facts  # 20 ms that a build without a merge patch need not wait

    return facts().of_kind(_SUCCESSORS.get((api_version, kind), api_version), kind)


def _kinds(definitions: Mapping[str, Any]) -> dict[tuple[str, str], Schema]:
    built: dict[str, Schema] = {}
    found = {}
    for name, definition in definitions.items():
        if not isinstance(definition, dict):
            continue
        for gvk in definition.get("x-kubernetes-group-version-kind") or ():
            group, version = str(gvk.get("group") or ""), str(gvk.get("version") or "")
            found[f"{group}/{version}" if group else version, str(gvk.get("kind"))] = _named(name, definitions, built)
    return found


def _named(name: str, definitions: Mapping[str, Any], built: dict[str, Schema]) -> Schema:
    if name in built:
        return built[name]
    definition = definitions.get(name)
    if not isinstance(definition, dict):
        return ANY
    fields: dict[str, Schema] = {}
    built[name] = Schema("object", fields=fields, type_name=name)  # before its fields: types refer to themselves
    properties = definition.get("properties") or {}
    fields.update((field, _schema(part, definitions, built)) for field, part in properties.items())
    return built[name]


def _schema(spec: Any, definitions: Mapping[str, Any], built: dict[str, Schema]) -> Schema:
    if not isinstance(spec, dict):
        return ANY
    if "$ref" in spec:
        return _named(str(spec["$ref"]).rpartition("/")[2], definitions, built)
    if spec.get("type") == "array":
        strategies = tuple(filter(None, str(spec.get("x-kubernetes-patch-strategy") or "").split(",")))
        keys = tuple(spec.get("x-kubernetes-list-map-keys") or ())
        return Schema("list", items=_schema(spec.get("items"), definitions, built), keys=keys, strategies=strategies,
                      merge_key=str(spec.get("x-kubernetes-patch-merge-key") or ""))
    if isinstance(spec.get("properties"), dict):
        return Schema("object", fields={k: _schema(v, definitions, built) for k, v in spec["properties"].items()})
    if isinstance(spec.get("additionalProperties"), dict):
        return Schema("map", items=_schema(spec["additionalProperties"], definitions, built))
    return ANY
