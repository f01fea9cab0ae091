"""Strategic merge as Kustomize does it: what a patch says comes first, then what only the object has.

Not the API server's: there added items come last, and a deleted map leaves an empty one. Which lists merge, and by which keys,
says the schema; without one every list is replaced whole. `$patch: delete|replace|merge`, `$deleteFromPrimitiveList` and
`$retainKeys` are read; `$setElementOrder` says nothing that the order of the patch does not.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from fairway.kube.objects import Obj
from fairway.kube.schema import ANY, Schema


class Deleted(Exception):
    """The patch asks for the whole object to go."""


def strategic_merge(obj: Obj, patch: Obj, schema: Schema | None) -> Obj:
    """`obj` with `patch` merged in; `Deleted` where the patch is `$patch: delete`. Neither is changed."""
    if patch.get("$patch") == "delete":
        raise Deleted
    if patch.get("$patch") == "replace":
        identity: Obj = {key: obj[key] for key in ("apiVersion", "kind") if key in obj}
        return {**identity, **copy.deepcopy({k: v for k, v in patch.items() if k != "$patch"})}
    merged = _merge_maps(obj, patch, schema or ANY)
    return merged if schema is None else dict(_one_of_each(merged, schema))


def _merge_maps(target: Obj, patch: Obj, schema: Schema) -> Obj:
    found = dict(target)
    for name, value in patch.items():
        if name.startswith("$"):
            _directive(found, name, value)
        elif value is None:
            found.pop(name, None)
        elif isinstance(value, dict):
            _merge_map_field(found, name, value, schema.child(name) or ANY)
        elif isinstance(value, list):
            found[name] = _merge_lists(found.get(name), value, schema.child(name) or ANY)
        else:
            found[name] = value
    return found


def _merge_map_field(found: Obj, name: str, value: Obj, schema: Schema) -> None:
    how = value.get("$patch")
    if how == "delete":
        found.pop(name, None)
    elif how == "replace":
        found[name] = copy.deepcopy({k: v for k, v in value.items() if k != "$patch"})
    else:
        old = found.get(name)
        merged = _merge_maps(old if isinstance(old, dict) else {}, value, schema)
        if merged or value == {} or old is not None:
            found[name] = merged


def _directive(found: Obj, name: str, value: Any) -> None:
    if name.startswith("$deleteFromPrimitiveList/"):
        field = name.partition("/")[2]
        found[field] = [item for item in found.get(field) or () if item not in value]
    elif name.startswith("$retainKeys"):
        for key in set(found) - set(value):
            del found[key]


def _merge_lists(old: Any, new: list[Any], schema: Schema) -> list[Any]:
    kept = [item for item in new if not (isinstance(item, dict) and item.get("$patch") == "replace" and len(item) == 1)]
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in new) or "merge" not in schema.strategies:
        return [_clean(item) for item in kept]
    keys = schema.keys or ((schema.merge_key,) if schema.merge_key else ())
    present = old if isinstance(old, list) else []
    if not keys:
        return list(dict.fromkeys((*new, *present))) if _all_scalar(new, present) else [_clean(item) for item in kept]
    if not all(isinstance(item, dict) for item in new):
        return [_clean(item) for item in kept]
    return _merge_items(present, new, keys, schema.items or ANY)


def _all_scalar(*lists: Sequence[Any]) -> bool:
    return not any(isinstance(item, (dict, list)) for items in lists for item in items)


def _merge_items(old: list[Any], new: list[Obj], keys: tuple[str, ...], schema: Schema) -> list[Any]:
    """Items of the patch in its order, merged with those that they mean; then the rest of the object's."""
    rest = list(old)
    said: list[Any] = []
    for item in new:
        given = tuple(key for key in keys if key in item)
        met = [other for other in rest if _same_item(other, item, given)]
        rest = [other for other in rest if not _same_item(other, item, given)]
        if item.get("$patch") == "delete":
            said = [other for other in said if not _same_item(other, item, given)]
            continue
        merged = _merge_maps(met[-1] if met else {}, item, schema)
        at = next((n for n, other in enumerate(said) if given and _same_item(other, item, given)), None)
        if at is None:
            said.append(merged)
        else:
            said[at] = _merge_maps(said[at], item, schema)
    return said + rest


def _one_of_each(value: Any, schema: Schema) -> Any:
    """`value` where every list that merges has one item a key, the last one in the place of the first: upstream walks the whole
    object, also what the patch does not name. The very same value where nothing is twice."""
    if isinstance(value, dict):
        found = {name: _one_of_each(inner, schema.child(name) or ANY) for name, inner in value.items()
                 if isinstance(inner, (dict, list))}  # fmt: skip
        changed = any(inner is not value[name] for name, inner in found.items())
        return {**value, **found} if changed else value
    if not isinstance(value, list):
        return value
    items = [_one_of_each(item, schema.items or ANY) for item in value]
    keys = (schema.keys or ((schema.merge_key,) if schema.merge_key else ())) if "merge" in schema.strategies else ()
    if keys and all(isinstance(item, dict) for item in items):
        by_key: dict[tuple[Any, ...], Any] = {}
        for n, item in enumerate(items):
            found_keys = (item.get(k, "" if k == "protocol" else None) for k in keys)
            key = tuple(None if isinstance(part, (dict, list)) else part for part in found_keys)
            by_key[(n, *key) if None in key else key] = item
        items = list(by_key.values())
    same = len(items) == len(value) and all(a is b for a, b in zip(items, value, strict=True))
    return value if same else items


def _same_item(other: Any, item: Obj, given: tuple[str, ...]) -> bool:
    if not isinstance(other, dict) or not given:
        return False
    return all(other.get(key, "TCP" if key == "protocol" else None) == item[key] for key in given)


def _clean(value: Any) -> Any:
    """A value as it stands in the object: nulls and directives gone from its maps."""
    if isinstance(value, dict):
        return {k: _clean(v) for k, v in value.items() if v is not None and not k.startswith("$")}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value
