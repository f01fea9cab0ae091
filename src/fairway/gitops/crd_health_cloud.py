"""Health of resources that live in a cloud or are clusters themselves: Crossplane, Config Connector, ACK, Cluster API. Pure."""

from __future__ import annotations

from fairway.gitops.crd_health_rules import (
    Answer,
    Check,
    Conditions,
    On,
    Words,
    condition_of,
    conditions_of,
    is_observed,
    is_true,
    message_of,
    of_group,
    reports,
)
from fairway.kube.objects import Obj, is_deleting, labels_of, spec_of, status_of

# --- Crossplane -----------------------------------------------------------------------------------------------------------

_UP_TO_DATE: Answer = ("Healthy", "Resource is up-to-date.")
_WITHOUT_STATUS = ("ClusterProviderConfig", "ProviderConfig", "ProviderConfigUsage")


def _managed(ready_types: tuple[str, ...], without_status: tuple[str, ...], first_ready_ends: bool) -> Check:
    """Any resource of a Crossplane group. An object without a `status` counts as up to date: many kinds never get one."""

    def check(obj: Obj) -> Answer:
        status = obj.get("status")
        if status is None or (not status and obj.get("kind") in without_status):
            return _UP_TO_DATE
        if not reports(obj):
            used = obj.get("kind") in ("ProviderConfig", "ClusterProviderConfig") and status.get("users") is not None
            return ("Healthy", "Resource is in use.") if used else ("Progressing", "Provisioning ...")
        answer: Answer = ("Progressing", "Provisioning ...")
        for entry in conditions_of(obj):
            if entry.get("type") in ("LastAsyncOperation", "Synced") and entry.get("status") == "False":
                return "Degraded", message_of(entry)
            if entry.get("type") in ready_types and is_true(entry):
                answer = _UP_TO_DATE
                if first_ready_ends:
                    return answer
        return answer

    return check


def _synced(what: str) -> Check:
    """Synced says whether the last reconcile worked, Ready whether the thing is there."""

    def check(obj: Obj) -> Answer:
        if not reports(obj):
            return "Progressing", f"Waiting for {what} to be created"
        there, synced = condition_of(obj, "Ready"), condition_of(obj, "Synced")
        if is_true(there) and is_true(synced):
            return "Healthy", str(there.get("reason") or "")
        paused = synced.get("reason") == "ReconcilePaused"
        if paused and not is_true(synced):
            return "Suspended", "ReconcilePaused"
        if is_true(synced) and not paused:
            return "Progressing", f"Waiting for {what} to be available"
        return "Degraded", message_of(synced) if synced.get("reason") == "ReconcileError" else ""

    return check


def _provider(obj: Obj) -> Answer:
    if not reports(obj):
        return "Progressing", "Waiting for provider to be installed"
    installed, healthy = condition_of(obj, "Installed"), condition_of(obj, "Healthy")
    text = f"{installed.get('reason') or ''} {healthy.get('reason') or ''}"
    return "Healthy" if is_true(installed) and is_true(healthy) else "Degraded", text


def _stack_install(obj: Obj) -> Answer:
    message = "Waiting for stack to be installed"
    for entry in conditions_of(obj, "status", "conditionedStatus", "conditions"):
        if entry.get("type") == "Ready":
            message = str(entry.get("reason") or "")
            if is_true(entry):
                return "Healthy", message
    return "Progressing", message


# --- clouds ---------------------------------------------------------------------------------------------------------------

_CONFIG_CONNECTOR = Conditions("Update in progress", (
    On("", "True", "Healthy", reasons=("UpToDate",)), On("", "*", "Degraded", reasons=("UpdateFailed", "DependencyNotFound")),
    On("", "*", "Suspended", reasons=("DependencyNotReady",))), stale="Update in progress")  # fmt: skip


def _google(obj: Obj) -> Answer:
    """The two kinds that configure Config Connector itself have a flag instead of conditions."""
    kind, healthy = str(obj.get("kind") or ""), status_of(obj).get("healthy")
    observed = status_of(obj).get("observedGeneration") is None or is_observed(obj)
    if kind in ("ConfigConnector", "ConfigConnectorContext") and healthy is not None and observed:
        return ("Healthy", f"{kind} is healthy") if healthy is True else ("Degraded", f"{kind} is not healthy")
    return _CONFIG_CONNECTOR(obj)


def _managed_certificate(obj: Obj) -> Answer:
    status = status_of(obj)
    if any(isinstance(d, dict) and d.get("status") == "FailedNotVisible" for d in status.get("domainStatus") or ()):
        return "Degraded", "At least one certificate has failed to be provisioned"
    if status.get("certificateStatus") == "Active":
        return "Healthy", "All certificates are active"
    return "Progressing", "At least one certificate is still being provisioned"


def _apigee(name: str) -> Words:
    return Words(("state",), f"An install plan for an Apigee {name} is pending installation",
                 {"running": ("Healthy", f"Install of Apigee {name} is done")})  # fmt: skip


