"""Transformer configurations of a user: more field specs for the built-in transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.kustomize.field_paths import FieldSpec

_SECTIONS = frozenset(("namePrefix", "nameSuffix", "namespace", "commonLabels", "labels", "templateLabels",
                       "volumeClaimTemplateLabels",
                       "commonAnnotations", "varReference", "images", "replicas", "nameReference"))


class Configuration:
    """Field specs by section, gathered from `configurations:` and `crds:` of a layer and those below it."""

    def __init__(self) -> None:
        self._specs: dict[str, tuple[FieldSpec, ...]] = {}
        self.references: list[tuple[str, str, Sequence[FieldSpec]]] = []

    def specs(self, section: str, built_in: Sequence[FieldSpec]) -> tuple[FieldSpec, ...]:
        """The built-in specs and those that were added to the section."""
        return with_more(built_in, self._specs.get(section, ()), Place("configurations"))

    def merge(self, other: Configuration) -> None:
        """Take in what a layer below has; what is known already counts once."""
        for section, specs in other._specs.items():
            self._specs[section] = with_more(self._specs.get(section, ()), specs, Place("configurations"))
        self.references += [entry for entry in other.references if entry not in self.references]

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
                    self._specs[section] = with_more(self._specs.get(section, ()), [FieldSpec.of(entry)], Place(file))

    def read_crd(self, documents: Sequence[tuple[Any, Place]]) -> None:
        """OpenAPI definitions whose fields are marked `x-kubernetes-object-ref-kind` and `x-kubernetes-identity`."""
        for value, _ in documents:
            definitions = value if isinstance(value, dict) else {}
            for name, definition in definitions.items():
                schema = definition.get("Schema") if isinstance(definition, dict) else None
                if isinstance(schema, dict) and {"kind", "metadata"} <= set(schema.get("properties") or {}):
                    self._walk(definitions, schema, "", name.rpartition(".")[2], ())

    def _walk(self, definitions: dict[str, Any], schema: dict[str, Any], path: str, kind: str,
              seen: tuple[str, ...]) -> None:
        for name, prop in (schema.get("properties") or {}).items():
            if not isinstance(prop, dict):
                continue
            at = f"{path}/{name}".strip("/")
            referred = str(prop.get("x-kubernetes-object-ref-kind") or "")
            if prop.get("x-kubernetes-annotation") is not None:
                self._add("commonAnnotations", FieldSpec(at, kind=kind))
            if prop.get("x-kubernetes-label-selector") is not None:
                self._add("commonLabels", FieldSpec(at, kind=kind))
            if prop.get("x-kubernetes-identity") is not None:
                self._add("namePrefix", FieldSpec(at, kind=kind))
            if referred and prop.get("x-kubernetes-object-ref-api-version"):
                leaf = f"{at}/{prop.get('x-kubernetes-object-ref-name-key') or 'name'}"
                group = str(prop["x-kubernetes-object-ref-api-version"]).rpartition("/")[0]
                self.references.append((group, referred, [FieldSpec(leaf, kind=kind)]))
            reference = str(prop.get("$ref") or "")
            inner = definitions.get(reference)
            if reference not in seen and isinstance(inner, dict) and isinstance(inner.get("Schema"), dict):
                self._walk(definitions, inner["Schema"], at, kind, (*seen, reference))

    def _add(self, section: str, spec: FieldSpec) -> None:
        self._specs[section] = with_more(self._specs.get(section, ()), [spec], Place("crds"))


def with_more(specs: Sequence[FieldSpec], more: Sequence[FieldSpec], place: Place) -> tuple[FieldSpec, ...]:
    """Both, without twins; two that differ only in `create` contradict each other."""
    if not more:
        return tuple(specs)
    found = {(spec.path, spec.group, spec.version, spec.kind): spec for spec in specs}
    for spec in more:
        known = found.setdefault((spec.path, spec.group, spec.version, spec.kind), spec)
        if known.create != spec.create:
            raise ManifestError(place, f"conflicting fieldspecs: {spec.path} with create {known.create} and {spec.create}",
                                "say the same, or leave it out")
    return tuple(found.values())
