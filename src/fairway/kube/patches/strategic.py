"""Strategic merge: a merge patch that knows which lists are merged, and by which key.

Directives: `$patch` (replace, delete, merge), `$retainKeys`, `$setElementOrder/<list>`, `$deleteFromPrimitiveList/<list>`.
Source: apimachinery `strategicpatch`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from fairway.kube.schema import ANY, Schema

_PATCH, _RETAIN = "$patch", "$retainKeys"
_ORDER, _DELETE_VALUES = "$setElementOrder/", "$deleteFromPrimitiveList/"
_DIRECTIVES = (_PATCH, _RETAIN)


class PatchRefused(ValueError):
    """The patch contradicts itself or lacks a merge key."""


Style = Literal["api", "append", "prepend"]
"""Where list elements go, and what a deleted map leaves. `api`: as the patch orders them, an empty map. The others are
kustomize's: elements of the patch after or before those of the target, and a deleted map is gone."""


def merge(target: Any, patch: Any, schema: Schema | None, style: Style = "api") -> Any:
    """`target` with `patch` merged in; both untouched. Without a schema, maps merge and lists replace.

    None where kustomize's `$patch: delete` deletes the whole.
    """
    if not isinstance(patch, dict) or not isinstance(target, dict):
        return without_directives(patch)
    if _gone(patch, style):
        return None
    return _merge_maps(target, patch, schema or ANY, style)


def _gone(patch: Any, style: Style) -> bool:
    return style != "api" and isinstance(patch, dict) and patch.get(_PATCH) == "delete"


def without_directives(value: Any) -> Any:
    """What a patch says where there is nothing to merge it with: no directives, no nulls, no deleted elements."""
    if isinstance(value, dict):
        return {name: without_directives(inner) for name, inner in value.items()
                if inner is not None and name not in _DIRECTIVES and not name.startswith((_ORDER, _DELETE_VALUES))}
    if isinstance(value, list):
        return [without_directives(item) for item in value
                if not (isinstance(item, dict) and item.get(_PATCH) in ("delete", "replace"))]
    return value


def _merge_maps(target: dict[str, Any], patch: dict[str, Any], schema: Schema, style: Style) -> dict[str, Any]:
    match patch.get(_PATCH, "merge"):
        case "replace":
            return without_directives({k: v for k, v in patch.items() if k != _PATCH})  # type: ignore[no-any-return]
        case "delete":
            return {}
        case "merge":
            pass
        case other:
            raise PatchRefused(f"unknown patch type found: {other!r}")
    result = dict(target)
    if _RETAIN in patch:
        _retain(result, patch)
    for name, value in patch.items():
        if name in _DIRECTIVES or name.startswith((_ORDER, _DELETE_VALUES)):
            continue
        if value is None or _gone(value, style):
            result.pop(name, None)
            continue
        below = schema.child(name) or ANY
        result[name] = _merge_value(result[name], value, below, style) if name in result else without_directives(value)
    _delete_values(result, patch)
    _order_lists(result, target, patch, schema)
    return result


def _retain(result: dict[str, Any], patch: dict[str, Any]) -> None:
    names = patch[_RETAIN]
    if not isinstance(names, list):
        raise PatchRefused(f"{_RETAIN} must be a list of field names")
    extra = [n for n in patch if n not in names and not n.startswith("$") and patch[n] is not None]
    if extra:
        raise PatchRefused(f"{_RETAIN} does not contain {extra[0]!r}, which the patch sets")
    for name in [name for name in result if name not in names]:
        del result[name]


def _merge_value(target: Any, patch: Any, schema: Schema, style: Style) -> Any:
    if isinstance(patch, dict) and isinstance(target, dict):
        if "replace" in schema.strategies:
            return without_directives(patch)
        return _merge_maps(target, patch, schema, style)
    if isinstance(patch, list) and isinstance(target, list) and "merge" in schema.strategies:
        return _merge_lists(target, patch, schema, style)
    return without_directives(patch)


