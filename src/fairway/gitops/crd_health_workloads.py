"""Health of kinds that run code: OpenKruise, Knative, KServe, KEDA, Spark, Flink, KubeVirt, Numaflow, OLM, Karmada. Pure."""

from __future__ import annotations

from fairway.gitops.crd_health_rules import (
    Answer,
    Check,
    Conditions,
    On,
    Status,
    Words,
    condition_of,
    conditions_of,
    count,
    is_observed,
    is_true,
    message_of,
    of_group,
    ready,
    reports,
)
from fairway.kube.objects import Obj, dig, labels_of, spec_of, status_of

# --- OpenKruise and OpenShift ---------------------------------------------------------------------------------------------


def _held_back(partition: object, generation: object) -> bool:
    """A partition keeps part of the pods at the older revision; on the first generation there is none."""
    return partition != 0 and isinstance(generation, int) and generation > 1


def _clone_set(obj: Obj) -> Answer:
    status, strategy = status_of(obj), spec_of(obj).get("updateStrategy") or {}
    if not status or not is_observed(obj):
        return "Progressing", "Waiting for initialization"
    if strategy.get("paused") is True or status.get("updatedAvailableReplicas") is None:
        return "Suspended", "Cloneset is paused"
    if _held_back(strategy.get("partition"), dig(obj, "metadata", "generation")):
        if count(status.get("updatedReplicas")) >= count(status.get("expectedUpdatedReplicas")):
            return "Suspended", "Cloneset needs manual intervention"
        return "Progressing", "Waiting for initialization"
    return _all_available(status, "Cloneset")


def _all_available(status: Obj, what: str) -> Answer:
    if status.get("updatedAvailableReplicas") == status.get("replicas"):
        return "Healthy", f"All {what} workloads are ready and updated"
    return "Degraded", "Some replicas are not ready or available"


def _kruise_stateful_set(obj: Obj) -> Answer:
    status, rolling = status_of(obj), dig(spec_of(obj), "updateStrategy", "rollingUpdate", default={})
    if not status or not is_observed(obj):
        return "Progressing", "Waiting for initialization"
    if rolling.get("paused") is True or status.get("updatedAvailableReplicas") is None:
        return "Suspended", "Statefulset is paused"
    partition = rolling.get("partition")
    if _held_back(partition, dig(obj, "metadata", "generation")):
        if count(status.get("updatedReplicas")) > count(status.get("replicas")) - count(partition):
            return "Suspended", "Statefulset needs manual intervention"
        return "Progressing", "Waiting for initialization"
    return _all_available(status, "Statefulset")


def _kruise_daemon_set(obj: Obj) -> Answer:
    status, rolling = status_of(obj), dig(spec_of(obj), "updateStrategy", "rollingUpdate", default={})
    waiting: Answer = ("Progressing", "Waiting for initialization")
    if not status or not is_observed(obj):
        return waiting
    updated, wanted = status.get("updatedNumberScheduled"), status.get("desiredNumberScheduled")
    if rolling.get("paused") is True or updated is None:
        return "Suspended", "Daemonset is paused"
    partition = rolling.get("partition")
    if _held_back(partition, dig(obj, "metadata", "generation")):
        held = count(updated) > count(wanted) - count(partition)
        return ("Suspended", "Daemonset needs manual intervention") if held else waiting
    if updated == wanted and status.get("numberAvailable") == wanted:
        return "Healthy", "All Daemonset workloads are ready and updated"
    failed = updated == wanted and status.get("numberUnavailable") == wanted
    return ("Degraded", "Some pods are not ready or available") if failed else waiting


def _advanced_cron_job(obj: Obj) -> Answer:
    scheduled = status_of(obj).get("lastScheduleTime")
    if scheduled is None and spec_of(obj).get("paused") is True:
        return "Suspended", "AdvancedCronJob is Paused"
    if status_of(obj).get("active"):
        return "Progressing", "AdvancedCronJobs has active jobs"
    if scheduled is None:
        return "Degraded", "AdvancedCronJobs has not run successfully"
    return "Healthy", "AdvancedCronJobs has run successfully"


