"""Transformer configurations of a user: more field specs for the built-in transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.kustomize.field_paths import FieldSpec

_SECTIONS = frozenset(("namePrefix", "nameSuffix", "namespace", "commonLabels", "labels", "templateLabels",
                       "commonAnnotations", "varReference", "images", "replicas", "nameReference"))


class Configuration:
    """Field specs by section, gathered from `configurations:` and `crds:` of all layers."""

    def __init__(self) -> None:
        self._specs: dict[str, list[FieldSpec]] = {}
        self.references: list[tuple[str, str, Sequence[FieldSpec]]] = []

    def of(self, section: str) -> tuple[FieldSpec, ...]:
        return tuple(self._specs.get(section, ()))

    def read(self, value: Any, file: str) -> None:
        if not isinstance(value, dict):
            raise ManifestError(Place(file), "a transformer configuration is a mapping")
        for section, entries in value.items():
            if section not in _SECTIONS:
                raise ManifestError(Place(file), f"unknown section {section!r} in a transformer configuration",
                                    f"known: {', '.join(sorted(_SECTIONS))}")
            for entry in entries or ():
                if section == "nameReference":
                    specs = [FieldSpec.of(one) for one in entry.get("fieldSpecs") or ()]
                    self.references.append((str(entry.get("group", "")), str(entry.get("kind", "")), specs))
                else:
                    self._specs.setdefault(section, []).append(FieldSpec.of(entry))

    def read_crd(self, documents: Sequence[tuple[Any, Place]]) -> None:
        """OpenAPI definitions whose fields are marked `x-kubernetes-object-ref-kind`."""
        for value, _ in documents:
            definitions = value if isinstance(value, dict) else {}
            for definition in definitions.values():
                schema = definition.get("Schema") if isinstance(definition, dict) else None
                if isinstance(schema, dict):
                    self._walk(definitions, schema, "", "", _kind(definition))

    def _walk(self, definitions: dict[str, Any], schema: dict[str, Any], path: str, _: str, kind: str) -> None:
        if not kind:
            return
        for name, prop in (schema.get("properties") or {}).items():
            at = f"{path}/{name}".strip("/")
            referred = (prop.get("x-kubernetes-object-ref-kind") or "") if isinstance(prop, dict) else ""
            if referred:
                api_version = str(prop.get("x-kubernetes-object-ref-api-version") or "")
                leaf = f"{at}/{prop.get('x-kubernetes-object-ref-name-key') or 'name'}"
                group = api_version.rpartition("/")[0]
                self.references.append((group, referred, [FieldSpec(leaf, kind=kind)]))
            reference = (prop.get("$ref") or "") if isinstance(prop, dict) else ""
            inner = definitions.get(reference)
            if isinstance(inner, dict) and isinstance(inner.get("Schema"), dict):
                self._walk(definitions, inner["Schema"], at, "", kind)


def _kind(definition: dict[str, Any]) -> str:
    properties = (definition.get("Schema") or {}).get("properties") or {}
    if not {"kind", "metadata"} <= set(properties):
        return ""
    kind = properties["kind"].get("x-kubernetes-kind") if isinstance(properties["kind"], dict) else ""
    return str(kind or "")
