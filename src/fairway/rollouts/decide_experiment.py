"""The decision about an Experiment: versions side by side for a while, and what the analyses say of them.

It begins when the pods of every template are available, ends after its duration, or as soon as an analysis fails, errs or
is inconclusive, or when all required analyses have succeeded, or when somebody ends it. Its verdict is that of its analyses,
unless its pods never came. Source: argo-rollouts `experiments/experiment.go`, `experiments/conditions.go`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from fairway.kube.api import MergePatch
from fairway.kube.decision import Action, Change, Create, Decision, Reason, earliest
from fairway.kube.objects import Obj, annotations_of, meta_of, owner_reference, rfc3339, spec_of, status_of
from fairway.kube.resources import ANALYSIS_RUNS
from fairway.rollouts.analysis_ask import TemplateRef
from fairway.rollouts.analysis_templates import TemplateError, gather_templates, run_spec
from fairway.rollouts.args import ArgError
from fairway.rollouts.conditions import renew_condition, set_condition, without
from fairway.rollouts.experiment_pods import TEMPLATE_NAME, Stage, plan_template
from fairway.rollouts.experiment_spec import (
    AnalysisStatus,
    ExperimentAnalysis,
    ExperimentSpec,
    ExperimentStatus,
    TemplateStatus,
    decode_experiment,
    read_experiment_status,
    write_experiment_status,
)
from fairway.rollouts.fields import SpecError
from fairway.rollouts.measurements import COMPLETED, is_worse
from fairway.rollouts.replicasets import ReplicaSet, read_replica_set

REQUIRED_DONE = "Required AnalysisRuns completed"
LOOK_AGAIN_AT_INVALID = timedelta(seconds=20)
_WORSE = ("Successful", "Running", "Progressing", "Error", "Failed")
_PHASE_OF_TEMPLATES = {"Progressing": "Pending", "Failed": "Failed", "Error": "Error", "Successful": "Successful"}
_TAG = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SeenExperiment:
    """`replica_sets`, `services` and `runs` are those that the Experiment owns."""

    experiment: Obj
    replica_sets: tuple[Obj, ...] = ()
    services: tuple[Obj, ...] = ()
    runs: tuple[Obj, ...] = ()
    templates: Mapping[TemplateRef, Obj] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Runs:
    statuses: tuple[AnalysisStatus, ...] = ()
    actions: tuple[Action, ...] = ()
    reasons: tuple[Reason, ...] = ()


def decide_experiment(seen: SeenExperiment, now: datetime) -> Decision:
    before = read_experiment_status(seen.experiment)
    try:
        spec = decode_experiment(seen.experiment)
    except SpecError as mistake:
        message = f'The Experiment "{meta_of(seen.experiment).get("name", "")}" is invalid: {mistake}'
        conditions = set_condition(before.conditions, "InvalidExperimentSpec", "True", "InvalidSpec", message, now)
        return Decision((), {"conditions": list(conditions), "phase": "Error", "message": message},
                        now + LOOK_AGAIN_AT_INVALID, (Reason("InvalidSpec", message),))
    stage = Stage(seen.experiment, spec, now, _ending(spec, before), _passed(spec, before, now))
    sets = {annotations_of(rs).get(TEMPLATE_NAME): read_replica_set(rs) for rs in seen.replica_sets}
    services = {annotations_of(service).get(TEMPLATE_NAME): service for service in seen.services}
    plans = [plan_template(stage, template, _status_of(before, template.name), sets.get(template.name),
                           services.get(template.name)) for template in spec.templates]
    runs = _analyses(seen, stage, before, sets)
    status = replace(before, templates=tuple(plan.status for plan in plans), analyses=runs.statuses)
    status = _assessed(spec, status, now)
    status = replace(status, conditions=_conditions(seen.experiment, before, status, now))
    wake = earliest(*(plan.wake_at for plan in plans), _ends_at(spec, status, now))
    if not stage.ending and _ending(spec, status):
        wake = now  # what it has just learnt ends it
    actions = tuple(action for plan in plans for action in plan.actions)
    reasons = tuple(reason for plan in plans for reason in plan.reasons)
    counted = f"{len(spec.templates)} templates, {len(spec.analyses)} analyses"
    said = Reason(f"Experiment{status.phase}", status.message or counted)
    return Decision((*actions, *runs.actions), write_experiment_status(status), wake, (said, *reasons, *runs.reasons))


def _ending(spec: ExperimentSpec, status: ExperimentStatus) -> bool:
    """Somebody ends it, it has its verdict, or something has gone wrong already."""
    return (spec.terminate or status.phase in COMPLETED or any(t.phase in ("Failed", "Error") for t in status.templates)
            or any(a.phase in ("Failed", "Error", "Inconclusive") for a in status.analyses))


def _passed(spec: ExperimentSpec, status: ExperimentStatus, now: datetime) -> bool:
    return spec.duration is not None and status.available_at is not None and now >= status.available_at + spec.duration


def _ends_at(spec: ExperimentSpec, status: ExperimentStatus, now: datetime) -> datetime | None:
    if spec.duration is None or status.available_at is None or status.phase in COMPLETED:
        return None
    return max(status.available_at + spec.duration, now)


def _status_of(status: ExperimentStatus, name: str) -> TemplateStatus:
    return next((found for found in status.templates if found.name == name), TemplateStatus(name))


# --- the verdict ----------------------------------------------------------------------------------------------------


def _assessed(spec: ExperimentSpec, status: ExperimentStatus, now: datetime) -> ExperimentStatus:
    if status.phase in COMPLETED:
        return status
    if not status.phase:
        return replace(status, phase="Pending")
    templates, why_templates = _worst_template(status.templates)
    analyses, why_analyses = _worst_analysis(spec, status.analyses)
    if templates == "Running" and status.available_at is None:
        status = replace(status, available_at=now)
    required = [a.name for a in spec.analyses if a.required]
    if templates in COMPLETED:
        counted = analyses in COMPLETED or required
        if templates == "Successful" and counted:
            return replace(status, phase=analyses, message=why_analyses)
        return replace(status, phase=templates, message=why_templates)
    if (analyses in COMPLETED and analyses != "Successful") or _required_passed(spec, status.analyses):
        return replace(status, phase=analyses, message=why_analyses)
    return replace(status, phase=templates, message=why_templates)


def _worst_template(statuses: Sequence[TemplateStatus]) -> tuple[str, str]:
    worst, message = "Successful", ""
    for status in statuses:
        phase = status.phase or "Progressing"
        if _WORSE.index(phase) > _WORSE.index(worst):
            worst, message = phase, status.message
    return _PHASE_OF_TEMPLATES.get(worst, "Running"), message


def _worst_analysis(spec: ExperimentSpec, statuses: Sequence[AnalysisStatus]) -> tuple[str, str]:
    worst, message = "Successful", ""
    for status in statuses:
        if is_worse(worst, status.phase):
            worst, message = status.phase, status.message
    if _required_passed(spec, statuses) and is_worse(worst, "Running"):
        return "Successful", REQUIRED_DONE
    if _required_passed(spec, statuses) and worst in ("Running", "Pending"):
        return "Successful", REQUIRED_DONE
    return ("Running" if worst == "Pending" else worst), message


def _required_passed(spec: ExperimentSpec, statuses: Sequence[AnalysisStatus]) -> bool:
    required = {a.name for a in spec.analyses if a.required}
    return bool(required) and required <= {a.name for a in statuses if a.phase == "Successful"}


def _conditions(experiment: Obj, before: ExperimentStatus, status: ExperimentStatus, now: datetime) -> tuple[Obj, ...]:
    """Progressing, in upstream's words."""
    name = meta_of(experiment).get("name", "")
    found = without(before.conditions, "InvalidExperimentSpec")
    if status.phase in COMPLETED:
        if status.phase == "Successful":
            return set_condition(found, "Progressing", "False", "ExperimentCompleted",
                                 f'Experiment "{name}" has successfully ran and completed.', now)
        late = any(t.phase == "Failed" for t in status.templates)
        reason = "ProgressDeadlineExceeded" if late else f"Experiment{status.phase}"
        said = status.message or f'Experiment "{name}" {status.phase}'
        return set_condition(found, "Progressing", "False", reason, said, now)
    if status.available_at is not None:
        return set_condition(found, "Progressing", "True", "NewReplicaSetAvailable", f'Experiment "{name}" is running.', now)
    if status.templates != before.templates or not found:
        return renew_condition(found, "Progressing", "True", "ReplicaSetUpdated", f'Experiment "{name}" is progressing.', now)
    return found


