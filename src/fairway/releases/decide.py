"""The decision about an Application's releases: which deployments are on record, and how far each has come.

A digest that reaches the workload of an Application begins a Release, unless it is the one that was promoted last (a revert, a
change of configuration). A Release ends once:

| outcome    | when                                                                                       |
|------------|--------------------------------------------------------------------------------------------|
| Promoted   | the workload runs the digest everywhere and the sync that brought it has ended well        |
| RolledBack | it was aborted or taken back, and the workload asks for another digest again and is healthy |
| Failed     | the sync that brought it failed, or another digest took its place before it was promoted   |

Times are those of the first look at which something was so. A Release that ended is changed again in one case: a promoted
version that turned out bad is taken back. Whoever watches it leaves a note with its digest on the workload (a Canary's refusal
and a RollbackPolicy's say so in the same way).

Users of a Canary's target are served by its primary: the target itself has no pods between releases.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from fairway.kube.api import MergePatch
from fairway.kube.decision import Action, Change, Create, Decision, Reason, differs
from fairway.kube.objects import Obj, annotations_of, dig, labels_of, meta_of, parse_time, spec_of, status_of
from fairway.kube.resources import RELEASES
from fairway.releases.join import HOOK, Source, digest_in, digests_of, source_of
from fairway.releases.record import Release, read_release, release_name, write_spec, write_status

ENVIRONMENT = "fairway.dev/environment"
TAKE_BACK, TAKEN_BACK = "fairway.dev/take-back", "fairway.dev/taken-back"
"""Annotations on a workload: JSON with bad and good images (container to image) and evidence. The second asks for nothing: what
it asked for has been done."""


@dataclass(frozen=True, slots=True)
class Seen:
    """`workloads`: Rollouts and Deployments of the Application. `releases`: of this Application. `jobs`: its hooks.

    `guarded`: for Deployments that are a Canary's target, by their name, the Canary and its primary.
    """

    application: Obj
    namespace: Obj | None
    workloads: tuple[Obj, ...]
    runs: tuple[Obj, ...]
    releases: tuple[Obj, ...]
    jobs: tuple[Obj, ...] = ()
    guarded: Mapping[str, tuple[Obj, Obj | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Stand:
    """How one workload stands to the digest that it asks for. `refused`: digests to be taken back, with the evidence; `taken`:
    those that were last, too."""

    digest: str
    healthy: bool = False
    exposed: bool = False
    aborted: bool = False
    message: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)
    taken: Mapping[str, str] = field(default_factory=dict)


def decide(seen: Seen, now: datetime) -> Decision:
    known = {release.name: release for release in map(read_release, seen.releases)}
    recorded = {release.digest for release in known.values()}
    stands = [_stand(seen, workload, recorded) for workload in seen.workloads]
    stand = next((s for s in stands if s.digest), None)
    if stand is None:
        return Decision(reasons=(Reason("NoDigest", "no workload of this Application names an image by digest"),))
    known = {name: _taken_back(release, stand, known, now) for name, release in known.items()}
    current = _current(seen, known, stand)
    fresh: Release | None = None
    if current is None and stand.digest != _last_promoted(known):
        fresh = current = _begin(seen, stand, now)
    actions: list[Action] = [Create(write_spec(fresh))] if fresh else []
    reasons: list[Reason] = []
    for release in [*(r for r in known.values() if not r.ended), *([fresh] if fresh else [])]:
        mine = current is not None and release.name == current.name
        after = _advanced(seen, release, stand, now) if mine else _superseded(release, stand, now)
        after = replace(after, phases=_phases(after, seen.jobs))
        stored = next((status_of(o) for o in seen.releases if meta_of(o)["name"] == release.name), {})
        if differs(stored, write_status(after)):
            actions.append(Change(RELEASES, after.namespace, after.name, MergePatch({"status": write_status(after)}), "status"))
        said = after.evidence or f"digest {after.digest.removeprefix('sha256:')[:12]}"
        reasons.append(Reason(f"Release{after.outcome}", f"{after.name}: {said}"))
    return Decision(tuple(actions), reasons=tuple(reasons))


# --- which release ------------------------------------------------------------------------------------------------


def _current(seen: Seen, known: Mapping[str, Release], stand: _Stand) -> Release | None:
    """The Release in progress for the digest that is asked for now."""
    return next((r for r in known.values() if r.digest == stand.digest and not r.ended), None)


def _last_promoted(known: Mapping[str, Release]) -> str:
    done = [release for release in known.values() if release.outcome == "Promoted" and release.finished_at]
    return max(done, key=lambda release: str(release.finished_at)).digest if done else ""


def _taken_back(release: Release, stand: _Stand, known: Mapping[str, Release], now: datetime) -> Release:
    """A promoted version that the workload still asks for and that is refused now: it goes on, to its other end."""
    newest = release.digest == stand.digest == _last_promoted(known)
    if release.outcome != "Promoted" or not newest or release.digest not in stand.refused:
        return release
    return replace(release, outcome="InProgress", aborted_at=now, finished_at=None, evidence=stand.refused[release.digest])


def _begin(seen: Seen, stand: _Stand, now: datetime) -> Release:
    app, source = seen.application, source_of(stand.digest, seen.runs)
    revision = _revision(app)
    name, namespace = str(meta_of(app)["name"]), str(dig(app, "spec", "destination", "namespace", default=""))
    return Release(
        name=release_name(name, stand.digest, revision), namespace=namespace or str(meta_of(app).get("namespace", "")),
        application=name, environment=_environment(seen, namespace), digest=stand.digest, revision=revision,
        repository=source.repository, sha=source.sha, committed_at=source.committed_at, pushed_at=source.pushed_at,
        image_at=source.image_at, synced_at=_applied_at(seen, now),
    )  # fmt: skip


def _revision(app: Obj) -> str:
    """Of the sync that runs now or ran last."""
    return str(dig(app, "status", "operationState", "syncResult", "revision", default="")
               or dig(app, "status", "sync", "revision", default=""))


def _environment(seen: Seen, namespace: str) -> str:
    own = labels_of(seen.application).get(ENVIRONMENT) or annotations_of(seen.application).get(ENVIRONMENT)
    room = labels_of(seen.namespace).get(ENVIRONMENT) if seen.namespace else None
    return own or room or namespace


def _applied_at(seen: Seen, now: datetime) -> datetime:
    """Now, because this is the first look; after a restart the sync's own end, if that was earlier."""
    ended = dig(seen.application, "status", "operationState", "finishedAt")
    running = dig(seen.application, "status", "operationState", "phase") == "Running"
    return min(now, parse_time(ended)) if ended and not running else now


