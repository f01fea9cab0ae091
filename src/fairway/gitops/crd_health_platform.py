"""Health of what a platform team runs beside the workloads: monitoring, secrets, policies, Flux, Keptn, Humio, 3scale. Pure."""

from __future__ import annotations

import re

from fairway.gitops.crd_health_rules import (
    Answer,
    Check,
    Conditions,
    On,
    Status,
    conditions_of,
    is_observed,
    is_stale,
    is_true,
    message_of,
    of_group,
    ready,
    reports,
)
from fairway.kube.objects import Obj, dig, meta_of, spec_of, status_of

# --- Flux -----------------------------------------------------------------------------------------------------------------


def _flux(*, working: str, good: tuple[str, ...] = (), needed: int = 1, reasons: tuple[str, ...] = (),
          outdated: bool = False) -> Check:
    """Flux says twice that it is at work: Ready is in state `working`, and Reconciling is True (for one of `reasons`).

    Healthy needs `needed` conditions of Ready and `good` to be True; `outdated` adds the reason of ArtifactOutdated.
    """

    def check(obj: Obj) -> Answer:
        if spec_of(obj).get("suspend") is True:
            return "Suspended", f"{obj.get('kind')} is suspended"
        if not reports(obj):
            return "Progressing", "Status unknown"
        busy, reached, text = 0, 0, ""
        for entry in conditions_of(obj):
            kind, true = entry.get("type"), is_true(entry)
            if kind == "Ready":
                text = str(entry.get("reason") or "")
                busy += entry.get("status") == working
            elif kind == "Reconciling" and true:
                busy += not reasons or entry.get("reason") in reasons
            elif kind == "ArtifactOutdated" and true and outdated:
                text += f" {entry.get('reason') or ''}"
            reached += true and (kind == "Ready" or kind in good)
        return "Progressing" if busy == 2 else "Healthy" if reached == needed else "Degraded", text

    return check


_FLUX_SOURCE = _flux(working="Unknown", good=("ArtifactInStorage",), needed=2, outdated=True)


def _helm_repository(obj: Obj) -> Answer:
    if spec_of(obj).get("type") == "oci" and spec_of(obj).get("suspend") is not True:
        return "Healthy", "Helm repositories of type 'oci' do not contain any information in the status."
    return _FLUX_SOURCE(obj)


def _receiver(obj: Obj) -> Answer:
    """A receiver has no work that takes time: it is there, or it has failed."""
    if not reports(obj):
        return "Progressing", "Status unknown"
    found = [entry for entry in conditions_of(obj) if entry.get("type") == "Ready"]
    text = str(found[-1].get("reason") or "") if found else ""
    return "Healthy" if sum(map(is_true, found)) == 1 else "Degraded", text


# --- monitoring -----------------------------------------------------------------------------------------------------------


def _prometheus(obj: Obj) -> Answer:
    answer: Answer = ("Progressing", "Waiting for initialization")
    for entry in conditions_of(obj):
        if entry.get("type") == "Available":
            starting = entry.get("reason") == "SomePodsNotReady"
            said = message_of(entry, str(entry.get("reason") or ""))
            answer = ("Healthy", "All instances are available") if is_true(entry) else (
                "Progressing" if starting else "Degraded", said)
    return answer


def _grafana(obj: Obj) -> Answer:
    stage, state = status_of(obj).get("stage"), status_of(obj).get("stageStatus")
    if state is None:
        return "Progressing", "Waiting for Grafana status info"
    if state == "failed":
        return "Degraded", f"Failed at stage {stage or ''}"
    return ("Healthy", "") if (stage, state) == ("complete", "success") else ("Progressing", str(stage or ""))


