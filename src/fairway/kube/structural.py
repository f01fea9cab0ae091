"""Custom resources against their structural schema: pruned, defaulted, checked.

Checking is jsonschema-rs over the schema translated to JSON Schema; the refusals are said in the API's words.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import jsonschema_rs

from fairway.kube.refusals import FieldError, duplicate, invalid_value, required, shown, unsupported
from fairway.kube.schema import ANY, MISSING, Schema

_GO_KINDS = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}


def prune(value: Any, schema: Schema, unknown: list[str], path: str = "") -> Any:
    """`value` with declared fields alone; the paths of others are added to `unknown`. Nulls go where none are allowed."""
    if isinstance(value, dict) and schema.kind in ("object", "map"):
        result = {}
        for name, inner in value.items():
            below = schema.child(name)
            if below is None:
                unknown.append(f"{path}.{name}" if path else name)
            elif isinstance(inner, dict | list):
                result[name] = prune(inner, below, unknown, f"{path}.{name}" if path else name)
            elif inner is not None or below.nullable or below.kind == "any":
                result[name] = inner
        return result
    if isinstance(value, list) and schema.kind == "list":
        items = schema.items or ANY
        return [prune(item, items, unknown, f"{path}[{place}]") for place, item in enumerate(value)]
    return value


def fill_defaults(value: Any, schema: Schema) -> None:
    """Declared defaults for absent fields, in place."""
    if not _has_defaults(schema):
        return
    if isinstance(value, dict) and schema.kind in ("object", "map"):
        for name, below in schema.fields.items():
            if name not in value and below.default is not MISSING:
                value[name] = copy.deepcopy(below.default)
        for name, inner in value.items():
            below_or_none = schema.child(name)
            if below_or_none is not None and isinstance(inner, dict | list):
                fill_defaults(inner, below_or_none)
    elif isinstance(value, list) and schema.kind == "list":
        for item in value:
            fill_defaults(item, schema.items or ANY)


class Validator:
    """One version of a custom kind, compiled."""

    def __init__(self, openapi: Mapping[str, Any], schema: Schema) -> None:
        self._schema = schema
        self._compiled = jsonschema_rs.validator_for(json_schema(openapi), validate_formats=True)

    def errors(self, obj: Mapping[str, Any]) -> list[FieldError]:
        found = [_field_error(error) for error in self._compiled.iter_errors(obj)]
        found.extend(_duplicates(obj, self._schema, ""))
        return found


def json_schema(openapi: Mapping[str, Any]) -> dict[str, Any]:
    """The same schema in the dialect of JSON Schema: nullable, int-or-string and exclusive bounds are said otherwise."""
    result: dict[str, Any] = {}
    for name, value in openapi.items():
        match name:
            case "properties" | "patternProperties" | "definitions":
                result[name] = {field: json_schema(part) for field, part in value.items()}
            case "items" | "additionalProperties" | "not":
                result[name] = json_schema(value) if isinstance(value, Mapping) else value
            case "allOf" | "anyOf" | "oneOf":
                result[name] = [json_schema(part) for part in value]
            case "exclusiveMinimum" | "exclusiveMaximum":
                bound = "minimum" if name == "exclusiveMinimum" else "maximum"
                if value and bound in openapi:
                    result[name] = openapi[bound]
            case "type" | "required" | "enum" | "pattern" | "format" | "minimum" | "maximum" | "multipleOf" \
                    | "minLength" | "maxLength" | "minItems" | "maxItems" | "uniqueItems" | "minProperties" \
                    | "maxProperties":
                result[name] = value
    if openapi.get("x-kubernetes-int-or-string"):
        result["type"] = ["integer", "string"]
    if openapi.get("nullable") and "type" in result:
        kinds = result["type"]
        result["type"] = [*([kinds] if isinstance(kinds, str) else kinds), "null"]
        if "enum" in result:
            result["enum"] = [*result["enum"], None]
    return result


def path_text(steps: Iterable[str | int]) -> str:
    """`spec.list[1].k`"""
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _field_error(error: Any) -> FieldError:
    path, kind, value = path_text(error.instance_path), error.kind, error.instance
    match kind.name:
        case "required":
            return required(f"{path}.{kind.property}" if path else kind.property)
        case "enum":
            return unsupported(path, value, [option for option in kind.value if option is not None])
        case "type":
            kinds = [k for k in kind.value if k != "null"]
            found = shown(_GO_KINDS.get(type(value), "null"))
            return FieldError(path, f"Invalid value: {found}: {path} in body must be of type {','.join(kinds)}: {found}",
                              "FieldValueTypeInvalid")
        case "pattern":
            return invalid_value(path, value, f"{path} in body should match '{kind.value}'")
        case "format":
            why = f"Invalid value: {shown(value)}: {path} in body must be of type {kind.value}: {shown(value)}"
            return FieldError(path, why, "FieldValueTypeInvalid")
        case "maxLength":
            return FieldError(path, f"Too long: may not be more than {kind.value} bytes", "FieldValueTooLong")
        case "maxItems":
            return FieldError(path, f"Too many: {len(value)}: must have at most {kind.value} items", "FieldValueTooMany")
    limits = {"minimum": "greater than or equal to", "maximum": "less than or equal to",
              "exclusiveMinimum": "greater than", "exclusiveMaximum": "less than", "multipleOf": "a multiple of"}
    if kind.name in limits:
        return invalid_value(path, value, f"{path} in body should be {limits[kind.name]} {kind.value}")
    if kind.name == "minLength":
        return invalid_value(path, value, f"{path} in body should be at least {kind.value} chars long")
    if kind.name == "minItems":
        return invalid_value(path, len(value), f"{path} in body should have at least {kind.value} items")
    return invalid_value(path or "<nil>", value, str(error.message))


@lru_cache(maxsize=4096)
def _tells_elements_apart(schema: Schema) -> bool:
    """Whether a list that may not hold an element twice is anywhere in it: most custom kinds have only metadata's."""
    return _anywhere(schema, lambda part: part.kind == "list" and part.list_type != "atomic")


@lru_cache(maxsize=4096)
def _has_defaults(schema: Schema) -> bool:
    return _anywhere(schema, lambda part: part.default is not MISSING)


def _anywhere(schema: Schema, holds: Callable[[Schema], bool]) -> bool:
    """Types may refer to themselves: each is looked at once."""
    seen: set[int] = set()
    ahead = [schema]
    while ahead:
        part = ahead.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if holds(part):
            return True
        ahead += [*part.fields.values(), *([part.items] if part.items is not None else [])]
    return False


def _duplicates(value: Any, schema: Schema, path: str) -> list[FieldError]:
    """Elements that a set or keyed list holds twice."""
    found: list[FieldError] = []
    if not _tells_elements_apart(schema):
        return found
    if isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(inner, dict | list):
                found.extend(_duplicates(inner, schema.child(name) or ANY, f"{path}.{name}" if path else name))
    elif isinstance(value, list):
        seen: list[Any] = []
        for place, item in enumerate(value):
            found.extend(_duplicates(item, schema.items or ANY, f"{path}[{place}]"))
            if schema.list_type == "atomic":
                continue
            identity = {key: item.get(key) for key in schema.keys} if schema.keys and isinstance(item, dict) else item
            if identity in seen:
                found.append(duplicate(f"{path}[{place}]", identity))
            seen.append(identity)
    return found