def _iam_role(obj: Obj) -> Answer:
    status = status_of(obj)
    name, arn, ident = (status.get(key) or "<none>" for key in ("roleName", "roleARN", "roleID"))
    match status.get("state"):
        case "Ready":
            return "Healthy", f"Role '{name}' exists with ARN '{arn}' and ID '{ident}'."
        case "Error" | "RolesMaxLimitReached" | "PolicyNotAllowed" | "RoleNameNotAvailable":
            tried = f"(retry {status['retryCount']}) " if (status.get("retryCount") or 0) > 0 else ""
            said = status.get("errorDescription")
            return "Degraded", (f"Failed to reconcile the Iamrole {tried}for role '{name}' with ARN '{arn}' and ID '{ident}'."
                                + ("" if said is None else f" Reconciliation error was: {said}"))
    return "Progressing", "Waiting for Iamrole to be reconciled"


_SAP = Conditions("Waiting for status", (On("Succeeded", "False", "Degraded"), On("Failed", "True", "Degraded")))


def _sap_service(obj: Obj) -> Answer:
    if is_deleting(obj):
        return "Progressing", "Resource is being deleted"
    answer = _SAP(obj)
    return ("Healthy", "Ready to use") if answer[0] != "Degraded" and reports(obj) else answer


def _shoot(obj: Obj) -> Answer:
    """Gardener says it in a label. How long it has been unhealthy needs a clock, which a check has not: it is taken as long."""
    match labels_of(obj).get("shoot.gardener.cloud/status"):
        case "healthy":
            return "Healthy", "Component state: Healthy"
        case "progressing":
            return "Progressing", "Component state: Update in progress"
        case "unhealthy":
            lasting = any(not is_true(entry) for entry in conditions_of(obj))
            return "Degraded", "Component state: Unhealthy (> 15 minutes)" if lasting else "Component state: Unhealthy"
        case "unknown":
            return "Unknown", "Component state: Unknown"
    return "Progressing", "Update in progress"


_NODE_CLAIM = Conditions("Waiting for NodeClaim to be launched", (
    On("Disrupting", "True", "Suspended"), On("Ready", "True", "Healthy"), On("Ready", "False", "Degraded"),
    On("Initialized", "True", "Progressing", "Node initialized, waiting for Ready"),
    On("Registered", "True", "Progressing", "Node registered, waiting for initialization"),
    On("Launched", "True", "Progressing", "Node launched, waiting for registration")),
    ranked=True, stale="Waiting for NodeClaim spec to be reconciled")  # fmt: skip

# --- Cluster API ----------------------------------------------------------------------------------------------------------


def _cluster(obj: Obj) -> Answer:
    if spec_of(obj).get("paused"):
        return "Suspended", "Cluster is paused"
    unready, phase = _unready(obj), status_of(obj).get("phase")
    if phase == "Failed" or (phase == "Provisioned" and unready is not None):
        return "Degraded", message_of(unready or {})
    return ("Healthy", "Cluster is running") if phase == "Provisioned" else ("Progressing", "Waiting for clusters")


def _machine(obj: Obj) -> Answer:
    phase = status_of(obj).get("phase")
    if phase == "Running":
        return "Healthy", "Machine is running"
    unready = _unready(obj)
    text = "Condition is unknown" if unready is None else message_of(unready)
    return "Degraded" if phase == "Failed" else "Progressing", text


def _unready(obj: Obj) -> Obj | None:
    return next((e for e in conditions_of(obj) if e.get("type") == "Ready" and e.get("status") == "False"), None)


def _machine_deployment(obj: Obj) -> Answer:
    status = status_of(obj)
    if spec_of(obj).get("paused"):
        return "Suspended", "MachineDeployment is paused"
    match status.get("phase"):
        case "Running" if status.get("replicas") == status.get("updatedReplicas") == status.get("readyReplicas"):
            return "Healthy", "Machines are running under this deployment"
        case "ScalingUp":
            return "Progressing", "Cluster is spawning machines"
        case "ScalingDown":
            return "Progressing", "Cluster is stopping machines"
        case "Failed":
            return "Degraded", "MachineDeployment is failed"
    return "Progressing", "Waiting for machines"


def _machine_health_check(obj: Obj) -> Answer:
    healthy = status_of(obj).get("currentHealthy")
    if healthy is None:
        return "Progressing", ""
    return ("Healthy" if status_of(obj).get("expectedMachines") == healthy else "Degraded"), ""


def _machine_pool(obj: Obj) -> Answer:
    phase = status_of(obj).get("phase")
    refused = [f"Not {e['type']}" + (f" ({e['reason']})" if e.get("reason") is not None else "")
               for e in conditions_of(obj) if e.get("type") is not None and e.get("status") == "False"]
    message = "" if phase is None else f"MachinePool is {phase}"
    message += f": {', '.join(refused)}" if refused else ""
    if phase in ("Running", "Scaling"):
        return "Healthy", message
    return "Degraded" if phase in ("Failed", "Unknown") else "Progressing", message