def _merge_lists(target: list[Any], patch: list[Any], schema: Schema, style: Style) -> list[Any]:
    if not any(isinstance(item, dict) for item in (*target, *patch)):
        merged = list(dict.fromkeys((*patch, *target) if style == "prepend" else (*target, *patch)))
        return _placed(merged, patch, target) if style == "api" else merged
    key = schema.merge_key
    items = schema.items or ANY
    if any(item.get(_PATCH) == "replace" and len(item) == 1 for item in patch if isinstance(item, dict)):
        return [without_directives(item) for item in patch if item != {_PATCH: "replace"}]
    result = list(target)
    fresh: list[Any] = []
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            if isinstance(item, dict) and item.get(_PATCH) == "delete":
                raise PatchRefused(f"delete patch type with no merge key {key!r} defined")
            raise PatchRefused(f"map: {go_text(item)} does not contain declared merge key: {key}")
        places = [i for i, old in enumerate(result) if isinstance(old, dict) and old.get(key) == item[key]]
        match item.get(_PATCH, "merge"):
            case "delete":
                result = [old for i, old in enumerate(result) if i not in places]
            case "replace":
                plain = without_directives({k: v for k, v in item.items() if k != _PATCH})
                result = [old for i, old in enumerate(result) if i not in places] + [plain]
            case _ if places:
                result[places[0]] = _merge_maps(result[places[0]], item, items, style)
            case _:
                fresh.append(without_directives(item))
    match style:
        case "append":
            return [*result, *fresh]
        case "prepend":
            said = {item[key] for item in patch}
            order = [item[key] for item in patch]
            first = [item for item in (*result, *fresh) if _identity(item, key) in said]
            first.sort(key=lambda item: order.index(item[key]))
            return [*first, *(item for item in result if _identity(item, key) not in said)]
    return _placed([*result, *fresh], patch, target, key)


def go_text(value: Any) -> str:
    """A value as Go prints it: `map[image:x]`."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{name}:{go_text(inner)}' for name, inner in sorted(value.items()))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(go_text, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return "<nil>" if value is None else str(value)


# --- the order of merged lists ------------------------------------------------------------------------------------------


def _identity(item: Any, key: str) -> Any:
    return item.get(key) if key and isinstance(item, dict) else item


def _placed(merged: list[Any], wanted: Iterable[Any], before: list[Any], key: str = "") -> list[Any]:
    """`merged` in an order that keeps that of `wanted`, with everything else where it stood `before`."""
    order = {_identity(item, key): place for place, item in reversed(list(enumerate(wanted)))}
    stood = {_identity(item, key): place for place, item in reversed(list(enumerate(before)))}
    asked = sorted((m for m in merged if _identity(m, key) in order), key=lambda m: order[_identity(m, key)])
    rest = [m for m in merged if _identity(m, key) not in order]
    rest.sort(key=lambda m: stood.get(_identity(m, key), len(stood)))
    result: list[Any] = []
    while rest and asked:
        left, right = stood.get(_identity(rest[0], key)), stood.get(_identity(asked[0], key))
        result.append(rest.pop(0) if left is not None and right is not None and left < right else asked.pop(0))
    return [*result, *asked, *rest]


def _delete_values(result: dict[str, Any], patch: dict[str, Any]) -> None:
    for directive, values in patch.items():
        if directive.startswith(_DELETE_VALUES):
            name = directive.removeprefix(_DELETE_VALUES)
            if isinstance(result.get(name), list):
                result[name] = [value for value in result[name] if value not in values]


def _order_lists(result: dict[str, Any], target: dict[str, Any], patch: dict[str, Any], schema: Schema) -> None:
    for directive, order in patch.items():
        if not directive.startswith(_ORDER):
            continue
        name = directive.removeprefix(_ORDER)
        key = (schema.child(name) or ANY).merge_key
        said = patch.get(name) or []
        known = {_identity(item, key) for item in order}
        for item in said:
            deleted = isinstance(item, dict) and item.get(_PATCH) == "delete"
            if not deleted and item != {_PATCH: "replace"} and _identity(item, key) not in known:
                raise PatchRefused(f"The order in patch list:\n{said}\n doesn't match {directive} list:\n{order}\n")
        if isinstance(result.get(name), list):
            result[name] = _placed(result[name], order, target.get(name) or [], key)
