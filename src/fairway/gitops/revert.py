"""After an aborted rollout git is corrected too: which commit to make, or why none. Pure.

A Rollout was aborted while it held the images of the revision that its Application had synced. As long as the branch still
names those images, the environment's image change is taken back: each image to what the stable version runs. A newer commit
that names other images is left alone, a revision is reverted once, and the revert itself names the evidence.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fairway.gitops.crd_health_argo import rollout_observed
from fairway.gitops.operation_state import short
from fairway.kube.decision import Reason
from fairway.kube.objects import Obj, annotations_of, dig, key_of, meta_of, owner_reference, parse_time, spec_of, status_of

REVERT, EVIDENCE = "Fairway-Revert", "Fairway-Evidence"
TAKE_BACK = "fairway.dev/take-back"
"""Annotation on a workload: JSON with bad and good images (container to image), evidence and story."""
Images = Mapping[str, str]
"""Container name to image reference."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """`text` goes into the trailer, `story` into the body of the commit message."""

    text: str
    story: str


@dataclass(frozen=True, slots=True)
class Revert:
    """Set each `old` image reference back to the new one; (old, good) pairs."""

    rollout: str
    bad_revision: str
    images: tuple[tuple[str, str], ...]
    evidence: Evidence
    noted: bool = False
    """Asked for by a note on the workload: it had been promoted, or a Canary refused it."""

    def message(self, app: str, good_revision: str) -> str:
        pairs = "\n".join(f"  {old}\n  -> {good}" for old, good in self.images)
        back = f"\nThe last good version was deployed by {short(good_revision)}.\n" if good_revision else "\n"
        what = f"{self.rollout} is taken back from revision {short(self.bad_revision)}." if self.noted else (
            f"Rollout {self.rollout} was aborted for revision {short(self.bad_revision)}; the stable version keeps serving.")
        return (
            f"Revert {app} to the last good version\n\n"
            f"{self.evidence.story}\n{what}\n{back}\n{pairs}\n\n"
            f"{REVERT}: {self.bad_revision}\n{EVIDENCE}: {self.evidence.text}\n"
        )


def containers(obj: Obj) -> Images:
    """Images of a pod template's containers, by name."""
    spec = dig(obj, "spec", "template", "spec", default={})
    found = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    return {str(c.get("name")): str(c.get("image")) for c in found}


def is_aborted(rollout: Obj) -> bool:
    """Aborted by an analysis, by its deadline with abort, or by hand.

    Only where the status speaks of the present spec: right after a new version was applied it is still about the last one.
    """
    return bool(status_of(rollout).get("abort")) and rollout_observed(rollout)


def find_revert(owner: str | None, app: str, rollout: Obj, synced: Obj | None, stable: Obj | None, revision: str,
                runs: Iterable[Obj]) -> Revert | Reason:
    """The revert that an aborted Rollout calls for, before git is asked.

    `owner` is the Application that the Rollout says it belongs to, `app` ours; `synced` is the Rollout as `revision` describes
    it, `stable` the ReplicaSet that serves now.
    """
    name = str(key_of(rollout))
    if owner != app:
        return Reason("NotOwned", f"Rollout {name} does not belong to this application")
    if not is_aborted(rollout):
        return Reason("NotAborted", f"Rollout {name} is not aborted")
    bad = containers(rollout)
    if synced is None or dict(containers(synced)) != dict(bad):
        return Reason("NotOurVersion", f"Rollout {name} was aborted for images that {short(revision)} does not name")
    if stable is None:
        return Reason("NoStableVersion", f"Rollout {name} has no stable version to go back to")
    good = containers(stable)
    changed = tuple((bad[c], good[c]) for c in bad if c in good and bad[c] != good[c])
    if not changed:
        return Reason("NoImageChange", f"Rollout {name} was aborted, but its images are those of the stable version; "
                      "revert the commit by hand")
    return Revert(name, revision, tuple(dict.fromkeys(changed)), evidence(rollout, runs))


def is_noted(obj: Obj) -> bool:
    """Somebody who watches this workload asks for its version to be taken back. A note about images that it no longer has has
    served its purpose; one that cannot be read is not passed over."""
    text = annotations_of(obj).get(TAKE_BACK)
    if not text:
        return False
    try:
        return dict(json.loads(text)["bad"]) == dict(containers(obj))
    except (ValueError, KeyError, TypeError):
        return True


