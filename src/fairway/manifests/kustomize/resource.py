"""An object on its way through the layers: what it is now, what it was called before, where it came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fairway.kube.objects import Obj
from fairway.manifests.errors import ManifestError, Place

CLUSTER_KINDS: Mapping[str, frozenset[str]] = {
    group: frozenset(kinds.split())
    for group, kinds in (
        ("", "ComponentStatus Namespace Node PersistentVolume"),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration ValidatingWebhookConfiguration "
         "ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding MutatingAdmissionPolicy MutatingAdmissionPolicyBinding"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("apiregistration.k8s.io", "APIService"),
        ("authentication.k8s.io", "TokenReview SelfSubjectReview"),
        ("authorization.k8s.io", "SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview"),
        ("certificates.k8s.io", "CertificateSigningRequest ClusterTrustBundle"),
        ("extensions", "PodSecurityPolicy"),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema PriorityLevelConfiguration"),
        ("internal.apiserver.k8s.io", "StorageVersion"),
        ("networking.k8s.io", "IngressClass IPAddress ServiceCIDR"),
        ("node.k8s.io", "RuntimeClass"),
        ("policy", "PodSecurityPolicy"),
        ("rbac.authorization.k8s.io", "ClusterRole ClusterRoleBinding"),
        ("resource.k8s.io", "DeviceClass ResourceSlice"),
        ("scheduling.k8s.io", "PriorityClass"),
        ("storage.k8s.io", "CSIDriver CSINode StorageClass VolumeAttachment VolumeAttributesClass"),
    )
}
"""Kinds of Kubernetes itself that have no namespace, by group. A kind that is not known has one, as upstream assumes."""
_NONE: frozenset[str] = frozenset()


class Id(NamedTuple):
    group: str
    version: str
    kind: str
    namespace: str
    name: str

    @property
    def cluster_scoped(self) -> bool:
        return self.kind in CLUSTER_KINDS.get(self.group, _NONE)

    @property
    def space(self) -> str:
        """The namespace for comparing: none for cluster-scoped kinds, and "default" means the same as none given."""
        return "" if self.cluster_scoped else self.namespace or "default"

    def same(self, other: Id) -> bool:
        return self.group == other.group and self.kind == other.kind and self.name == other.name and (
            self.version == other.version and self.space == other.space)

    def __str__(self) -> str:
        gvk = ".".join((self.kind or "[noKind]", self.version or "[noVer]", self.group or "[noGrp]"))
        return f"{gvk}/{self.name or '[noName]'}.{self.namespace or '[noNs]'}"


def id_of(obj: Obj) -> Id:
    group, _, version = str(obj.get("apiVersion") or "").rpartition("/")
    meta = obj.get("metadata") or {}
    return Id(group, version, str(obj.get("kind") or ""), str(meta.get("namespace") or ""), str(meta.get("name") or ""))


@dataclass(slots=True, eq=False)
class Resource:
    obj: Obj
    place: Place
    previous: list[Id] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    suffixes: list[str] = field(default_factory=list)
    needs_hash: bool = False
    behavior: str = ""
    by_helm: bool = False
    origin: dict[str, Any] = field(default_factory=dict)
    transformations: list[dict[str, Any]] = field(default_factory=list)

    @property
    def id(self) -> Id:
        return id_of(self.obj)

    @property
    def name(self) -> str:
        return str((self.obj.get("metadata") or {}).get("name") or "")

    @property
    def ids(self) -> list[Id]:
        return [*self.previous, self.id]

    def remember(self) -> None:
        """Keep the present id, before it changes."""
        present = self.id
        if not self.previous or self.previous[-1] != present:
            self.previous.append(present)

    def meta(self) -> dict[str, Any]:
        found = self.obj.get("metadata")
        if not isinstance(found, dict):
            found = self.obj["metadata"] = {}
        return found


class Resources:
    """The objects of a layer, in order. Ids are unique; what an id finds is indexed, so that a lookup costs no scan."""

    def __init__(self, items: Iterable[Resource] = ()) -> None:
        self.items: list[Resource] = []
        self._index: dict[tuple[str, str], list[Resource]] | None = None
        self._taken: set[tuple[str, str, str, str, str]] = set()
        for item in items:
            self.add(item)

    def __iter__(self) -> Iterator[Resource]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    @staticmethod
    def _unique(resource_id: Id) -> tuple[str, str, str, str, str]:
        return (resource_id.group, resource_id.version, resource_id.kind, resource_id.space, resource_id.name)

    def add(self, item: Resource) -> None:
        present = item.id
        if present.name and self._unique(present) in self._taken:
            raise ManifestError(item.place, f"may not add resource with an already registered id: {present}",
                                "rename one of the two, or patch the first")
        self._taken.add(self._unique(present))
        self.items.append(item)
        self._index = None

    def extend(self, items: Iterable[Resource]) -> None:
        for item in items:
            self.add(item)

    def remove(self, gone: set[int]) -> None:
        """Drop the resources with these `id()`s."""
        self.items = [item for item in self.items if id(item) not in gone]
        self.renamed()

    def renamed(self) -> None:
        """To be called when ids have changed."""
        self._index = None
        self._taken = {self._unique(item.id) for item in self.items}

    def by_any_id(self, wanted: Id) -> list[Resource]:
        """Those whose present id or a former one equals `wanted` (namespaces "" and default are equal)."""
        return [item for item in self.called(wanted.kind, wanted.name) if any(one.same(wanted) for one in item.ids)]

    def called(self, kind: str, name: str) -> list[Resource]:
        """Those of a kind that are or were called so."""
        if self._index is None:
            self._index = {}
            for item in self.items:
                for key in {(one.kind, one.name) for one in item.ids}:
                    self._index.setdefault(key, []).append(item)
        return self._index.get((kind, name), [])
