"""What an object must be, and is made into, before it is stored.

The order is the server's: decode, default, count ownership, complete, check. Ownership is counted before the API adds what
nobody owns.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import msgspec

from fairway.kube import crds, decoding, defaults, ownership, preparation, structural, validation
from fairway.kube.api import Subresource, WriteOptions
from fairway.kube.crds import CustomType, CustomTypes
from fairway.kube.errors import BadRequest, Forbidden
from fairway.kube.facts import facts
from fairway.kube.identities import Identities
from fairway.kube.objects import Key, Obj, key_of, rfc3339
from fairway.kube.patches.apply import Owner, Ownership
from fairway.kube.refusals import invalid, not_found, required
from fairway.kube.resources import CRDS, NAMESPACES, Resource
from fairway.kube.schema import ANY, Schema
from fairway.kube.store import Store, Table
from fairway.kube.surroundings import Surroundings

_NAMESPACES = Table("", "namespaces")
PROTECTED = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})


@dataclass(frozen=True, slots=True)
class Write:
    """How one write is made: who, when, through which door."""

    options: WriteOptions
    now: datetime
    subresource: Subresource = ""
    scaled: bool = False
    """Written through the scale subresource: the object itself is changed, but its owner is told apart."""
    tried: Literal["", "unchecked", "checked"] = ""
    """Only to see what would be stored: before it is checked, or after."""
    admitted: Obj | None = None
    """What webhooks made of the object that was tried; it takes its place."""

    @property
    def leaves_nothing(self) -> bool:
        return self.options.dry_run or bool(self.tried)

    def by(self, resource: Resource) -> Ownership:
        if self.scaled:  # without a time, as servers write it: every write through this door is the same claim
            return Ownership(self.options.manager, resource.api_version, "", "scale")
        return Ownership(self.options.manager, resource.api_version, rfc3339(self.now), self.subresource)


def _copy(obj: Obj) -> Obj:
    copy: Obj = msgspec.json.decode(msgspec.json.encode(obj))
    return copy


class Admission:
    """Asks the store about an object's surroundings (`Surroundings`, its namespace), and everything else of the object."""

    def __init__(self, store: Store, custom: CustomTypes, identities: Identities, address_seed: str = "", *,
                 owners: bool = True) -> None:
        self._store = store
        self._owners = owners
        self._custom = custom
        self._surroundings = Surroundings(store, identities, address_seed)

    def schema(self, resource: Resource) -> Schema:
        custom = self._custom.of(resource)
        if custom is not None:
            return custom.schema
        return facts().of_kind(resource.api_version, resource.kind) or ANY

    def decoded(self, resource: Resource, obj: Obj, options: WriteOptions) -> Obj:
        """As its type holds it, and with defaults. The result is the caller's own."""
        custom = self._custom.of(resource)
        if custom is not None:
            return custom.decoded(obj, options)
        result = decoding.decoded(resource, obj, self.schema(resource), options)
        result.setdefault("metadata", {})
        if resource.group_kind == ("", "Secret"):
            preparation.encode_secret(result)
        defaults.apply_defaults(resource.group, resource.kind, result)
        return result

    def said(self, resource: Resource, obj: Obj, options: WriteOptions) -> Obj:
        """What an applier says: decoded, but with nothing that it did not say."""
        custom = self._custom.of(resource)
        unknown: list[str] = []
        if custom is not None:
            result: Obj = structural.prune(obj, custom.schema, unknown)
            decoding.report(resource, unknown, options)
            return result
        result, unknown = decoding.decode(obj, self.schema(resource))
        if unknown:
            raise BadRequest(f"failed to create typed patch object ({'/'.join(key_of(obj))}; {resource.api_version}, Kind="
                             f"{resource.kind}): " + ", ".join(f".{path}: field not declared in schema" for path in unknown))
        return result

    def creating(self, resource: Resource, obj: Obj, write: Write, owners: list[Owner] | None) -> Obj:
        """`obj` is decoded and begun; `owners` where an apply has counted them. May change `obj`."""
        meta = obj["metadata"]
        if not meta.get("name"):
            raise invalid(resource, "", [required("metadata.name", "name or generateName is required")])
        if resource.namespaced:
            self._namespace_open(resource, meta["namespace"], meta["name"])
        custom = self._custom.of(resource)
        if owners is not None:
            ownership.put_owners(obj, owners)
        elif self._owners:
            ownership.track(resource, self.schema(resource), None, obj, write.by(resource), built_in=custom is None)
        if write.admitted is not None:
            obj = self.decoded(resource, _copy(write.admitted), WriteOptions(validation="Ignore"))
        elif custom is None:
            self._surroundings.complete(resource, obj)
            preparation.prepare(resource.group, resource.kind, obj)
        if write.tried == "unchecked":
            return obj
        self._check(resource, custom, obj, write.options)
        self._surroundings.allow(resource, None, obj)
        if resource == CRDS:
            crds.warn_of_rules(obj, write.options)
        return obj

    def updating(self, resource: Resource, old: Obj, new: Obj, write: Write, owners: list[Owner] | None) -> Obj:
        """`new` is decoded and succeeds `old`. May change `new`."""
        custom = self._custom.of(resource)
        if owners is not None:
            ownership.put_owners(new, owners)
        elif self._owners and (custom is None or not write.scaled):  # servers count no owner for the scale of a custom kind
            ownership.track(resource, self.schema(resource), old, new, write.by(resource), built_in=custom is None)
        if write.admitted is not None:
            new = self.decoded(resource, _copy(write.admitted), WriteOptions(validation="Ignore"))
        if write.tried == "unchecked":
            return new
        if custom is not None:
            custom.check(new, old)
            custom.warn_of_finalizers(old, new, write.options)
        elif write.subresource in ("ephemeralcontainers", "resize"):
            errors = validation.check_pod_door(write.subresource, old, new)
            if errors:
                raise invalid(resource, old["metadata"]["name"], errors)
        elif write.subresource == "":
            if resource.group_kind == ("", "Service"):
                self._surroundings.keep_address(old, new)
            errors = validation.check_change(resource.group, resource.kind, old, new)
            if errors:
                raise invalid(resource, old["metadata"]["name"], errors)
            if resource == CRDS:
                crds.check_definition(new)
                crds.warn_of_rules(new, write.options)
            self._surroundings.allow(resource, old, new)
        return new

    def deleting(self, resource: Resource, obj: Obj) -> None:
        name = obj["metadata"]["name"]
        if resource.group_kind == ("", "Namespace") and name in PROTECTED:
            raise Forbidden(f'namespaces "{name}" is forbidden: this namespace may not be deleted',
                            details={"name": name, "kind": "namespaces"})

    def _check(self, resource: Resource, custom: CustomType | None, obj: Obj, options: WriteOptions) -> None:
        errors = validation.check_new(resource.group, resource.kind, obj)
        if errors:
            raise invalid(resource, obj["metadata"]["name"], errors)
        if custom is not None:
            custom.check(obj)
            custom.warn_of_finalizers(None, obj, options)
        elif resource == CRDS:
            crds.check_definition(obj)

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
