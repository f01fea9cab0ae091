"""Compare git with what is live: pair the objects, normalise both sides, and say which differ and where.

What git would make of a live object is asked of the API itself, by a dry-run server-side apply. Fields that other
managers own come back unchanged, so they are no drift; nor are defaults.
"""

from __future__ import annotations

import base64
import copy
import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from fairway.gitops.spec import IgnoreRule
from fairway.kube.objects import Obj, group_of, meta_of
from fairway.kube.patches import json_patch

SyncStatus = Literal["Synced", "OutOfSync", "Unknown"]
_VOLATILE = ("managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink")


class ObjectKey(NamedTuple):
    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.group}/{self.kind}/{self.namespace}/{self.name}"


def object_key(obj: Obj) -> ObjectKey:
    meta = meta_of(obj)
    return ObjectKey(group_of(str(obj.get("apiVersion") or "")), str(obj.get("kind") or ""),
                     str(meta.get("namespace") or ""), str(meta.get("name") or ""))


@dataclass(frozen=True, slots=True)
class Compared:
    """One object of git or of the API. `error` is what the dry run said; `fields` are the paths that differ."""

    key: ObjectKey
    target: Obj | None
    live: Obj | None
    predicted: Obj | None = None
    modified: bool = False
    fields: tuple[str, ...] = ()
    error: str = ""

    @property
    def status(self) -> SyncStatus:
        if self.error:
            return "OutOfSync"
        return "OutOfSync" if self.modified or self.target is None else "Synced"

    @property
    def requires_pruning(self) -> bool:
        return self.target is None and self.live is not None


def unique(targets: Iterable[Obj]) -> tuple[list[Obj], list[ObjectKey]]:
    """Each object once, the last one where several have the same name; and the names that were repeated."""
    found: dict[ObjectKey, Obj] = {}
    repeated: list[ObjectKey] = []
    unnamed: list[Obj] = []
    for obj in targets:
        key = object_key(obj)
        if not key.name:
            unnamed.append(obj)
            continue
        if key in found:
            repeated.append(key)
        found[key] = obj
    return [*found.values(), *unnamed], repeated


def normalised(obj: Obj, ignore: Sequence[IgnoreRule] = ()) -> Obj:
    """What counts in a comparison: no status, no bookkeeping of the server, no ignored fields."""
    found = {key: value for key, value in obj.items() if key != "status"}
    found["metadata"] = {key: value for key, value in meta_of(obj).items() if key not in _VOLATILE}
    if found.get("kind") == "Secret" and isinstance(found.get("stringData"), dict):
        encoded = {k: base64.b64encode(str(v).encode()).decode() for k, v in found.pop("stringData").items()}
        found["data"] = {**(found.get("data") or {}), **encoded}
    return without_ignored(found, ignore)


def matching(obj: Obj, rules: Iterable[IgnoreRule]) -> list[IgnoreRule]:
    key = object_key(obj)
    return [
        rule for rule in rules
        if fnmatch.fnmatchcase(key.kind, rule.kind) and fnmatch.fnmatchcase(key.group, rule.group or "")
        and rule.name in ("", key.name) and rule.namespace in ("", key.namespace)
    ]


def without_ignored(obj: Obj, rules: Iterable[IgnoreRule]) -> Obj:
    """The object without the fields that the matching rules name. A missing field is not an error."""
    pointers = [pointer for rule in matching(obj, rules) for pointer in rule.json_pointers]
    if not pointers:
        return obj
    found = copy.deepcopy(obj)
    for pointer in pointers:
        try:
            found = json_patch.apply_operations(found, [{"op": "remove", "path": pointer}])
        except json_patch.PatchFailed:
            continue
    return found


def with_live_ignored(target: Obj, live: Obj, rules: Iterable[IgnoreRule]) -> Obj:
    """`RespectIgnoreDifferences`: the target with the live values of ignored fields, so that applying leaves them."""
    found = target
    for rule in matching(target, rules):
        for pointer in rule.json_pointers:
            if pointer == "/status" or pointer.startswith("/status/"):
                continue
            value = _at(live, pointer)
            operation = {"op": "remove", "path": pointer} if value is _ABSENT else {
                "op": "add", "path": pointer, "value": value}
            try:
                found = json_patch.apply_operations(found, [operation])
            except json_patch.PatchFailed:
                continue
    return found


_ABSENT = object()


def _at(obj: Any, pointer: str) -> Any:
    for raw in pointer.strip("/").split("/"):
        step = raw.replace("~1", "/").replace("~0", "~")
        if isinstance(obj, Mapping) and step in obj:
            obj = obj[step]
        elif isinstance(obj, list) and step.isdigit() and int(step) < len(obj):
            obj = obj[int(step)]
        else:
            return _ABSENT
    return obj


def differing_fields(a: Any, b: Any, path: str = "") -> list[str]:
    """Paths whose values differ, `/spec/replicas`, at most as deep as both sides are maps."""
    if isinstance(a, dict) and isinstance(b, dict):
        return [found for key in sorted({*a, *b}) if a.get(key, _ABSENT) != b.get(key, _ABSENT)
                for found in differing_fields(a.get(key, _ABSENT), b.get(key, _ABSENT), f"{path}/{key}")]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [found for n, (x, y) in enumerate(zip(a, b, strict=True)) if x != y
                for found in differing_fields(x, y, f"{path}/{n}")]
    return [path or "/"] if a != b else []


def compared(target: Obj, live: Obj, predicted: Obj, rules: Sequence[IgnoreRule]) -> Compared:
    """`predicted` is what applying `target` would make of `live`."""
    before, after = normalised(live, rules), normalised(predicted, rules)
    fields = tuple(differing_fields(before, after))
    return Compared(object_key(target), target, live, predicted, modified=bool(fields), fields=fields)
