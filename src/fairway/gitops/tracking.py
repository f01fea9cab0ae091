"""Which application an object belongs to: Argo CD's tracking annotation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fairway.kube.objects import Obj, annotations_of, group_of, meta_of

TRACKING_ID = "argocd.argoproj.io/tracking-id"
HOME = "argocd"


@dataclass(frozen=True, slots=True)
class TrackingId:
    """`app:group/Kind:namespace/name`; the app outside of the namespace argocd is `<namespace>_<name>`."""

    app: str
    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.app}:{self.group}/{self.kind}:{self.namespace}/{self.name}"

    @staticmethod
    def parse(text: str) -> TrackingId | None:
        parts = text.split(":")
        if len(parts) != 3:
            return None
        group, _, kind = parts[1].partition("/")
        namespace, slash, name = parts[2].partition("/")
        return TrackingId(parts[0], group, kind, namespace, name) if slash else None


def tracked_app(namespace: str, name: str) -> str:
    return name if namespace == HOME else f"{namespace}_{name}"


def id_for(app: str, obj: Obj) -> TrackingId:
    meta = meta_of(obj)
    return TrackingId(app, group_of(str(obj.get("apiVersion") or "")), str(obj.get("kind") or ""),
                      str(meta.get("namespace") or ""), str(meta.get("name") or ""))


def with_tracking(app: str, obj: Obj) -> Obj:
    """A copy that says whose it is."""
    meta = meta_of(obj)
    annotations: Mapping[str, str] = meta.get("annotations") or {}
    return {**obj, "metadata": {**meta, "annotations": {**annotations, TRACKING_ID: str(id_for(app, obj))}}}


def app_of(obj: Obj) -> str | None:
    """The application that owns the object. A copy that another controller made of an owned object is nobody's."""
    found = TrackingId.parse(annotations_of(obj).get(TRACKING_ID, ""))
    return found.app if found is not None and found == id_for(found.app, obj) else None