def _broadcast_job(obj: Obj) -> Answer:
    status = status_of(obj)
    match status.get("phase"):
        case "completed" if status.get("desired") == status.get("succeeded"):
            return "Healthy", "BroadcastJob is completed successfully"
        case "failed" if status.get("failed") != 0:
            return "Degraded", "BroadcastJob failed"
        case "paused" if spec_of(obj).get("paused") is True:
            return "Suspended", "BroadcastJob is Paused"
    return "Progressing", "BroadcastJob is still running"


def _kruise_rollout(obj: Obj) -> Answer:
    if is_observed(obj):
        phase, step = status_of(obj).get("phase"), dig(status_of(obj), "canaryStatus", "currentStepState")
        if step == "StepPaused" and phase == "Progressing":
            return "Suspended", "Rollout is Paused need manual intervention"
        if step == "Completed" and phase == "Healthy":
            return "Healthy", "Rollout is Completed"
        if step == "StepPaused" and phase in ("Terminating", "Disabled"):
            return "Degraded", "Rollout is Disabled or Terminating"
    return "Progressing", "Rollout is still progressing"


def _game_server(obj: Obj) -> Answer:
    status = status_of(obj)
    current, wanted = status.get("currentState"), status.get("desiredState")
    if current != wanted:
        return "Progressing", f"State change: {current or 'Unknown'} → {wanted or 'Unknown'}"
    for entry in conditions_of(status, "podStatus", "conditions"):
        if entry.get("type") == "KruisePodReady" and not is_true(entry):
            return "Degraded", "Pod is not ready: KruisePodReady"
    return ("Healthy", "GameServer is Ready") if current == "Ready" else ("Unknown", "Waiting for GameServer to be ready")


def _game_server_set(obj: Obj) -> Answer:
    status, rolling = status_of(obj), dig(spec_of(obj), "updateStrategy", "rollingUpdate", default={})
    if status and is_observed(obj):
        total, prepared = count(status.get("replicas")), count(status.get("readyReplicas"))
        partition = count(rolling.get("partition"))
        if rolling.get("paused") is True:
            return "Suspended", "GameServerSet is paused"
        if partition != 0 and count(status.get("updatedReplicas")) >= total - partition:
            return "Suspended", f"Partition={partition}, waiting for manual intervention"
        if count(status.get("updatedReadyReplicas")) == total:
            return "Healthy", "All GameServerSet replicas are updated and ready"
        if prepared < total:
            return "Progressing", f"ReadyReplicas {prepared}/{total}, still progressing"
    return "Progressing", "Waiting for GameServerSet initialization"


def _deployment_config(obj: Obj) -> Answer:
    """Available, and the newest replication controller rolled out; zero replicas need neither."""
    status = status_of(obj)
    if not reports(obj) or status.get("replicas") is None:
        return "Progressing", "replication controller is waiting for pods to run"
    reached = sum(1 for e in conditions_of(obj) if is_true(e) and (e.get("type") == "Available" or (
        e.get("type") == "Progressing" and e.get("reason") == "NewReplicationControllerAvailable")))
    if reached == 2 or status["replicas"] == 0:
        return "Healthy", "replication controller successfully rolled out"
    if reached == 1:
        return "Progressing", "replication controller is waiting for pods to run"
    return "Degraded", "Deployment config is degraded"


# --- Knative, KServe, KEDA ------------------------------------------------------------------------------------------------


def _lines(found: list[Obj]) -> str:
    return "".join(f"{number}: {e.get('type')} | {e.get('status')}\n" for number, e in enumerate(found, 1))