def _grafana_part(obj: Obj) -> Answer:
    """All conditions in one line, up to the first that is bad. FolderUIDMismatch is bad while it is True."""
    health: Status = "Progressing"
    message = ""
    for entry in conditions_of(obj):
        if entry.get("status") is None:
            continue
        said = "" if entry.get("reason") is None else str(entry["reason"])
        if entry.get("reason") is not None and entry.get("type") is not None:
            said += f" for {entry['type']}" + ("" if entry.get("message") is None else f" because {entry['message']}")
        message += (", " if message else "") + said
        mismatch = entry.get("type") == "FolderUIDMismatch"
        if (is_true(entry) and mismatch) or (entry["status"] == "False" and not mismatch):
            return "Degraded", message
        health = "Healthy" if is_true(entry) else health
    return health, message


def _grafana_source(obj: Obj) -> Answer:
    status = obj.get("status")
    if status is None or status.get("uid") == "":
        return "Progressing", ""
    return ("Degraded", "can't find matching grafana instance") if status.get("NoMatchingInstances") else ("Healthy", "")


def _datadog_metric(obj: Obj) -> Answer:
    for entry in conditions_of(obj):
        if entry.get("type") == "Error" and is_true(entry):
            said = message_of(entry, "DatadogMetric reported an error")
            return "Degraded", f"{entry['reason']}: {said}" if entry.get("reason") else said
    for entry in conditions_of(obj):
        if entry.get("type") == "Valid" and entry.get("status") == "False":
            return "Degraded", message_of(entry, "DatadogMetric is not valid")
    return "Healthy", "DatadogMetric is healthy"


def _collector(obj: Obj) -> Answer:
    status, mode = status_of(obj), spec_of(obj).get("mode")
    replicas = dig(status, "scale", "statusReplicas")
    if not status:
        return "Progressing", "Waiting for OpenTelemetry Collector status"
    if replicas is None:
        sidecar = mode == "sidecar"
        return ("Healthy", "Collector is running in sidecar mode") if sidecar else ("Progressing", "Scale status not available")
    found = re.search(r"(\d+)/(\d+)", str(replicas))
    if found is None:
        return "Progressing", f"Unable to parse replica status: {replicas}"
    here, wanted = int(found[1]), int(found[2])
    if here == 0:
        empty = mode == "daemonset" and wanted == 0
        return ("Healthy", "DaemonSet has no schedulable nodes (0/0)") if empty else ("Degraded", "No replicas are ready")
    return ("Healthy", "All replicas are ready") if here == wanted else ("Progressing", "Replicas are starting up")


def _victoria_metrics(obj: Obj) -> Answer:
    if obj.get("status") is None or is_stale(obj):
        return "Progressing", "Waiting for the operator to reconcile"
    reason = str(status_of(obj).get("reason") or "")
    match status_of(obj).get("updateStatus"):
        case "operational":
            return "Healthy", "All components are operational"
        case "expanding":
            return "Progressing", reason or "Reconciliation in progress"
        case "paused":
            return "Suspended", reason or "Reconciliation is paused"
        case "failed":
            return "Degraded", reason or "Reconciliation failed"
    return "Progressing", "Waiting for the operator to report status"


_HUMIO_CLUSTER: dict[str, Answer] = {
    "Running": ("Healthy", "Cluster is in a healthy running state"),
    "Restarting": ("Progressing", "Cluster pods are being restarted"),
    "Upgrading": ("Progressing", "Cluster pods are being upgraded"),
    "ConfigError": ("Degraded", "User-provided cluster specification resulted in a configuration error"),
    "Pending": ("Progressing", "Cluster is waiting on resources to be provisioned"),
    "Unknown": ("Unknown", "Component state: Unknown."),
}


def _humio(obj: Obj) -> Answer:
    words: dict[object, Status] = {"Exists": "Healthy", "NotFound": "Missing", "ConfigError": "Degraded", "Unknown": "Unknown"}
    state = status_of(obj).get("state")
    return (words[state], f"Component state: {state}.") if state in words else ("Progressing", "Update in progress")


def _humio_cluster(obj: Obj) -> Answer:
    found = _HUMIO_CLUSTER.get(str(status_of(obj).get("state")))
    return ("Progressing", "Update in progress") if found is None else (found[0], message_of(status_of(obj), found[1]))


