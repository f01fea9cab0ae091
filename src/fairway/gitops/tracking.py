"""Which application an object belongs to: Argo CD's tracking annotation, or label. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from fairway.kube.objects import Obj, annotations_of, group_of, labels_of, meta_of

TRACKING_ID = "argocd.argoproj.io/tracking-id"
INSTALLATION_ID = "argocd.argoproj.io/installation-id"
HOME = "argocd"
_LONGEST_LABEL = 63


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


@dataclass(frozen=True, slots=True)
class Tracking:
    """How an object says whose it is: argocd-cm's `application.resourceTrackingMethod` and its companions.

    `annotation` (the default) and `annotation+label` go by the annotation; the label beside it is for people, and cut to what
    a label may hold. `label` goes by the label alone. With an installation id, only objects that carry it are ours.
    """

    method: Literal["annotation", "label", "annotation+label"] = "annotation"
    label: str = "app.kubernetes.io/instance"
    installation: str = ""

    def mark(self, app: str, obj: Obj) -> Obj:
        """A copy that says whose it is."""
        meta = dict(meta_of(obj))
        notes: dict[str, str] = {}
        if self.method != "label":
            notes[TRACKING_ID] = str(id_for(app, obj))
        if self.method != "annotation":
            cut = app if self.method == "label" else app[:_LONGEST_LABEL].rstrip("-_.")
            meta["labels"] = {**(meta.get("labels") or {}), self.label: cut}
        if self.installation:
            notes[INSTALLATION_ID] = self.installation
        if notes:
            meta["annotations"] = {**(meta.get("annotations") or {}), **notes}
        return {**obj, "metadata": meta}

    def app_of(self, obj: Obj) -> str | None:
        """The application that owns the object. A copy that another controller made of an owned object is nobody's."""
        if self.installation and annotations_of(obj).get(INSTALLATION_ID) != self.installation:
            return None
        if self.method == "label":
            return None if meta_of(obj).get("ownerReferences") else labels_of(obj).get(self.label)
        found = TrackingId.parse(annotations_of(obj).get(TRACKING_ID, ""))
        return found.app if found is not None and found == id_for(found.app, obj) else None


BY_ANNOTATION = Tracking()


def decode_tracking(data: Mapping[str, str]) -> Tracking:
    """From argocd-cm; `ValueError` for a method that there is not."""
    method = data.get("application.resourceTrackingMethod") or "annotation"
    if method not in ("annotation", "label", "annotation+label"):
        raise ValueError(f"{method!r} is none of annotation, label, annotation+label")
    label = data.get("application.instanceLabelKey") or BY_ANNOTATION.label
    return Tracking(cast(Any, method), label, data.get("installationID") or "")
