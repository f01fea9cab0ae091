"""RFC 6902, JSON patch, over RFC 6901 pointers."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any


class PatchFailed(ValueError):
    """The patch cannot be applied to this object; the text says at which operation and why."""


def apply_operations(target: Any, operations: Sequence[Mapping[str, Any]]) -> Any:
    """`target` after all operations, or `PatchFailed`: then none took place."""
    document = copy.deepcopy(target)
    for operation in operations:
        document = _apply(document, operation)
    return document


def _apply(document: Any, operation: Mapping[str, Any]) -> Any:
    if not isinstance(operation, Mapping):
        raise PatchFailed(f"an operation is a mapping with op and path, not {operation!r}")
    verb = operation.get("op")
    path = operation.get("path")
    if not isinstance(path, str):
        raise PatchFailed(f"operation {verb!r} has no path")
    steps = pointer(path)
    match verb:
        case "add":
            return _add(document, steps, copy.deepcopy(_value(operation, path)), path)
        case "remove":
            return _remove(document, steps, path)[0]
        case "replace":
            value = copy.deepcopy(_value(operation, path))
            _find(document, steps, path, f"replace operation does not apply: doc is missing key: {path}: missing value")
            if not steps:
                return value
            return _set(document, steps, value)
        case "move" | "copy":
            source = operation.get("from")
            if not isinstance(source, str):
                raise PatchFailed(f"operation {verb!r} has no from")
            value = copy.deepcopy(_find(document, pointer(source), source, f"{verb} operation does not apply: doc is "
                                        f"missing from path: {source}: missing value"))
            if verb == "move":
                document = _remove(document, pointer(source), source)[0]
            return _add(document, steps, value, path)
        case "test":
            missing = object()
            found = _find(document, steps, path, "", default=missing)
            wanted = operation.get("value")
            if found is missing:
                found = None
            if not _equal(found, wanted):
                raise PatchFailed(f"testing value {path} failed")
            return document
    raise PatchFailed(f"Unexpected kind: {verb}" if verb else "operation has no op")


def pointer(path: str) -> list[str]:
    """The steps of a JSON pointer; "" is the whole document."""
    if path == "":
        return []
    if not path.startswith("/"):
        raise PatchFailed(f"path {path!r} does not start with /")
    return [step.replace("~1", "/").replace("~0", "~") for step in path[1:].split("/")]


def _value(operation: Mapping[str, Any], path: str) -> Any:
    if "value" not in operation:
        raise PatchFailed(f"operation {operation.get('op')!r} at {path} has no value")
    return operation["value"]


def _equal(a: Any, b: Any) -> bool:
    """JSON equality: true is not 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(v, b[k]) for k, v in a.items())
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def _index(step: str, length: int, *, end: bool) -> int | None:
    """The place in a list that `step` names. Negative numbers are not JSON pointers and name none."""
    if end and step == "-":
        return length
    if not step.isdigit() or (len(step) > 1 and step[0] == "0"):
        return None
    index = int(step)
    return index if index < length + end else None


def _find(document: Any, steps: list[str], path: str, complaint: str, *, default: Any = ...) -> Any:
    for step in steps:
        if isinstance(document, dict) and step in document:
            document = document[step]
            continue
        if isinstance(document, list):
            index = _index(step, len(document), end=False)
            if index is not None:
                document = document[index]
                continue
        if default is not ...:
            return default
        raise PatchFailed(complaint)
    return document


def _parent(document: Any, steps: list[str], path: str, verb: str) -> Any:
    return _find(document, steps[:-1], path, f"{verb} operation does not apply: doc is missing path: "
                                             f'"{path}": missing value')


def _add(document: Any, steps: list[str], value: Any, path: str) -> Any:
    if not steps:
        return value
    parent = _parent(document, steps, path, "add")
    if isinstance(parent, dict):
        parent[steps[-1]] = value
    elif isinstance(parent, list):
        index = _index(steps[-1], len(parent), end=True)
        if index is None:
            raise PatchFailed(f'add operation does not apply: doc is missing path: "{path}": invalid index')
        parent.insert(index, value)
    else:
        raise PatchFailed(f'add operation does not apply: doc is missing path: "{path}": missing value')
    return document


def _remove(document: Any, steps: list[str], path: str) -> tuple[Any, Any]:
    missing = f'remove operation does not apply: doc is missing path: "{path}": missing value'
    removed = _find(document, steps, path, missing)
    if not steps:
        return None, removed
    parent = _find(document, steps[:-1], path, missing)
    del parent[steps[-1] if isinstance(parent, dict) else int(steps[-1])]
    return document, removed


def _set(document: Any, steps: list[str], value: Any) -> Any:
    parent = _find(document, steps[:-1], "", "")
    parent[steps[-1] if isinstance(parent, dict) else int(steps[-1])] = value
    return document