_CORALOGIX = ready("Waiting for status to be updated", "RemoteSynced", healthy="Resource is ready")

# --- secrets --------------------------------------------------------------------------------------------------------------


def _external_secret(obj: Obj) -> Answer:
    """With `refreshPolicy: OnChange` a condition that is older than the last refresh does not count."""
    on_change = spec_of(obj).get("refreshPolicy") == "OnChange"
    for entry in conditions_of(obj):
        fresh = not on_change or str(entry.get("lastTransitionTime") or "") >= str(status_of(obj).get("refreshTime") or "")
        if entry.get("type") == "Ready" and fresh and entry.get("status") in ("True", "False"):
            return "Healthy" if is_true(entry) else "Degraded", message_of(entry)
    return "Progressing", "Waiting for ExternalSecret"


def _cluster_external_secret(obj: Obj) -> Answer:
    """New conditions are appended: the last one holds."""
    last = conditions_of(obj)[-1:]
    words: dict[object, Status] = {"Ready": "Healthy", "PartiallyReady": "Degraded", "NotReady": "Degraded"}
    if last and is_true(last[0]) and last[0].get("type") in words:
        return words[last[0]["type"]], message_of(last[0])
    return "Progressing", "Waiting for ClusterExternalSecret"


def _godaddy_secret(obj: Obj) -> Answer:
    word = status_of(obj).get("status")
    if word == "SUCCESS":
        return "Healthy", "Fetched ExternalSecret."
    if str(word or "").startswith("ERROR"):
        return "Degraded", str(word).replace("ERROR, ", "")
    return "Progressing", "Waiting for ExternalSecret."


def _keycloak(obj: Obj) -> Answer:
    """The oldest of the conditions that say something; those without a time come last."""
    if not reports(obj):
        return "Progressing", "Waiting for Keycloak status conditions to exist"
    times = ((entry.get("lastTransitionTime"), entry) for entry in conditions_of(obj))
    for _, entry in sorted(times, key=lambda pair: (pair[0] is None, str(pair[0]))):
        if is_true(entry) and entry.get("type") == "Ready":
            return "Healthy", ""
        if is_true(entry) and entry.get("type") == "HasErrors":
            return "Degraded", f"Has Errors: {message_of(entry)}"
    return "Progressing", ""


_SOPS = Conditions("Waiting for Ready condition", (
    On("Ready", "True", "Healthy"), On("Ready", "False", "Degraded"), On("Ready", "Unknown", "Progressing")),
    silent="Waiting for status", stale="Waiting for reconciliation (generation mismatch)")  # fmt: skip

# --- policies -------------------------------------------------------------------------------------------------------------


def _kyverno_policy(obj: Obj) -> Answer:
    there = any(e.get("type") == "Ready" and is_true(e) and e.get("reason") == "Succeeded" and e.get("message") == "Ready"
                for e in conditions_of(obj))  # fmt: skip
    return ("Healthy", "Policy is ready") if there else ("Progressing", "Waiting for Policy to be ready")


_UNREPORTED: Answer = ("Progressing", "Waiting for the status to be reported")


def _certificate_policy(obj: Obj) -> Answer:
    match status_of(obj).get("compliant"):
        case None:
            return _UNREPORTED
        case "Compliant":
            return "Healthy", "All certificates found comply with the policy"
    return "Degraded", "At least once certificate does not comply with the policy"


def _configuration_policy(obj: Obj) -> Answer:
    status = status_of(obj)
    if status.get("compliant") is None:
        return _UNREPORTED
    if status.get("lastEvaluatedGeneration") != meta_of(obj).get("generation"):
        return "Progressing", "Waiting for the status to be updated"
    if not isinstance(status.get("compliancyDetails"), list):
        return "Progressing", "Waiting for compliance"
    said = [f"{e['type']} - {e['message']}" for part in status["compliancyDetails"] for e in conditions_of(part, "conditions")
            if e.get("message") is not None and e.get("type") is not None]
    return "Healthy" if status["compliant"] == "Compliant" else "Degraded", "; ".join(said)