# --- how far ------------------------------------------------------------------------------------------------------


def _stand(seen: Seen, workload: Obj, recorded: Collection[str]) -> _Stand:
    """Of the digests in the pod template one that our own pipeline made counts first, then one that is on record already
    (its pipeline may be long gone)."""
    digests = digests_of(workload)
    if not digests:
        return _Stand("")
    made = [d for d in digests if source_of(d, seen.runs) != Source()] or [d for d in digests if d in recorded]
    digest = (made or digests)[0]
    refused = _refused(workload, TAKE_BACK)
    taken = {**_refused(workload, TAKEN_BACK), **refused}
    aborted, why = digest in refused, refused.get(digest, "")
    status, generation = status_of(workload), str(meta_of(workload).get("generation", ""))
    if workload.get("kind") != "Rollout":
        guarded = seen.guarded.get(str(meta_of(workload).get("name")))
        if guarded is not None:
            healthy, exposed = _of_canary(digest, *guarded)
            return _Stand(digest, healthy and not aborted, exposed, aborted, why, refused, taken)
        done = status.get("updatedReplicas", 0) == status.get("replicas", 0) == status.get("availableReplicas", 0) > 0
        observed = str(status.get("observedGeneration", "")) == generation
        exposed = observed and status.get("updatedReplicas", 0) > 0
        return _Stand(digest, done and observed and not aborted, exposed, aborted, why, refused, taken)
    observed = str(status.get("observedGeneration", "")) == generation
    new, stable = status.get("currentPodHash"), status.get("stableRS")
    weight = dig(status, "canary", "weights", "canary", default={})
    reached = weight.get("weight", 0) > 0 and weight.get("podTemplateHash") == new
    reached = reached or (new is not None and dig(status, "blueGreen", "activeSelector") == new)
    exposed = observed and (reached if new != stable else status.get("availableReplicas", 0) > 0)
    healthy = observed and status.get("phase") == "Healthy" and new == stable and not aborted
    return _Stand(digest, healthy, exposed, aborted or (observed and bool(status.get("abort"))),
                  why or str(status.get("message") or ""), refused, taken)


def _of_canary(digest: str, canary: Obj, primary: Obj | None) -> tuple[bool, bool]:
    """Whether the primary serves the digest, and whether users meet it."""
    status = status_of(canary)
    promoted = primary is not None and digest in digests_of(primary)
    healthy = promoted and status.get("phase") in ("Initialized", "Succeeded", "Failed")
    return healthy, promoted or int(status.get("canaryWeight") or 0) > 0


def _refused(workload: Obj, annotation: str) -> Mapping[str, str]:
    """Digest to evidence, as the note of whoever watches the workload has it."""
    try:
        note = json.loads(annotations_of(workload).get(annotation) or "{}")
        bad, good, said = dict(note.get("bad") or {}), dict(note.get("good") or {}), str(note.get("evidence") or "")
    except (ValueError, AttributeError, TypeError):
        return {}
    return {digest: said for name, image in bad.items() if image != good.get(name) and (digest := digest_in(str(image)))}


