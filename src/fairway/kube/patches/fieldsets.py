"""Sets of fields of an object, in the shape of managedFields' `fieldsV1`.

A set is a tree of path elements: `f:name` a field, `k:{"name":"c"}` a list element by its keys, `v:"x"` an element of a set,
`i:0` one by its place. A node with `"."` is itself a member. In `fieldsV1` a member without children is written `{}`; here
it always carries its dot, so that the algebra has one rule.

Source: structured-merge-diff, `fieldpath`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from fairway.kube.schema import ANY, MISSING, Schema

Fields = dict[str, Any]

_DOT: Fields = {}


def member() -> Fields:
    return {".": _DOT}


def load(fields_v1: Fields) -> Fields:
    """From the form in managedFields."""
    return {step: (_DOT if step == "." else load(inner) if inner else member()) for step, inner in fields_v1.items()}


def dump(fields: Fields) -> Fields:
    """To the form in managedFields, with sorted steps."""
    result: Fields = {}
    for step, inner in sorted(fields.items()):
        result[step] = {} if step == "." or (len(inner) == 1 and "." in inner) else dump(inner)
    return result


def union(a: Fields, b: Fields) -> Fields:
    if not a or not b:
        return a or b
    result = dict(a)
    for step, inner in b.items():
        present = result.get(step)
        result[step] = inner if present is None else union(present, inner)
    return result


def difference(a: Fields, b: Fields) -> Fields:
    """Members of `a` that are not members of `b`."""
    if not b:
        return a
    result: Fields = {}
    for step, inner in a.items():
        other = b.get(step)
        if other is None:
            result[step] = inner
        elif step != ".":
            left = difference(inner, other)
            if left:
                result[step] = left
    return result


def intersection(a: Fields, b: Fields) -> Fields:
    result: Fields = {}
    for step, inner in a.items():
        other = b.get(step)
        if other is None:
            continue
        if step == ".":
            result[step] = _DOT
        else:
            both = intersection(inner, other)
            if both:
                result[step] = both
    return result


def without(fields: Fields, *path: str) -> Fields:
    """`fields` less the member at `path` and everything under it."""
    inner = fields.get(path[0])
    if inner is None:
        return fields
    result = {step: node for step, node in fields.items() if step != path[0]}
    if len(path) > 1:
        left = without(inner, *path[1:])
        if left:
            result[path[0]] = left
    return result


def without_member(fields: Fields, *path: str) -> Fields:
    """`fields` less the member at `path` alone: what is under it stays."""
    inner = fields.get(path[0])
    if inner is None:
        return fields
    left = without_member(inner, *path[1:]) if len(path) > 1 else {s: n for s, n in inner.items() if s != "."}
    result = {step: node for step, node in fields.items() if step != path[0]}
    if left:
        result[path[0]] = left
    return result


def with_named_fields(fields: Fields, schema: Schema) -> Fields:
    """`fields` and every declared field on the way to a member: a struct exists as long as anything in it is owned."""
    result: Fields = {}
    for step, inner in fields.items():
        if step == ".":
            result[step] = _DOT
            continue
        below = child_at(schema, step)
        grown = with_named_fields(inner, below)
        if step.startswith("f:") and schema.kind == "object" and step[2:] in schema.fields:
            grown["."] = _DOT
        result[step] = grown
    return result


def child_at(schema: Schema, step: str) -> Schema:
    if step.startswith("f:"):
        return schema.child(step[2:]) or ANY
    return schema.items or ANY if schema.kind == "list" else ANY


def texts(fields: Fields, prefix: str = "") -> Iterator[str]:
    """Members as errors name them: `.spec.containers[name="c"].image`."""
    for step, inner in sorted(fields.items()):
        if step == ".":
            yield prefix
        else:
            yield from texts(inner, prefix + _text(step))


def _text(step: str) -> str:
    kind, _, rest = step.partition(":")
    match kind:
        case "f":
            return f".{rest}"
        case "k":
            pairs = msgspec.json.decode(rest)
            return "[" + ",".join(f"{k}={msgspec.json.encode(v).decode()}" for k, v in sorted(pairs.items())) + "]"
        case "v":
            return f"[={rest}]"
    return f"[{rest}]"


# --- path elements of list items --------------------------------------------------------------------------------------


def element(item: Any, schema: Schema) -> str:
    """The path element of an item of a set or a keyed list."""
    if schema.list_type == "set":
        return "v:" + msgspec.json.encode(item).decode()
    keys = {key: _key_value(item, key, schema.items or ANY) for key in sorted(schema.keys)}
    return "k:" + msgspec.json.encode(keys).decode()


def _key_value(item: Any, key: str, schema: Schema) -> Any:
    if isinstance(item, dict) and item.get(key) is not None:
        return item[key]
    declared = schema.child(key)
    if declared is not None and declared.default is not MISSING:
        return declared.default
    return 0 if declared is not None and declared.kind == "integer" else ""


# --- the set of a value -----------------------------------------------------------------------------------------------


def is_leaf(value: Any, schema: Schema) -> bool:
    """Whether `value` is owned as a whole: a scalar, or an atomic list or map."""
    if isinstance(value, dict):
        return schema.atomic
    if isinstance(value, list):
        return schema.kind != "list" or schema.list_type == "atomic"
    return True


def of_value(value: Any, schema: Schema) -> Fields:
    """All that `value` says. An empty granular list says nothing; an empty map says that it is there."""
    if is_leaf(value, schema):
        return member()
    if isinstance(value, list):
        items = schema.items or ANY
        result: Fields = {}
        for item in value:
            result[element(item, schema)] = {**of_value(item, items), ".": _DOT}
        return result
    if not value:
        return member()
    result = {}
    for name, inner in value.items():
        node = of_value(inner, schema.child(name) or ANY)
        if inner is None or inner == {} or not (schema.kind == "object" and name in schema.fields):
            node = {**node, ".": _DOT}
        if node:
            result["f:" + name] = node
    return result


def remove(value: Any, schema: Schema, fields: Fields) -> Any:
    """`value` without the members of `fields`. Maps that a removal empties stay, as empty maps."""
    if is_leaf(value, schema):
        return value
    if isinstance(value, list):
        items = schema.items or ANY
        kept = []
        for item in value:
            inner = fields.get(element(item, schema))
            if inner is None:
                kept.append(item)
            elif "." not in inner:
                kept.append(remove(item, items, inner))
        return kept
    result = {}
    for name, old in value.items():
        inner = fields.get("f:" + name)
        if inner is None:
            result[name] = old
        elif "." not in inner:
            result[name] = remove(old, schema.child(name) or ANY, inner)
    return result
