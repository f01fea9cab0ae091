"""The JSONPath that Kubernetes tools use, as far as web metrics need it: `{$.data.items[0].value}`, `[*]`, `['a-b']`, `..name`.

Source: client-go `util/jsonpath`, argo-rollouts `metricproviders/webmetric`.
"""

from __future__ import annotations

import re
from typing import Any

_STEP = re.compile(r"\.\.(?P<deep>[\w-]+)|\.(?P<name>[\w-]+|\*)|\[(?P<index>-?\d+|\*)\]|\['(?P<quoted>[^']*)'\]")


class PathError(ValueError):
    """The path cannot be read, or leads nowhere."""


def find(document: Any, path: str) -> Any:
    """The value at `path`; a path with `*` or `..` gives a list. Without braces the path is taken as it is."""
    inner = path.strip().removeprefix("{").removesuffix("}").strip().removeprefix("$")
    if inner and inner[0] not in ".[":
        inner = f".{inner}"
    values, many, at = [document], False, 0
    while at < len(inner):
        step = _STEP.match(inner, at)
        if step is None:
            raise PathError(f"could not parse JSONPath expression {path!r} at {inner[at:]!r}")
        many = many or step["deep"] is not None or "*" in (step["name"], step["index"])
        values = [found for value in values for found in _next(value, step, path)]
        at = step.end()
    if many:
        return values
    return values[0]


def _next(value: Any, step: re.Match[str], path: str) -> list[Any]:
    if step["deep"] is not None:
        return list(_anywhere(value, step["deep"]))
    if "*" in (step["name"], step["index"]):
        return list(value.values()) if isinstance(value, dict) else list(value) if isinstance(value, list) else []
    if step["index"] is not None:
        number = int(step["index"])
        if isinstance(value, list) and -len(value) <= number < len(value):
            return [value[number]]
        raise PathError(f"could not find JSONPath in body: {path}: array index out of bounds: index {number}")
    name = step["name"] or step["quoted"]
    if isinstance(value, dict) and name in value:
        return [value[name]]
    raise PathError(f"could not find JSONPath in body: {path}: {name} is not found")


def _anywhere(value: Any, name: str) -> list[Any]:
    found: list[Any] = []
    if isinstance(value, dict):
        found += [value[name]] if name in value else []
        for inner in value.values():
            found += _anywhere(inner, name)
    elif isinstance(value, list):
        for inner in value:
            found += _anywhere(inner, name)
    return found