def _knative_operator(needed: tuple[str, ...], working: tuple[str, ...]) -> Check:
    """All of `needed` are True; `working` False or anything Unknown means that it is on its way."""

    def check(obj: Obj) -> Answer:
        kind, found = str(obj.get("kind")), conditions_of(obj)
        if not reports(obj):
            return "Progressing", f"Waiting for {kind}"
        if any(e.get("status") == "Unknown" or (e.get("type") in working and e.get("status") == "False") for e in found):
            return "Progressing", _lines(found)
        if sum(1 for e in found if e.get("type") in needed and is_true(e)) == len(needed):
            return "Healthy", f"{kind} is healthy."
        return "Degraded", _lines(found)

    return check


def _knative_service(obj: Obj) -> Answer:
    if not reports(obj):
        return "Progressing", "Waiting for status update."
    reached, states, said = 0, set(), ""
    for entry in conditions_of(obj):
        if is_true(entry) and entry.get("type") in ("ConfigurationsReady", "RoutesReady", "Ready"):
            reached += 1
        elif entry.get("status") in ("False", "Unknown"):
            states.add(entry["status"])
            reason, message = entry.get("reason"), entry.get("message")
            said += (f"{entry.get('type')} is {entry['status']}" + (f", since {reason}." if reason else "")
                     + (f" {message}" if message else "") + "\n")  # fmt: skip
    if reached == 3 and not states:
        return "Healthy", "Knative Service is healthy."
    return "Degraded" if "False" in states else "Progressing", said


def _parts(entry: Obj) -> str:
    return " | ".join(str(entry[key]) for key in ("type", "status", "reason", "message") if entry.get(key))


def _inference_service(obj: Obj) -> Answer:
    """The model's own transition, then every condition that is not True; `Stopped` is good while it is False."""
    status, moving = status_of(obj), dig(status_of(obj), "modelStatus", "transitionStatus", default="UpToDate")
    if not reports(obj):
        return "Progressing", "Waiting for InferenceService to report status..."
    said = "" if moving == "UpToDate" else f"0: transitionStatus | {moving}"
    unready = False
    for number, entry in enumerate(conditions_of(obj), 1):
        stopped = entry.get("type") == "Stopped"
        if stopped and is_true(entry):
            return "Suspended", "InferenceService is Stopped"
        unready = unready or entry.get("status") == "Unknown" or (entry.get("status") == "False" and not stopped)
        if not is_true(entry) and not stopped:
            said += f" | {number}: {_parts(entry)}"
    if status and moving not in ("UpToDate", "InProgress"):
        return "Degraded", said
    return ("Healthy", "InferenceService is healthy.") if moving == "UpToDate" and not unready else ("Progressing", said)


def _llm_inference_service(obj: Obj) -> Answer:
    if not reports(obj):
        return "Progressing", "Waiting for LLMInferenceService to report status..."
    found, seen, now = conditions_of(obj), condition_of(obj, "Ready"), dig(obj, "metadata", "generation")
    generations = (status_of(obj).get("observedGeneration"), seen.get("observedGeneration"))
    if now is not None and any(generation not in (None, now) for generation in generations):
        return "Progressing", "Waiting for LLMInferenceService reconciliation (generation mismatch)"
    if any(entry.get("reason") == "Stopped" for entry in found):
        return "Suspended", "LLMInferenceService is Stopped"
    if is_true(seen):
        return "Healthy", "LLMInferenceService is healthy."
    said = "; ".join(_parts(e).replace(" | ", ": ", 1) for e in found if e.get("type") != "Ready" and not is_true(e))
    message = said or message_of(seen) or "Waiting for LLMInferenceService to report status..."
    return "Degraded" if seen.get("status") == "False" else "Progressing", message


def _scaled(waiting: str, *, unknown_is_bad: bool) -> Check:
    """KEDA: the last of the conditions that mean something is shown; a paused one rests only where it is ready, too."""

    def check(obj: Obj) -> Answer:
        message, states = waiting, set[str]()
        for entry in conditions_of(obj):
            kind, state = entry.get("type"), entry.get("status")
            bad = (kind == "Ready" and (state == "False" or (unknown_is_bad and state == "Unknown"))) or (
                kind == "Fallback" and state == "True" and not unknown_is_bad)
            found = "Degraded" if bad else str(kind) if state == "True" and kind in ("Ready", "Paused") else ""
            if found:
                states.add(found)
                message = message_of(entry)
        if "Degraded" in states:
            return "Degraded", message
        if "Ready" in states:
            return "Suspended" if "Paused" in states else "Healthy", message
        return "Progressing", waiting

    return check


