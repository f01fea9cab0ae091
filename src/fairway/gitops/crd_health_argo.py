"""Health of Argo's own kinds, of Flagger's Canary and of Kubernetes' that Argo CD judges by a customisation. Pure."""

from __future__ import annotations

from fairway.gitops.crd_health_rules import (
    Answer,
    Check,
    Conditions,
    On,
    Status,
    condition_of,
    conditions_of,
    count,
    is_true,
    message_of,
    ready,
)
from fairway.kube.objects import Obj, annotations_of, dig, is_deleting, meta_of, spec_of, status_of

_NOT_OBSERVED: Answer = ("Progressing", "Waiting for rollout spec update to be observed")


def rollout(obj: Obj) -> Answer:
    """Since 1.0 the controller says phase and message itself; what follows reads older controllers."""
    status = status_of(obj)
    if not status or not rollout_observed(obj) or not _workload_observed(obj):
        return _NOT_OBSERVED
    if status.get("phase") is not None:
        phases: dict[str, Status] = {"Paused": "Suspended", "Degraded": "Degraded", "Progressing": "Progressing",
                                     "Healthy": "Healthy"}  # fmt: skip
        return phases.get(str(status["phase"]), "Unknown"), message_of(status)
    for entry in conditions_of(obj):
        if entry.get("type") == "InvalidSpec" or (
                entry.get("type") == "Progressing" and entry.get("reason") in ("RolloutAborted", "ProgressDeadlineExceeded")):
            return "Degraded", message_of(entry)
    if status.get("pauseConditions") or spec_of(obj).get("paused"):
        return "Suspended", "Rollout is paused"
    if status.get("currentPodHash") is None:
        return "Progressing", "Waiting for rollout to finish: status has not been reconciled."
    return _replicas_of_rollout(obj) or _traffic_of_rollout(obj) or ("Healthy", "")


def _spot(obj: Obj) -> Answer:
    """Spot's copy of the Rollout: what is wrong with its spec goes before its phase."""
    invalid = condition_of(obj, "InvalidSpec")
    return ("Degraded", message_of(invalid)) if invalid else rollout(obj)


def _replicas_of_rollout(obj: Obj) -> Answer | None:
    status, wanted = status_of(obj), spec_of(obj).get("replicas")
    updated = count(status.get("updatedReplicas"))
    if updated < (1 if wanted is None else wanted):
        return "Progressing", "Waiting for roll out to finish: More replicas need to be updated"
    if count(status.get("availableReplicas")) < updated:
        return "Progressing", "Waiting for roll out to finish: updated replicas are still becoming available"
    return None


def _traffic_of_rollout(obj: Obj) -> Answer | None:
    strategy, status = spec_of(obj).get("strategy") or {}, status_of(obj)
    current = status.get("currentPodHash")
    stable = status.get("stableRS") or dig(status, "canary", "stableRS") or ""
    if strategy.get("blueGreen") is not None:
        if dig(status, "blueGreen", "activeSelector") != current:
            return "Progressing", "active service cutover pending"
        if stable not in ("", current):
            return "Progressing", "waiting for analysis to complete"
    elif strategy.get("canary") is not None:
        if count(status.get("replicas")) > count(status.get("updatedReplicas")):
            return "Progressing", "Waiting for roll out to finish: old replicas are pending termination"
        if stable != current:
            return "Progressing", "Waiting for rollout to finish steps"
    return None


def rollout_observed(obj: Obj) -> bool:
    """observedGeneration is the generation as text since 0.10; before it was a hash, which says nothing here."""
    seen, generation = status_of(obj).get("observedGeneration"), meta_of(obj).get("generation")
    if seen is None:
        return False
    text = str(seen)
    return not text.isdigit() or generation is None or int(text) >= int(generation)


def _workload_observed(obj: Obj) -> bool:
    """The same for the Deployment that `workloadRef` names; it is written since 1.1."""
    if spec_of(obj).get("workloadRef") is None or meta_of(obj).get("annotations") is None:
        return True
    wanted = annotations_of(obj).get("rollout.argoproj.io/workload-generation")
    seen = status_of(obj).get("workloadObservedGeneration")
    return (None if wanted is None else str(wanted)) == (None if seen is None else str(seen))


def analysis_run(obj: Obj) -> Answer:
    status = status_of(obj)
    if obj.get("status") is None:
        return "Progressing", "Waiting for analysis run to finish: status has not been reconciled."
    found: dict[str, Answer] = {
        "Pending": ("Progressing", "Analysis run is running"), "Running": ("Progressing", "Analysis run is running"),
        "Successful": ("Healthy", message_of(status, "Analysis run completed successfully")),
        "Failed": ("Degraded", message_of(status, "Analysis run failed")),
        "Error": ("Degraded", message_of(status, "Analysis run had an error")),
        "Inconclusive": ("Unknown", message_of(status, "Analysis run was inconclusive")),
    }  # fmt: skip
    return found.get(str(status.get("phase") or ""), ("Unknown", message_of(status)))


def _experiment(obj: Obj) -> Answer:
    found: dict[str, Answer] = {
        "Pending": ("Progressing", "Experiment is pending"), "Running": ("Progressing", "Experiment is running"),
        "Successful": ("Healthy", "Experiment is successful"), "Failed": ("Degraded", "Experiment has failed"),
        "Error": ("Degraded", "Experiment had an error"), "Inconclusive": ("Unknown", "Experiment was inconclusive"),
    }  # fmt: skip
    if not status_of(obj):
        return "Progressing", "Waiting for experiment to finish: status has not been reconciled."
    return found.get(str(status_of(obj).get("phase") or ""), ("Unknown", ""))


