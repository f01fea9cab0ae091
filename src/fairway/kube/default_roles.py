"""The roles that every cluster has, as objects: cluster-admin, admin, edit, view and what everybody may do.

The three for people are aggregated: a ClusterRole labelled `rbac.authorization.k8s.io/aggregate-to-view: "true"` adds to view,
and edit holds what view holds, admin what edit holds. That is how the kinds of a CRD become readable.
"""

from __future__ import annotations

from collections.abc import Sequence

from fairway.kube.objects import Obj
from fairway.kube.rbac import GROUP
from fairway.kube.users import AUTHENTICATED, MASTERS, SERVICE_ACCOUNTS, UNAUTHENTICATED

AUTO_UPDATE = f"{GROUP}/autoupdate"
_READ = ("get", "list", "watch")
_WRITE = ("create", "delete", "deletecollection", "patch", "update")

_WORKLOADS = {
    "apps": ("controllerrevisions", "daemonsets", "daemonsets/status", "deployments", "deployments/scale", "deployments/status",
             "replicasets", "replicasets/scale", "replicasets/status", "statefulsets", "statefulsets/scale",
             "statefulsets/status"),
    "autoscaling": ("horizontalpodautoscalers", "horizontalpodautoscalers/status"),
    "batch": ("cronjobs", "cronjobs/status", "jobs", "jobs/status"),
    "policy": ("poddisruptionbudgets", "poddisruptionbudgets/status"),
    "networking.k8s.io": ("ingresses", "ingresses/status", "networkpolicies"),
    "discovery.k8s.io": ("endpointslices",),
}
_CORE_WORKLOADS = ("replicationcontrollers", "replicationcontrollers/scale", "replicationcontrollers/status")
_CORE_VIEW = ("configmaps", "endpoints", "persistentvolumeclaims", "persistentvolumeclaims/status", "pods",
              "serviceaccounts", "services", "services/status", "bindings", "events", "limitranges", "namespaces/status",
              "pods/log", "pods/status", "resourcequotas", "resourcequotas/status", "namespaces", *_CORE_WORKLOADS)
_CORE_EDIT = ("configmaps", "endpoints", "events", "persistentvolumeclaims", "pods", "pods/attach", "pods/exec",
              "pods/portforward", "pods/proxy", "secrets", "serviceaccounts", "services", "services/proxy",
              *_CORE_WORKLOADS[:2])


def _rule(groups: Sequence[str], resources: Sequence[str], verbs: Sequence[str]) -> Obj:
    return {"verbs": list(verbs), "apiGroups": list(groups), "resources": list(resources)}


def _whole(resources: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in resources if not name.endswith("/status"))


_VIEW: list[Obj] = [_rule([""], _CORE_VIEW, _READ), *(_rule([group], names, _READ) for group, names in _WORKLOADS.items())]
_EDIT: list[Obj] = [
    _rule([""], ("pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets", "services/proxy"), _READ),
    _rule([""], ("serviceaccounts",), ("impersonate",)),
    _rule([""], _CORE_EDIT, _WRITE),
    _rule([""], ("pods/eviction", "serviceaccounts/token"), ("create",)),
    *(_rule([group], _whole(names), _WRITE) for group, names in _WORKLOADS.items()),
    _rule(["coordination.k8s.io"], ("leases",), (*_READ, *_WRITE)),
]
_ADMIN: list[Obj] = [
    _rule(["authorization.k8s.io"], ("localsubjectaccessreviews",), ("create",)),
    _rule([GROUP], ("rolebindings", "roles"), (*_READ, *_WRITE)),
]
_ISSUER = ("/.well-known/openid-configuration", "/.well-known/openid-configuration/", "/openid/v1/jwks", "/openid/v1/jwks/")
_LIVES = ("/healthz", "/livez", "/readyz", "/version", "/version/")
_FINDS = ("/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", *_LIVES)


def _role(name: str, rules: Sequence[Obj], *, into: str = "", of: str = "") -> Obj:
    labels = {"kubernetes.io/bootstrapping": "rbac-defaults"}
    if into:
        labels[f"{GROUP}/aggregate-to-{into}"] = "true"
    role: Obj = {"apiVersion": f"{GROUP}/v1", "kind": "ClusterRole",
                 "metadata": {"name": name, "labels": labels, "annotations": {AUTO_UPDATE: "true"}}, "rules": list(rules)}
    if of:
        role["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": {f"{GROUP}/aggregate-to-{of}": "true"}}]}
    return role


def _binding(name: str, *groups: str) -> Obj:
    return {
        "apiVersion": f"{GROUP}/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
                     "annotations": {AUTO_UPDATE: "true"}},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": GROUP, "kind": "Group", "name": group} for group in groups],
    }  # fmt: skip


def default_roles() -> list[Obj]:
    """Roles first, then bindings."""
    everything = [_rule("*", "*", "*"), {"verbs": ["*"], "nonResourceURLs": ["*"]}]
    myself = [
        _rule(["authorization.k8s.io"], ("selfsubjectaccessreviews", "selfsubjectrulesreviews"), ("create",)),
        _rule(["authentication.k8s.io"], ("selfsubjectreviews",), ("create",)),
    ]
    return [
        _role("cluster-admin", everything),
        _role("system:aggregate-to-view", _VIEW, into="view"),
        _role("system:aggregate-to-edit", _EDIT, into="edit"),
        _role("system:aggregate-to-admin", _ADMIN, into="admin"),
        _role("view", _VIEW, into="edit", of="view"),
        _role("edit", [*_EDIT, *_VIEW], into="admin", of="edit"),
        _role("admin", [*_EDIT, *_VIEW, *_ADMIN], of="admin"),
        _role("system:basic-user", myself),
        _role("system:discovery", [{"verbs": ["get"], "nonResourceURLs": list(_FINDS)}]),
        _role("system:public-info-viewer", [{"verbs": ["get"], "nonResourceURLs": list(_LIVES)}]),
        _role("system:service-account-issuer-discovery", [{"verbs": ["get"], "nonResourceURLs": list(_ISSUER)}]),
        _binding("cluster-admin", MASTERS),
        _binding("system:service-account-issuer-discovery", SERVICE_ACCOUNTS),
        _binding("system:basic-user", AUTHENTICATED),
        _binding("system:discovery", AUTHENTICATED),
        _binding("system:public-info-viewer", AUTHENTICATED, UNAUTHENTICATED),
    ]
