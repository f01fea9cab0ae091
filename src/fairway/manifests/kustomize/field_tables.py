"""Where Kubernetes' own kinds keep labels, annotations, replicas and the names of other objects.

Facts of upstream's built-in transformer configuration. Beyond it, a Rollout's pod template is followed like a Deployment's:
without that a generated ConfigMap's name would dangle.
"""

from __future__ import annotations

from fairway.manifests.kustomize.field_paths import FieldSpec

_WORKLOADS = (("apps", "Deployment"), ("apps", "ReplicaSet"), ("apps", "DaemonSet"), ("apps", "StatefulSet"),
              ("", "ReplicationController"), ("batch", "Job"))
_AFFINITY = tuple(
    f"spec/affinity/{affinity}/{term}/matchLabels"
    for affinity in ("podAffinity", "podAntiAffinity")
    for term in (
        "preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector",
        "requiredDuringSchedulingIgnoredDuringExecution/labelSelector",
    )
)


def _spec(path: str, kind: str = "", group: str = "", *, create: bool = False) -> FieldSpec:
    return FieldSpec(path, group=group, kind=kind, create=create)


LABELS = (_spec("metadata/labels", create=True),)
TEMPLATE_LABELS = (
    *(_spec("spec/template/metadata/labels", kind, create=True) for _, kind in _WORKLOADS),
    _spec("spec/jobTemplate/metadata/labels", "CronJob", create=True),
    _spec("spec/jobTemplate/spec/template/metadata/labels", "CronJob", create=True),
)
CLAIM_LABELS = (_spec("spec/volumeClaimTemplates[]/metadata/labels", "StatefulSet", "apps", create=True),)
SELECTORS = (
    FieldSpec("spec/selector", version="v1", kind="Service", create=True),
    FieldSpec("spec/selector", version="v1", kind="ReplicationController", create=True),
    *(_spec("spec/selector/matchLabels", kind, create=True)
      for kind in ("Deployment", "ReplicaSet", "DaemonSet", "StatefulSet")),
    *(_spec(f"spec/template/{path}", kind, "apps") for kind in ("Deployment", "StatefulSet") for path in _AFFINITY),
    _spec("spec/template/spec/topologySpreadConstraints/labelSelector/matchLabels", "Deployment", "apps"),
    _spec("spec/template/spec/topologySpreadConstraints/labelSelector/matchLabels", "StatefulSet", "apps"),
    _spec("spec/selector/matchLabels", "Job", "batch"),
    _spec("spec/jobTemplate/spec/selector/matchLabels", "CronJob", "batch"),
    _spec("spec/selector/matchLabels", "PodDisruptionBudget", "policy"),
    _spec("spec/podSelector/matchLabels", "NetworkPolicy", "networking.k8s.io"),
    _spec("spec/ingress/from/podSelector/matchLabels", "NetworkPolicy", "networking.k8s.io"),
    _spec("spec/egress/to/podSelector/matchLabels", "NetworkPolicy", "networking.k8s.io"),
)
COMMON_LABELS = (*LABELS, *TEMPLATE_LABELS, *CLAIM_LABELS, *SELECTORS)
ANNOTATIONS = (
    _spec("metadata/annotations", create=True),
    *(_spec("spec/template/metadata/annotations", kind, create=True) for _, kind in _WORKLOADS),
    _spec("spec/jobTemplate/metadata/annotations", "CronJob", create=True),
    _spec("spec/jobTemplate/spec/template/metadata/annotations", "CronJob", create=True),
)
REPLICAS = tuple(
    _spec("spec/replicas", kind, create=True)
    for kind in ("Deployment", "ReplicationController", "ReplicaSet", "StatefulSet")
)
NAMESPACE = (
    FieldSpec("metadata/name", version="v1", kind="Namespace", create=True),
    _spec("spec/service/namespace", "APIService", "apiregistration.k8s.io", create=True),
    _spec("spec/conversion/webhook/clientConfig/service/namespace", "CustomResourceDefinition",
          "apiextensions.k8s.io"),
)
NAMES = (_spec("metadata/name"),)
NOT_RENAMED = frozenset((("", "Namespace"), ("apiextensions.k8s.io", "CustomResourceDefinition"),
                         ("apiregistration.k8s.io", "APIService")))