def _spin_app(obj: Obj) -> Answer:
    status = status_of(obj)
    if not status:
        return "Progressing", "Waiting for status to be available"
    available = progressing = None
    for entry in conditions_of(obj):
        if entry.get("type") == "Available":
            available = entry
        elif entry.get("type") == "Progressing":
            said = message_of(entry).lower()
            if entry.get("status") == "False" and (
                    entry.get("reason") == "ProgressDeadlineExceeded" or "timeout" in said or "failed" in said):
                return "Degraded", message_of(entry, "Application deployment has failed")
            progressing = entry if is_true(entry) else progressing
    here, wanted = count(status.get("readyReplicas")), spec_of(obj).get("replicas", 1)
    if available is None or not is_true(available):
        return "Degraded", "" if available is None else message_of(available, "Application is not available")
    if here < wanted:
        return "Progressing", f"Waiting for replicas to be ready ({here}/{wanted})"
    if progressing is not None:
        return "Progressing", message_of(progressing, "Application progress status")
    return "Healthy", f"Application is healthy with {here}/{wanted} replicas ready"


def _function(obj: Obj) -> Answer:
    """OpenFaaS: a ready function without replicas rests."""
    health, message = _FUNCTION(obj)
    if health == "Healthy" and count(status_of(obj).get("replicas")) <= 0:
        return "Suspended", "No replicas available"
    return health, message


_FUNCTION = Conditions("Waiting for Function", (
    On("Ready", "False", "Degraded"), On("Stalled", "True", "Degraded"), On("Ready", "True", "Healthy")))  # fmt: skip

# --- batch: Spark, Flink, Ansible -----------------------------------------------------------------------------------------

_SPARK: dict[str, Answer] = {
    "": ("Progressing", "SparkApplication was added, enqueuing it for submission"),
    "SUBMITTED": ("Progressing", "SparkApplication was submitted successfully"),
    "COMPLETED": ("Healthy", "SparkApplication was Completed"),
    "PENDING_RERUN": ("Progressing", "SparkApplication is Pending Rerun"),
    "INVALIDATING": ("Missing", "SparkApplication is in InvalidatingState"),
    "SUCCEEDING": ("Progressing", "The driver pod has been completed successfully. The executor pods terminate and are cleaned "
                   "up.\n                                Under this circumstances, we assume the executor pod are completed."),
    "UNKNOWN": ("Progressing", "SparkApplication is in UnknownState because either driver pod or one or all executor pods in "
                "unknown state  "),
}  # fmt: skip


def _spark(obj: Obj) -> Answer:
    status = status_of(obj)
    state = dig(status, "applicationState", "state")
    if state in ("FAILED", "SUBMISSION_FAILED", "FAILING"):
        return "Degraded", str(dig(status, "applicationState", "errorMessage", default=""))
    executors = status.get("executorState")
    if state == "RUNNING" and isinstance(executors, dict) and _enough(obj, list(executors.values()).count("RUNNING")):
        return "Healthy", "SparkApplication is Running"
    return _SPARK.get("?" if state is None else str(state), ("Progressing", "Waiting for Executor pods"))


def _enough(obj: Obj, running: int) -> bool:
    """As many executors as asked for: a number, the bounds of dynamic allocation, or any where neither is written."""
    spec = spec_of(obj)
    wanted, dynamic, conf = dig(spec, "executor", "instances"), spec.get("dynamicAllocation"), spec.get("sparkConf")
    if wanted is not None and wanted == running:
        return True
    bounds: tuple[object, object] | None = None
    if dig(dynamic, "enabled"):
        bounds = dig(dynamic, "minExecutors"), dig(dynamic, "maxExecutors")
    elif isinstance(conf, dict):
        for prefix in ("spark.streaming.dynamicAllocation", "spark.dynamicAllocation"):
            if conf.get(f"{prefix}.enabled") == "true" and bounds is None:
                bounds = conf.get(f"{prefix}.minExecutors"), conf.get(f"{prefix}.maxExecutors")
    if bounds is not None:
        low, high = (None if bound is None else int(str(bound)) for bound in bounds)
        return running >= (low or 0) and (high is None or running <= high)
    return dynamic is None and wanted is None and running >= 1


