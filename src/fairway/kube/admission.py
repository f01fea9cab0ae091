"""What an object must be, and is made into, before it is stored."""

from __future__ import annotations

from fairway.kube.api import Subresource, WriteOptions
from fairway.kube.errors import Forbidden
from fairway.kube.objects import Key, Obj
from fairway.kube.refusals import invalid, not_found, required
from fairway.kube.resources import NAMESPACES, Resource
from fairway.kube.store import Store, Table

_NAMESPACES = Table("", "namespaces")
PROTECTED = frozenset({"default", "kube-system", "kube-public"})


class Admission:
    """Asks the store about an object's surroundings (its namespace), and everything else of the object alone."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def creating(self, resource: Resource, obj: Obj, options: WriteOptions) -> Obj:
        meta = obj["metadata"]
        if not meta.get("name"):
            raise invalid(resource, "", [required("metadata.name", "name or generateName is required")])
        if resource.namespaced:
            self._namespace_open(resource, meta["namespace"], meta["name"])
        if resource.group_kind == ("", "Namespace"):
            obj.setdefault("spec", {})["finalizers"] = ["kubernetes"]
            obj["status"] = {"phase": "Active"}
            meta["labels"] = {**(meta.get("labels") or {}), "kubernetes.io/metadata.name": meta["name"]}
        if resource.group_kind == ("", "Pod"):
            obj["status"] = {"phase": "Pending"}
        return obj

    def updating(self, resource: Resource, old: Obj, new: Obj, options: WriteOptions, subresource: Subresource) -> Obj:
        return new

    def deleting(self, resource: Resource, obj: Obj) -> None:
        name = obj["metadata"]["name"]
        if resource.group_kind == ("", "Namespace") and name in PROTECTED:
            raise Forbidden(f'namespaces "{name}" is forbidden: this namespace may not be deleted',
                            details={"name": name, "kind": "namespaces"})

    def _namespace_open(self, resource: Resource, namespace: str, name: str) -> None:
        found = self._store.head(_NAMESPACES, Key("", namespace))
        if found is None:
            raise not_found(NAMESPACES, namespace)
        if "deletionTimestamp" in found.obj["metadata"]:
            why = f"namespace {namespace} is being terminated"
            raise Forbidden(
                f'{resource.qualified} "{name}" is forbidden: unable to create new content in namespace {namespace} '
                "because it is being terminated",
                details={"name": name, **({"group": resource.group} if resource.group else {}), "kind": resource.plural,
                         "causes": [{"reason": "NamespaceTerminating", "message": why, "field": "metadata.namespace"}]})