# --- analyses -------------------------------------------------------------------------------------------------------


def _analyses(seen: SeenExperiment, stage: Stage, before: ExperimentStatus, sets: Mapping[str | None, ReplicaSet]) -> _Runs:
    statuses, actions, reasons = [], [], []
    for analysis in stage.spec.analyses:
        now = next((found for found in before.analyses if found.name == analysis.name), AnalysisStatus(analysis.name))
        status, action = _analysis(seen, stage, before, analysis, now, sets)
        statuses.append(status)
        actions += [action] if action else []
        if status.phase in ("Pending", "Running"):
            reasons.append(Reason("AnalysisRunning", f"waiting for AnalysisRun {status.run}"))
    return _Runs(tuple(statuses), tuple(actions), tuple(reasons))


def _analysis(seen: SeenExperiment, stage: Stage, before: ExperimentStatus, analysis: ExperimentAnalysis,
              now: AnalysisStatus, sets: Mapping[str | None, ReplicaSet]) -> tuple[AnalysisStatus, Action | None]:
    if now.phase in COMPLETED:
        return now, None
    kind = "ClusterAnalysisTemplate" if analysis.template.cluster else "AnalysisTemplate"
    if before.available_at is None:
        try:
            gather_templates((analysis.template,), seen.templates)
        except TemplateError as error:
            return replace(now, phase="Error",
                           message=f"{kind} verification failed for analysis '{analysis.name}': {error}"), None
        return now, None
    if not now.run:
        if stage.ending:
            return now, None
        try:
            run = _run(seen, stage, before, analysis, sets)
        except (TemplateError, ArgError) as error:
            said = f"Failed to create AnalysisRun for analysis '{analysis.name}': {error}"
            return replace(now, phase="Error", message=said), None
        return replace(now, run=run["metadata"]["name"], phase="Pending"), Create(run)
    existing = next((run for run in seen.runs if meta_of(run)["name"] == now.run), None)
    if existing is None:
        return replace(now, phase="Error", message=f'analysisruns.argoproj.io "{now.run}" not found'), None
    phase = str(status_of(existing).get("phase") or "Pending")
    if stage.ending:
        ends = phase not in COMPLETED and not spec_of(existing).get("terminate")
        namespace = str(meta_of(existing).get("namespace", ""))
        stop = Change(ANALYSIS_RUNS, namespace, now.run, MergePatch({"spec": {"terminate": True}}))
        return now, stop if ends else None
    return replace(now, phase=phase, message=str(status_of(existing).get("message") or "")), None