def _flink(obj: Obj) -> Answer:
    done, manager = status_of(obj).get("reconciliationStatus"), status_of(obj).get("jobManagerDeploymentStatus")
    if isinstance(done, dict):
        if done.get("success") or done.get("state") == "DEPLOYED":
            return "Healthy", ""
        if manager in ("DEPLOYED_NOT_READY", "DEPLOYING"):
            return "Progressing", "Waiting for deploying"
        if manager == "ERROR":
            return "Degraded", str(done.get("error") or "")
    return "Progressing", "Waiting for Flink operator"


def _ansible_job(obj: Obj) -> Answer:
    result = dig(status_of(obj), "ansibleJobResult", default={})
    words: dict[str, Status] = {"successful": "Healthy", **dict.fromkeys(("failed", "error", "canceled"), "Degraded"),
                                **dict.fromkeys(("new", "pending", "waiting", "running"), "Progressing")}  # fmt: skip
    state = str(result.get("status") or "")
    if state in words:
        return words[state], f"{state} job - {result.get('url') or ''}"
    return "Progressing", "Waiting for AnsibleJob"


# --- virtual machines -----------------------------------------------------------------------------------------------------


def _machine(obj: Obj) -> Answer:
    health: Status = "Progressing"
    message = "No status available"
    for entry in conditions_of(obj):
        if entry.get("type") == "Paused" and is_true(entry):
            return "Suspended", "Paused"
        if entry.get("type") == "Ready":
            if is_true(entry):
                health, message = "Healthy", "Running"
            elif status_of(obj).get("created"):
                message = "Starting"
            else:
                health, message = "Suspended", "Stopped"
    return health, str(status_of(obj).get("printableStatus") or message)


def _machine_instance(obj: Obj) -> Answer:
    phase = status_of(obj).get("phase")
    words: dict[object, Status] = {"Failed": "Degraded", "Pending": "Progressing", "Scheduling": "Progressing",
                                   "Scheduled": "Progressing", "Succeeded": "Suspended", "Unknown": "Unknown"}  # fmt: skip
    if phase in words:
        return words[phase], str(phase)
    answer: Answer = ("Progressing", str(phase or "No status available"))
    for entry in conditions_of(obj):
        if entry.get("type") == "Paused" and is_true(entry):
            return "Suspended", message_of(entry)
        if entry.get("type") == "Ready":
            answer = ("Healthy", "Running") if is_true(entry) else ("Degraded", message_of(entry))
    return answer


def _data_volume(obj: Obj) -> Answer:
    phase = status_of(obj).get("phase")
    words: dict[object, Status] = {"Succeeded": "Healthy", "Paused": "Suspended", "Failed": "Degraded", "Unknown": "Degraded"}
    health = words.get(phase, "Progressing")
    if phase not in ("Succeeded", "Paused"):
        for entry in conditions_of(obj):
            if entry.get("type") == "Running" and entry.get("status") == "False" and entry.get("reason") == "Error":
                return "Degraded", message_of(entry)
    return health, str(phase or "No status available")


# --- Numaflow and Numaplane -----------------------------------------------------------------------------------------------