def find_noted(owner: str | None, app: str, obj: Obj, synced: Obj | None, revision: str) -> Revert | Reason:
    """The revert that the note on a workload (`is_noted`) calls for."""
    name = f"{obj['kind']} {key_of(obj)}"
    if owner != app:
        return Reason("NotOwned", f"{name} does not belong to this application")
    try:
        note = json.loads(annotations_of(obj)[TAKE_BACK])
        bad, good = dict(note["bad"]), dict(note["good"])
        said = Evidence(" ".join(str(note["evidence"]).split()), str(note["story"]))
    except (ValueError, KeyError, TypeError):
        return Reason("NoteNotRead", f"the annotation {TAKE_BACK} of {name} cannot be read")
    if synced is None or dict(containers(synced)) != bad:
        return Reason("NotOurVersion", f"the note on {name} is about images that {short(revision)} does not name")
    changed = tuple((bad[c], good[c]) for c in bad if c in good and bad[c] != good[c])
    if not changed:
        return Reason("NoImageChange", f"{name} is to be taken back, but its images do not change; revert the commit by hand")
    return Revert(name, revision, tuple(dict.fromkeys(changed)), said, noted=True)


def evidence(rollout: Obj, runs: Iterable[Obj]) -> Evidence:
    """The newest AnalysisRun of the aborted version that did not pass; else what the Rollout says."""
    pod_hash = str(status_of(rollout).get("currentPodHash") or "")
    uid = owner_reference(rollout)["uid"] if "uid" in meta_of(rollout) else ""
    failed = [
        run for run in runs
        if any(ref.get("uid") == uid for ref in meta_of(run).get("ownerReferences") or ())
        and status_of(run).get("phase") in ("Failed", "Error", "Inconclusive")
    ]
    of_version = [run for run in failed if not pod_hash or pod_hash in str(meta_of(run).get("labels"))]
    if not of_version:
        said = str(status_of(rollout).get("message") or "aborted")
        return Evidence(f"Rollout {key_of(rollout)}: {said}", f"The rollout was aborted: {said}.")
    run = max(of_version, key=lambda r: parse_time(meta_of(r).get("creationTimestamp") or "1970-01-01T00:00:00Z"))
    said = str(status_of(run).get("message") or status_of(run).get("phase"))
    metric = _metric(run)
    text = f"AnalysisRun {key_of(run)}: {said}" + (f" ({metric})" if metric else "")
    return Evidence(" ".join(text.split()), f"AnalysisRun {key_of(run)} {str(status_of(run).get('phase')).lower()}: "
                    f"{said}." + (f"\nMeasured: {metric}." if metric else ""))


def _metric(run: Obj) -> str:
    """`success-rate = [0.92], 3 failures` of the metric that decided."""
    results = [r for r in status_of(run).get("metricResults") or () if r.get("phase") in ("Failed", "Error", "Inconclusive")]
    if not results:
        return ""
    result = results[0]
    measured = [m for m in result.get("measurements") or () if m.get("phase") in ("Failed", "Error", "Inconclusive")]
    value = str((measured[-1].get("value") or measured[-1].get("message") or "") if measured else "")
    conditions: Obj = next((m for m in spec_of(run).get("metrics") or () if m.get("name") == result.get("name")), {})
    wanted = conditions.get("successCondition") or conditions.get("failureCondition") or ""
    kind = "wanted" if conditions.get("successCondition") else "failure when"
    return f"{result.get('name')} = {value}" + (f", {kind} {wanted}" if wanted else "")


def already_reverted(messages: Iterable[str], bad_revision: str) -> bool:
    """Whether one of these commits is the revert of `bad_revision`."""
    return any(f"{REVERT}: {bad_revision}" in message for message in messages)


def still_named(head_images: Images, revert: Revert) -> bool:
    """Whether the branch still names the bad images: else a newer commit has changed them, and stays as it is."""
    return all(old in head_images.values() for old, _ in revert.images)


def good_revision(history: Sequence[Obj], bad_revision: str) -> str:
    """The revision of the newest history entry before the bad one, for the message."""
    return next((str(h.get("revision")) for h in reversed(history) if h.get("revision") != bad_revision), "")
