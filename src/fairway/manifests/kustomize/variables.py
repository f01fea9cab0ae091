"""`vars:`, the forerunner of `replacements:`: `$(NAME)` in known fields becomes the value of a field of another object.

Each layer binds its variables to objects that it holds; at the top, when every name is final, the values are put in. A
string that is nothing but `$(NAME)` takes the value with its type, `$$(NAME)` stays as `$(NAME)`, and what
names no variable stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.kustomize.field_paths import FieldSpec, update
from fairway.manifests.kustomize.resource import Resource, Resources

_USE = re.compile(r"\$\$|\$\(([^()]*)\)")
_PART = re.compile(r"(?:\\.|[^.\\\[])+|\[\d+\]")


@dataclass(frozen=True, slots=True)
class Variable:
    name: str
    field_path: str
    bound: Resource | None
    place: Place


class Variables:
    """The variables of a layer and the layers below it; a name belongs to one of them."""

    def __init__(self) -> None:
        self._known: dict[str, Variable] = {}

    def declare(self, entries: Sequence[Any], resources: Resources, place: Place) -> None:
        for entry in entries:
            name = entry.get("name") if isinstance(entry, dict) else None
            if not isinstance(name, str) or not name:
                raise ManifestError(place, "vars: an entry needs `name:` and `objref:`", "add both, or use `replacements:`")
            reference = entry.get("objref") or {}
            path = (_lower(entry.get("fieldref")).get("fieldpath")) or "metadata.name"
            self._add(Variable(name, str(path), _bind(name, _lower(reference), resources, place), place))

    def merge(self, other: Variables) -> None:
        for variable in other._known.values():
            self._add(variable)

    def _add(self, variable: Variable) -> None:
        if variable.name in self._known:
            raise ManifestError(variable.place, f"var '{variable.name}' already encountered", "give each variable its own name")
        self._known[variable.name] = variable

    def resolve(self, resources: Resources, specs: Sequence[FieldSpec]) -> None:
        """Put the values in, everywhere that the specs name."""
        if not self._known:
            return
        alive = {id(item) for item in resources}
        values = {name: _value(variable, alive) for name, variable in self._known.items()}

        def put(value: Any) -> Any:
            if isinstance(value, list):
                return [_expanded(item, values) for item in value]
            if isinstance(value, dict):
                return {key: _expanded(item, values) for key, item in value.items()}
            return _expanded(value, values)

        for item in resources:
            for spec in specs:
                if spec.selects(item.obj):
                    update(item.obj, spec.path, put)


def _lower(value: Any) -> dict[str, Any]:
    return {str(key).lower(): inner for key, inner in value.items()} if isinstance(value, dict) else {}


def _bind(name: str, reference: Mapping[str, Any], resources: Resources, place: Place) -> Resource | None:
    api_version = str(reference.get("apiversion") or "")
    group, _, version = api_version.rpartition("/")
    group, version = group or str(reference.get("group") or ""), version or str(reference.get("version") or "")
    kind, called, space = (str(reference.get(key) or "") for key in ("kind", "name", "namespace"))
    found = [
        item for item in resources.called(kind, called)
        if any(one.group == group and one.version == version and one.kind == kind and one.name == called
               and (not space or one.cluster_scoped or one.space == space) for one in item.ids)
    ]
    if len(found) > 1:
        raise ManifestError(place, f"found {len(found)} resId matches for var {name} (unable to disambiguate)",
                            "name the namespace in `objref:`")
    return found[0] if found else None


def _value(variable: Variable, alive: Iterable[int]) -> Any:
    if variable.bound is None or id(variable.bound) not in alive:
        raise ManifestError(variable.place, f"var '{variable.name}' cannot be mapped to a field in the set of known resources",
                            "correct its `objref:`")
    at: Any = variable.bound.obj
    for part in _PART.findall(variable.field_path):
        if part.startswith("["):
            index = int(part[1:-1])
            at = at[index] if isinstance(at, list) and index < len(at) else None
        else:
            at = at.get(re.sub(r"\\(.)", r"\1", part)) if isinstance(at, dict) else None
    if at is None:
        raise ManifestError(variable.place, f"field specified in var '{variable.name}' not found in corresponding resource: "
                                            f"{variable.bound.id} has no {variable.field_path}", "correct its `fieldref:`")
    return at


def _expanded(value: Any, values: Mapping[str, Any]) -> Any:
    if not isinstance(value, str) or "$" not in value:
        return value
    whole = _USE.fullmatch(value)
    if whole and whole[1] in values:
        return values[whole[1]]

    def put(use: re.Match[str]) -> str:
        if use[0] == "$$":
            return "$"
        return _text(values[use[1]]) if use[1] in values else use[0]

    return _USE.sub(put, value)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
