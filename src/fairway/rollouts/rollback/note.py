"""The note that asks whoever owns a workload's files to take a version back: the annotation `fairway.dev/take-back`.

JSON: `bad` and `good` (container to image), `evidence` (one line), `story` (for people). It speaks of the images that stand in
`bad`; once the workload has others it has done its work and becomes `fairway.dev/taken-back`, which asks for nothing: whoever
asks for the same images again is given another try.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from fairway.kube.api import MergePatch
from fairway.kube.decision import Change
from fairway.kube.objects import Obj, annotations_of, meta_of, spec_of
from fairway.kube.resources import Resource
from fairway.rollouts.keys import TRACKING_ID

TAKE_BACK, TAKEN_BACK = "fairway.dev/take-back", "fairway.dev/taken-back"


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
    note = annotations_of(obj).get(TAKE_BACK)
    return _annotate(resource, obj, None, done=note) if note else None


def withdraw_done(resource: Resource, obj: Obj) -> Change | None:
    """Withdraw a note about images that the workload no longer has."""
    try:
        bad = dict(json.loads(annotations_of(obj).get(TAKE_BACK) or "{}").get("bad") or {})
    except (ValueError, AttributeError, TypeError):
        return None
    return withdraw_note(resource, obj) if bad and bad != images(spec_of(obj).get("template") or {}) else None


def _annotate(resource: Resource, obj: Obj, note: str | None, *, done: str | None = None) -> Change:
    meta = meta_of(obj)
    return Change(resource, str(meta.get("namespace", "")), meta["name"],
                  MergePatch({"metadata": {"annotations": {TAKE_BACK: note, TAKEN_BACK: done}}}))
