"""OpenAPI v3 as clients need it: an index, and per group version the schemas and operations. Pure.

Clients use it to validate before they send (`fieldValidation` must be a parameter of the operations), to merge lists by
key (`kubectl apply`, `diff`), and to `explain`. Descriptions are those of CRDs; built-in types have none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from fairway.kube.facts import Facts
from fairway.kube.http.discovery import REVIEWS
from fairway.kube.objects import Obj
from fairway.kube.resources import Resource

_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_OBJECT_META, _LIST_META, _STATUS = f"{_META}.ObjectMeta", f"{_META}.ListMeta", f"{_META}.Status"
_PATCHES = ("application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
            "application/apply-patch+yaml")
Crds = Mapping[tuple[str, str], Obj]
"""CRDs by (group, kind)."""


def root_of(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def index(groups: Sequence[tuple[str, str]], hashes: Mapping[tuple[str, str], str]) -> Obj:
    paths = {root_of(*gv): {"serverRelativeURL": f"/openapi/v3/{root_of(*gv)}?hash={hashes[gv]}"} for gv in groups}
    return {"paths": paths}


def fingerprint(resources: Sequence[Resource], crds: Crds, facts_version: str) -> str:
    """Changes whenever the document of a group version does, without writing the document."""
    rows = [str((row.plural, row.kind, row.namespaced, row.subresources)) for row in resources]
    found = [crds[row.group_kind]["metadata"] for row in resources if row.group_kind in crds]
    versions = [f"{meta.get('uid', '')}:{meta.get('generation', '')}" for meta in found]
    return hashlib.sha256("\n".join([facts_version, *rows, *versions]).encode()).hexdigest().upper()


def document(group: str, version: str, resources: Sequence[Resource], facts: Facts, crds: Crds) -> bytes:
    """The OpenAPI document of one group version, as JSON."""
    names: dict[Resource, str] = {}
    schemas: Obj = {}
    built_in = []
    type_names = {(api, kind): name for api, kind, name in facts.kinds()}
    for row in resources:
        name = type_names.get((row.api_version, row.kind))
        if name is not None:
            names[row] = name
            built_in += [name, *filter(None, [type_names.get((row.api_version, f"{row.kind}List"))])]
        else:
            names[row] = name = _custom_name(row)
            schemas[name] = _custom_schema(row, crds.get(row.group_kind))
            schemas[f"{name}List"] = _list_schema(row, name)
    shared = facts.openapi([*built_in, _OBJECT_META, _LIST_META, _STATUS, f"{_META}.DeleteOptions", *_scale(resources)])
    paths: Obj = {}
    for row in resources:
        paths.update(_paths(row, names[row]))
    return json.dumps({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": f"v{facts.version}.0"},
        "paths": paths,
        "components": {"schemas": {**shared, **schemas}},
    }, separators=(",", ":")).encode()  # fmt: skip


def _scale(resources: Sequence[Resource]) -> list[str]:
    return ["io.k8s.api.autoscaling.v1.Scale"] if any("scale" in row.subresources for row in resources) else []


def _custom_name(row: Resource) -> str:
    """The group reversed, as CRDs' types are named: `dev.fairway.v1alpha1.Release`."""
    return ".".join([*reversed(row.group.split(".")), row.version, row.kind])


def _kind(row: Resource, suffix: str = "") -> list[Obj]:
    return [{"group": row.group, "kind": row.kind + suffix, "version": row.version}]


def _custom_schema(row: Resource, crd: Obj | None) -> Obj:
    schema: Obj = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    for version in (crd or {}).get("spec", {}).get("versions") or ():
        if version["name"] == row.version:
            schema = dict((version.get("schema") or {}).get("openAPIV3Schema") or schema)
    properties: Obj = dict(schema.get("properties") or {})
    properties["apiVersion"] = {"type": "string"}
    properties["kind"] = {"type": "string"}
    properties["metadata"] = {"allOf": [_ref(_OBJECT_META)]}
    return {**schema, "properties": properties, "x-kubernetes-group-version-kind": _kind(row)}


def _list_schema(row: Resource, name: str) -> Obj:
    return {
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"allOf": [_ref(_LIST_META)]},
            "items": {"type": "array", "items": _ref(name)},
        },
        "x-kubernetes-group-version-kind": _kind(row, "List"),
    }


def _ref(name: str) -> Obj:
    return {"$ref": f"#/components/schemas/{name}"}


# --- operations ---------------------------------------------------------------------------------------------------


def _query(name: str, kind: str = "string") -> Obj:
    return {"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": True}}


_WRITE = [_query("dryRun"), _query("fieldManager"), _query("fieldValidation")]
_LIST = [_query(name) for name in ("continue", "fieldSelector", "labelSelector", "resourceVersion",
                                   "resourceVersionMatch")] + [
    _query("limit", "integer"), _query("timeoutSeconds", "integer"), _query("watch", "boolean"),
    _query("allowWatchBookmarks", "boolean"), _query("sendInitialEvents", "boolean"),
]  # fmt: skip
_DELETE = [_query("dryRun"), _query("gracePeriodSeconds", "integer"), _query("propagationPolicy")]


def _operation(row: Resource, action: str, name: str, parameters: list[Obj], body: list[str] | None = None) -> Obj:
    content = {"application/json": {"schema": _ref(name)}}
    found: Obj = {
        "operationId": f"{action}{row.group.replace('.', '').title()}{row.version.title()}{row.kind}",
        "parameters": parameters,
        "responses": {"200": {"description": "OK", "content": content}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _kind(row)[0],
    }
    if body is not None:
        found["requestBody"] = {"required": True, "content": {kind: {"schema": _ref(name)} for kind in body}}
    return found


def _paths(row: Resource, name: str) -> Obj:
    scope = "namespaces/{namespace}/" if row.namespaced else ""
    base = f"/{root_of(row.group, row.version)}/{scope}{row.plural}"
    post = _operation(row, "post", name, _WRITE, ["application/json"])
    where = [_path_parameter("namespace")] if row.namespaced else []
    if row in REVIEWS:
        return {base: {"post": post}}
    found: Obj = {
        base: {"parameters": where, "get": _operation(row, "list", name, _LIST), "post": post,
               "delete": _operation(row, "deletecollection", _STATUS, _LIST + _DELETE)},
        base + "/{name}": {
            "parameters": [_path_parameter("name"), *where],
            "get": _operation(row, "get", name, []),
            "put": _operation(row, "put", name, _WRITE, ["application/json"]),
            "patch": _operation(row, "patch", name, [*_WRITE, _query("force", "boolean")], list(_PATCHES)),
            "delete": _operation(row, "delete", _STATUS, _DELETE),
        },
    }  # fmt: skip
    for sub in ("status",) if "status" in row.subresources else ():
        found[base + "/{name}/" + sub] = {
            "parameters": [_path_parameter("name"), *where],
            "get": _operation(row, "get", name, []),
            "put": _operation(row, "put", name, _WRITE, ["application/json"]),
            "patch": _operation(row, "patch", name, [*_WRITE, _query("force", "boolean")], list(_PATCHES)),
        }
    return found


def _path_parameter(name: str) -> Obj:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
