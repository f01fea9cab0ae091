"""The live objects of every application, kept by their tracking annotation from the caches of all watched kinds."""

from __future__ import annotations

from fairway.gitops.compare import ObjectKey, object_key
from fairway.gitops.tracking import app_of
from fairway.kube.cache import Informers
from fairway.kube.objects import Obj
from fairway.kube.resources import BUILT_IN, CUSTOM, Resource

_NEVER = frozenset(("Event", "EndpointSlice", "Endpoints", "Lease", "Node", "ReplicaSet", "ControllerRevision"))
"""Kinds that nobody keeps in git and that change all the time."""
WATCHED: tuple[Resource, ...] = tuple(row for row in (*BUILT_IN, *CUSTOM) if row.kind not in _NEVER)


class LiveObjects:
    """An index over the caches; what it hands out is shared."""

    def __init__(self, informers: Informers) -> None:
        self._by_app: dict[str, dict[ObjectKey, Obj]] = {}
        for resource in WATCHED:
            informers.of(resource).on_change(self._changed)

    def of(self, app: str) -> dict[ObjectKey, Obj]:
        return dict(self._by_app.get(app, {}))

    def _changed(self, old: Obj | None, new: Obj | None) -> None:
        if old is not None and (app := app_of(old)) is not None:
            self._by_app.get(app, {}).pop(object_key(old), None)
        if new is not None and (app := app_of(new)) is not None:
            self._by_app.setdefault(app, {})[object_key(new)] = new