def _governance_policy(obj: Obj) -> Answer:
    """A root policy has a status for each cluster, a replicated one details for each template."""
    status = status_of(obj)
    clusters, templates = status.get("status"), status.get("details")
    if spec_of(obj).get("disabled"):
        return "Healthy", "Policy is disabled"
    if status.get("compliant") is None:
        nowhere = clusters is None and bool(status.get("placement"))
        return ("Healthy", "No clusters match this policy") if nowhere else _UNREPORTED
    health: Status = "Healthy" if status["compliant"] == "Compliant" else "Degraded"
    if clusters is not None:
        bad = [str(e.get("clustername")) for e in clusters if e.get("compliant") != "Compliant"]
        return health, f"NonCompliant clusters: {', '.join(bad)}" if bad else "All clusters are compliant"
    if templates is not None:
        bad = [str(dig(e, "templateMeta", "name")) for e in templates if e.get("compliant") != "Compliant"]
        return health, f"NonCompliant templates: {', '.join(bad)}" if bad else "All templates are compliant"
    return health, ""


_OPERATOR_POLICY = Conditions("Waiting for the compliance condition", (
    On("Compliant", "True", "Healthy"), On("Compliant", "!True", "Degraded")),
    silent="Waiting for the status to be reported")  # fmt: skip


def _operator_policy(obj: Obj) -> Answer:
    if reports(obj) and status_of(obj).get("observedGeneration") is not None and not is_observed(obj):
        return "Progressing", "Waiting for the status to be updated"
    return _OPERATOR_POLICY(obj)


# --- Keptn ----------------------------------------------------------------------------------------------------------------


def _keptn(*path: str) -> Check:
    found: dict[object, tuple[Status, str]] = {"Succeeded": ("Healthy", "healthy"), "Failed": ("Degraded", "degraded")}

    def check(obj: Obj) -> Answer:
        health, word = found.get(dig(status_of(obj), *path), ("Progressing", "progressing"))
        return health, f"{obj.get('kind')} is {word}"

    return check


def _keptn_analysis(obj: Obj) -> Answer:
    status = status_of(obj)
    if status.get("pass") is True:
        return "Healthy", "Analysis is healthy"
    if status.get("warning") is True:
        return "Healthy", "Analysis is healthy with warnings"
    return ("Degraded", "Analysis is degraded") if status.get("pass") is False else ("Progressing", "Analysis is progressing")


def _keptn_metric(obj: Obj) -> Answer:
    if status_of(obj).get("errMsg"):
        return "Degraded", "KeptnMetric is degraded"
    missing = status_of(obj).get("value") is None
    return ("Progressing", "KeptnMetric is progressing") if missing else ("Healthy", "KeptnMetric is healthy")


# --- 3scale ---------------------------------------------------------------------------------------------------------------


def _threescale(kind: str, good: str, *more: On) -> Conditions:
    """`good` is the condition that means done; `more` what the kind can say besides."""
    done = "synced" if good == "Synced" else "ready"
    return Conditions(f"Waiting for 3scale {kind} status...", (On(good, "True", "Healthy", f"3scale {kind} is {done}"), *more))


def _invalid(kind: str) -> On:
    return On("Invalid", "True", "Degraded", absent=f"3scale {kind} configuration is invalid")


def _orphan(kind: str) -> On:
    return On("Orphan", "True", "Degraded", absent=f"3scale {kind} references non-existing resources")


def _failed(kind: str, what: str = " synchronization") -> On:
    return On("Failed", "True", "Degraded", absent=f"3scale {kind}{what} failed")


_DEVELOPER_USER = _threescale(
    "DeveloperUser", "Ready", _invalid("DeveloperUser"), _orphan("DeveloperUser"), _failed("DeveloperUser"))  # fmt: skip


