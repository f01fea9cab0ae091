"""Discovery: which groups, versions and resources there are, plain and aggregated. Pure."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterable
from typing import Any

from fairway.kube.http import resource_metrics
from fairway.kube.http.views import VIEWS
from fairway.kube.objects import Obj
from fairway.kube.resources import BUILT_IN, Resource

BUILT_IN_KINDS = frozenset(row.group_kind for row in (*BUILT_IN, *(view.row for view in VIEWS), *resource_metrics.ROWS))
_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_CUSTOM_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
_READ_WRITE = ("get", "patch", "update")

_SUBRESOURCES: dict[str, tuple[tuple[str, str, str], tuple[str, ...]] | None] = {
    # name: ((group, version, kind) where it is another kind's, verbs); only what is served is announced
    "status": (("", "", ""), _READ_WRITE),
    "scale": (("autoscaling", "v1", "Scale"), _READ_WRITE),
    "finalize": (("", "", ""), ("update",)),
    "log": (("", "", ""), ("get",)),
    "attach": (("", "", "PodAttachOptions"), ("create", "get")),
    "exec": (("", "", "PodExecOptions"), ("create", "get")),
    "portforward": (("", "", "PodPortForwardOptions"), ("create", "get")),
    "eviction": (("policy", "v1", "Eviction"), ("create",)),
    "token": (("authentication.k8s.io", "v1", "TokenRequest"), ("create",)),
    "approval": (("", "", ""), _READ_WRITE),
    "binding": (("", "", "Binding"), ("create",)),
    "ephemeralcontainers": (("", "", ""), _READ_WRITE),
    "resize": (("", "", ""), _READ_WRITE),
    "proxy": (("", "", ""), ("create", "delete", "get", "patch", "update")),
}
_GROUPS = ("", "apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io",
           "autoscaling", "batch", "certificates.k8s.io", "networking.k8s.io", "policy", "rbac.authorization.k8s.io",
           "storage.k8s.io", "admissionregistration.k8s.io", "apiextensions.k8s.io", "scheduling.k8s.io",
           "coordination.k8s.io", "node.k8s.io", "discovery.k8s.io", "resource.k8s.io",
           "flowcontrol.apiserver.k8s.io")  # fmt: skip
"""In the order of kube-apiserver: clients that look for a kind by its short name take the first. Others follow by name."""

_STORED = {("autoscaling", "HorizontalPodAutoscaler"): "v2", ("apiextensions.k8s.io", "CustomResourceDefinition"): "v1beta1"}
"""Kinds that Kubernetes stores in another version than the one it serves first."""

REVIEWS = (
    Resource("authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", namespaced=False),
    Resource("authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", namespaced=False),
    Resource("authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", namespaced=False),
    Resource("authorization.k8s.io", "v1", "LocalSubjectAccessReview", "localsubjectaccessreviews"),
    Resource("authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews", namespaced=False),
    Resource("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", namespaced=False),
)
"""Questions that are answered and not kept."""
BINDINGS = Resource("", "v1", "Binding", "bindings")
COMPONENT_STATUSES = Resource("", "v1", "ComponentStatus", "componentstatuses", namespaced=False, short_names=("cs",))
_NOT_KEPT = (*REVIEWS, BINDINGS, COMPONENT_STATUSES)


def is_custom(resource: Resource) -> bool:
    return resource.group_kind not in BUILT_IN_KINDS and resource not in _NOT_KEPT


def verbs_of(resource: Resource) -> tuple[str, ...]:
    if resource == COMPONENT_STATUSES:
        return ("get", "list")
    if resource in _NOT_KEPT:
        return ("create",)
    if resource in resource_metrics.ROWS:
        return ("get", "list")
    if resource.group_kind == ("", "Namespace"):
        return tuple(verb for verb in _VERBS if verb != "deletecollection")
    return _CUSTOM_VERBS if is_custom(resource) else _VERBS


def singular_of(resource: Resource) -> str:
    return resource.singular or resource.kind.lower()


def storage_hash(resource: Resource) -> str:
    """Tells clients whether two versions of a kind are stored as one: a digest of group, stored version and kind."""
    version = _STORED.get(resource.group_kind, resource.version)
    digest = hashlib.sha256(f"{resource.group}/{version}/{resource.kind}".encode()).digest()
    return b64encode(digest[:8]).decode()


def _place(group: str) -> tuple[int, str]:
    return (_GROUPS.index(group), "") if group in _GROUPS else (len(_GROUPS), group)


class Discovery:
    """The documents over one set of resources; the first version of a group is its preferred one."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._groups: dict[str, dict[str, list[Resource]]] = {"": {"v1": []}}
        rows = list(resources)
        views = [view.row for view in VIEWS if view.kept in rows and view.row not in rows]
        for row in sorted((*rows, *views, *_NOT_KEPT), key=lambda row: _place(row.group)):
            self._groups.setdefault(row.group, {}).setdefault(row.version, []).append(row)

    def has(self, group: str, version: str) -> bool:
        return version in self._groups.get(group, ())

    def group_versions(self) -> list[tuple[str, str]]:
        return [(group, version) for group, versions in self._groups.items() for version in versions]

    def of(self, group: str, version: str) -> list[Resource]:
        return self._groups.get(group, {}).get(version, [])

    def core(self, address: str) -> Obj:
        reach = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
        return {"kind": "APIVersions", "versions": list(self._groups[""]), "serverAddressByClientCIDRs": reach}

    def groups(self) -> Obj:
        found = [self._group(name) for name in self._groups if name]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}

    def group(self, name: str) -> Obj | None:
        if not name or name not in self._groups:
            return None
        return {"kind": "APIGroup", "apiVersion": "v1", **self._group(name)}

    def _group(self, name: str) -> Obj:
        rows = [{"groupVersion": f"{name}/{version}", "version": version} for version in self._groups[name]]
        return {"name": name, "versions": rows, "preferredVersion": rows[0]}

    def resources(self, group: str, version: str) -> Obj | None:
        if not self.has(group, version):
            return None
        rows = sorted(self._groups[group][version], key=lambda row: row.plural)
        listed = [entry for row in rows for entry in _plain(row)]
        head: Obj = {"kind": "APIResourceList", "apiVersion": "v1"} if group else {"kind": "APIResourceList"}
        return {**head, "groupVersion": f"{group}/{version}" if group else version, "resources": listed}

    def aggregated(self, *, core: bool) -> Obj:
        items = []
        for name, versions in self._groups.items():
            if core != (name == ""):
                continue
            found = [
                {"version": version, "resources": [_aggregated(row) for row in sorted(rows, key=lambda r: r.plural)],
                 "freshness": "Current"}
                for version, rows in versions.items()
            ]
            items.append({"metadata": {"name": name} if name else {}, "versions": found})
        return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _names(row: Resource) -> Obj:
    found: Obj = {}
    if row.short_names:
        found["shortNames"] = list(row.short_names)
    if row.categories:
        found["categories"] = list(row.categories)
    return found


