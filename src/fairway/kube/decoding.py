"""From what a client sent to what a type can hold: types are checked, unknown fields dropped and told, nulls left out.

The walk is that of the server's JSON decoder, and so are the words of its refusals.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any

from fairway.kube.api import WriteOptions
from fairway.kube.errors import BadRequest
from fairway.kube.facts import facts
from fairway.kube.objects import Obj
from fairway.kube.quantity import canonical
from fairway.kube.resources import Resource
from fairway.kube.schema import ANY, Schema

_GO_TYPES = {"string": "string", "boolean": "bool", "number": "float64"}


class DecodeError(ValueError):
    """A value that its type cannot hold. `wanted` is that type in Go's words."""

    def __init__(self, message: str, wanted: str = "") -> None:
        super().__init__(message)
        self.wanted = wanted


@dataclass(slots=True)
class _Walk:
    unknown: list[str] = field(default_factory=list)
    path: list[str] = field(default_factory=list)
    struct: str = ""


def decode(obj: Obj, schema: Schema) -> tuple[Obj, list[str]]:
    """`obj` as its type holds it, and the paths of fields that the type does not have. `DecodeError`."""
    walk = _Walk()
    result: Obj = _object(obj, schema, walk)
    return result, walk.unknown


def decoded(resource: Resource, obj: Obj, schema: Schema, options: WriteOptions) -> Obj:
    """`decode` in the words of the API: unknown fields are refused, warned of or ignored as the client wished."""
    try:
        result, unknown = decode(obj, schema)
    except DecodeError as error:
        raise BadRequest(f"{unhandled(resource)}: {error}") from error
    report(resource, unknown, options)
    return result


def check_metadata(resource: Resource, metadata: Any) -> None:
    """That of a custom kind, whose definition says nothing of it."""
    check_type(resource, metadata if metadata is not None else {}, facts().object_meta, ("metadata",), "ObjectMeta")


def check_type(resource: Resource, value: Any, schema: Schema, path: tuple[str, ...], struct: str = "") -> None:
    """A part of a custom kind that is of a type which its definition does not spell out."""
    try:
        _value(value, schema, _Walk(path=[*path], struct=struct or resource.kind))
    except DecodeError as error:
        raise BadRequest(f"{unhandled(resource)}: {error}") from error


def report(resource: Resource, unknown: list[str], options: WriteOptions) -> None:
    """Say which fields are unknown, as strictly as the client asked."""
    if not unknown or options.validation == "Ignore":
        return
    words = [f'unknown field "{path}"' for path in unknown]
    if options.validation == "Strict":
        raise BadRequest(f"{unhandled(resource)}: strict decoding error: {', '.join(words)}")
    options.warnings.extend(words)


def unhandled(resource: Resource) -> str:
    return f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'


_PLAIN: dict[str, type] = {"string": str, "integer": int, "boolean": bool}
"""Of these kinds a value of this very type is taken as it is."""


def _value(value: Any, schema: Schema, walk: _Walk) -> Any:
    match schema.kind:
        case "string":
            if not isinstance(value, str):
                raise _mismatch(value, schema, walk)
            if schema.format == "byte":
                _check_base64(value)
        case "integer":
            if isinstance(value, float) and value.is_integer():
                return int(value)
            if not isinstance(value, int) or isinstance(value, bool):
                raise _mismatch(value, schema, walk)
        case "boolean":
            if not isinstance(value, bool):
                raise _mismatch(value, schema, walk)
        case "number":
            if not isinstance(value, int | float) or isinstance(value, bool):
                raise _mismatch(value, schema, walk)
        case "object":
            return _object(value, schema, walk)
        case "list":
            return _list(value, schema, walk)
        case "map":
            return _map(value, schema, walk)
        case "quantity":
            return _quantity(value, schema, walk)
        case "intOrString":
            if not isinstance(value, str | int) or isinstance(value, bool):
                raise _mismatch(value, schema, walk)
    return value


def _object(value: Any, schema: Schema, walk: _Walk) -> Any:
    if not isinstance(value, dict):
        raise _mismatch(value, schema, walk)
    result = {}
    outer, walk.struct = walk.struct, schema.short_name or walk.struct
    for name, inner in value.items():
        below = schema.fields.get(name)
        if below is None:
            if not schema.preserve:
                walk.unknown.append(".".join((*walk.path, name)))
                continue
            below = schema.items or ANY
        if inner is None:
            continue
        if type(inner) is _PLAIN.get(below.kind) and below.format != "byte":
            result[name] = inner  # most fields: nothing to look at
            continue
        walk.path.append(name)
        made = _value(inner, below, walk)
        walk.path.pop()
        # Go leaves empty lists and maps out; an empty struct may mean something (emptyDir, podSelector).
        if (made == [] or (made == {} and below.kind == "map")) and name not in schema.required and not below.atomic:
            continue
        result[name] = made
    walk.struct = outer
    return result


def _list(value: Any, schema: Schema, walk: _Walk) -> Any:
    if not isinstance(value, list):
        raise _mismatch(value, schema, walk)
    items = schema.items or ANY
    if items.kind == "string" and not items.format and all(type(item) is str for item in value):
        return value
    result = []
    last = walk.path.pop() if walk.path else ""
    for number, item in enumerate(value):
        walk.path.append(f"{last}[{number}]")
        if item is not None:
            result.append(_value(item, items, walk))
        walk.path.pop()
    walk.path.append(last)
    return result


def _map(value: Any, schema: Schema, walk: _Walk) -> Any:
    if not isinstance(value, dict):
        raise _mismatch(value, schema, walk)
    items = schema.items or ANY
    if items.kind == "string" and not items.format:
        for inner in value.values():
            if not isinstance(inner, str):
                if inner is None:
                    return {name: "" if v is None else _value(v, items, walk) for name, v in value.items()}
                raise _mismatch(inner, items, walk)
        return value
    result = {}
    for name, inner in value.items():
        walk.path.append(name)
        if inner is not None:
            result[name] = _value(inner, items, walk)
        walk.path.pop()
    return result


def _quantity(value: Any, schema: Schema, walk: _Walk) -> str:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise _mismatch(value, schema, walk)
    try:
        return canonical(value)
    except ValueError as error:
        raise DecodeError(str(error)) from error


def _check_base64(value: str) -> None:
    try:
        base64.b64decode(value, validate=True)
    except binascii.Error:
        place = next((i for i, ch in enumerate(value) if not (ch.isascii() and (ch.isalnum() or ch in "+/="))), len(value))
        raise DecodeError(f"illegal base64 data at input byte {place}") from None


def _mismatch(value: Any, schema: Schema, walk: _Walk) -> DecodeError:
    path = ".".join(step.partition("[")[0] for step in walk.path)
    return DecodeError(f"json: cannot unmarshal {_json_type(value)} into Go struct field {walk.struct}.{path} "
                       f"of type {_go_type(schema)}", _go_type(schema))


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


def _go_type(schema: Schema) -> str:
    match schema.kind:
        case "integer":
            return schema.format or "int64"
        case "list":
            return "[]" + _go_type(schema.items or ANY)
        case "map":
            return "map[string]" + _go_type(schema.items or ANY)
        case "object":
            package = schema.type_name.split(".")
            return f"{package[-2]}.{package[-1]}" if len(package) > 1 else "object"
    return _GO_TYPES.get(schema.kind, schema.kind)
