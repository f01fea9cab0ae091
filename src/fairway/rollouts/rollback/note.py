"""The note that asks whoever owns a workload's files to take a version back: the annotation `fairway.dev/take-back`.

JSON: `bad` and `good` (container to image), `evidence` (one line), `story` (for people). It speaks of the images that stand in
`bad`; once the workload has others it means nothing any more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from fairway.kube.api import MergePatch
from fairway.kube.decision import Change
from fairway.kube.objects import Obj, annotations_of, meta_of
from fairway.kube.resources import Resource
from fairway.rollouts.keys import TRACKING_ID

TAKE_BACK = "fairway.dev/take-back"


def owned_by_git(obj: Obj) -> bool:
    return TRACKING_ID in annotations_of(obj)


def images(template: Obj) -> dict[str, str]:
    spec = template.get("spec") or {}
    return {str(c.get("name")): str(c.get("image"))
            for c in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))}


def ask_to_take_back(resource: Resource, obj: Obj, bad: Mapping[str, str], good: Mapping[str, str], *, evidence: str,
                     story: str) -> Change:
    note = json.dumps({"bad": dict(bad), "good": dict(good), "evidence": evidence, "story": story}, sort_keys=True)
    return _annotate(resource, obj, note)


def withdraw_note(resource: Resource, obj: Obj) -> Change | None:
    return _annotate(resource, obj, None) if TAKE_BACK in annotations_of(obj) else None


def _annotate(resource: Resource, obj: Obj, note: str | None) -> Change:
    meta = meta_of(obj)
    return Change(resource, str(meta.get("namespace", "")), meta["name"],
                  MergePatch({"metadata": {"annotations": {TAKE_BACK: note}}}))
