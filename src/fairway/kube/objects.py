"""Objects as they travel: plain JSON-shaped dicts, and the few questions that everybody asks of them.

An object that came out of a cache or a watch is shared and must not be changed; `copy_of` gives one that may be.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

Obj = dict[str, Any]


class Key(NamedTuple):
    """Namespace ("" for cluster-scoped) and name: all that a reconcile pass is told."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def key_of(obj: Mapping[str, Any]) -> Key:
    meta = obj["metadata"]
    return Key(meta.get("namespace", ""), meta["name"])


def meta_of(obj: Mapping[str, Any]) -> dict[str, Any]:
    meta: dict[str, Any] = obj.get("metadata") or {}
    return meta


def uid_of(obj: Mapping[str, Any]) -> str:
    return str(meta_of(obj).get("uid", ""))


def labels_of(obj: Mapping[str, Any]) -> dict[str, str]:
    return meta_of(obj).get("labels") or {}


def annotations_of(obj: Mapping[str, Any]) -> dict[str, str]:
    return meta_of(obj).get("annotations") or {}


def spec_of(obj: Mapping[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = obj.get("spec") or {}
    return spec


def status_of(obj: Mapping[str, Any]) -> dict[str, Any]:
    status: dict[str, Any] = obj.get("status") or {}
    return status


def is_deleting(obj: Mapping[str, Any]) -> bool:
    return "deletionTimestamp" in meta_of(obj)


def copy_of(obj: Obj) -> Obj:
    """A deep copy that may be changed."""
    return {name: _copied(value) for name, value in obj.items()} if type(obj) is dict else copy.deepcopy(obj)


def _copied(value: Any) -> Any:
    """Plain JSON is copied five times faster than `deepcopy` does it; everything else is left to that."""
    kind = type(value)
    if kind is dict:
        return {name: _copied(inner) for name, inner in value.items()}
    if kind is list:
        return [_copied(inner) for inner in value]
    return value if kind is str or kind is int or kind is bool or value is None else copy.deepcopy(value)


def dig(obj: Any, *path: str | int, default: Any = None) -> Any:
    """Value at `path`, or `default` where any step of it is absent or null."""
    for step in path:
        if isinstance(obj, Mapping):
            obj = obj.get(step)
        elif isinstance(obj, list) and isinstance(step, int) and -len(obj) <= step < len(obj):
            obj = obj[step]
        else:
            return default
        if obj is None:
            return default
    return obj


def group_of(api_version: str) -> str:
    """Group part of an apiVersion: "apps/v1" is "apps", "v1" is ""."""
    return api_version.rpartition("/")[0]


# --- owners -------------------------------------------------------------------------------------------------------


def owner_reference(owner: Mapping[str, Any], *, controller: bool = True, block: bool = True) -> Obj:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": controller,
        "blockOwnerDeletion": block,
    }


def controller_of(obj: Mapping[str, Any]) -> Obj | None:
    """The owner reference marked `controller: true`, if any."""
    for ref in meta_of(obj).get("ownerReferences") or ():
        if ref.get("controller"):
            found: Obj = ref
            return found
    return None


def is_controlled_by(obj: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    ref = controller_of(obj)
    return ref is not None and ref.get("uid") == uid_of(owner)


# --- times --------------------------------------------------------------------------------------------------------


def rfc3339(moment: datetime) -> str:
    """Seconds precision with a Z, as `metav1.Time` is written."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")[:-6] + "Z"


def rfc3339_micro(moment: datetime) -> str:
    """Microseconds with a Z, as `metav1.MicroTime` is written; Fairway's own kinds use it for durations."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


@lru_cache(maxsize=1024)
def parse_time(text: str) -> datetime:
    """The inverse of both writers above; raises ValueError on anything that is not RFC 3339."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)


# --- conditions ---------------------------------------------------------------------------------------------------


def condition(obj: Mapping[str, Any], kind: str) -> Obj | None:
    """The status condition of this type, if present."""
    for entry in status_of(obj).get("conditions") or ():
        if entry.get("type") == kind:
            found: Obj = entry
            return found
    return None


def is_true(obj: Mapping[str, Any], kind: str) -> bool:
    entry = condition(obj, kind)
    return entry is not None and entry.get("status") == "True"


def with_condition(conditions: Iterable[Obj], new: Obj) -> list[Obj]:
    """`conditions` with `new` put in its place; lastTransitionTime is kept where the status did not change."""
    kept: list[Obj] = []
    placed = False
    for old in conditions:
        if old.get("type") != new["type"]:
            kept.append(old)
            continue
        placed = True
        same = old.get("status") == new["status"] and "lastTransitionTime" in old
        kept.append({**new, "lastTransitionTime": old["lastTransitionTime"]} if same else new)
    if not placed:
        kept.append(new)
    return kept