def _advanced(seen: Seen, release: Release, stand: _Stand, now: datetime) -> Release:
    release = _joined(release, source_of(release.digest, seen.runs))
    if stand.exposed and release.exposed_at is None:
        release = replace(release, exposed_at=now)
    if stand.aborted:
        return replace(release, aborted_at=release.aborted_at or now, evidence=_evidence(seen, stand) or release.evidence)
    if stand.healthy and release.promoted_at is None:
        release = replace(release, promoted_at=now, exposed_at=release.exposed_at or now, aborted_at=None, evidence="")
    operation = dig(seen.application, "status", "operationState", default={})
    if operation.get("phase") in ("Failed", "Error") and _revision(seen.application) == release.revision:
        return replace(release, outcome="Failed", finished_at=now, evidence=str(operation.get("message") or "the sync failed"))
    if release.promoted_at is not None and stand.healthy and operation.get("phase", "Succeeded") == "Succeeded":
        return replace(release, outcome="Promoted", finished_at=now)
    return release


def _joined(release: Release, source: Source) -> Release:
    """A pipeline that ends after the digest was deployed may still name its times."""
    return replace(
        release,
        committed_at=release.committed_at or source.committed_at,
        pushed_at=release.pushed_at or source.pushed_at,
        image_at=release.image_at or source.image_at,
    )


def _superseded(release: Release, stand: _Stand, now: datetime) -> Release:
    """Another digest is asked for now."""
    if release.aborted_at is None and release.digest in stand.taken:
        release = replace(release, aborted_at=now, evidence=stand.taken[release.digest])
    if release.aborted_at is not None:
        return replace(release, outcome="RolledBack", finished_at=now) if stand.healthy else release
    if release.promoted_at is not None:
        return replace(release, outcome="Promoted", finished_at=now)
    taken = f"superseded by {stand.digest.removeprefix('sha256:')[:12]} before it was promoted"
    return replace(release, outcome="Failed", finished_at=now, evidence=release.evidence or taken)


_RUNS = (("canary", "currentBackgroundAnalysisRunStatus"), ("canary", "currentStepAnalysisRunStatus"),
         ("blueGreen", "prePromotionAnalysisRunStatus"), ("blueGreen", "postPromotionAnalysisRunStatus"))
"""Where the status of a Rollout names its analysis."""


def _evidence(seen: Seen, stand: _Stand) -> str:
    """What the analysis said, with the name of the run; else the Rollout's own message."""
    for workload in seen.workloads:
        for where, name in _RUNS:
            run = dig(workload, "status", where, name, default={})
            if run.get("status") in ("Failed", "Error") and run.get("message"):
                return f"AnalysisRun {meta_of(workload).get('namespace', '')}/{run.get('name')}: {run['message']}"
    return stand.message


# --- the parts of the way -------------------------------------------------------------------------------------------


def _phases(release: Release, jobs: Sequence[Obj]) -> dict[str, float]:
    """Seconds of each part whose two ends are known. They do not overlap: a migration is not counted as sync as well."""
    judged_at = release.promoted_at or release.aborted_at
    spans = {
        "ci": (release.pushed_at or release.committed_at, release.image_at),
        "sync": (release.image_at, release.synced_at),
        "rollout": (release.synced_at, judged_at),
        "verify": (judged_at, release.finished_at),
    }
    found = {name: (end - start).total_seconds() for name, (start, end) in spans.items() if start and end and end >= start}
    migration = release.phases.get("migration") or _migration(release, jobs)
    if migration and "sync" in found:
        migration = min(migration, found["sync"])  # Jobs say whole seconds, which may be more than there were
        found["sync"] -= migration
    return {**found, **({"migration": migration} if migration else {})}


def _migration(release: Release, jobs: Sequence[Obj]) -> float | None:
    """How long the PreSync Jobs of this sync ran; they belong to it when they ended before the digest was applied."""
    if release.synced_at is None:
        return None
    total = 0.0
    for job in jobs:
        ended, begun = dig(job, "status", "completionTime"), dig(job, "status", "startTime")
        if "PreSync" not in annotations_of(job).get(HOOK, "") or not ended or not begun:
            continue
        since = release.image_at or release.pushed_at
        if parse_time(ended) <= release.synced_at and (since is None or parse_time(begun) >= since.replace(microsecond=0)):
            total += (parse_time(ended) - parse_time(begun)).total_seconds()
    return total or None


def application_namespace(application: Obj) -> str:
    return str(dig(spec_of(application), "destination", "namespace", default=""))
