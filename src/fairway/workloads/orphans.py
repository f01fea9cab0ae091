"""Objects without a controller: what a ReplicaSet, Deployment, StatefulSet or DaemonSet may adopt, found without looking at
all there are."""

from __future__ import annotations

from fairway.kube.cache import Cache, Index
from fairway.kube.objects import Obj, controller_of, key_of


class Orphans:
    """Follows one cache."""

    def __init__(self, cache: Cache) -> None:
        self._found = Index(cache, lambda obj: key_of(obj).namespace if controller_of(obj) is None else None)

    def of(self, namespace: str) -> list[Obj]:
        return self._found.list(namespace)