def _plain(row: Resource) -> list[Obj]:
    main: Obj = {
        "name": row.plural, "singularName": singular_of(row), "namespaced": row.namespaced, "kind": row.kind,
        "verbs": list(verbs_of(row)), **_names(row),
    }  # fmt: skip
    if row not in _NOT_KEPT:
        main["storageVersionHash"] = storage_hash(row)
    listed = [main]
    for name, (kind, verbs) in _served(row):
        entry: Obj = {"name": f"{row.plural}/{name}", "singularName": "", "namespaced": row.namespaced}
        if kind[1]:
            entry |= {"group": kind[0], "version": kind[1]}
        listed.append({**entry, "kind": _sub_kind(row, name, kind[2]), "verbs": list(verbs)})
    return listed


def _aggregated(row: Resource) -> Obj:
    entry: Obj = {
        "resource": row.plural,
        "responseKind": _response_kind("", "", row.kind) if not is_custom(row) else
        _response_kind(row.group, row.version, row.kind),
        "scope": "Namespaced" if row.namespaced else "Cluster",
        "singularResource": singular_of(row),
        "verbs": list(verbs_of(row)),
        **_names(row),
    }  # fmt: skip
    subs = [
        {"subresource": name, "responseKind": _response_kind(kind[0], kind[1], _sub_kind(row, name, kind[2])),
         "verbs": list(verbs)}
        for name, (kind, verbs) in _served(row)
    ]
    return {**entry, "subresources": subs} if subs else entry


def _response_kind(group: str, version: str, kind: str) -> Obj:
    return {"group": group, "version": version, "kind": kind}


def _sub_kind(row: Resource, name: str, kind: str) -> str:
    return f"{row.kind}ProxyOptions" if name == "proxy" else kind or row.kind


def _served(row: Resource) -> list[tuple[str, tuple[tuple[str, str, str], tuple[str, ...]]]]:
    found: list[Any] = []
    names = row.subresources if is_custom(row) else sorted(row.subresources)
    for name in names:
        fact = _SUBRESOURCES.get(name)
        if fact is not None:
            found.append((name, fact))
    return found
