"""What people do to a Rollout, as patches: promote, abort, retry, pause, restart, undo, set image.

Each is a value that a command sends and a dry run prints. Source: argo-rollouts `pkg/kubectl-argo-rollouts/cmd`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from fairway.kube.objects import Obj, annotations_of, copy_of, dig, meta_of, rfc3339, spec_of, status_of
from fairway.rollouts.keys import HASH_LABEL, REVISION, TRACKING_ID
from fairway.rollouts.status import INCONCLUSIVE, INCONCLUSIVE_EXPERIMENT, read_status


class Refused(ValueError):
    """The command does not apply here; the message says why, `mend` what to do instead."""

    def __init__(self, message: str, mend: str = "") -> None:
        super().__init__(message)
        self.mend = mend


@dataclass(frozen=True, slots=True)
class Patches:
    """Merge patches: `spec` for the object, `status` for its status subresource; None where nothing changes."""

    spec: Obj | None = None
    status: Obj | None = None

    @property
    def nothing(self) -> bool:
        return self.spec is None and self.status is None


def promote(rollout: Obj, *, full: bool = False, skip_step: bool = False, skip_all: bool = False) -> Patches:
    """Past the current pause or step; `full` past all steps, pauses and analysis."""
    stand = read_status(rollout)
    steps = dig(rollout, "spec", "strategy", "canary", "steps", default=[])
    index = stand.step_index or 0
    if skip_step or skip_all:
        if not steps:
            raise Refused("a Rollout without canary steps has none to skip")
        after = len(steps) if skip_all else min(index + 1, len(steps))
        return Patches(None, {"status": {"currentStepIndex": after, "pauseConditions": None}})
    if full:
        if stand.current_hash == stand.stable_hash:
            return Patches()
        return Patches({"spec": {"paused": False}} if _paused(rollout) else None, {"status": {"promoteFull": True}})
    spec: Obj | None = {"spec": {"paused": False}} if _paused(rollout) else None
    if steps and any(stand.pause(reason) is not None for reason in (INCONCLUSIVE, INCONCLUSIVE_EXPERIMENT)):
        after = min(index + 1, len(steps))
        return Patches(spec, {"status": {"pauseConditions": None, "controllerPause": False, "currentStepIndex": after}})
    if stand.pauses:
        return Patches(spec, {"status": {"pauseConditions": None}})
    if steps and index < len(steps):
        return Patches(spec, {"status": {"currentStepIndex": index + 1}})
    return Patches(spec)


def _paused(rollout: Obj) -> bool:
    return bool(spec_of(rollout).get("paused"))


def abort(rollout: Obj) -> Patches:
    return Patches() if status_of(rollout).get("abort") else Patches(None, {"status": {"abort": True}})


def retry(rollout: Obj) -> Patches:
    """From the first step again."""
    if not status_of(rollout).get("abort"):
        raise Refused(f"rollout {_name(rollout)!r} is not aborted: there is nothing to retry")
    return Patches(None, {"status": {"abort": False}})


def pause(rollout: Obj) -> Patches:
    return Patches() if _paused(rollout) else Patches({"spec": {"paused": True}})


def restart(rollout: Obj, at: datetime) -> Patches:
    return Patches({"spec": {"restartAt": rfc3339(at)}})


def undo(rollout: Obj, replica_sets: Iterable[Obj], revision: int = 0) -> Patches:
    """The pod template of an older revision; 0 is the one before the newest."""
    _own_only(rollout, "undo")
    by_revision = {number: rs for rs in replica_sets if (number := _revision(rs))}
    numbers = sorted(by_revision)
    if not revision:
        if len(numbers) < 2:
            raise Refused(f"no revision found to undo to for rollout {_name(rollout)!r}")
        revision = numbers[-2]
    if revision not in by_revision:
        known = ", ".join(map(str, numbers)) or "none"
        raise Refused(f"unable to find specified revision {revision} in history (there are: {known})")
    template = copy_of(dig(by_revision[revision], "spec", "template", default={}))
    dig(template, "metadata", "labels", default={}).pop(HASH_LABEL, None)
    return Patches({"spec": {"template": template}})


def set_image(rollout: Obj, images: Mapping[str, str]) -> Patches:
    """`images` by container name, "*" for all."""
    _own_only(rollout, "set-image")
    template = copy_of(spec_of(rollout).get("template") or {})
    every = [c for kind in ("initContainers", "containers") for c in dig(template, "spec", kind, default=[])]
    for name, image in images.items():
        hit = [c for c in every if name in ("*", c.get("name"))]
        if not hit:
            known = ", ".join(str(c.get("name")) for c in every)
            raise Refused(f"unable to find container named {name!r} (there are: {known})")
        for container in hit:
            container["image"] = image
    return Patches({"spec": {"template": template}})


def _own_only(rollout: Obj, verb: str) -> None:
    """Where an Application owns the Rollout, git says what runs; the next sync would take the change back."""
    application = annotations_of(rollout).get(TRACKING_ID, "").partition(":")[0]
    if application:
        raise Refused(f"rollout {_name(rollout)!r} belongs to Application {application!r}: what it runs is changed in git",
                      f"revert or edit the image in the Application's repository and push it; {verb} here would be undone by "
                      "the next sync. To stop exposure at once: fairway rollout abort")


def _name(rollout: Obj) -> str:
    return str(meta_of(rollout).get("name", ""))


def _revision(obj: Obj) -> int:
    text = annotations_of(obj).get(REVISION, "")
    return int(text) if text.isdigit() else 0
