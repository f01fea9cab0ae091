"""Compare git with what is live: pair the objects, normalise both sides, and say which differ and where.

What git would make of a live object is asked of the API itself, by a dry-run server-side apply. Fields that other
managers own come back unchanged, so they are no drift; nor are defaults.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import msgspec

from fairway.gitops.ignoring import IgnoreRule, without_ignored, without_trusted
from fairway.kube.objects import Obj, group_of, meta_of

SyncStatus = Literal["Synced", "OutOfSync", "Unknown"]
MANAGER = "argocd-controller"
_ABSENT = object()
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
    modified: bool = False
    fields: tuple[str, ...] = ()
    error: str = ""
    denied: str = ""
    """Why the project does not permit it."""

    @property
    def status(self) -> SyncStatus:
        if self.denied:
            return "Unknown"
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


def with_same(objects: Iterable[Obj], before: Iterable[Obj]) -> list[Obj]:
    """`objects`, but those of `before` themselves where they say the same to the letter: what a commit does not change is held
    once, and need not be compared again."""
    known = {object_key(obj): obj for obj in before}
    return [same if (same := known.get(object_key(obj))) is not None and _text(same) == _text(obj) else obj for obj in objects]


_text = msgspec.json.encode  # to Python, True equals 1


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """Whose `status` does not count (all, CRDs alone, nobody), and whether rules that the API aggregates count."""

    status: Literal["all", "crd", "none"] = "all"
    aggregated_roles: bool = False

    def leaves_out_status(self, obj: Obj) -> bool:
        return self.status == "all" or (self.status == "crd" and obj.get("kind") == "CustomResourceDefinition")


DEFAULT = CompareOptions()


def normalised(obj: Obj, ignore: Sequence[IgnoreRule] = (), options: CompareOptions = DEFAULT) -> Obj:
    """What counts in a comparison: no status, no bookkeeping of the server, no ignored fields."""
    found = {key: value for key, value in obj.items() if key != "status" or not options.leaves_out_status(obj)}
    if options.aggregated_roles and obj.get("kind") == "ClusterRole" and obj.get("aggregationRule"):
        found.pop("rules", None)
    found["metadata"] = {key: value for key, value in meta_of(obj).items() if key not in _VOLATILE}
    if found.get("kind") == "Secret" and isinstance(found.get("stringData"), dict):
        encoded = {k: base64.b64encode(str(v).encode()).decode() for k, v in found.pop("stringData").items()}
        found["data"] = {**(found.get("data") or {}), **encoded}
    return without_ignored(found, ignore)


def differing_fields(a: Any, b: Any, path: str = "") -> list[str]:
    """Paths whose values differ, `/spec/replicas`, at most as deep as both sides are maps."""
    if isinstance(a, dict) and isinstance(b, dict):
        return [found for key in sorted({*a, *b}) if a.get(key, _ABSENT) != b.get(key, _ABSENT)
                for found in differing_fields(a.get(key, _ABSENT), b.get(key, _ABSENT), f"{path}/{_step(key)}")]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [found for n, (x, y) in enumerate(zip(a, b, strict=True)) if x != y
                for found in differing_fields(x, y, f"{path}/{n}")]
    return [path or "/"] if a != b else []


def _step(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def compared(target: Obj, live: Obj, predicted: Obj, rules: Sequence[IgnoreRule],
             options: CompareOptions = DEFAULT) -> Compared:
    """`predicted` is what applying `target` would make of `live`."""
    live_side, predicted_side = without_trusted(live, predicted, rules)
    before, after = normalised(live_side, rules, options), normalised(predicted_side, rules, options)
    fields = tuple(differing_fields(before, after))
    return Compared(object_key(target), target, live, modified=bool(fields), fields=fields)