def _aws_control_plane(obj: Obj) -> Answer:
    status = status_of(obj)
    if status.get("failureMessage"):
        return "Degraded", str(status["failureMessage"])
    if not reports(obj):
        return "Progressing", "Provisioning..."
    if is_true(condition_of(obj, "EKSControlPlaneUpdating")):
        return "Progressing", "EKS control plane is updating"
    if is_true(condition_of(obj, "Ready")):
        return "Healthy", "Control plane is ready"
    errors = [message_of(e) for e in conditions_of(obj) if e.get("status") == "False" and e.get("severity") == "Error"]
    if errors:
        return "Degraded", "".join(f"{text} " for text in errors)
    if status.get("ready") is False:
        return "Progressing", "Control plane is not ready (.status.ready is false)"
    return "Progressing", "Control plane is not ready"


# --- the tables -----------------------------------------------------------------------------------------------------------

CHECKS: dict[tuple[str, str], Check] = {
    ("cloudfront.aws.crossplane.io", "Distribution"): _synced("distribution"),
    ("iam.aws.crossplane.io", "Policy"): _synced("Policy"),
    ("iam.aws.crossplane.io", "Role"): _synced("Role"),
    ("iam.aws.crossplane.io", "RolePolicyAttachment"): _synced("RolePolicyAttachment"),
    ("rds.aws.crossplane.io", "DBCluster"): _synced("DBCluster"),
    ("rds.aws.crossplane.io", "DBInstance"): _synced("DBInstance"),
    ("route53.aws.crossplane.io", "ResourceRecordSet"): _synced("resourcrecordset"),
    ("s3.aws.crossplane.io", "Bucket"): _synced("Bucket"),
    ("pkg.crossplane.io", "Provider"): _provider,
    ("stacks.crossplane.io", "ClusterStackInstall"): _stack_install,
    ("networking.gke.io", "ManagedCertificate"): _managed_certificate,
    **{("apigee.cloud.google.com", f"Apigee{name}"): _apigee(name)
       for name in ("Datastore", "Deployment", "Environment", "Organization", "Redis", "Telemetry")},
    ("iammanager.keikoproj.io", "Iamrole"): _iam_role,
    **of_group("services.cloud.sap.com", ("ServiceBinding", "ServiceInstance"), _sap_service),
    ("core.gardener.cloud", "Shoot"): _shoot,
    ("karpenter.sh", "NodeClaim"): _NODE_CLAIM,
    ("karpenter.sh", "NodePool"): Conditions("Waiting for NodePool to be ready", (
        On("Ready", "False", "Degraded"), On("Ready", "True", "Healthy"), On("NodeClassReady", "False", "Degraded")),
        ranked=True),
    ("karpenter.k8s.aws", "EC2NodeClass"): Conditions("Waiting for EC2NodeClass to be ready", (
        On("Ready", "False", "Degraded"), On("Ready", "True", "Healthy", "EC2NodeClass is ready"),
        On("SubnetsReady", "False", "Degraded"), On("SecurityGroupsReady", "False", "Degraded"),
        On("ValidationSucceeded", "False", "Degraded")), ranked=True),
    ("pulumi.com", "Stack"): Conditions("Waiting for the stack to be reconciled", (
        On("Stalled", "True", "Degraded"), On("Reconciling", "True", "Progressing"), On("Ready", "True", "Healthy")),
        unseen="Waiting for the operator to observe the latest spec change"),
    ("cluster.x-k8s.io", "Cluster"): _cluster,
    ("cluster.x-k8s.io", "Machine"): _machine,
    ("cluster.x-k8s.io", "MachineDeployment"): _machine_deployment,
    ("cluster.x-k8s.io", "MachineHealthCheck"): _machine_health_check,
    ("cluster.x-k8s.io", "MachinePool"): _machine_pool,
    ("controlplane.cluster.x-k8s.io", "AWSManagedControlPlane"): _aws_control_plane,
}  # fmt: skip

GROUPS: dict[str, Check] = {
    "*.crossplane.io": _managed(
        ("Ready", "Healthy", "Offered", "Established", "ValidPipeline", "RevisionHealthy"),
        (*_WITHOUT_STATUS, "Composition", "CompositionRevision", "DeploymentRuntimeConfig", "ControllerConfig"), True),
    "*.upbound.io": _managed(("Ready",), _WITHOUT_STATUS, False),
    "*.cnrm.cloud.google.com": _google,
    "*.services.k8s.aws": Conditions("Waiting for resource to be ready", (
        On("ACK.Terminal", "True", "Degraded"), On("Ready", "False", "Progressing"), On("Ready", "True", "Healthy", ""))),
}  # fmt: skip