def _run(seen: SeenExperiment, stage: Stage, before: ExperimentStatus, analysis: ExperimentAnalysis,
         sets: Mapping[str | None, ReplicaSet]) -> Obj:
    spec, meta = stage.spec, meta_of(seen.experiment)
    args = [{**arg, "value": _resolved(str(arg["value"]), stage, before, sets)} if arg.get("value") is not None else arg
            for arg in analysis.args]
    asked = run_spec(gather_templates((analysis.template,), seen.templates), args, spec.dry_run, spec.retention)
    return {
        "apiVersion": ANALYSIS_RUNS.api_version,
        "kind": ANALYSIS_RUNS.kind,
        "metadata": {
            "name": f"{meta.get('name')}-{analysis.name}",
            "namespace": meta.get("namespace", ""),
            "labels": dict(spec.labels or {}),
            "annotations": dict(spec.annotations or {}),
            "ownerReferences": [owner_reference(seen.experiment)],
        },
        "spec": asked,
    }


def _resolved(text: str, stage: Stage, before: ExperimentStatus, sets: Mapping[str | None, ReplicaSet]) -> str:
    """`{{templates.NAME.podTemplateHash}}`, `{{templates.NAME.replicaset.name}}`, `{{experiment.availableAt}}` and
    `{{experiment.finishedAt}}` with their values."""

    def value(tag: re.Match[str]) -> str:
        word = tag[1].strip()
        parts = word.split(".")
        rs = sets.get(parts[1]) if parts[0] == "templates" and len(parts) > 2 else None
        if rs is not None and parts[2:] == ["podTemplateHash"]:
            return rs.hash
        if rs is not None and parts[2:] == ["replicaset", "name"]:
            return rs.name
        if word == "experiment.availableAt" and before.available_at is not None:
            return rfc3339(before.available_at)
        if word == "experiment.finishedAt" and before.available_at is not None and stage.spec.duration is not None:
            return rfc3339(before.available_at + stage.spec.duration)
        raise ArgError(f"failed to resolve {{{{{tag[1]}}}}}")

    return _TAG.sub(value, text)
