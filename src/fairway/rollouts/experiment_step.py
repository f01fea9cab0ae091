"""A canary step that is an experiment: the Experiment of this step, what it says, and the share of traffic it gets.

Source: argo-rollouts `rollout/experiment.go`, `rollout/trafficrouting.go` calculateWeightDestinationsFromExperiment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fairway.kube.api import MergePatch
from fairway.kube.decision import Action, Change, Create, Delete, Reason
from fairway.kube.objects import Obj, copy_of, dig, labels_of, meta_of, owner_reference, spec_of, status_of, uid_of
from fairway.kube.resources import EXPERIMENTS
from fairway.rollouts.args import rollout_args
from fairway.rollouts.keys import HASH_LABEL, REVISION
from fairway.rollouts.measurements import COMPLETED
from fairway.rollouts.replicasets import ReplicaSet
from fairway.rollouts.seen import View
from fairway.rollouts.situation import Situation
from fairway.rollouts.status import INCONCLUSIVE, INCONCLUSIVE_EXPERIMENT
from fairway.rollouts.traffic_wish import Extra


@dataclass(frozen=True, slots=True)
class ExperimentPlan:
    """As with analysis: `failure` stops the update, `inconclusive` pauses it, `passed` completes the step."""

    actions: tuple[Action, ...] = ()
    current: str = ""
    failure: str | None = None
    inconclusive: bool = False
    passed: bool = False
    extras: tuple[Extra, ...] = ()
    reasons: tuple[Reason, ...] = ()


def plan_experiment(view: View, situation: Situation) -> ExperimentPlan:
    owned = view.seen.experiments
    if situation is not Situation.STEPPING:
        return ExperimentPlan((*_cancel(owned), *_outdated(view, owned)))
    if view.status.pause(INCONCLUSIVE) is not None or view.status.pause(INCONCLUSIVE_EXPERIMENT) is not None:
        return ExperimentPlan(current=view.status.experiment)
    step, index = view.step, view.index
    if step is None or step.experiment is None or index is None:
        return ExperimentPlan((*_cancel(owned), *_outdated(view, owned)))
    current = next((found for found in owned if meta_of(found)["name"] == view.status.experiment), None)
    rest = [found for found in owned if found is not current]
    if current is None:
        return _started(view, step.experiment, index, rest)
    name, phase = str(meta_of(current)["name"]), str(status_of(current).get("phase") or "")
    message = str(status_of(current).get("message") or "")
    waiting = Reason("ExperimentRunning", f"step {index + 1} of {len(view.canary.steps)}: waiting for Experiment {name}")
    return ExperimentPlan(
        actions=(*_cancel(rest), *_outdated(view, rest)),
        current=name,
        failure=message if phase in ("Failed", "Error") else None,
        inconclusive=phase == "Inconclusive",
        passed=phase == "Successful",
        extras=_extras(step.experiment, current) if phase == "Running" else (),
        reasons=() if phase in COMPLETED else (waiting,),
    )


def _started(view: View, wish: Obj, index: int, rest: list[Obj]) -> ExperimentPlan:
    if view.stable is None or view.new is None:
        return ExperimentPlan(_cancel(rest))
    taken = {meta_of(found)["name"]: found for found in view.seen.experiments}
    base = f"{view.name}-{view.hash}-{view.revision}-{index}"
    for n in range(len(taken) + 1):
        name = f"{base}-{n}" if n else base
        existing = taken.get(name)
        if existing is None:
            made = Create(build_experiment(view, wish, name, view.stable, view.new))
            said = Reason("ExperimentCreated", f"Created Experiment '{name}'")
            return ExperimentPlan((made, *_cancel(rest)), name, reasons=(said,))
        if status_of(existing).get("phase") not in COMPLETED and not spec_of(existing).get("terminate"):
            return ExperimentPlan(_cancel(found for found in rest if found is not existing), name)
    return ExperimentPlan(_cancel(rest))


def build_experiment(view: View, wish: Obj, name: str, stable: ReplicaSet, new: ReplicaSet) -> Obj:
    """The Experiment as upstream names and fills it: templates by `specRef`, arguments with their values."""
    templates = [_template(each, {"stable": stable, "canary": new}.get(str(each.get("specRef")), new))
                 for each in wish.get("templates") or ()]
    analyses = [{
        "name": each.get("name"), "templateName": each.get("templateName"),
        **({"clusterScope": True} if each.get("clusterScope") else {}),
        **({"requiredForCompletion": True} if each.get("requiredForCompletion") else {}),
        "args": rollout_args(each.get("args") or (), view.rollout, latest=view.hash, stable=stable.hash),
    } for each in wish.get("analyses") or ()]
    spec = {"templates": templates, "analyses": analyses, "duration": wish.get("duration"),
            "progressDeadlineSeconds": view.spec.progress_deadline_s, "dryRun": wish.get("dryRun"),
            "analysisRunMetadata": wish.get("analysisRunMetadata")}
    return {
        "apiVersion": EXPERIMENTS.api_version,
        "kind": EXPERIMENTS.kind,
        "metadata": {
            "name": name,
            "namespace": view.namespace,
            "labels": {**labels_of(view.rollout), HASH_LABEL: view.hash},
            "annotations": {REVISION: str(view.revision)},
            "ownerReferences": [owner_reference(view.rollout)],
        },
        "spec": {key: value for key, value in spec.items() if value},
    }


def _template(wish: Obj, source: ReplicaSet) -> Obj:
    pods: Obj = copy_of(source.template)
    selector: Obj = copy_of(wish.get("selector") or {"matchLabels": dict(dig(pods, "metadata", "labels", default={}))})
    meta = pods.setdefault("metadata", {})
    for kind in ("labels", "annotations"):
        added = dig(wish, "metadata", kind, default={})
        if added:
            meta[kind] = {**(meta.get(kind) or {}), **added}
    added = dig(wish, "metadata", "labels", default={})
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), **added}
    found: Obj = {"name": wish.get("name"), "template": pods, "selector": selector,
                  "minReadySeconds": source.min_ready_seconds}
    if wish.get("replicas") is not None:
        found["replicas"] = wish["replicas"]
    if wish.get("weight") is not None or wish.get("service") is not None:
        named = (wish.get("service") or {}).get("name")
        found["service"] = {"name": named} if named else {}
    return found


def _extras(wish: Obj, experiment: Obj) -> tuple[Extra, ...]:
    """Templates with a weight whose Service is there get it while the experiment runs."""
    weights = {each.get("name"): each.get("weight") for each in wish.get("templates") or ()}
    return tuple(Extra(str(status["serviceName"]), int(weights[status["name"]]), str(status.get("podTemplateHash") or ""))
                 for status in status_of(experiment).get("templateStatuses") or ()
                 if status.get("serviceName") and weights.get(status.get("name")) is not None)


def _cancel(experiments: Iterable[Obj]) -> tuple[Action, ...]:
    return tuple(Change(EXPERIMENTS, str(meta_of(found).get("namespace", "")), str(meta_of(found)["name"]),
                        MergePatch({"spec": {"terminate": True}}))
                 for found in experiments
                 if status_of(found).get("phase") not in COMPLETED and not spec_of(found).get("terminate"))


def _outdated(view: View, experiments: Iterable[Obj]) -> tuple[Action, ...]:
    """Completed ones beyond the history limits, and those of ReplicaSets that are gone."""
    kept = {True: view.spec.successful_runs, False: view.spec.unsuccessful_runs}
    alive = {rs.hash for rs in view.all}
    drop: list[Action] = []
    for found in sorted(experiments, key=lambda e: str(meta_of(e).get("creationTimestamp", "")), reverse=True):
        phase = status_of(found).get("phase")
        if phase not in COMPLETED or "deletionTimestamp" in meta_of(found):
            continue
        good = phase == "Successful"
        if labels_of(found).get(HASH_LABEL) in alive and kept[good] > 0:
            kept[good] -= 1
        else:
            drop.append(Delete(EXPERIMENTS, view.namespace, str(meta_of(found)["name"]), uid_of(found)))
    return tuple(drop)
