"""A patch, said in any of the four ways, carried out on an object."""

from __future__ import annotations

from fairway.kube import decoding
from fairway.kube.api import ApplyPatch, JsonPatch, MergePatch, Patch, StrategicPatch, Subresource
from fairway.kube.errors import BadRequest, Invalid, UnsupportedMediaType
from fairway.kube.objects import Key, Obj
from fairway.kube.patches import json_patch, merge_patch, strategic
from fairway.kube.refusals import invalid_value
from fairway.kube.resources import Resource
from fairway.kube.schema import Schema

_ACCEPTED = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"


def patched(resource: Resource, obj: Obj, patch: Patch, schema: Schema | None) -> Obj:
    """`obj` (the caller's own) after `patch`. Without a schema, strategic merge is not understood."""
    match patch:
        case JsonPatch(operations):
            try:
                result = json_patch.apply_operations(obj, operations)
            except json_patch.PatchFailed as error:
                raise Invalid(f"the server rejected our request due to an error in our request: {error}") from error
        case MergePatch(body):
            result = merge_patch.merge(obj, body)
        case StrategicPatch(body):
            if schema is None:
                raise UnsupportedMediaType("the body of the request was in an unknown format - accepted media types "
                                           f"include: {_ACCEPTED}")
            try:
                result = strategic.merge(obj, body, schema)
                decoding.decode(result, schema)
            except strategic.PatchRefused as error:
                raise BadRequest(str(error)) from error
            except decoding.DecodeError as error:
                raise _unfit(body, error) from error
        case ApplyPatch():
            raise BadRequest("an apply patch is not understood here")
    if not isinstance(result, dict) or not isinstance(result.get("metadata"), dict):
        raise Invalid(f"{resource.kind}: the patched object is not an object any more")
    return result


def _unfit(body: Obj, error: decoding.DecodeError) -> Invalid:
    if not error.wanted:
        return Invalid(str(error))
    cause = invalid_value("patch", strategic.go_text(body), f"unrecognized type: {error.wanted}")
    return Invalid(f' "" is invalid: {cause}', details={"causes": [cause.cause()]})


def said(resource: Resource, body: Obj, key: Key, subresource: Subresource) -> Obj:
    """What the body of an apply says through this door, with the name and namespace that it is for. `body` is not changed."""
    if body.get("apiVersion") != resource.api_version or body.get("kind") != resource.kind:
        group, _, version = str(body.get("apiVersion", "")).rpartition("/")
        raise BadRequest(f"invalid object type: {group}/{version}, Kind={body.get('kind', '')}")
    meta = dict(body.get("metadata") or {})
    if meta.pop("managedFields", None) is not None:
        raise BadRequest("metadata.managedFields must be nil")
    if meta.setdefault("name", key.name) != key.name:
        raise BadRequest(f"the name of the object ({meta['name']}) does not match the name on the URL ({key.name})")
    meta.pop("namespace", None)
    if key.namespace:
        if (body.get("metadata") or {}).get("namespace", key.namespace) != key.namespace:
            raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
        meta["namespace"] = key.namespace
    if subresource == "status":
        said_status = {"status": body["status"]} if "status" in body else {}
        return {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": meta, **said_status}
    parts = {name: part for name, part in body.items() if name != "status" or "status" not in resource.subresources}
    return {**parts, "metadata": meta}
