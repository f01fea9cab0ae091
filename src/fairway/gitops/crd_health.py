"""Health of custom kinds that teams commonly run: what their controllers say in conditions and phases. Pure.

Most controllers speak in one of a few ways, so a kind is a row: which condition means ready, which ones mean failed or still
at work, and what stands in for a message. A kind that is in no table has no health, as in Argo CD, unless the user brings a
check of their own (`resource.customizations.health.<group>_<kind>` in the ConfigMap argocd-cm).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fairway.kube.objects import Obj, dig, group_of, meta_of, spec_of, status_of

Status = Literal["Healthy", "Suspended", "Progressing", "Missing", "Degraded", "Unknown"]
Answer = tuple[Status, str]


def condition_of(obj: Obj, kind: str) -> Obj:
    found = status_of(obj).get("conditions")
    return next((c for c in found if isinstance(c, dict) and c.get("type") == kind), {}) if isinstance(found, list) else {}


def is_behind(obj: Obj) -> bool:
    """The controller has not seen the last change of the spec, and says so."""
    seen, generation = status_of(obj).get("observedGeneration"), meta_of(obj).get("generation")
    return isinstance(seen, int) and isinstance(generation, int) and seen < generation


@dataclass(frozen=True, slots=True)
class Ready:
    """One condition decides. `text` says whether its message or its reason is shown; `healthy` replaces it when it is ready.

    `working` are reasons that mean "not yet" although the condition is False; `busy` is a condition that means so while True;
    `failed` one that means failure while True.
    """

    waiting: str = "Waiting for status"
    kind: str = "Ready"
    text: Literal["message", "reason"] = "message"
    healthy: str | None = None
    working: tuple[str, ...] = ()
    busy: str = ""
    failed: str = ""
    not_ready: Status = "Degraded"
    unready: str | None = None
    suspended: str = ""
    behind: str = ""

    def __call__(self, obj: Obj) -> Answer:
        if self.suspended and spec_of(obj).get("suspend"):
            return "Suspended", self.suspended
        if self.behind and is_behind(obj):
            return "Progressing", self.behind
        busy, failed = (condition_of(obj, kind) if kind else {} for kind in (self.busy, self.failed))
        if busy.get("status") == "True":
            return "Progressing", self._text(busy)
        if failed.get("status") == "True":
            return "Degraded", self._text(failed)
        found = condition_of(obj, self.kind)
        match found.get("status"):
            case "True" | True:
                return "Healthy", self._text(found) if self.healthy is None else self.healthy
            case "False" | False:
                status: Status = "Progressing" if found.get("reason") in self.working else self.not_ready
                return status, self._text(found) if self.unready is None else self.unready
            case "Unknown":
                return "Progressing", self._text(found) or self.waiting
        return "Progressing", self.waiting

    def _text(self, found: Obj) -> str:
        return str(found.get(self.text) or "")


@dataclass(frozen=True, slots=True)
class Phase:
    """A word in the status decides; `text` is a template over the word, or a path into the status if it starts with a dot."""

    path: tuple[str, ...]
    words: Mapping[str, Status]
    waiting: str
    text: str = "{}"
    texts: Mapping[str, str] | None = None
    other: Status = "Progressing"

    def __call__(self, obj: Obj) -> Answer:
        word = dig(status_of(obj), *self.path)
        if word in (None, ""):
            return "Progressing", self.waiting
        word = str(word)
        if self.text.startswith("."):
            message = str(dig(status_of(obj), *self.text[1:].split("."), default=""))
        else:
            message = self.text.format(word)
        return self.words.get(word, self.other), (self.texts or {}).get(word, message)


# --- kinds whose rule needs more than a row -------------------------------------------------------------------------------


def _crossplane(what: str) -> Callable[[Obj], Answer]:
    """Synced says whether the last reconcile worked, Ready whether the thing is there."""

    def check(obj: Obj) -> Answer:
        synced, ready = condition_of(obj, "Synced"), condition_of(obj, "Ready")
        if synced.get("status") == "False":
            if synced.get("reason") == "ReconcilePaused":
                return "Suspended", "ReconcilePaused"
            return "Degraded", str(synced.get("message") or "")
        if ready.get("status") == "True":
            return "Healthy", str(ready.get("reason") or "")
        return "Progressing", f"Waiting for {what} to be available"

    return check


def _managed(obj: Obj) -> Answer:
    """Any managed resource of Crossplane and its providers, by the conditions that all of them have."""
    if not status_of(obj) and str(obj.get("kind")) in ("ProviderConfig", "ProviderConfigUsage", "Composition",
                                                       "CompositionRevision", "DeploymentRuntimeConfig", "ControllerConfig"):
        return "Healthy", "Resource is up-to-date."
    if status_of(obj) and "conditions" not in status_of(obj) and str(obj.get("kind")) == "ProviderConfig":
        return "Healthy", "Resource is up-to-date."
    for name in ("LastAsyncOperation", "Synced"):
        found = condition_of(obj, name)
        if found.get("status") == "False":
            return "Degraded", str(found.get("message") or "")
    for name in ("Ready", "Healthy", "Offered", "Established", "RevisionHealthy"):
        found = condition_of(obj, name)
        if found.get("status") == "True":
            return "Healthy", "Resource is up-to-date."
        if name == "Healthy" and found.get("status") == "False":
            installed = condition_of(obj, "Installed")
            return "Degraded", " ".join(str(c.get("reason") or "") for c in (installed, found) if c)
    return "Progressing", "Provisioning ..."


def _package(obj: Obj) -> Answer:
    installed, healthy = condition_of(obj, "Installed"), condition_of(obj, "Healthy")
    if not installed or not healthy:
        return "Progressing", "Waiting for provider to be installed"
    good = installed.get("status") == "True" and healthy.get("status") == "True"
    return "Healthy" if good else "Degraded", f"{installed.get('reason')} {healthy.get('reason')}"


def _definition(obj: Obj) -> Answer:
    conditions = status_of(obj).get("conditions")
    if conditions is None or conditions == []:
        return "Progressing", "Status conditions not found"
    terminating = condition_of(obj, "Terminating")
    if terminating.get("status") == "True":
        said = terminating.get("message")
        return "Progressing", f"CRD is terminating: {said}" if said else "CRD is terminating"
    names, established = condition_of(obj, "NamesAccepted"), condition_of(obj, "Established")
    if names.get("status") == "False":
        return "Degraded", f"CRD names have not been accepted: {names.get('message') or ''}"
    if established.get("status") != "True":
        installing = established.get("reason") == "Installing"
        return ("Progressing", "CRD is being installed") if installing else ("Degraded", "CRD is not established")
    violated = condition_of(obj, "NonStructuralSchema")
    if violated.get("status") == "True":
        return "Degraded", f"Schema violations found: {violated.get('message') or ''}"
    return "Healthy", "CRD is healthy"


def _canary(obj: Obj) -> Answer:
    """Flagger: the phase, the weight where traffic moves, and what the Promoted condition says."""
    phase = str(status_of(obj).get("phase") or "")
    if not phase:
        return "Progressing", "Waiting for Canary to initialize"
    said = condition_of(obj, "Promoted").get("message")
    weight = f" --- Canary Weight: {dig(status_of(obj), 'canaryWeight', default=0)} %" if phase == "Progressing" else ""
    statuses: dict[str, Status] = {"Failed": "Degraded", "Initialized": "Healthy", "Succeeded": "Healthy"}
    return statuses.get(phase, "Progressing"), f"{phase}{weight}" + (f" --- {said}" if said else "")


def _gateway(obj: Obj) -> Answer:
    found = status_of(obj).get("conditions") or []
    if not found:
        return "Progressing", "Waiting for Gateway status"
    bad = _worst_gateway_condition(obj, found, ())
    if bad is not None:
        return bad
    for listener in status_of(obj).get("listeners") or ():
        bad = _worst_gateway_condition(obj, listener.get("conditions") or (), ("Conflicted", "OverlappingTLSConfig"))
        if bad is not None:
            return bad[0], f"Listener: {bad[1]}"
    return "Healthy", "Gateway is healthy"


def _worst_gateway_condition(obj: Obj, conditions: Any, ignored: tuple[str, ...]) -> Answer | None:
    for entry in conditions:
        seen = entry.get("observedGeneration")
        if seen is not None and seen != meta_of(obj).get("generation", seen):
            return "Progressing", f"Waiting for {obj.get('kind')} status"
    for wanted in ("ResolvedRefs", "Accepted", "Programmed"):
        for entry in conditions:
            if entry.get("type") == wanted and wanted not in ignored and entry.get("status") == "False":
                progressing = entry.get("type") == "Programmed" or entry.get("reason") == "Pending"
                return "Progressing" if progressing else "Degraded", str(entry.get("message") or "")
    return None


def _gateway_class(obj: Obj) -> Answer:
    accepted = condition_of(obj, "Accepted")
    seen, now = accepted.get("observedGeneration"), meta_of(obj).get("generation")
    if not accepted or (seen is not None and now is not None and seen != now):
        return "Progressing", "Waiting for GatewayClass status"
    message = str(accepted.get("message") or "")
    match accepted.get("status"):
        case "True":
            return "Healthy", message or "GatewayClass is healthy"
        case "False":
            return "Degraded", message
    return "Progressing", message


def _route(parents: str, noun: str) -> Callable[[Obj], Answer]:
    """Routes and policies of the Gateway API: one set of conditions for each parent or ancestor."""
    key = "ancestorRef" if parents == "ancestors" else "parentRef"

    def check(obj: Obj) -> Answer:
        kind = str(obj.get("kind"))
        found = status_of(obj).get(parents) or []
        if not found:
            return "Progressing", f"Waiting for {kind} status"
        waiting: Answer | None = None
        for entry in found:
            name = dig(entry, key, "name", default="")
            for one in entry.get("conditions") or ():
                seen = one.get("observedGeneration")
                if seen is not None and seen != meta_of(obj).get("generation", seen):
                    return "Progressing", f"Waiting for {noun} {name} to update {kind} status"
                said = str(one.get("message") or "")
                if one.get("status") == "False" and one.get("type") in ("Accepted", "ResolvedRefs"):
                    return "Degraded", f"{noun} {name}: {said or 'Failed condition: ' + str(one.get('type'))}"
                if one.get("status") in ("False", "Unknown") and waiting is None:
                    waiting = "Progressing", f"{noun} {name}: {said}"
        return waiting or ("Healthy", f"{kind} is healthy")

    return check


def _solo(obj: Obj) -> Answer:
    """Gloo: 0 pending, 1 accepted, 2 rejected, 3 warning, in `status` or for each controller in `status.statuses`."""
    status = status_of(obj)
    now = meta_of(obj).get("generation")
    if now is not None and status.get("observedGeneration") not in (None, now, str(now)):
        return "Progressing", "Update in progress"
    entries = list((status.get("statuses") or {}).values()) or ([status] if status else [])
    for states, answer in (((2, "Rejected"), "Degraded"), ((3, "Warning"), "Degraded"), ((0, "Pending"), "Suspended")):
        for entry in entries:
            if entry.get("state") in states and (entry.get("state") is not False):
                text = str(entry.get("reason") or "")
                return ("Suspended", "The resource has not yet been validated") if answer == "Suspended" else ("Degraded", text)
    if any(entry.get("state") in (1, "Accepted") for entry in entries):
        return "Healthy", "The resource has been validated"
    return "Progressing", "Update in progress"


def _postgres_cluster(obj: Obj) -> Answer:
    """CloudNativePG."""
    hibernated = condition_of(obj, "cnpg.io/hibernation")
    if hibernated.get("status") == "True":
        return "Suspended", str(hibernated.get("message") or "")
    phase = str(status_of(obj).get("phase") or "")
    if not phase:
        return "Progressing", "Waiting for cluster status"
    words: dict[str, Status] = {"Cluster in healthy state": "Healthy", "Creating a new replica": "Progressing",
                                "Setting up primary": "Progressing",
                                "Waiting for the instances to become active": "Progressing"}
    if phase in words:
        status = words[phase]
    elif any(word in phase.lower() for word in ("failover", "fail", "error", "unrecoverable", "not enough disk", "cannot")):
        status = "Degraded"
    else:
        status = "Progressing"
    return status, str(status_of(obj).get("phaseReason") or phase)


def _scaled(paused: str, waiting: str) -> Callable[[Obj], Answer]:
    """KEDA."""

    def check(obj: Obj) -> Answer:
        conditions = status_of(obj).get("conditions") or []
        if condition_of(obj, "Paused").get("status") == "True":
            return "Suspended", paused
        fallback = condition_of(obj, "Fallback")
        if fallback.get("status") == "True":
            return "Degraded", str(fallback.get("message") or "")
        ready = condition_of(obj, "Ready")
        match ready.get("status"):
            case "True":
                return "Healthy", str(ready.get("message") or "")
            case "False" | "Unknown":
                return "Degraded", str(ready.get("message") or "")
        said = next((str(c.get("message") or "") for c in conditions if c.get("message")), "")
        return "Progressing", said or waiting

    return check


def _flux(obj: Obj) -> Answer:
    if spec_of(obj).get("suspend"):
        return "Suspended", f"{obj.get('kind')} is suspended"
    if obj.get("kind") == "HelmRepository" and spec_of(obj).get("type") == "oci":
        return "Healthy", "Helm repositories of type 'oci' do not contain any information in the status."
    ready = condition_of(obj, "Ready")
    match ready.get("status"):
        case "True":
            return "Healthy", str(ready.get("reason") or "")
        case "False":
            return "Degraded", str(ready.get("reason") or "")
        case "Unknown":
            return "Progressing", str(ready.get("reason") or "")
    return "Progressing", ""


def _strimzi(what: str) -> Ready:
    return Ready(f"Waiting for {what}", failed="NotReady")


def _experiment(obj: Obj) -> Answer:
    phase, said = str(status_of(obj).get("phase") or ""), str(status_of(obj).get("message") or "")
    words: dict[str, Answer] = {
        "": ("Progressing", "Waiting for experiment to finish: status has not been reconciled."),
        "Pending": ("Progressing", "Experiment is pending"), "Running": ("Progressing", "Experiment is running"),
        "Successful": ("Healthy", "Experiment is successful"), "Failed": ("Degraded", "Experiment has failed"),
        "Error": ("Degraded", "Experiment had an error"), "Inconclusive": ("Degraded", "Experiment is inconclusive"),
    }
    status, text = words.get(phase, ("Unknown", said))
    return status, said or text


def _application_set(obj: Obj) -> Answer:
    conditions = status_of(obj).get("conditions") or []
    for entry in conditions:
        if entry.get("type") == "ErrorOccurred" and entry.get("status") == "True":
            return "Degraded", str(entry.get("message") or "")
    rolling = condition_of(obj, "RolloutProgressing")
    if rolling.get("status") == "True":
        return "Progressing", str(rolling.get("message") or "")
    updated = condition_of(obj, "ResourcesUpToDate")
    if updated.get("status") == "True":
        return "Healthy", str(updated.get("message") or "")
    return "Progressing", "Waiting for health assessment"


def _cron_workflow(obj: Obj) -> Answer:
    if spec_of(obj).get("suspend"):
        return "Suspended", "CronWorkflow is suspended"
    failed = condition_of(obj, "SpecError") or condition_of(obj, "SubmissionError")
    if failed.get("status") == "True":
        return "Degraded", str(failed.get("message") or "")
    return "Healthy", "CronWorkflow is healthy" if status_of(obj) else ""


def _sealed_secret(obj: Obj) -> Answer:
    synced = condition_of(obj, "Synced")
    if synced.get("status") == "False":
        return "Degraded", str(synced.get("message") or "")
    return "Healthy", "" if status_of(obj) else "Sealed Secret has no status"


def _snapshot(obj: Obj) -> Answer:
    status = status_of(obj)
    if dig(status, "error", "message"):
        return "Degraded", str(dig(status, "error", "message"))
    return ("Healthy", "Ready to use") if status.get("readyToUse") else ("Progressing", "Waiting for status")


def _certificate(obj: Obj) -> Answer:
    issuing = condition_of(obj, "Issuing")
    if issuing.get("status") == "True":
        return "Progressing", str(issuing.get("message") or "")
    return Ready("Waiting for certificate")(obj)


def _rabbit(what: str) -> Callable[[Obj], Answer]:
    row = Ready(f"RabbitMQ {what} status is unknown", healthy=f"RabbitMQ {what} ready",
                unready=f"RabbitMQ {what} failed to be created or updated")

    def check(obj: Obj) -> Answer:
        return row(obj) if condition_of(obj, "Ready") else ("Unknown", row.waiting)

    return check


def _humio(obj: Obj) -> Answer:
    if is_behind(obj) or str(status_of(obj).get("observedGeneration") or meta_of(obj).get("generation") or "") != str(
            meta_of(obj).get("generation") or ""):
        return "Progressing", "Update in progress"
    state = str(status_of(obj).get("state") or "")
    words: dict[str, Status] = {"Exists": "Healthy", "NotFound": "Missing", "ConfigError": "Degraded", "Unknown": "Unknown"}
    return words.get(state, "Progressing"), f"Component state: {state}."


# --- the tables -----------------------------------------------------------------------------------------------------------

Check = Callable[[Obj], Answer]
_KEPTN: dict[str, Status] = {"Succeeded": "Healthy", "Failed": "Degraded", "Deprecated": "Suspended"}

CHECKS: dict[tuple[str, str], Check] = {
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("argoproj.io", "Experiment"): _experiment, ("argoproj.io", "ApplicationSet"): _application_set,
    ("argoproj.io", "CronWorkflow"): _cron_workflow,
    ("bitnami.com", "SealedSecret"): _sealed_secret,
    ("cert-manager.io", "Certificate"): _certificate, ("certmanager.k8s.io", "Certificate"): _certificate,
    ("cert-manager.io", "Issuer"): Ready("Initializing issuer"), ("certmanager.k8s.io", "Issuer"): Ready("Initializing issuer"),
    ("cert-manager.io", "ClusterIssuer"): Ready("Initializing ClusterIssuer"),
    ("external-secrets.io", "ExternalSecret"): Ready("Waiting for ExternalSecret"),
    ("external-secrets.io", "ClusterExternalSecret"): Ready("Waiting for ClusterExternalSecret", failed="NotReady"),
    ("external-secrets.io", "SecretStore"): Ready("Initializing SecretStore"),
    ("external-secrets.io", "ClusterSecretStore"): Ready("Initializing ClusterSecretStore"),
    ("external-secrets.io", "PushSecret"): Ready("Waiting for PushSecret"),
    ("onepassword.com", "OnePasswordItem"): Ready("Waiting for OnePasswordItem"),
    ("flagger.app", "Canary"): _canary,
    ("gateway.networking.k8s.io", "Gateway"): _gateway, ("gateway.networking.k8s.io", "GatewayClass"): _gateway_class,
    ("gateway.networking.k8s.io", "HTTPRoute"): _route("parents", "Parent"),
    ("gateway.networking.k8s.io", "GRPCRoute"): _route("parents", "Parent"),
    ("gateway.networking.k8s.io", "TLSRoute"): _route("parents", "Parent"),
    ("gateway.networking.k8s.io", "TCPRoute"): _route("parents", "Parent"),
    ("gateway.networking.k8s.io", "BackendTLSPolicy"): _route("ancestors", "Ancestor"),
    ("karpenter.sh", "NodeClaim"): Ready("Waiting for NodeClaim to be launched"),
    ("openfaas.com", "Function"): Ready("Waiting for Function"),
    ("kiali.io", "Kiali"): Ready("Waiting for Kiali", kind="Running", failed="Failure"),
    ("networking.gke.io", "ManagedCertificate"): Phase(
        ("certificateStatus",), {"Active": "Healthy", "FailedNotVisible": "Degraded", "Failed": "Degraded"},
        "At least one certificate is still being provisioned", "At least one certificate is still being provisioned",
        {"Active": "All certificates are active"}),
    ("ceph.rook.io", "CephObjectStore"): Phase(("phase",), {"Ready": "Healthy", "Connected": "Healthy", "Failure": "Degraded"},
                                               "Waiting for status to be reported", "Ceph object store phase is {}"),
    ("elasticsearch.k8s.elastic.co", "Elasticsearch"): Phase(
        ("health",), {"green": "Healthy", "yellow": "Progressing", "red": "Degraded", "unknown": "Unknown"},
        "Elasticsearch Cluster status is unknown", "Elasticsearch Cluster status is {}"),
    ("sparkoperator.k8s.io", "SparkApplication"): Phase(
        ("applicationState", "state"), {"RUNNING": "Healthy", "COMPLETED": "Healthy", "FAILED": "Degraded",
                                        "SUBMISSION_FAILED": "Degraded"}, "SparkApplication was not reconciled",
        "Job {}", {"RUNNING": "SparkApplication is Running", "COMPLETED": "SparkApplication was Completed",
                   "FAILED": "Job Failed"}),
    ("keda.sh", "ScaledObject"): _scaled("ScaledObject is paused", "Creating HorizontalPodAutoscaler Object"),
    ("keda.sh", "ScaledJob"): _scaled("ScaledJob is paused", "Creating ScaledJob Object"),
    ("postgresql.cnpg.io", "Cluster"): _postgres_cluster,
    ("k8s.mariadb.com", "MariaDB"): Ready("No status info available", working=(
        "StatefulSetNotReady", "RestoreNotComplete")),
    ("mariadb.mmontes.io", "MariaDB"): Ready("No status info available", working=(
        "StatefulSetNotReady", "RestoreNotComplete")),
    ("k8s.mariadb.com", "Grant"): Ready("No status info available"),
    ("kafka.strimzi.io", "Kafka"): _strimzi("Kafka Cluster"), ("kafka.strimzi.io", "KafkaBridge"): _strimzi("KafkaBridge"),
    ("kafka.strimzi.io", "KafkaConnect"): _strimzi("Kafka Connect"),
    ("kafka.strimzi.io", "KafkaConnector"): _strimzi("Kafka Connector"),
    ("kafka.strimzi.io", "KafkaTopic"): _strimzi("Kafka Topic"), ("kafka.strimzi.io", "KafkaUser"): _strimzi("Kafka User"),
    ("karpenter.sh", "NodePool"): Ready("Waiting for NodePool status"),
    ("karpenter.k8s.aws", "EC2NodeClass"): Ready("Waiting for EC2NodeClass status"),
    ("kyverno.io", "Policy"): Ready("Waiting for Policy to be ready", healthy="Policy is ready"),
    ("kyverno.io", "ClusterPolicy"): Ready("Waiting for ClusterPolicy to be ready", healthy="ClusterPolicy is ready"),
    ("pkg.crossplane.io", "Provider"): _package,
    ("iam.aws.crossplane.io", "Policy"): _crossplane("policy"), ("iam.aws.crossplane.io", "Role"): _crossplane("role"),
    ("iam.aws.crossplane.io", "RolePolicyAttachment"): _crossplane("rolepolicyattachment"),
    ("rds.aws.crossplane.io", "DBCluster"): _crossplane("DBCluster"),
    ("rds.aws.crossplane.io", "DBInstance"): _crossplane("DBInstance"),
    ("route53.aws.crossplane.io", "ResourceRecordSet"): _crossplane("resourcrecordset"),
    ("s3.aws.crossplane.io", "Bucket"): _crossplane("bucket"),
    ("cloudfront.aws.crossplane.io", "Distribution"): _crossplane("distribution"),
    ("projectcontour.io", "HTTPProxy"): Ready("Waiting for controller", kind="Valid"),
    ("projectcontour.io", "ExtensionService"): Ready("Waiting for status", kind="Valid"),
    ("coralogix.com", "Alert"): Ready("Waiting for status to be updated", kind="RemoteSynced", healthy="Resource is ready"),
    ("coralogix.com", "RecordingRuleGroupSet"): Ready("Waiting for status to be updated", kind="RemoteSynced",
                                                      healthy="Resource is ready"),
    ("db.atlasgo.io", "AtlasSchema"): Ready("Waiting for status", text="reason", working=("Reconciling",)),
    ("db.atlasgo.io", "AtlasMigration"): Ready("Waiting for status", text="reason", working=("Reconciling",)),
    ("snapshot.storage.k8s.io", "VolumeSnapshot"): _snapshot,
    ("snapshot.storage.k8s.io", "VolumeSnapshotContent"): _snapshot,
    ("services.cloud.sap.com", "ServiceBinding"): Ready("Waiting for status", healthy="Ready to use"),
    ("services.cloud.sap.com", "ServiceInstance"): Ready("Waiting for status", healthy="Ready to use"),
    ("apps.3scale.net", "APIManager"): Ready("Waiting for 3scale APIManager status...", kind="Available",
                                             healthy="3scale APIManager is available", not_ready="Progressing",
                                             unready="Waiting for 3scale APIManager status..."),
    ("cdi.kubevirt.io", "DataVolume"): Phase(("phase",), {"Succeeded": "Healthy", "Failed": "Degraded", "Unknown": "Unknown",
                                                          "Paused": "Suspended"}, "No status available"),
    ("kubevirt.io", "VirtualMachine"): Phase(("printableStatus",), {"Running": "Healthy", "Stopped": "Suspended", "Paused":
                                             "Suspended", "Provisioning": "Progressing"}, "No status available"),
    ("objectbucket.io", "ObjectBucketClaim"): Phase(("phase",), {"Bound": "Healthy", "Failed": "Degraded"},
                                                    "Object bucket claim phase is Pending", "Object bucket claim phase is {}"),
    ("jaegertracing.io", "Jaeger"): Phase(("phase",), {"Running": "Healthy", "Failed": "Degraded"}, "Waiting for Jaeger",
                                          "Jaeger is {}", {"Failed": "Jaeger Failed For Some Reason"}),
    ("acid.zalan.do", "postgresql"): Phase(("PostgresClusterStatus",), {
        "Running": "Healthy", "UpdateFailed": "Degraded", "SyncFailed": "Degraded", "CreateFailed": "Degraded",
        "Invalid": "Degraded", "Creating": "Progressing", "Updating": "Progressing"}, "Waiting for postgresql status"),
    ("kubernetes-client.io", "ExternalSecret"): Phase(("status",), {"SUCCESS": "Healthy"}, "Waiting for ExternalSecret.",
                                                      texts={"SUCCESS": "Fetched ExternalSecret."}, other="Degraded",
                                                      text="{}"),
    **{("rabbitmq.com", kind): _rabbit(kind.lower()) for kind in (
        "Binding", "Exchange", "Permission", "Policy", "Queue", "Shovel", "User", "Vhost")},
    **{("gateway.solo.io", kind): _solo for kind in (
        "Gateway", "MatchableHttpGateway", "RouteOption", "RouteTable", "VirtualHostOption", "VirtualService")},
    **{("gloo.solo.io", kind): _solo for kind in ("Proxy", "Settings", "Upstream", "UpstreamGroup")},
    **{("core.humio.com", kind): _humio for kind in (
        "HumioAction", "HumioAlert", "HumioIngestToken", "HumioParser", "HumioRepository", "HumioView")},
    **{("lifecycle.keptn.sh", kind): Phase(
        ("status",) if "App" in kind or "Workload" in kind else ("overallStatus",), _KEPTN, f"{kind} is progressing",
        f"{kind} is progressing", {"Succeeded": f"{kind} is healthy", "Failed": f"{kind} is degraded"})
       for kind in ("KeptnAppVersion", "KeptnEvaluation", "KeptnTask", "KeptnWorkloadInstance", "KeptnWorkloadVersion")},
    **{(f"{group}.toolkit.fluxcd.io", kind): _flux for group, kind in (
        ("helm", "HelmRelease"), ("kustomize", "Kustomization"), ("source", "Bucket"), ("source", "GitRepository"),
        ("source", "HelmChart"), ("source", "HelmRepository"), ("source", "OCIRepository"), ("notification", "Receiver"),
        ("image", "ImagePolicy"), ("image", "ImageRepository"), ("image", "ImageUpdateAutomation"))},
}  # fmt: skip

GROUPS: tuple[tuple[str, Check], ...] = (
    (".crossplane.io", _managed), (".upbound.io", _managed), (".microgateway.airlock.com", _route("ancestors", "Ancestor")),
    (".cnrm.cloud.google.com", Ready("Update in progress")),
    (".grafana-org-operator.kubitus-project.gitlab.io", Ready("Waiting for status")),
)
"""Whole groups, by the end of `.<group>`; a row of a kind goes first."""


def crd_check(obj: Obj) -> Check | None:
    group = group_of(str(obj.get("apiVersion") or ""))
    found = CHECKS.get((group, str(obj.get("kind") or "")))
    return found or next((check for end, check in GROUPS if f".{group}".endswith(end)), None)