def _canary(obj: Obj) -> Answer:
    """The phase, the weight while traffic moves, and what the conditions say."""
    status = status_of(obj)
    if not status:
        return "Unknown", "No status"
    weight = int(status.get("canaryWeight") or 0)
    said = [f"Canary Weight: {weight} %"] if weight > 0 else []
    said += [message_of(entry) for entry in conditions_of(obj)]
    phase = str(status.get("phase") or "")
    found: dict[str, Status] = {"Failed": "Degraded", "Progressing": "Progressing", "Finalising": "Progressing",
                                "Promoting": "Progressing", "Succeeded": "Healthy", "Initialized": "Healthy"}  # fmt: skip
    return found.get(phase, "Unknown"), " --- ".join([phase, " --- ".join(said)])


def cron_job(obj: Obj) -> Answer:
    status = status_of(obj)
    scheduled, succeeded = status.get("lastScheduleTime"), status.get("lastSuccessfulTime")
    if spec_of(obj).get("suspend"):
        return "Healthy", "CronJob is Suspended"
    if not scheduled:
        return "Healthy", "CronJob has not been scheduled yet"
    if status.get("active"):
        return "Healthy", "The job is running. Its last execution may not have been successful"
    if not succeeded:
        return "Healthy", "The CronJob never completed successfully. It may not be healthy"
    if succeeded < scheduled:
        return "Degraded", "CronJob has not completed its last execution successfully"
    return "Healthy", "CronJob has completed its last execution successfully"


def _disruption_budget(obj: Obj) -> Answer:
    """A budget that allows no disruption is at its work; one that could not be computed is not."""
    answer: Answer = ("Progressing", "Waiting for status")
    for entry in conditions_of(obj):
        said = f"PodDisruptionBudget has {entry.get('reason') or ''}"
        if entry.get("status") == "False" and entry.get("reason") != "InsufficientPods":
            return "Degraded", said
        answer = "Healthy", said
    return answer


def _definition(obj: Obj) -> Answer:
    if is_deleting(obj):
        return "Progressing", "CRD is terminating"
    if not conditions_of(obj):
        return "Progressing", "Status conditions not found"
    for entry in conditions_of(obj):
        match entry.get("type"), entry.get("status"):
            case "Terminating", "True":
                return "Progressing", f"CRD is terminating: {message_of(entry)}"
            case "NamesAccepted", "False":
                return "Degraded", f"CRD names have not been accepted: {message_of(entry)}"
            case "NonStructuralSchema", "True":
                return "Degraded", f"Schema violations found: {message_of(entry)}"
            case "Established", "False" | "Unknown" if entry.get("reason") == "Installing":
                return "Progressing", "CRD is being installed"
    established = is_true(condition_of(obj, "Established"))
    return ("Healthy", "CRD is healthy") if established else ("Degraded", "CRD is not established")


CHECKS: dict[tuple[str, str], Check] = {
    ("argoproj.io", "Rollout"): rollout,
    ("spot.io", "SpotDeployment"): _spot,
    ("argoproj.io", "AnalysisRun"): analysis_run,
    ("argoproj.io", "Experiment"): _experiment,
    ("argoproj.io", "ApplicationSet"): Conditions("Waiting for the status to be reported", (
        On("ErrorOccurred", "True", "Degraded"), On("ResourcesUpToDate", "False", "Degraded"),
        On("RolloutProgressing", "True", "Progressing"), On("ResourcesUpToDate", "True", "Healthy")), ranked=True),
    ("argoproj.io", "CronWorkflow"): Conditions("CronWorkflow is healthy.", (
        On("SpecError", "True", "Degraded"), On("SubmissionError", "True", "Degraded"), On("Completed", "True", "Healthy")),
        meanwhile="Healthy"),
    ("argoproj.io", "EventBus"): Conditions("Waiting for initialization", (
        On("Deployed", "False", "Degraded", absent="{reason}"), On("Deployed", "True", "Healthy", absent="{reason}"))),
    ("argocd-image-updater.argoproj.io", "ImageUpdater"): Conditions(
        "Waiting for ImageUpdater to report a Ready condition", (
            On("Error", "True", "Degraded"), On("Reconciling", "True", "Progressing"), On("Ready", "True", "Healthy"),
            On("Ready", "False", "Degraded")),
        ranked=True, silent="Waiting for ImageUpdater to be reconciled",
        stale="Waiting for ImageUpdater spec update to be observed"),
    ("flagger.app", "Canary"): _canary,
    ("batch", "CronJob"): cron_job,
    ("policy", "PodDisruptionBudget"): _disruption_budget,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("autoscaling.k8s.io", "VerticalPodAutoscaler"): Conditions("Waiting for VPA recommendation", (
        On("NoPodsMatched", "True", "Degraded", absent="{reason}"),
        On("RecommendationProvided", "True", "Healthy", "VPA recommendation provided")), ranked=True),
    ("addons.cluster.x-k8s.io", "ClusterResourceSet"): ready(
        "Initializing cluster resource set", "ResourcesApplied", healthy="cluster resource set is applied"),
}  # fmt: skip
