"""What Kubernetes 1.35's built-in types are: 488 types, 110 kinds, from a file of 15 KB that is read once.

- `facts()` gives the `Facts`; loading takes a few milliseconds, types are built when first asked for.
- `Facts.of_kind("apps/v1", "Deployment")` gives the `Schema` of a kind: fields, required ones, list types and keys, merge
  keys and strategies of strategic merge, map types. None for kinds that are not built in.
- `Facts.kinds()` lists (apiVersion, kind, type name); `Facts.type(name)` gives any type by its full name.
- `Facts.openapi(names)` writes `components.schemas` of OpenAPI v3 for these types and all they refer to, with the
  `x-kubernetes-*` extensions that clients merge by.

The file (`data/facts.json.gz`, written by `tools/kube_facts.py`) says for each type either a scalar (`s` string, `i` integer,
`n` number, `b` boolean, with `:format`; `q` quantity, `x` integer or string, `o` any object, `*` anything), or `{"f": fields,
"r": required, "t": map type}`. A field is a scalar, `&type`, `{"l": item, "t": list type, "k": keys, "mk": merge key,
"ps": strategy}`, `{"m": value}` for a map, or `{"v": one of these, …}` where something is added, such as a default `d`.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from importlib.resources import files
from typing import Any

import msgspec

from fairway.kube.schema import MISSING, Kind, Schema

_SCALARS: dict[str, Kind] = {"s": "string", "i": "integer", "n": "number", "b": "boolean", "q": "quantity",
                             "x": "intOrString", "o": "any", "*": "any"}
_REF = "#/components/schemas/"
_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


class Facts:
    """See the module. Schemas are shared: never change them."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.version: str = document["version"]
        self._types: dict[str, Any] = document["types"]
        self._kinds: dict[tuple[str, str], str] = {}
        self._groups: dict[str, tuple[str, str, str]] = {}
        self._built: dict[str, Schema] = {}
        for text, name in document["kinds"].items():
            group, version, kind = text.split("/")
            self._kinds[f"{group}/{version}" if group else version, kind] = name
            self._groups[name] = (group, version, kind)

    def of_kind(self, api_version: str, kind: str) -> Schema | None:
        name = self._kinds.get((api_version, kind))
        return self.type(name) if name is not None else None

    def kinds(self) -> Iterator[tuple[str, str, str]]:
        """(apiVersion, kind, type name) of every kind, lists and review objects among them."""
        for (api_version, kind), name in self._kinds.items():
            yield api_version, kind, name

    @property
    def object_meta(self) -> Schema:
        return self.type(_OBJECT_META)

    def type(self, name: str) -> Schema:
        """By its full name, such as `io.k8s.api.core.v1.Container`. KeyError where there is none."""
        built = self._built.get(name)
        if built is not None:
            return built
        spec = self._types[name]
        if isinstance(spec, dict) and "f" in spec:
            fields: dict[str, Schema] = {}
            built = Schema("object", fields=fields, required=tuple(spec.get("r", ())), atomic=spec.get("t") == "atomic",
                           type_name=name)
            self._built[name] = built  # before its fields: types refer to themselves
            fields.update((field, self._schema(part)) for field, part in spec["f"].items())
        else:
            built = self._built[name] = replace(self._schema(spec), type_name=name)
        return built

    def _schema(self, spec: Any) -> Schema:
        if isinstance(spec, str):
            if spec[0] == "&":
                return self.type(spec[1:])
            kind, _, form = spec.partition(":")
            return Schema(_SCALARS[kind], format=form, atomic=kind in "o*")
        atomic = spec.get("t") == "atomic"
        strategies = tuple(spec["ps"].split(",")) if "ps" in spec else ()
        if "l" in spec:
            return Schema("list", items=self._schema(spec["l"]), list_type=spec.get("t", "atomic"),
                          keys=tuple(spec.get("k", ())), merge_key=spec.get("mk", ""), strategies=strategies)
        if "m" in spec:
            return Schema("map", items=self._schema(spec["m"]), atomic=atomic, strategies=strategies)
        base = self._schema(spec["v"])
        return replace(base, atomic=base.atomic or atomic, strategies=strategies or base.strategies,
                       default=spec.get("d", MISSING))

    # --- OpenAPI v3 ---------------------------------------------------------------------------------------------------

    def openapi(self, names: Iterable[str]) -> dict[str, Any]:
        """`components.schemas` for `names` and everything that they refer to. A value of one's own."""
        schemas: dict[str, Any] = {}
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name in schemas:
                continue
            schemas[name] = self._openapi_type(name)
            waiting.extend(_mentions(self._types[name]))
        return dict(sorted(schemas.items()))

    def _openapi_type(self, name: str) -> dict[str, Any]:
        spec = self._types[name]
        if not (isinstance(spec, dict) and "f" in spec):
            return _openapi(spec)
        result: dict[str, Any] = {"type": "object"}
        if spec["f"]:
            result["properties"] = {field: _openapi(part) for field, part in spec["f"].items()}
        if "r" in spec:
            result["required"] = list(spec["r"])
        if "t" in spec:
            result["x-kubernetes-map-type"] = spec["t"]
        if name in self._groups:
            group, version, kind = self._groups[name]
            result["x-kubernetes-group-version-kind"] = [{"group": group, "kind": kind, "version": version}]
        return result


def _mentions(spec: Any) -> list[str]:
    if isinstance(spec, str):
        return [spec[1:]] if spec.startswith("&") else []
    parts = spec["f"].values() if "f" in spec else [spec[key] for key in ("l", "m", "v") if key in spec]
    return [name for part in parts for name in _mentions(part)]


_OPENAPI_SCALARS: dict[str, dict[str, Any]] = {
    "s": {"type": "string"},
    "i": {"type": "integer"},
    "n": {"type": "number"},
    "b": {"type": "boolean"},
    "q": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "x": {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
    "o": {"type": "object"},
    "*": {},
}
_EXTENSIONS = {"k": "x-kubernetes-list-map-keys", "mk": "x-kubernetes-patch-merge-key",
               "ps": "x-kubernetes-patch-strategy"}


def _openapi(spec: Any) -> dict[str, Any]:
    if isinstance(spec, str):
        if spec[0] == "&":
            return {"$ref": _REF + spec[1:]}
        kind, _, form = spec.partition(":")
        return {**_OPENAPI_SCALARS[kind], **({"format": form} if form else {})}
    if "l" in spec:
        result: dict[str, Any] = {"type": "array", "items": _openapi(spec["l"])}
        if "t" in spec:
            result["x-kubernetes-list-type"] = spec["t"]
    elif "m" in spec:
        result = {"type": "object", "additionalProperties": _openapi(spec["m"])}
        if "t" in spec:
            result["x-kubernetes-map-type"] = spec["t"]
    else:
        inner = _openapi(spec["v"])
        result = {"allOf": [inner]} if "$ref" in inner else inner
        if "t" in spec:
            result["x-kubernetes-map-type"] = spec["t"]
    if "d" in spec:
        result["default"] = spec["d"]
    for short, long in _EXTENSIONS.items():
        if short in spec:
            result[long] = spec[short]
    return result


@lru_cache(maxsize=1)
def facts() -> Facts:
    """The facts of built-in types. Read once a process."""
    data = (files("fairway.kube") / "data" / "facts.json.gz").read_bytes()
    return Facts(msgspec.json.decode(gzip.decompress(data)))