def _numaflow(unhealthy: str | None) -> Check:
    """`unhealthy` is shown while a condition is False; None: that condition's own message."""

    def check(obj: Obj) -> Answer:
        kind, status = str(obj.get("kind")), status_of(obj)
        if not status or not is_observed(obj):
            return "Progressing", f"Waiting for {kind} status"
        bad = [entry for entry in conditions_of(obj) if entry.get("status") == "False"]
        phase = status.get("phase")
        if phase == "Failed":
            return "Degraded", message_of(status)
        if labels_of(obj).get("numaplane.numaproj.io/progressive-result-state") == "failed" and kind != "Vertex":
            return "Degraded", "Failed progressive upgrade"
        if bad:
            return "Degraded", message_of(bad[-1]) if unhealthy is None else unhealthy
        if phase == "Running":
            return "Healthy", f"{kind} is healthy"
        if kind != "InterStepBufferService" and (phase == "Paused" or (phase == "Pausing" and kind == "Pipeline")):
            return "Healthy", f"{kind} is paused"
        return "Progressing", f"Waiting for {kind} status"

    return check


def _numaplane(what: str, failed_reasons: tuple[str, ...], pausing: str = "") -> Check:
    """A rollout of one of Numaflow's kinds: not reconciled, being upgraded, failed, paused, healthy, in this order."""

    def check(obj: Obj) -> Answer:
        status, child = status_of(obj), condition_of(obj, "ChildResourcesHealthy")
        if not status or not is_observed(obj):
            return "Progressing", "Not yet reconciled"
        failed_upgrade = condition_of(obj, "ProgressiveUpgradeSucceeded").get("status") == "False"
        if (status.get("upgradeInProgress") or status.get("phase") == "Pending") and not failed_upgrade:
            return "Progressing", "Update in progress"
        if child.get("status") == "False" and child.get("reason") == "Progressing":
            return "Progressing", "Child Progressing"
        if status.get("phase") == "Failed":
            return "Degraded", message_of(status)
        if child.get("status") == "False" and child.get("reason") in failed_reasons:
            return "Degraded", message_of(child)
        if failed_upgrade:
            return "Degraded", "Progressive upgrade failed"
        paused = condition_of(obj, pausing) if pausing else {}
        if is_true(paused):
            return "Healthy", message_of(paused)
        return ("Healthy", "Healthy") if is_true(child) else ("Unknown", f"Unknown {what} status")

    return check


# --- operators and many clusters ------------------------------------------------------------------------------------------


def _subscription(obj: Obj) -> Answer:
    """An upgrade that waits for a person's approval is no trouble where the operator is already installed."""
    if not reports(obj):
        return "Progressing", "An install plan for a subscription is pending installation"
    status, bad, pending, said = status_of(obj), 0, 0, ""
    manual = spec_of(obj).get("installPlanApproval") == "Manual" and status.get("installedCSV") is not None and any(
        e.get("type") == "InstallPlanPending" and is_true(e) and e.get("reason") == "RequiresApproval"
        for e in conditions_of(obj))  # fmt: skip
    for number, entry in enumerate(conditions_of(obj), 1):
        kind = entry.get("type")
        if manual and kind == "InstallPlanPending":
            continue
        said += f"{number}: {kind} | {entry.get('status')}\n"
        pending += kind == "InstallPlanPending" and is_true(entry)
        bad += (kind == "InstallPlanMissing" and entry.get("reason") != "ReferencedInstallPlanNotFound") or (
            kind in ("CatalogSourcesUnhealthy", "InstallPlanFailed", "ResolutionFailed") and is_true(entry))
    state = status.get("state")
    if state is None:
        pending, said = pending + 1, f"{said}.status.state not yet known\n"
    elif state == "UpgradePending" and manual:
        said += ".status.state is 'UpgradePending' (manual InstallPlan approval pending; treated as healthy)\n"
    else:
        pending += state in ("", "UpgradeAvailable", "UpgradePending")
        bad += state == "UpgradeFailed"
        said += f".status.state is '{state}'\n"
    return "Degraded" if bad else "Progressing" if pending else "Healthy", said


