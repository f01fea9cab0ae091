"""Names of other objects follow when those are renamed: prefixes, hashes, namespaces.

Done once, when everything has its last name. Who is meant by a name is found among the former names; where several were
called so, the namespace and then the chain of prefixes and suffixes of the referring object decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fairway.manifests.errors import ManifestError
from fairway.manifests.kustomize.field_paths import FieldSpec, update_leaves
from fairway.manifests.kustomize.resource import Resource, Resources

Table = Sequence[tuple[str, str, Sequence[FieldSpec]]]
_Index = dict[tuple[str, str], list[tuple[Resource, set[str]]]]


def follow_names(resources: Resources, table: Table) -> None:
    index: _Index = {}
    for item in resources:
        groups: dict[tuple[str, str], set[str]] = {}
        for one in item.previous:
            groups.setdefault((one.kind, one.name), set()).add(one.group)
        for key, values in groups.items():
            index.setdefault(key, []).append((item, values))
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
                _Follow(item, group, referred, spec.path, index).run()


class _Follow:
    """One field of one object, which may name an object of one kind."""

    def __init__(self, referrer: Resource, group: str, kind: str, path: str, index: _Index) -> None:
        self._referrer = referrer
        self._group = group
        self._kind = kind
        self._path = path
        self._index = index

    def run(self) -> None:
        update_leaves(self._referrer.obj, self._path, self._followed)

    def _followed(self, value: Any) -> Any:
        if isinstance(value, str):
            found = self._meant(value, None, lambda item: (item.id.name,))
            return found.id.name if found is not None else value
        if isinstance(value, dict):
            return self._followed_map(value)
        return value

    def _followed_map(self, value: dict[str, Any]) -> Any:
        """`{name, namespace}`: both are written."""
        name = value.get("name")
        if not isinstance(name, str) or (self._kind == "ServiceAccount" and value.get("kind", self._kind) != self._kind):
            return value
        found = self._meant(name, value.get("namespace"), lambda item: (item.id.name, item.id.namespace))
        if found is not None:
            value["name"] = found.id.name
            if found.id.namespace:
                value["namespace"] = found.id.namespace
        return value

    def _meant(self, name: str, namespace: str | None, said: Callable[[Resource], tuple[str, ...]]) -> Resource | None:
        found = [item for item, groups in self._index.get((self._kind, name), ())
                 if not self._group or self._group in groups]
        if found and namespace is not None:
            found = [item for item in found if _original_space(item) == namespace] or [
                item for item in found if item.id.space == namespace]
        found = [item for item in found if self._role_fits(item) and self._in_reach(item)]
        if len(found) > 1:
            found = [item for item in found if _fits(self._referrer, item, empty_fits=True)]
        if len(found) > 1:
            found = [item for item in found if _fits(self._referrer, item, empty_fits=False)]
        if len({said(item) for item in found}) > 1:
            names = ", ".join(str(item.id) for item in found)
            raise ManifestError(self._referrer.place, f"updating name reference in '{self._path}' field of "
                                f"'{self._referrer.id}': found multiple possible referrals for {name!r}: {names}",
                                "give the objects different names before they are prefixed, or name the namespace")
        return found[0] if found else None

    def _role_fits(self, item: Resource) -> bool:
        role = self._referrer.obj.get("roleRef")
        if not self._path.endswith("roleRef/name") or not isinstance(role, dict) or not role.get("apiGroup"):
            return True
        return any(one.kind == role.get("kind") and one.group == role["apiGroup"] for one in item.previous)

    def _in_reach(self, item: Resource) -> bool:
        own, one = self._referrer.id, item.id
        if own.cluster_scoped or one.cluster_scoped or (one.kind == "ServiceAccount" and "subjects" in self._path):
            return True
        return own.space == one.space


def _original_space(item: Resource) -> str:
    return (item.previous[0] if item.previous else item.id).space


def _fits(referrer: Resource, item: Resource, *, empty_fits: bool) -> bool:
    """Whether both have gone through the same layers, as far as their prefixes and suffixes tell."""
    return all(
        (empty_fits and not (a and b)) or _same_ending(a, b)
        for a, b in ((referrer.prefixes, item.prefixes), (referrer.suffixes, item.suffixes))
    )


def _same_ending(a: list[str], b: list[str]) -> bool:
    shorter = min(len(a), len(b))
    return a[len(a) - shorter :] == b[len(b) - shorter :] if shorter else a == b
