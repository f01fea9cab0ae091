"""Strategic merge as Kustomize does it: lists of Kubernetes' own kinds merge by key, and what a patch adds comes first.

Not the API server's: there the added items come last, and the schema of the served version decides. Lists of custom kinds
are replaced whole. `$patch: delete|replace|merge` and `$deleteFromPrimitiveList`, `$setElementOrder` directives are read.
"""

from __future__ import annotations

import copy
from typing import Any

from fairway.kube.objects import Obj

_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",), "initContainers": ("name",), "ephemeralContainers": ("name",), "volumes": ("name",),
    "env": ("name",), "imagePullSecrets": ("name",), "volumeMounts": ("mountPath",), "volumeDevices": ("devicePath",),
    "hostAliases": ("ip",), "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"), "conditions": ("type",),
    "secrets": ("name",), "ownerReferences": ("uid",), "webhooks": ("name",), "podIPs": ("ip",),
    "resourceClaims": ("name",), "schedulingGates": ("name",), "readinessGates": (),
}  # fmt: skip
"""List field to the keys that identify an item. A field means the same list in all kinds of Kubernetes, but for `ports`."""
_PRIMITIVE_SETS = frozenset(("finalizers",))
_OWN_SUFFIXES = (".k8s.io",)
_OWN_GROUPS = frozenset(("", "apps", "batch", "autoscaling", "policy", "extensions"))


def merge_keys(obj: Obj, path: tuple[str, ...]) -> tuple[str, ...]:
    """Keys of the list at `path` of this kind; () where it is atomic or the kind is not Kubernetes' own."""
    group = str(obj.get("apiVersion") or "").rpartition("/")[0]
    if path[0] != "metadata" and group not in _OWN_GROUPS and not group.endswith(_OWN_SUFFIXES):
        return ()
    if obj.get("kind") == "CustomResourceDefinition" and path[0] == "spec":
        return ()
    if path[-1] == "ports":
        if len(path) >= 2 and path[-2] in ("containers", "initContainers", "ephemeralContainers"):
            return ("containerPort", "protocol")
        return ("port", "protocol") if obj.get("kind") == "Service" else ()
    return _KEYS.get(path[-1], ())


class Deleted(Exception):
    """The patch asks for the whole object to go."""


def strategic_merge(obj: Obj, patch: Obj) -> Obj:
    """`obj` with `patch` merged in; `Deleted` where the patch is `$patch: delete`. Neither is changed."""
    if patch.get("$patch") == "delete":
        raise Deleted
    if patch.get("$patch") == "replace":
        identity: Obj = {key: obj[key] for key in ("apiVersion", "kind") if key in obj}
        return {**identity, **copy.deepcopy({k: v for k, v in patch.items() if k != "$patch"})}
    return _merge_maps(obj, patch, obj, ())


def _merge_maps(target: Obj, patch: Obj, root: Obj, path: tuple[str, ...]) -> Obj:
    found = dict(target)
    for name, value in patch.items():
        if name.startswith("$"):
            _directive(found, name, value)
        elif value is None:
            found.pop(name, None)
        elif isinstance(value, dict):
            _merge_map_field(found, name, value, root, (*path, name))
        elif isinstance(value, list):
            found[name] = _merge_lists(found.get(name), value, root, (*path, name))
        else:
            found[name] = value
    return found


def _merge_map_field(found: Obj, name: str, value: Obj, root: Obj, path: tuple[str, ...]) -> None:
    how = value.get("$patch")
    if how == "delete":
        found.pop(name, None)
    elif how == "replace":
        found[name] = copy.deepcopy({k: v for k, v in value.items() if k != "$patch"})
    else:
        old = found.get(name)
        merged = _merge_maps(old if isinstance(old, dict) else {}, value, root, path)
        if merged or value == {} or old is not None:
            found[name] = merged


def _directive(found: Obj, name: str, value: Any) -> None:
    if name.startswith("$deleteFromPrimitiveList/"):
        field = name.partition("/")[2]
        found[field] = [item for item in found.get(field) or () if item not in value]
    elif name.startswith("$retainKeys"):
        for key in set(found) - set(value):
            del found[key]


def _merge_lists(old: Any, new: list[Any], root: Obj, path: tuple[str, ...]) -> list[Any]:
    replace = any(isinstance(item, dict) and item.get("$patch") == "replace" for item in new)
    kept = [item for item in new if not (isinstance(item, dict) and item.get("$patch") == "replace" and len(item) == 1)]
    if replace:
        return [_clean(item) for item in kept]
    if path[-1] in _PRIMITIVE_SETS and isinstance(old, list):
        return [*(item for item in new if item not in old), *old]
    keys = merge_keys(root, path)
    if not keys or not all(isinstance(item, dict) for item in new):
        return [_clean(item) for item in kept]
    result: list[Any] = list(old) if isinstance(old, list) else []
    added: list[Any] = []
    for item in new:
        present = tuple(key for key in keys if key in item)
        at = next((n for n, other in enumerate(result) if _same_item(other, item, present)), None)
        if item.get("$patch") == "delete":
            result = [other for other in result if not _same_item(other, item, present)]
        elif at is None:
            added.append(_merge_maps({}, item, root, path))
        else:
            result[at] = _merge_maps(result[at], item, root, path)
    return added + result


def _same_item(other: Any, item: Obj, present: tuple[str, ...]) -> bool:
    if not isinstance(other, dict) or not present:
        return False
    return all(other.get(key, "TCP" if key == "protocol" else None) == item[key] for key in present)


def _clean(value: Any) -> Any:
    """A value as it stands in the object: nulls and directives gone from its maps."""
    if isinstance(value, dict):
        return {k: _clean(v) for k, v in value.items() if v is not None and not k.startswith("$")}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value