# --- names of other objects -----------------------------------------------------------------------------------------

_POD_SPECS = (
    ("Pod", "spec"), ("Deployment", "spec/template/spec"), ("ReplicaSet", "spec/template/spec"),
    ("ReplicationController", "spec/template/spec"), ("DaemonSet", "spec/template/spec"),
    ("StatefulSet", "spec/template/spec"), ("Job", "spec/template/spec"),
    ("CronJob", "spec/jobTemplate/spec/template/spec"), ("PodTemplate", "template/spec"),
    ("Rollout", "spec/template/spec"),
)  # fmt: skip


def _in_pods(*paths: str) -> tuple[FieldSpec, ...]:
    return tuple(_spec(f"{root}/{path}", kind) for kind, root in _POD_SPECS for path in paths)


def _in_containers(*paths: str) -> tuple[FieldSpec, ...]:
    return _in_pods(*(f"{kind}/{path}" for kind in ("containers", "initContainers") for path in paths))


def _on(kind: str, *paths: str) -> tuple[FieldSpec, ...]:
    return tuple(_spec(path, kind) for path in paths)


_SCALED = _on("HorizontalPodAutoscaler", "spec/scaleTargetRef/name")
_INGRESS_ANNOTATION = "metadata/annotations/nginx.ingress.kubernetes.io\\/"
REFERENCES: tuple[tuple[str, str, tuple[FieldSpec, ...]], ...] = (
    ("apps", "Deployment", (*_SCALED, *_on("Rollout", "spec/workloadRef/name"))),
    ("argoproj.io", "Rollout", _SCALED),
    ("", "ReplicationController", _SCALED),
    ("apps", "ReplicaSet", _SCALED),
    ("apps", "StatefulSet", _SCALED),
    ("", "ConfigMap", (
        *_in_pods("volumes/configMap/name", "volumes/projected/sources/configMap/name"),
        *_in_containers("env/valueFrom/configMapKeyRef/name", "envFrom/configMapRef/name"),
        *_on("Node", "spec/configSource/configMap"), *_on("Role", "rules/resourceNames"),
        *_on("ClusterRole", "rules/resourceNames"),
        *_on("Ingress", _INGRESS_ANNOTATION + "fastcgi-params-configmap"))),
    ("", "Secret", (
        *_in_pods("volumes/secret/secretName", "volumes/projected/sources/secret/name", "imagePullSecrets/name",
                  "volumes/azureFile/secretName", "volumes/cephfs/secretRef/name", "volumes/rbd/secretRef/name",
                  "volumes/scaleIO/secretRef/name", "volumes/flexVolume/secretRef/name",
                  "volumes/iscsi/secretRef/name", "volumes/cinder/secretRef/name",
                  "volumes/csi/nodePublishSecretRef/name", "volumes/storageos/secretRef/name"),
        *_in_containers("env/valueFrom/secretKeyRef/name", "envFrom/secretRef/name"),
        *_on("ServiceAccount", "imagePullSecrets/name", "secrets/name"),
        *_on("StorageClass", "parameters/secretName", "parameters/adminSecretName", "parameters/userSecretName",
             "parameters/secretRef"),
        *_on("PersistentVolume", "spec/azureFile/secretName", "spec/cephfs/secretRef/name", "spec/rbd/secretRef/name",
             "spec/scaleIO/secretRef/name", "spec/flexVolume/secretRef/name", "spec/iscsi/secretRef/name",
             "spec/csi/controllerPublishSecretRef/name", "spec/csi/nodeStageSecretRef/name",
             "spec/csi/nodePublishSecretRef/name", "spec/storageos/secretRef/name"),
        *_on("Role", "rules/resourceNames"), *_on("ClusterRole", "rules/resourceNames"),
        *_on("Ingress", "spec/tls/secretName", "metadata/annotations/ingress.kubernetes.io\\/auth-secret",
             _INGRESS_ANNOTATION + "auth-secret",
             _INGRESS_ANNOTATION + "auth-tls-secret"))),
    ("", "Service", (
        *_on("StatefulSet", "spec/serviceName"),
        *_on("Ingress", "spec/rules/http/paths/backend/serviceName", "spec/backend/serviceName",
             "spec/rules/http/paths/backend/service/name", "spec/defaultBackend/service/name"),
        *_on("APIService", "spec/service/name"), *_on("HTTPRoute", "spec/rules/backendRefs/name"),
        *_on("GRPCRoute", "spec/rules/backendRefs/name"),
        *_on("ValidatingWebhookConfiguration", "webhooks/clientConfig/service"),
        *_on("MutatingWebhookConfiguration", "webhooks/clientConfig/service"),
        *_on("CustomResourceDefinition", "spec/conversion/webhook/clientConfig/service/name"),
        *_on("Rollout", "spec/strategy/canary/stableService", "spec/strategy/canary/canaryService",
             "spec/strategy/blueGreen/activeService", "spec/strategy/blueGreen/previewService"))),
    ("networking.k8s.io", "Ingress", _on("Rollout", "spec/strategy/canary/trafficRouting/nginx/stableIngress",
                                         "spec/strategy/canary/trafficRouting/alb/ingress")),
    ("argoproj.io", "AnalysisTemplate", _on(
        "Rollout", "spec/strategy/canary/analysis/templates/templateName",
        "spec/strategy/canary/steps/analysis/templates/templateName",
        "spec/strategy/blueGreen/prePromotionAnalysis/templates/templateName",
        "spec/strategy/blueGreen/postPromotionAnalysis/templates/templateName")),
    ("rbac.authorization.k8s.io", "Role", _on("RoleBinding", "roleRef/name")),
    ("rbac.authorization.k8s.io", "ClusterRole", (*_on("RoleBinding", "roleRef/name"),
                                                  *_on("ClusterRoleBinding", "roleRef/name"))),
    ("", "ServiceAccount", (*_on("RoleBinding", "subjects"), *_on("ClusterRoleBinding", "subjects"),
                            *_in_pods("serviceAccountName"))),
    ("", "PersistentVolumeClaim", _in_pods("volumes/persistentVolumeClaim/claimName")),
    ("", "PersistentVolume", (*_on("PersistentVolumeClaim", "spec/volumeName"), *_on("ClusterRole", "rules/resourceNames"))),
    ("storage.k8s.io", "StorageClass", (
        *_on("PersistentVolume", "spec/storageClassName"), *_on("PersistentVolumeClaim", "spec/storageClassName"),
        *_on("StatefulSet", "spec/volumeClaimTemplates/spec/storageClassName"))),
    ("scheduling.k8s.io", "PriorityClass", _in_pods("priorityClassName")),
    ("networking.k8s.io", "IngressClass", _on("Ingress", "spec/ingressClassName")),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy",
     _on("ValidatingAdmissionPolicyBinding", "spec/policyName")),
)  # fmt: skip
"""(group, kind) of the object that is named, and where its name stands."""

# --- where `$(VAR)` is looked for -----------------------------------------------------------------------------------------

_IN_CONTAINER = ("args", "command", "env/value", "volumeMounts/mountPath")
VARIABLES = (
    *_in_containers(*_IN_CONTAINER),
    *_in_pods("containers/ports/containerPort", "volumes/nfs/server", "initContainers/ports/containerPort"),
    *_on("Service", "spec/ports/port", "spec/ports/targetPort"),
    *_on("Ingress", "spec/rules/host", "spec/tls/hosts", "spec/tls/secretName"),
    *_on("StatefulSet", "spec/volumeClaimTemplates/spec/nfs/server"), *_on("PersistentVolume", "spec/nfs/server"),
    *_on("CronJob", "spec/jobTemplate/spec/template/volumes/nfs/server"), *_on("Job", "spec/completions", "spec/parallelism"),
    _spec("metadata/labels"), _spec("metadata/annotations"),
    *(_spec("spec/template/metadata/annotations", kind) for _, kind in _WORKLOADS),
    _spec("spec/jobTemplate/spec/template/metadata/annotations", "CronJob"),
)  # fmt: skip
