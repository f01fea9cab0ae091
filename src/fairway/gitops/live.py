"""The live objects of every application, by the application they say they are of, from the caches of all watched kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fairway.gitops.compare import ObjectKey, object_key
from fairway.gitops.tracking import BY_ANNOTATION, Tracking
from fairway.kube.cache import Informers
from fairway.kube.objects import Obj, meta_of
from fairway.kube.resources import BUILT_IN, CUSTOM, Resource

_NEVER = frozenset(("Event", "EndpointSlice", "Endpoints", "Lease", "Node", "ReplicaSet", "ControllerRevision"))
"""Kinds that nobody keeps in git and that change all the time."""
WATCHED: tuple[Resource, ...] = tuple(row for row in (*BUILT_IN, *CUSTOM) if row.kind not in _NEVER)


class LiveObjects:
    """An index over the caches; what it hands out is shared."""

    def __init__(self, informers: Informers, tracking: Tracking, resources: Iterable[Resource] = WATCHED) -> None:
        self._informers = informers
        self._tracking = tracking
        self._by_app: dict[str, dict[ObjectKey, Obj]] = {}
        self._nobodys: dict[str, dict[ObjectKey, Obj]] = {}
        self._watched: list[Resource] = []
        for resource in resources:
            self.watch(resource)

    def watch(self, resource: Resource) -> None:
        """Objects of this kind count from now on."""
        self._watched.append(resource)
        self._informers.of(resource).on_change(self._changed)

    def track_by(self, tracking: Tracking) -> None:
        """From now on objects say in another way whose they are."""
        if tracking == self._tracking:
            return
        self._tracking = tracking
        self._by_app, self._nobodys = {}, {}
        for resource in self._watched:
            for obj in self._informers.of(resource).list():
                self._changed(None, obj)

    def of(self, app: str) -> dict[ObjectKey, Obj]:
        return dict(self._by_app.get(app, {}))

    def orphans(self, namespace: str, ignored: Callable[[ObjectKey], bool]) -> list[ObjectKey]:
        """Objects of the namespace that belong to no application and to no other object."""
        return sorted(key for key in self._nobodys.get(namespace, ()) if not ignored(key))

    def _changed(self, old: Obj | None, new: Obj | None) -> None:
        if old is not None:
            app, key = self._tracking.app_of(old), object_key(old)
            (self._by_app.get(app, {}) if app is not None else self._nobodys.get(key.namespace, {})).pop(key, None)
        if new is not None:
            app, key = self._tracking.app_of(new), object_key(new)
            if app is not None:
                self._by_app.setdefault(app, {})[key] = new
            elif belongs_to_nobody(new, self._tracking):
                self._nobodys.setdefault(key.namespace, {})[key] = new


def belongs_to_nobody(obj: Obj, tracking: Tracking = BY_ANNOTATION) -> bool:
    """An object of a namespace that is no Application's, no other object's, and not there by itself."""
    key = object_key(obj)
    return bool(key.namespace) and tracking.app_of(obj) is None and not meta_of(obj).get("ownerReferences") and (
        not _comes_by_itself(key))


def _comes_by_itself(key: ObjectKey) -> bool:
    """Every namespace has these."""
    return (key.kind, key.name) in (("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default"))
