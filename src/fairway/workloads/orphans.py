"""Pods without a controller: what a ReplicaSet, StatefulSet or DaemonSet may adopt, found without looking at all pods."""

from __future__ import annotations

from fairway.kube.cache import Cache
from fairway.kube.objects import Key, Obj, controller_of, key_of


class Orphans:
    """Follows one cache."""

    def __init__(self, cache: Cache) -> None:
        self._by_namespace: dict[str, dict[Key, Obj]] = {}
        cache.on_change(self._changed)

    def of(self, namespace: str) -> list[Obj]:
        return [obj for _, obj in sorted(self._by_namespace.get(namespace, {}).items())]

    def _changed(self, old: Obj | None, new: Obj | None) -> None:
        if old is not None:
            self._by_namespace.get(key_of(old).namespace, {}).pop(key_of(old), None)
        if new is not None and controller_of(new) is None:
            self._by_namespace.setdefault(key_of(new).namespace, {})[key_of(new)] = new
