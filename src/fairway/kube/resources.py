"""Which resources exist: names, scopes and short names, as discovery shows them.

Built-in rows are facts of Kubernetes 1.35; rows of custom kinds come from their CRDs at run time. The constants at the
end are for rooms that know which kind they mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fairway.kube.errors import NotFound
from fairway.kube.objects import group_of


@dataclass(frozen=True, slots=True)
class Resource:
    """One row of discovery. `subresources` are names such as "status", "scale", "log"."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    singular: str = ""

    def __hash__(self) -> int:
        return hash((self.group, self.version, self.plural))  # caches are asked for by it at every step

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_kind(self) -> tuple[str, str]:
        return self.group, self.kind

    @property
    def qualified(self) -> str:
        """`plural.group` as error messages and CRD names write it ("deployments.apps", "pods")."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def __str__(self) -> str:
        return self.qualified


class ResourceMap:
    """The resources that can be asked for now. Several versions of one kind may be served; the first is preferred."""

    def __init__(self, rows: Iterable[Resource]) -> None:
        self._rows: list[Resource] = []
        self._by_kind: dict[tuple[str, str, str], Resource] = {}
        self._by_plural: dict[tuple[str, str, str], Resource] = {}
        for row in rows:
            self.add(row)

    def __iter__(self) -> Iterator[Resource]:
        return iter(self._rows)

    def add(self, row: Resource) -> None:
        self.remove(row)
        self._rows.append(row)
        self._by_kind[row.group, row.version, row.kind] = row
        self._by_plural[row.group, row.version, row.plural] = row

    def remove(self, row: Resource) -> None:
        old = self._by_plural.pop((row.group, row.version, row.plural), None)
        if old is not None:
            self._rows.remove(old)
            self._by_kind.pop((old.group, old.version, old.kind), None)

    def of(self, obj: Mapping[str, Any]) -> Resource:
        """The resource that serves this object's apiVersion and kind; `NotFound` in the words kubectl uses."""
        return self.of_kind(str(obj.get("apiVersion", "")), str(obj.get("kind", "")))

    def of_kind(self, api_version: str, kind: str) -> Resource:
        row = self._by_kind.get((group_of(api_version), api_version.rpartition("/")[2], kind))
        if row is None:
            raise NotFound(f'no matches for kind "{kind}" in version "{api_version}"')
        return row

    def of_plural(self, group: str, version: str, plural: str) -> Resource | None:
        return self._by_plural.get((group, version, plural))

    def of_group_kind(self, group: str, kind: str) -> Resource | None:
        return next((row for row in self._rows if row.group == group and row.kind == kind), None)

    def named(self, word: str) -> Resource | None:
        """What a person means by `word`: plural, singular, short name or kind, with or without ".group"."""
        name, _, group = word.lower().partition(".")
        for row in self._rows:
            names = (row.plural, row.singular or row.kind.lower(), *row.short_names)
            if name in names and (not group or row.group == group):
                return row
        return None


def _row(group: str, version: str, kind: str, plural: str, short: str = "", *, namespaced: bool = True,
         subs: str = "", categories: str = "") -> Resource:
    return Resource(group, version, kind, plural, namespaced, tuple(short.split()), tuple(categories.split()),
                    tuple(subs.split()), kind.lower())


# --- core ---------------------------------------------------------------------------------------------------------
NAMESPACES = _row("", "v1", "Namespace", "namespaces", "ns", namespaced=False, subs="status finalize")
NODES = _row("", "v1", "Node", "nodes", "no", namespaced=False, subs="status proxy")
PODS = _row("", "v1", "Pod", "pods", "po", categories="all",
            subs="status log exec attach portforward proxy eviction binding ephemeralcontainers resize")
SERVICES = _row("", "v1", "Service", "services", "svc", subs="status proxy", categories="all")
ENDPOINTS = _row("", "v1", "Endpoints", "endpoints", "ep")
CONFIG_MAPS = _row("", "v1", "ConfigMap", "configmaps", "cm")
SECRETS = _row("", "v1", "Secret", "secrets")
SERVICE_ACCOUNTS = _row("", "v1", "ServiceAccount", "serviceaccounts", "sa", subs="token")
CORE_EVENTS = _row("", "v1", "Event", "events", "ev")
PERSISTENT_VOLUMES = _row("", "v1", "PersistentVolume", "persistentvolumes", "pv", namespaced=False, subs="status")
PERSISTENT_VOLUME_CLAIMS = _row("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", "pvc", subs="status")
LIMIT_RANGES = _row("", "v1", "LimitRange", "limitranges", "limits")
RESOURCE_QUOTAS = _row("", "v1", "ResourceQuota", "resourcequotas", "quota", subs="status")
POD_TEMPLATES = _row("", "v1", "PodTemplate", "podtemplates")
REPLICATION_CONTROLLERS = _row("", "v1", "ReplicationController", "replicationcontrollers", "rc", subs="status scale",
                               categories="all")
