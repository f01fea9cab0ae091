"""One view of a type for everybody who walks objects: patches, pruning, strict decoding, OpenAPI.

Built-in types get it from the fact file (`fairway.kube.facts`), custom resources from their CRD (`of_openapi`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Kind = Literal["any", "string", "integer", "number", "boolean", "quantity", "intOrString", "object", "list", "map"]
ListType = Literal["atomic", "set", "map"]

MISSING: Any = object()
"""Stands where a schema declares no default; None is a default that one may declare."""


@dataclass(frozen=True, slots=True, eq=False)
class Schema:
    """One type. `object` has named `fields`, `map` any keys with values of `items`, `list` elements of `items`.

    `any` is whatever JSON holds, and atomic. An `object` with `preserve` keeps fields that it does not name.
    `fields` may be recursive: types refer to themselves.
    """

    kind: Kind
    fields: Mapping[str, Schema] = field(default_factory=dict, repr=False)
    required: tuple[str, ...] = ()
    items: Schema | None = None
    atomic: bool = False
    list_type: ListType = "atomic"
    keys: tuple[str, ...] = ()
    merge_key: str = ""
    strategies: tuple[str, ...] = ()
    format: str = ""
    type_name: str = ""
    default: Any = MISSING
    preserve: bool = False
    nullable: bool = False
    embedded: bool = False

    def child(self, name: str) -> Schema | None:
        """Schema of a field, or of a value of a map. None: not declared."""
        if self.kind == "object":
            found = self.fields.get(name)
            return found if found is not None or not self.preserve else (self.items or ANY)
        if self.kind == "map":
            return self.items
        return ANY if self.kind == "any" else None

    @property
    def short_name(self) -> str:
        return self.type_name.rpartition(".")[2]


ANY = Schema("any")
STRING = Schema("string")
STRINGS = Schema("map", items=STRING)


def of_openapi(spec: Mapping[str, Any]) -> Schema:
    """A structural OpenAPI v3 schema of a CRD. Unions of scalars become `any`."""
    default = spec.get("default", MISSING)
    nullable = bool(spec.get("nullable"))
    if spec.get("x-kubernetes-int-or-string"):
        return Schema("intOrString", default=default, nullable=nullable)
    preserve = bool(spec.get("x-kubernetes-preserve-unknown-fields"))
    match spec.get("type"):
        case "object":
            return _object(spec, default=default, nullable=nullable, preserve=preserve)
        case "array":
            list_type: ListType = spec.get("x-kubernetes-list-type", "atomic")
            return Schema("list", items=of_openapi(spec.get("items") or {}), list_type=list_type,
                          keys=tuple(spec.get("x-kubernetes-list-map-keys") or ()), default=default, nullable=nullable)
        case "string" | "integer" | "number" | "boolean" as kind:
            return Schema(kind, format=str(spec.get("format", "")), default=default, nullable=nullable)
    return Schema("any", default=default, nullable=nullable, preserve=preserve)


def _object(spec: Mapping[str, Any], *, default: Any, nullable: bool, preserve: bool) -> Schema:
    atomic = spec.get("x-kubernetes-map-type") == "atomic"
    properties: Mapping[str, Any] = spec.get("properties") or {}
    values = spec.get("additionalProperties")
    items = of_openapi(values) if isinstance(values, Mapping) and values else ANY if values else None
    if not properties and items is not None:
        return Schema("map", items=items, atomic=atomic, default=default, nullable=nullable)
    return Schema(
        "object",
        fields={name: of_openapi(part) for name, part in properties.items()},
        required=tuple(spec.get("required") or ()),
        items=items,
        atomic=atomic,
        default=default,
        nullable=nullable,
        preserve=preserve or items is not None,
        embedded=bool(spec.get("x-kubernetes-embedded-resource")),
    )


def with_object_meta(root: Schema, meta: Schema) -> Schema:
    """The schema of a whole custom resource: its own fields, and the three that every object has."""
    fields = {**root.fields, "apiVersion": STRING, "kind": STRING, "metadata": meta}
    return replace(root, kind="object", fields=fields)
