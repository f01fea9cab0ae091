"""Field paths of transformer configurations: `spec/template/metadata/labels`, through every list on the way."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fairway.kube.objects import Obj

Setter = Callable[[Any], Any]
"""From the value at the path (None where it was created) to the new one."""


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """A path, and the kinds in which it counts ("" is any)."""

    path: str
    group: str = ""
    version: str = ""
    kind: str = ""
    create: bool = False

    def selects(self, obj: Obj) -> bool:
        if self.kind and obj.get("kind") != self.kind:
            return False
        group, _, version = str(obj.get("apiVersion") or "").rpartition("/")
        return (not self.group or self.group == group) and (not self.version or self.version == version)

    @staticmethod
    def of(config: Mapping[str, Any]) -> FieldSpec:
        return FieldSpec(str(config.get("path", "")), str(config.get("group", "")), str(config.get("version", "")),
                         str(config.get("kind", "")), bool(config.get("create", False)))


@lru_cache(maxsize=4096)
def steps_of(path: str) -> tuple[str, ...]:
    """Parts of a path: `\\/` is a slash within a part, `[]` behind a part says that it is a list."""
    return tuple(part.replace("\\/", "/") for part in re.split(r"(?<!\\)/", path.strip("/")))


def update(obj: Any, path: str, setter: Setter, *, create: bool = False, empty: Callable[[], Any] = lambda: None) -> None:
    """Set what is at `path`, everywhere it leads; with `create` maps on the way are made and the leaf starts as `empty()`."""
    _update(obj, steps_of(path), setter, create, empty)


def _update(at: Any, steps: tuple[str, ...], setter: Setter, create: bool, empty: Callable[[], Any]) -> None:
    if isinstance(at, list):
        for item in at:
            _update(item, steps, setter, create, empty)
        return
    if not isinstance(at, dict):
        return
    name, rest = steps[0], steps[1:]
    if name.endswith("[]"):  # a list is never made up; one that is null becomes an empty one
        name = name[:-2]
        if name not in at or not rest:
            return
        if at[name] is None and create:
            at[name] = []
    if name == "*" and name not in at:
        for key in at:
            _update(at, (key, *rest), setter, create, empty)
        return
    if not rest:
        if name in at or create:
            value = at.get(name)
            at[name] = setter(empty() if value is None and create else value)
        return
    if at.get(name) is None:
        if not create:
            return
        at[name] = {}
    _update(at[name], rest, setter, create, empty)


def update_leaves(obj: Any, path: str, setter: Setter) -> None:
    """Like `update`, where the leaf may be a list of scalars: each item is set on its own."""

    def each(value: Any) -> Any:
        return [setter(item) for item in value] if isinstance(value, list) else setter(value)

    update(obj, path, each)