# --- apps, batch, autoscaling, policy -----------------------------------------------------------------------------
DEPLOYMENTS = _row("apps", "v1", "Deployment", "deployments", "deploy", subs="status scale", categories="all")
REPLICA_SETS = _row("apps", "v1", "ReplicaSet", "replicasets", "rs", subs="status scale", categories="all")
STATEFUL_SETS = _row("apps", "v1", "StatefulSet", "statefulsets", "sts", subs="status scale", categories="all")
DAEMON_SETS = _row("apps", "v1", "DaemonSet", "daemonsets", "ds", subs="status", categories="all")
CONTROLLER_REVISIONS = _row("apps", "v1", "ControllerRevision", "controllerrevisions")
JOBS = _row("batch", "v1", "Job", "jobs", subs="status", categories="all")
CRON_JOBS = _row("batch", "v1", "CronJob", "cronjobs", "cj", subs="status", categories="all")
HORIZONTAL_POD_AUTOSCALERS = _row("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", "hpa",
                                  subs="status", categories="all")
POD_DISRUPTION_BUDGETS = _row("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", "pdb", subs="status")
# --- networking, discovery ----------------------------------------------------------------------------------------
INGRESSES = _row("networking.k8s.io", "v1", "Ingress", "ingresses", "ing", subs="status")
INGRESS_CLASSES = _row("networking.k8s.io", "v1", "IngressClass", "ingressclasses", namespaced=False)
NETWORK_POLICIES = _row("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", "netpol")
IP_ADDRESSES = _row("networking.k8s.io", "v1", "IPAddress", "ipaddresses", "ip", namespaced=False)
SERVICE_CIDRS = _row("networking.k8s.io", "v1", "ServiceCIDR", "servicecidrs", namespaced=False, subs="status")
ENDPOINT_SLICES = _row("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
# --- the rest of what manifests bring -----------------------------------------------------------------------------
ROLES = _row("rbac.authorization.k8s.io", "v1", "Role", "roles")
ROLE_BINDINGS = _row("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")
CLUSTER_ROLES = _row("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", namespaced=False)
CLUSTER_ROLE_BINDINGS = _row("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings",
                             namespaced=False)
LEASES = _row("coordination.k8s.io", "v1", "Lease", "leases")
PRIORITY_CLASSES = _row("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", "pc", namespaced=False)
STORAGE_CLASSES = _row("storage.k8s.io", "v1", "StorageClass", "storageclasses", "sc", namespaced=False)
CRDS = _row("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", "crd crds",
            namespaced=False, subs="status", categories="api-extensions")
CERTIFICATE_REQUESTS = _row("certificates.k8s.io", "v1", "CertificateSigningRequest", "certificatesigningrequests", "csr",
                            namespaced=False, subs="status approval")


def _admission(kind: str, plural: str, subs: str = "") -> Resource:
    return _row("admissionregistration.k8s.io", "v1", kind, plural, namespaced=False, subs=subs, categories="api-extensions")


MUTATING_WEBHOOKS = _admission("MutatingWebhookConfiguration", "mutatingwebhookconfigurations")
VALIDATING_WEBHOOKS = _admission("ValidatingWebhookConfiguration", "validatingwebhookconfigurations")
VALIDATING_POLICIES = _admission("ValidatingAdmissionPolicy", "validatingadmissionpolicies", "status")
VALIDATING_POLICY_BINDINGS = _admission("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings")

KEPT_ONLY: tuple[Resource, ...] = (
    POD_TEMPLATES, REPLICATION_CONTROLLERS, IP_ADDRESSES, SERVICE_CIDRS,
    _row("storage.k8s.io", "v1", "CSIDriver", "csidrivers", namespaced=False),
    _row("storage.k8s.io", "v1", "CSINode", "csinodes", namespaced=False),
    _row("storage.k8s.io", "v1", "CSIStorageCapacity", "csistoragecapacities"),
    _row("storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments", namespaced=False, subs="status"),
    _row("storage.k8s.io", "v1", "VolumeAttributesClass", "volumeattributesclasses", "vac", namespaced=False),
    _row("apiregistration.k8s.io", "v1", "APIService", "apiservices", namespaced=False, subs="status",
         categories="api-extensions"),
    _admission("MutatingAdmissionPolicy", "mutatingadmissionpolicies"),
    _admission("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings"),
    _row("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", namespaced=False),
    _row("resource.k8s.io", "v1", "DeviceClass", "deviceclasses", namespaced=False),
    _row("resource.k8s.io", "v1", "ResourceClaim", "resourceclaims", subs="status"),
    _row("resource.k8s.io", "v1", "ResourceClaimTemplate", "resourceclaimtemplates"),
    _row("resource.k8s.io", "v1", "ResourceSlice", "resourceslices", namespaced=False),
    _row("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema", "flowschemas", namespaced=False, subs="status"),
    _row("flowcontrol.apiserver.k8s.io", "v1", "PriorityLevelConfiguration", "prioritylevelconfigurations", namespaced=False,
         subs="status"),
)  # fmt: skip
"""Kinds that are stored, checked and shown, and on which nobody here acts."""

BUILT_IN: tuple[Resource, ...] = (
    NAMESPACES, NODES, PODS, SERVICES, ENDPOINTS, CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS, CORE_EVENTS,
    PERSISTENT_VOLUMES, PERSISTENT_VOLUME_CLAIMS, LIMIT_RANGES, RESOURCE_QUOTAS,
    DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, DAEMON_SETS, CONTROLLER_REVISIONS, JOBS, CRON_JOBS,
    HORIZONTAL_POD_AUTOSCALERS, POD_DISRUPTION_BUDGETS, INGRESSES, INGRESS_CLASSES, NETWORK_POLICIES, ENDPOINT_SLICES,
    ROLES, ROLE_BINDINGS, CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS, LEASES, PRIORITY_CLASSES, STORAGE_CLASSES, CRDS,
    CERTIFICATE_REQUESTS, MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS, VALIDATING_POLICIES, VALIDATING_POLICY_BINDINGS, *KEPT_ONLY,
)  # fmt: skip

# --- custom kinds that Fairway's own CRDs establish (`fairway.kube.crds`) ---------------------------------------------
APPLICATIONS = _row("argoproj.io", "v1alpha1", "Application", "applications", "app apps")
APP_PROJECTS = _row("argoproj.io", "v1alpha1", "AppProject", "appprojects", "appproj appprojs")
APPLICATION_SETS = _row("argoproj.io", "v1alpha1", "ApplicationSet", "applicationsets", "appset appsets", subs="status")
ROLLOUTS = _row("argoproj.io", "v1alpha1", "Rollout", "rollouts", "ro", subs="status scale")
ANALYSIS_TEMPLATES = _row("argoproj.io", "v1alpha1", "AnalysisTemplate", "analysistemplates", "at")
CLUSTER_ANALYSIS_TEMPLATES = _row("argoproj.io", "v1alpha1", "ClusterAnalysisTemplate", "clusteranalysistemplates",
                                  "cat", namespaced=False)
ANALYSIS_RUNS = _row("argoproj.io", "v1alpha1", "AnalysisRun", "analysisruns", "ar")
EXPERIMENTS = _row("argoproj.io", "v1alpha1", "Experiment", "experiments", "exp", subs="status")
SERVICE_MONITORS = _row("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors", "smon")
POD_MONITORS = _row("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors", "pmon")
ALERTMANAGER_CONFIGS = _row("monitoring.coreos.com", "v1alpha1", "AlertmanagerConfig", "alertmanagerconfigs", "amcfg")
PROMETHEUS_RULES = _row("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules", "promrule")
REPOSITORIES = _row("fairway.dev", "v1alpha1", "Repository", "repositories", "repo", subs="status")
PIPELINE_RUNS = _row("fairway.dev", "v1alpha1", "PipelineRun", "pipelineruns", "plr", subs="status")
ENVIRONMENTS = _row("fairway.dev", "v1alpha1", "Environment", "environments")
RELEASES = _row("fairway.dev", "v1alpha1", "Release", "releases", "rel", subs="status")
ROLLBACK_POLICIES = _row("fairway.dev", "v1alpha1", "RollbackPolicy", "rollbackpolicies", "rbp", subs="status")
CANARIES = _row("flagger.app", "v1beta1", "Canary", "canaries", "cd", subs="status")
METRIC_TEMPLATES = _row("flagger.app", "v1beta1", "MetricTemplate", "metrictemplates", subs="status")
ALERT_PROVIDERS = _row("flagger.app", "v1beta1", "AlertProvider", "alertproviders", subs="status")
VIRTUAL_SERVICES = _row("networking.istio.io", "v1beta1", "VirtualService", "virtualservices", "vs", subs="status")
DESTINATION_RULES = _row("networking.istio.io", "v1beta1", "DestinationRule", "destinationrules", "dr", subs="status")
ISTIO_GATEWAYS = _row("networking.istio.io", "v1", "Gateway", "gateways", "gw", subs="status")
GATEWAYS = _row("gateway.networking.k8s.io", "v1", "Gateway", "gateways", "gtw", subs="status")
GATEWAY_CLASSES = _row("gateway.networking.k8s.io", "v1", "GatewayClass", "gatewayclasses", "gc", namespaced=False,
                       subs="status")
HTTP_ROUTES = _row("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes", subs="status")
SCALED_OBJECTS = _row("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects", "so", subs="status")

CUSTOM: tuple[Resource, ...] = (
    APPLICATIONS, APP_PROJECTS, APPLICATION_SETS, ROLLOUTS, ANALYSIS_TEMPLATES, CLUSTER_ANALYSIS_TEMPLATES, ANALYSIS_RUNS,
    SERVICE_MONITORS, POD_MONITORS, PROMETHEUS_RULES, ALERTMANAGER_CONFIGS, REPOSITORIES, PIPELINE_RUNS, RELEASES,
    ROLLBACK_POLICIES, CANARIES, METRIC_TEMPLATES, ALERT_PROVIDERS, VIRTUAL_SERVICES, DESTINATION_RULES, HTTP_ROUTES,
    SCALED_OBJECTS, EXPERIMENTS, ISTIO_GATEWAYS, GATEWAYS, GATEWAY_CLASSES, ENVIRONMENTS,
)  # fmt: skip