def _developer_user(obj: Obj) -> Answer:
    if status_of(obj).get("developerUserState") == "suspended":
        return "Suspended", "3scale Developer user is waiting for admin approval"
    return _DEVELOPER_USER(obj)


def _threescale_application(obj: Obj) -> Answer:
    """While 3scale has given it a number, a False Ready is on its way and not a failure."""
    status = status_of(obj)
    if status.get("state") == "suspended":
        return "Suspended", "3scale Application is suspended"
    number = status.get("adminId")
    numbered = isinstance(number, int) and number > 0
    for entry in conditions_of(obj):
        if entry.get("type") == "Ready" and is_true(entry):
            return "Healthy", "3scale Application is ready"
        if entry.get("type") == "Ready" and not numbered:
            return "Degraded", message_of(entry, "3scale Application is not ready")
    return "Progressing", "Waiting for 3scale Application status..."


def _api_manager(obj: Obj) -> Answer:
    """Its deployments by state; Available decides where they do not."""
    deployments = status_of(obj).get("deployments") or {}
    if [key for key in ("ready", "starting", "stopped") if deployments.get(key) is not None] == ["ready"]:
        return "Healthy", "3scale APIManager is available"
    for entry in conditions_of(obj):
        if entry.get("type") == "Available" and is_true(entry):
            return "Healthy", "3scale APIManager is available"
        if entry.get("type") == "Available" and entry.get("reason"):
            return "Degraded", f"3scale APIManager is degraded: {entry['reason']}"
    return "Progressing", "Waiting for 3scale APIManager status..."


# --- the tables -----------------------------------------------------------------------------------------------------------

