"""The AnalysisRuns of a Rollout: which ones there should be now, and what they say about it.

A background run lives from its starting step to the end of the update; an inline run belongs to one analysis step. A run that
failed or erred stops the update, an inconclusive one pauses it. Runs that no longer matter are told to terminate, and old
ones are deleted. Source: argo-rollouts `rollout/analysis.go`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fairway.kube.api import MergePatch
from fairway.kube.decision import Action, Change, Create, Delete, Reason
from fairway.kube.objects import Obj, dig, labels_of, meta_of, owner_reference, spec_of, status_of, uid_of
from fairway.kube.resources import ANALYSIS_RUNS
from fairway.rollouts.analysis_ask import AnalysisAsk
from fairway.rollouts.analysis_templates import TemplateError, gather_templates, run_spec
from fairway.rollouts.args import ArgError, rollout_args
from fairway.rollouts.keys import HASH_LABEL, REVISION, ROLLOUT_TYPE, STEP_INDEX
from fairway.rollouts.measurements import COMPLETED
from fairway.rollouts.seen import View
from fairway.rollouts.situation import Situation, within_rollback_window
from fairway.rollouts.status import CANARY_PAUSE, INCONCLUSIVE, RunStatus
from fairway.rollouts.steps import before_starting_step


@dataclass(frozen=True, slots=True)
class AnalysisPlan:
    """`failure` is the message of a run that stops the update (None: no run does); `step_passed`: this step's run succeeded.

    `before` and `after` are a blue-green Rollout's runs around the switch.
    """

    actions: tuple[Action, ...] = ()
    step: RunStatus | None = None
    background: RunStatus | None = None
    before: RunStatus | None = None
    after: RunStatus | None = None
    failure: str | None = None
    inconclusive: bool = False
    step_passed: bool = False
    reasons: tuple[Reason, ...] = ()

    @property
    def before_passed(self) -> bool:
        return self.before is not None and self.before.phase == "Successful"

    @property
    def after_passed(self) -> bool:
        return self.after is not None and self.after.phase == "Successful"


@dataclass(frozen=True, slots=True)
class _Wish:
    """One of the two runs: what is now, and the action that starts a new one."""

    status: RunStatus | None = None
    action: Action | None = None
    reason: Reason | None = None


def plan_analysis(view: View, situation: Situation) -> AnalysisPlan:
    if _skipped(view, situation):
        keeps = AnalysisPlan(step=_refreshed(view, view.status.step_run),
                             background=_refreshed(view, view.status.background_run))
        return AnalysisPlan(_cancel(view.seen.runs), keeps.step, keeps.background)
    step = _inline(view)
    background = _background(view, situation)
    current = {wish.status.name for wish in (step, background) if wish.status}
    rest = [run for run in view.seen.runs if meta_of(run)["name"] not in current]
    actions = [wish.action for wish in (step, background) if wish.action]
    return AnalysisPlan(
        actions=(*actions, *_cancel(rest), *_outdated(view, rest)),
        step=step.status,
        background=background.status,
        failure=_failure(step.status) if _failure(step.status) is not None else _failure(background.status),
        inconclusive=any(w.status is not None and w.status.phase == "Inconclusive" for w in (step, background)),
        step_passed=step.status is not None and step.status.phase == "Successful",
        reasons=tuple(wish.reason for wish in (step, background) if wish.reason),
    )


def plan_blue_green_analysis(view: View, situation: Situation, *, ready: bool, active: str, saturated: bool,
                             fast: bool) -> AnalysisPlan:
    """The runs before and after the switch. `ready`: the preview is available; `active`: what the active Service selects."""
    green, status = view.blue_green, view.status.blue_green
    if green is None or situation in (Situation.ABORTED, Situation.INITIAL) or view.status.promote_full or fast:
        return AnalysisPlan(_cancel(view.seen.runs), before=_refreshed(view, status.before),
                            after=_refreshed(view, status.after))
    switched, settled = active == view.hash, view.status.promoted
    before = after = _Wish()
    if green.before is not None and not settled and active and not switched:
        before = _around(view, green.before, status.before, "PrePromotion", "pre", begins=ready)
    elif switched and not settled:
        before = _Wish(_refreshed(view, status.before))
    if green.after is not None and not settled and switched:
        after = _around(view, green.after, status.after, "PostPromotion", "post", begins=saturated)
    current = {wish.status.name for wish in (before, after) if wish.status}
    rest = [run for run in view.seen.runs if meta_of(run)["name"] not in current]
    failures = [_failure(wish.status) for wish in (before, after)]
    return AnalysisPlan(
        actions=(*(wish.action for wish in (before, after) if wish.action), *_cancel(rest), *_outdated(view, rest)),
        before=before.status,
        after=after.status,
        failure=next((said for said in failures if said is not None), None),
        inconclusive=any(w.status is not None and w.status.phase == "Inconclusive" for w in (before, after)),
        reasons=tuple(wish.reason for wish in (before, after) if wish.reason),
    )


def _around(view: View, ask: AnalysisAsk, recorded: RunStatus | None, kind: str, suffix: str, *, begins: bool) -> _Wish:
    """A run begins once the pods that it judges are there, and then runs to its end."""
    now = _refreshed(view, recorded)
    if view.status.pause(INCONCLUSIVE) is not None:
        return _Wish(now)
    if not _needs_new(view, now):
        return _Wish(now, None, _waiting(now, f"{kind} analysis"))
    if now is not None:
        return _Wish(RunStatus(now.name, "Successful", now.message))  # inconclusive, and a person went on
    return _start(view, ask, kind, suffix) if begins else _Wish()


def _skipped(view: View, situation: Situation) -> bool:
    if situation in (Situation.ABORTED, Situation.PROMOTING, Situation.INITIAL) or within_rollback_window(view):
        return True
    return view.new is not None and view.new.has_deadline


def _failure(run: RunStatus | None) -> str | None:
    return run.message if run is not None and run.phase in ("Failed", "Error") else None


# --- the two kinds ------------------------------------------------------------------------------------------------


def _inline(view: View) -> _Wish:
    now = _refreshed(view, view.status.step_run)
    if view.status.pauses:
        return _Wish(now)
    step, index = view.step, view.index
    if step is None or step.analysis is None or index is None:
        return _Wish()
    if now is not None and _label(view, now.name, STEP_INDEX) not in ("", str(index)):
        now = None  # the run of a step that was skipped by promoting
    if not _needs_new(view, now):
        return _Wish(now, None, _waiting(now, f"analysis step {index + 1} of {len(view.canary.steps)}"))
    return _start(view, step.analysis, "Step", str(index))


def _background(view: View, situation: Situation) -> _Wish:
    ask = view.canary.analysis
    if ask is None or not ask.templates or situation is Situation.SETTLED or before_starting_step(view.canary, view.status):
        return _Wish()
    now = _refreshed(view, view.status.background_run)
    if view.status.pause(INCONCLUSIVE) is not None or not _needs_new(view, now):
        return _Wish(now)
    return _start(view, ask, "Background", "")


def _waiting(run: RunStatus | None, what: str) -> Reason | None:
    if run is None or run.phase in COMPLETED:
        return None
    return Reason("AnalysisRunning", f"{what}: waiting for AnalysisRun {run.name}")


def _needs_new(view: View, run: RunStatus | None) -> bool:
    """None yet, or a person went on after an inconclusive one."""
    if run is None:
        return True
    waited = view.status.controller_pause and view.status.pause(CANARY_PAUSE) is None
    return waited and run.phase == "Inconclusive"


def _refreshed(view: View, recorded: RunStatus | None) -> RunStatus | None:
    """What the run itself says now; one that was deleted keeps its last words. A retry after an abort starts without any."""
    retrying = view.status.aborted_at is not None and not view.status.abort
    if recorded is None or retrying:
        return None
    for run in view.seen.runs:
        if meta_of(run)["name"] == recorded.name:
            return RunStatus(recorded.name, str(status_of(run).get("phase") or ""), str(status_of(run).get("message") or ""))
    return recorded if recorded.phase in COMPLETED else None


def _label(view: View, name: str, label: str) -> str:
    run = next((run for run in view.seen.runs if meta_of(run)["name"] == name), None)
    return labels_of(run).get(label, "") if run else ""


# --- starting, stopping, forgetting -------------------------------------------------------------------------------


def _start(view: View, ask: AnalysisAsk, kind: str, suffix: str) -> _Wish:
    try:
        run = build_run(view, ask, kind, suffix)
    except (TemplateError, ArgError) as error:
        return _Wish(reason=Reason("AnalysisRunRefused", str(error)))
    for n in range(len(view.seen.runs) + 1):
        name = run["metadata"]["name"] + (f".{n}" if n else "")
        existing = next((r for r in view.seen.runs if meta_of(r)["name"] == name), None)
        if existing is None:
            run["metadata"]["name"] = name
            break
        phase = str(status_of(existing).get("phase") or "")
        if phase not in COMPLETED and not spec_of(existing).get("terminate") and _same(existing, run):
            return _Wish(RunStatus(name, phase, str(status_of(existing).get("message") or "")))
    name = run["metadata"]["name"]
    return _Wish(RunStatus(name), Create(run), Reason("AnalysisRunCreated", f"{kind} AnalysisRun {name} starts"))


def build_run(view: View, ask: AnalysisAsk, kind: str, suffix: str) -> Obj:
    """The AnalysisRun as upstream names and labels it."""
    latest, stable = view.hash, view.stable.hash if view.stable else ""
    args = rollout_args(ask.args, view.rollout, latest=latest, stable=stable)
    spec = run_spec(gather_templates(ask.templates, view.seen.templates), args, ask.dry_run, ask.measurement_retention)
    labels = {HASH_LABEL: latest, ROLLOUT_TYPE: kind, **ask.labels}
    if kind == "Step":
        labels[STEP_INDEX] = suffix
    labels |= (view.spec.selector or {}).get("matchLabels") or {}
    return {
        "apiVersion": ANALYSIS_RUNS.api_version,
        "kind": ANALYSIS_RUNS.kind,
        "metadata": {
            "name": "-".join(part for part in (view.name, latest, str(view.revision), suffix) if part),
            "namespace": view.namespace,
            "labels": labels,
            "annotations": {REVISION: str(view.revision), **ask.annotations},
            "ownerReferences": [owner_reference(view.rollout)],
        },
        "spec": spec,
    }


def _same(existing: Obj, wished: Obj) -> bool:
    asked = ("metrics", "dryRun", "measurementRetention", "args")
    return all(spec_of(existing).get(name) == spec_of(wished).get(name) for name in asked)


def _cancel(runs: Iterable[Obj]) -> tuple[Action, ...]:
    return tuple(
        Change(ANALYSIS_RUNS, str(meta_of(run).get("namespace", "")), str(meta_of(run)["name"]),
               MergePatch({"spec": {"terminate": True}}))
        for run in runs
        if dig(run, "status", "phase", default="") not in COMPLETED and not spec_of(run).get("terminate")
    )


def _outdated(view: View, runs: Iterable[Obj]) -> tuple[Action, ...]:
    """Completed runs beyond the history limits, and those of ReplicaSets that are gone."""
    kept = {"Successful": view.spec.successful_runs, "": view.spec.unsuccessful_runs}
    alive = {rs.hash for rs in view.all}
    drop = []
    newest_first = sorted(runs, key=lambda run: str(meta_of(run).get("creationTimestamp", "")), reverse=True)
    for run in newest_first:
        phase = str(dig(run, "status", "phase", default=""))
        if phase not in COMPLETED or "deletionTimestamp" in meta_of(run):
            continue
        pool = phase if phase == "Successful" else ""
        if labels_of(run).get(HASH_LABEL) in alive and kept[pool] > 0:
            kept[pool] -= 1
            continue
        drop.append(Delete(ANALYSIS_RUNS, view.namespace, str(meta_of(run)["name"]), uid_of(run)))
    return tuple(drop)