def _binding(obj: Obj) -> Answer:
    clusters, found = spec_of(obj).get("clusters") or [], status_of(obj).get("aggregatedStatus")
    if not status_of(obj) or not clusters or not isinstance(found, list) or len(clusters) != len(found):
        return "Progressing", "Current resource status is insufficient"
    for entry in found:
        if dig(entry, "health") == "Unhealthy" or (dig(entry, "health") == "Unknown" and dig(entry, "applied") is not True):
            return "Degraded", "Current resource status is unhealthy"
    return "Healthy", ""


# --- the table ------------------------------------------------------------------------------------------------------------

CHECKS: dict[tuple[str, str], Check] = {
    ("apps.kruise.io", "CloneSet"): _clone_set,
    ("apps.kruise.io", "StatefulSet"): _kruise_stateful_set,
    ("apps.kruise.io", "DaemonSet"): _kruise_daemon_set,
    ("apps.kruise.io", "AdvancedCronJob"): _advanced_cron_job,
    ("apps.kruise.io", "BroadcastJob"): _broadcast_job,
    ("rollouts.kruise.io", "Rollout"): _kruise_rollout,
    ("game.kruise.io", "GameServer"): _game_server,
    ("game.kruise.io", "GameServerSet"): _game_server_set,
    ("apps.openshift.io", "DeploymentConfig"): _deployment_config,
    ("operator.knative.dev", "KnativeServing"): _knative_operator(
        ("Ready", "InstallSucceeded", "DependenciesInstalled", "DeploymentsAvailable"), ("Ready", "DeploymentsAvailable")),
    ("operator.knative.dev", "KnativeEventing"): _knative_operator(("Ready", "InstallSucceeded"), ("Ready",)),
    ("serving.knative.dev", "Service"): _knative_service,
    ("serving.kserve.io", "InferenceService"): _inference_service,
    ("serving.kserve.io", "LLMInferenceService"): _llm_inference_service,
    ("keda.sh", "ScaledObject"): _scaled("Creating HorizontalPodAutoscaler Object", unknown_is_bad=False),
    ("keda.sh", "ScaledJob"): _scaled("Waiting for ScaledJob", unknown_is_bad=True),
    ("core.spinkube.dev", "SpinApp"): _spin_app,
    ("openfaas.com", "Function"): _function,
    ("camel.apache.org", "Integration"): ready("Waiting for Integration"),
    ("sparkoperator.k8s.io", "SparkApplication"): _spark,
    ("flink.apache.org", "FlinkDeployment"): _flink,
    ("tower.ansible.com", "AnsibleJob"): _ansible_job,
    ("kubevirt.io", "VirtualMachine"): _machine,
    ("kubevirt.io", "VirtualMachineInstance"): _machine_instance,
    ("cdi.kubevirt.io", "DataVolume"): _data_volume,
    ("numaflow.numaproj.io", "InterStepBufferService"): _numaflow(None),
    ("numaflow.numaproj.io", "Vertex"): _numaflow(None),
    **of_group("numaflow.numaproj.io", ("Pipeline", "MonoVertex"), _numaflow("Subresources are unhealthy")),
    ("numaplane.numaproj.io", "PipelineRollout"): _numaplane("Pipeline", ("PipelineFailed",), "PipelinePausingOrPaused"),
    ("numaplane.numaproj.io", "MonoVertexRollout"): _numaplane(
        "MonoVertex", ("MonoVertexFailed",), "MonoVertexPausingOrPaused"),
    ("numaplane.numaproj.io", "ISBServiceRollout"): _numaplane("ISBService", ("ISBSvcFailed",)),
    ("numaplane.numaproj.io", "NumaflowControllerRollout"): _numaplane("NumaflowController", ("Failed", "Degraded")),
    ("operators.coreos.com", "Subscription"): _subscription,
    **of_group("work.karmada.io", ("ResourceBinding", "ClusterResourceBinding"), _binding),
    ("jaegertracing.io", "Jaeger"): Words(("phase",), "Waiting for Jaeger", {
        "Running": ("Healthy", "Jaeger is Running"), "Failed": ("Degraded", "Jaeger Failed For Some Reason")}),
}  # fmt: skip