CHECKS: dict[tuple[str, str], Check] = {
    ("kustomize.toolkit.fluxcd.io", "Kustomization"): _flux(working="Unknown"),
    ("helm.toolkit.fluxcd.io", "HelmRelease"): _flux(working="Unknown", good=("Released", "TestSuccess"), needed=2),
    **of_group("source.toolkit.fluxcd.io", ("Bucket", "GitRepository", "HelmChart", "OCIRepository"), _FLUX_SOURCE),
    ("source.toolkit.fluxcd.io", "HelmRepository"): _helm_repository,
    ("image.toolkit.fluxcd.io", "ImagePolicy"): _flux(
        working="False", reasons=("NewGeneration", "AccessingRepository", "ApplyingPolicy")),
    ("image.toolkit.fluxcd.io", "ImageRepository"): _flux(working="False", reasons=("NewGeneration", "Scanning")),
    ("image.toolkit.fluxcd.io", "ImageUpdateAutomation"): _flux(working="Unknown"),
    ("notification.toolkit.fluxcd.io", "Receiver"): _receiver,
    **of_group("monitoring.coreos.com", ("Prometheus", "Alertmanager", "ThanosRuler"), _prometheus),
    ("grafana.integreatly.org", "Grafana"): _grafana,
    **of_group("grafana.integreatly.org", ("GrafanaDashboard", "GrafanaFolder"), _grafana_part),
    ("grafana.integreatly.org", "GrafanaDatasource"): _grafana_source,
    ("datadoghq.com", "DatadogMetric"): _datadog_metric,
    ("opentelemetry.io", "OpenTelemetryCollector"): _collector,
    ("core.humio.com", "HumioCluster"): _humio_cluster,
    **of_group("core.humio.com", (
        "HumioAction", "HumioAlert", "HumioIngestToken", "HumioParser", "HumioRepository", "HumioView"), _humio),
    **of_group("coralogix.com", ("Alert", "RecordingRuleGroupSet"), _CORALOGIX),
    ("bitnami.com", "SealedSecret"): ready("Waiting for Sealed Secret to be decrypted", "Synced"),
    ("external-secrets.io", "ExternalSecret"): _external_secret,
    ("external-secrets.io", "ClusterExternalSecret"): _cluster_external_secret,
    ("external-secrets.io", "SecretStore"): ready("Waiting for SecretStore"),
    ("external-secrets.io", "ClusterSecretStore"): ready("Waiting for ClusterSecretStore"),
    ("external-secrets.io", "PushSecret"): ready("Waiting for PushSecret"),
    ("kubernetes-client.io", "ExternalSecret"): _godaddy_secret,
    ("onepassword.com", "OnePasswordItem"): ready("Waiting for controller to report status"),
    **of_group("addons.projectcapsule.dev", ("SopsSecret", "GlobalSopsSecret", "SopsProvider"), _SOPS),
    ("k8s.keycloak.org", "Keycloak"): _keycloak,
    ("kyverno.io", "Policy"): _kyverno_policy,
    ("kyverno.io", "ClusterPolicy"): Conditions("Waiting for ClusterPolicy to become ready", (
        On("Ready", "True", "Healthy"), On("Ready", "!True", "Degraded"))),
    ("policy.open-cluster-management.io", "CertificatePolicy"): _certificate_policy,
    ("policy.open-cluster-management.io", "ConfigurationPolicy"): _configuration_policy,
    ("policy.open-cluster-management.io", "OperatorPolicy"): _operator_policy,
    ("policy.open-cluster-management.io", "Policy"): _governance_policy,
    ("lifecycle.keptn.sh", "KeptnEvaluation"): _keptn("overallStatus"),
    **of_group("lifecycle.keptn.sh", (
        "KeptnAppVersion", "KeptnTask", "KeptnWorkloadInstance", "KeptnWorkloadVersion"), _keptn("status")),
    ("metrics.keptn.sh", "Analysis"): _keptn_analysis,
    ("metrics.keptn.sh", "KeptnMetric"): _keptn_metric,
    ("apps.3scale.net", "APIManager"): _api_manager,
    ("capabilities.3scale.net", "ActiveDoc"): _threescale(
        "ActiveDoc", "Ready", _invalid("ActiveDoc"), _orphan("ActiveDoc"), _failed("ActiveDoc")),
    ("capabilities.3scale.net", "Application"): _threescale_application,
    ("capabilities.3scale.net", "ApplicationAuth"): _threescale("ApplicationAuth", "Ready", _failed("ApplicationAuth", "")),
    ("capabilities.3scale.net", "Backend"): _threescale("Backend", "Synced", _invalid("Backend"), _failed("Backend")),
    ("capabilities.3scale.net", "CustomPolicyDefinition"): _threescale(
        "CustomPolicyDefinition", "Ready", _invalid("CustomPolicyDefinition"), _failed("CustomPolicyDefinition")),
    ("capabilities.3scale.net", "DeveloperAccount"): _threescale(
        "DeveloperAccount", "Ready", _invalid("DeveloperAccount"), _failed("DeveloperAccount"),
        On("Waiting", "True", "Suspended", absent="3scale DeveloperAccount is waiting for approval")),
    ("capabilities.3scale.net", "DeveloperUser"): _developer_user,
    ("capabilities.3scale.net", "OpenAPI"): _threescale(
        "OpenAPI", "Ready", _invalid("OpenAPI"), _failed("OpenAPI", " reconciliation")),
    ("capabilities.3scale.net", "Product"): _threescale(
        "Product", "Synced", _invalid("Product"), _orphan("Product"), _failed("Product")),
    ("capabilities.3scale.net", "ProxyConfigPromote"): _threescale(
        "ProxyConfigPromote", "Ready",
        On("In-progress", "True", "Progressing", absent="3scale ProxyConfigPromote is in progress"),
        On("Failed", "True", "Degraded", absent="3cale ProxyConfigPromote failed")),
}  # fmt: skip

GROUPS: dict[str, Check] = {
    "operator.victoriametrics.com": _victoria_metrics,
    "grafana-org-operator.kubitus-project.gitlab.io": Conditions("Waiting ...", (
        On("Ready", "False", "Degraded"), On("Ready", "True", "Healthy"), On("Ready", "*", "Progressing"))),
}
