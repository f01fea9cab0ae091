"""Names of other objects follow when those are renamed: prefixes, hashes, namespaces.

Done once, when everything has its last name. Who is meant by a name is found among the former names; where several were
called so, the namespace and then the chain of prefixes and suffixes of the referring object decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fairway.manifests.errors import ManifestError
from fairway.manifests.kustomize.field_paths import FieldSpec, update_leaves
from fairway.manifests.kustomize.resource import Resource, Resources

Table = Sequence[tuple[str, str, Sequence[FieldSpec]]]


def follow_names(resources: Resources, table: Table) -> None:
    index: dict[tuple[str, str, str], list[Resource]] = {}
    for item in resources:
        for group, kind, name in {(one.group, one.kind, one.name) for one in item.previous}:
            for key_group in {group, "*"}:
                index.setdefault((key_group, kind, name), []).append(item)
    if not index:
        return
    by_kind: dict[str, list[tuple[str, str, FieldSpec]]] = {}
    for group, kind, specs in table:
        for spec in specs:
            by_kind.setdefault(spec.kind, []).append((group, kind, spec))
    for item in resources:
        kind = str(item.obj.get("kind") or "")
        for group, referred, spec in (*by_kind.get(kind, ()), *by_kind.get("", ())):
            if spec.selects(item.obj):
                _follow(item, group, referred, spec, index)


def _follow(referrer: Resource, group: str, kind: str, spec: FieldSpec,
            index: dict[tuple[str, str, str], list[Resource]]) -> None:
    def of(value: Any) -> Any:
        if isinstance(value, str):
            found = _referred(referrer, value, None)
            return found.id.name if found is not None else value
        if isinstance(value, dict) and isinstance(value.get("name"), str):
            if kind == "ServiceAccount" and value.get("kind", kind) != kind:
                return value
            found = _referred(referrer, value["name"], value.get("namespace"))
            if found is not None:
                value["name"] = found.id.name
                if found.id.namespace:
                    value["namespace"] = found.id.namespace
        return value

    def _referred(referrer: Resource, name: str, namespace: str | None) -> Resource | None:
        found = index.get((group or "", kind, name), [])
        if not found and group:
            found = index.get(("*", kind, name), [])
        found = [item for item in found if _in_reach(referrer, item, namespace)]
        if kind in ("Role", "ClusterRole") and isinstance(referrer.obj.get("roleRef"), dict):
            found = [item for item in found if referrer.obj["roleRef"].get("kind", kind) == kind]
        return _the_one(referrer, found, name)

    update_leaves(referrer.obj, spec.path, of)


def _in_reach(referrer: Resource, item: Resource, namespace: str | None) -> bool:
    one, own = item.id, referrer.id
    if one.cluster_scoped:
        return True
    if namespace:
        return any((former.namespace or "default") == namespace for former in item.ids)
    return own.cluster_scoped or own.space == one.space


def _the_one(referrer: Resource, found: list[Resource], name: str) -> Resource | None:
    if len(found) > 1:
        found = _like(referrer, found, "prefixes") or found
    if len(found) > 1:
        found = _like(referrer, found, "suffixes") or found
    if len({item.id.name for item in found}) > 1:
        names = ", ".join(str(item.id) for item in found)
        raise ManifestError(referrer.place, f"found multiple possible referrals for {name!r}: {names}",
                            "give the objects different names before they are prefixed")
    return found[0] if found else None


def _like(referrer: Resource, found: list[Resource], chain: str) -> list[Resource]:
    own: list[str] = getattr(referrer, chain)
    return [item for item in found if _same_ending(own, getattr(item, chain))]


def _same_ending(a: list[str], b: list[str]) -> bool:
    shorter = min(len(a), len(b))
    return a[len(a) - shorter :] == b[len(b) - shorter :] if shorter else not a or not b


