"""Custom kinds: what a CustomResourceDefinition makes servable, and the definitions that Fairway brings itself.

A definition is established when it is stored. Each served version has a schema of its own; objects are stored in the
version marked so and shown in any other by changing their apiVersion alone (conversion strategy None), or by asking a webhook
(`fairway.kube.http.conversion`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml

from fairway.kube import rules
from fairway.kube.api import WriteOptions
from fairway.kube.decoding import check_metadata, check_type, report
from fairway.kube.facts import facts
from fairway.kube.objects import Obj, dig
from fairway.kube.refusals import FieldError, invalid, invalid_value, required
from fairway.kube.resources import CRDS, Resource
from fairway.kube.schema import Schema, of_openapi, with_object_meta
from fairway.kube.structural import Validator, fill_defaults, prune

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
"""Holds a definition until the objects of its kind are gone."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NOT_CHECKED = FieldError("<nil>", "Invalid value: null: some validation rules were not checked because the object was "
                          "invalid; correct the existing errors to complete validation", "FieldValueInvalid")


_POD_TEMPLATE = "io.k8s.api.core.v1.PodTemplateSpec"
_POD_TEMPLATES = {("argoproj.io", "Rollout"): ("spec", "template")}
"""Custom kinds that hold what a built-in one holds, which their definitions would have to repeat in a thousand lines."""


@dataclass(frozen=True, slots=True)
class Column:
    """One of a definition's additionalPrinterColumns."""

    name: str
    type: str
    json_path: str
    format: str = ""
    priority: int = 0
    description: str = ""


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """Where a custom kind keeps what its scale subresource shows, as paths of field names."""

    spec_replicas: tuple[str, ...]
    status_replicas: tuple[str, ...]
    selector: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CustomType:
    """One served version of a custom kind. `openapi` is its openAPIV3Schema as the definition has it."""

    resource: Resource
    storage_version: str
    openapi: Mapping[str, Any]
    schema: Schema
    validator: Validator
    columns: tuple[Column, ...]
    scale: ScalePaths | None
    selectable: tuple[str, ...]
    has_rules: bool
    deprecation: str = ""
    conversion: Mapping[str, Any] | None = None
    """The definition's `conversion`, where a webhook turns this version into the one that is stored."""

    def decoded(self, obj: Obj, options: WriteOptions) -> Obj:
        """Pruned and defaulted; unknown fields are refused or warned of as the client wished."""
        unknown: list[str] = []
        check_metadata(self.resource, obj.get("metadata"))
        result: Obj = prune(obj, self.schema, unknown)
        report(self.resource, unknown, options)
        fill_defaults(result, self.schema)
        if self.deprecation:
            options.warnings.append(self.deprecation)
        return result

    def warn_of_finalizers(self, old: Obj | None, new: Obj, options: WriteOptions) -> None:
        """A name without a domain and a path may be somebody else's, too."""
        before = dig(old or {}, "metadata", "finalizers", default=[])
        for name in new["metadata"].get("finalizers") or ():
            if "/" not in name and name not in before and name not in ("orphan", "foregroundDeletion"):
                options.warnings.append(
                    f'metadata.finalizers: "{name}": prefer a domain-qualified finalizer name including a path (/) to avoid '
                    "accidental conflicts with other finalizer writers")

    def check(self, obj: Obj, old: Obj | None = None) -> None:
        """Refuse what the schema does not allow, then what its rules do not allow, given what was there before."""
        errors = self.validator.errors(obj)
        if not errors and (path := _POD_TEMPLATES.get((self.resource.group, self.resource.kind))) is not None:
            template = dig(obj, *path)
            if template is not None and (old is None or dig(old, *path) != template):
                check_type(self.resource, template, facts().type(_POD_TEMPLATE), path)
        if not errors and self.has_rules:
            errors = [*rules.check(obj, old, self.openapi)]
            if errors:
                raise invalid(self.resource, obj["metadata"].get("name", ""), errors)
        if errors:
            if self.has_rules and any(error.fault != "FieldValueDuplicate" for error in errors):
                errors.append(_NOT_CHECKED)
            raise invalid(self.resource, obj["metadata"].get("name", ""), errors)


def types_of(definition: Obj) -> list[CustomType]:
    """The served versions of a definition, in the order of their precedence: stable before beta before alpha."""
    spec = definition["spec"]
    versions = [version for version in spec["versions"] if version.get("served")]
    stored = next((version["name"] for version in spec["versions"] if version.get("storage")), "")
    versions.sort(key=lambda version: _precedence(version["name"]), reverse=True)
    return [_type_of(spec, version, stored) for version in versions]


def _precedence(version: str) -> tuple[int, int, int]:
    """v2 > v1 > v1beta2 > v1beta1 > v1alpha1 > anything else."""
    head, _, tail = version.removeprefix("v").partition("beta")
    if version[1:].isdigit():
        return 3, int(version[1:]), 0
    if head.isdigit() and tail.isdigit():
        return 2, int(head), int(tail)
    head, _, tail = version.removeprefix("v").partition("alpha")
    return (1, int(head), int(tail)) if head.isdigit() and tail.isdigit() else (0, 0, 0)


def _type_of(spec: Mapping[str, Any], version: Mapping[str, Any], stored: str) -> CustomType:
    names, subresources = spec["names"], version.get("subresources") or {}
    resource = Resource(
        group=spec["group"], version=version["name"], kind=names["kind"], plural=names["plural"],
        namespaced=spec["scope"] == "Namespaced", short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()), subresources=tuple(n for n in ("status", "scale")
                                                                            if n in subresources),
        singular=names.get("singular") or names["kind"].lower(),
    )
    openapi = dig(version, "schema", "openAPIV3Schema", default={})
    schema = with_object_meta(of_openapi(openapi), facts().object_meta)
    columns = tuple(
        Column(c["name"], c["type"], c["jsonPath"], c.get("format", ""), c.get("priority", 0), c.get("description", ""))
        for c in version.get("additionalPrinterColumns") or ()
    )
    scale, conversion = subresources.get("scale"), spec.get("conversion") or {}
    conversion = conversion if conversion.get("strategy") == "Webhook" else None
    deprecation = ""
    if version.get("deprecated"):
        deprecation = version.get("deprecationWarning") or (
            f"{spec['group']}/{version['name']} {names['kind']} is deprecated; use {spec['group']}/{stored} {names['kind']}")
    return CustomType(
        resource, stored, openapi, schema, Validator(openapi, schema), columns,
        ScalePaths(_steps(scale.get("specReplicasPath")), _steps(scale.get("statusReplicasPath")),
                   _steps(scale.get("labelSelectorPath"))) if scale else None,
        tuple(".".join(_steps(field["jsonPath"])) for field in version.get("selectableFields") or ()),
        any(rules.rules_in(openapi)), deprecation, conversion if version["name"] != stored else None,
    )


def _steps(path: str | None) -> tuple[str, ...]:
    return tuple(step for step in (path or "").split(".") if step)


def warn_of_rules(definition: Obj, options: WriteOptions) -> None:
    """A rule that cannot be evaluated here is kept, and whoever writes it is told."""
    for place, version in enumerate(definition["spec"]["versions"]):
        for path, why in rules.unsupported_in(dig(version, "schema", "openAPIV3Schema")):
            options.warnings.append(f"spec.versions[{place}]: the rule at {path or 'the root'} is not evaluated: {why}")


class CustomTypes:
    """The custom kinds that can be asked for now."""

    def __init__(self) -> None:
        self._types: dict[tuple[str, str, str], CustomType] = {}

    def of(self, resource: Resource) -> CustomType | None:
        return self._types.get((resource.group, resource.version, resource.plural))

    def __iter__(self) -> Iterator[CustomType]:
        return iter(self._types.values())

    def copy(self) -> CustomTypes:
        made = CustomTypes()
        made.take_over(self)
        return made

    def take_over(self, other: CustomTypes) -> None:
        """Serve what another world serves: a compiled type is never changed."""
        self._types = dict(other._types)

    def establish(self, definition: Obj) -> tuple[list[Resource], list[Resource]]:
        """Serve what `definition` says. Returns the resources that go and those that come."""
        gone = self.withdraw(definition)
        found = types_of(definition)
        rows = [found_type.resource for found_type in found]
        self._types.update(((row.group, row.version, row.plural), of) for row, of in zip(rows, found, strict=True))
        return gone, rows

    def withdraw(self, definition: Obj) -> list[Resource]:
        gone = self.rows_of(definition)
        for row in gone:
            del self._types[row.group, row.version, row.plural]
        return gone

    def rows_of(self, definition: Obj) -> list[Resource]:
        """The served versions of a definition."""
        group, plural = definition["spec"]["group"], definition["spec"]["names"]["plural"]
        return [of.resource for key, of in self._types.items() if (key[0], key[2]) == (group, plural)]


# --- definitions as objects -------------------------------------------------------------------------------------------


def check_definition(obj: Obj) -> None:
    """Refuse a definition that could not be served."""
    errors: list[FieldError] = []
    spec = obj.get("spec") or {}
    names = spec.get("names") or {}
    name = obj["metadata"]["name"]
    for path, value in (("spec.group", spec.get("group")), ("spec.scope", spec.get("scope")),
                        ("spec.names.plural", names.get("plural")), ("spec.names.kind", names.get("kind"))):
        if not value:
            errors.append(required(path))
    if not errors and name != f"{names['plural']}.{spec['group']}":
        errors.append(invalid_value("metadata.name", name, 'must be spec.names.plural+"."+spec.group'))
    versions = spec.get("versions") or []
    if not versions:
        errors.append(required("spec.versions", "must have at least one version"))
    elif sum(bool(version.get("storage")) for version in versions) != 1:
        errors.append(invalid_value("spec.versions", [v.get("name") for v in versions],
                                    "must have exactly one version marked as storage version"))
    for place, version in enumerate(versions):
        path = f"spec.versions[{place}]"
        schema = dig(version, "schema", "openAPIV3Schema")
        if schema is None:
            errors.append(required(f"{path}.schema.openAPIV3Schema"))
            if version.get("selectableFields"):
                errors.append(invalid_value(f"{path}.selectableFields", "", "may only be set when "
                                            "`version.schema.openAPIV3Schema` is not included"))
        else:
            errors.extend(_not_structural(schema, f"{path}.schema.openAPIV3Schema", root=True))
            errors.extend(_unknown_fields(version, schema, path))
    if errors:
        raise invalid(CRDS, name, errors)


def _not_structural(spec: Mapping[str, Any], path: str, *, root: bool = False) -> list[FieldError]:
    errors: list[FieldError] = []
    for name, part in (spec.get("properties") or {}).items():
        errors.extend(_not_structural(part, f"{path}.properties[{name}]"))
    if isinstance(spec.get("items"), Mapping):
        errors.extend(_not_structural(spec["items"], f"{path}.items"))
    if isinstance(spec.get("additionalProperties"), Mapping):
        errors.extend(_not_structural(spec["additionalProperties"], f"{path}.additionalProperties"))
    free = spec.get("x-kubernetes-int-or-string") or spec.get("x-kubernetes-preserve-unknown-fields")
    if not spec.get("type") and (root or not free):
        where = "at the root" if root else "for specified object fields"
        errors.append(required(f"{path}.type", f"must not be empty {where}"))
    return errors


def _unknown_fields(version: Mapping[str, Any], schema: Mapping[str, Any], path: str) -> list[FieldError]:
    errors = []
    for place, field in enumerate(version.get("selectableFields") or ()):
        part: Any = schema
        for step in _steps(field.get("jsonPath")):
            part = dig(part, "properties", step)
        if part is None:
            errors.append(invalid_value(f"{path}.selectableFields[{place}].jsonPath", field.get("jsonPath"),
                                        "is an invalid path: does not refer to a valid field"))
    return errors


def established(definition: Obj, now: str) -> Obj:
    """The status of a definition that is being served."""
    names = definition["spec"]["names"]
    conditions = [
        {"type": "NamesAccepted", "status": "True", "lastTransitionTime": now, "reason": "NoConflicts",
         "message": "no conflicts found"},
        {"type": "Established", "status": "True", "lastTransitionTime": now, "reason": "InitialNamesAccepted",
         "message": "the initial names have been accepted"},
    ]
    status = definition.get("status") or {}
    stored = list(dict.fromkeys([*status.get("storedVersions", ()),
                                 *(v["name"] for v in definition["spec"]["versions"] if v.get("storage"))]))
    kept = {c["type"]: c for c in status.get("conditions") or ()}
    return {"conditions": [kept.get(c["type"], c) for c in conditions], "acceptedNames": dict(names),
            "storedVersions": stored}


def is_ours(definition: Obj) -> bool:
    """Nobody but Fairway has written it: a user who brings the original definition keeps it."""
    managers = {entry.get("manager") for entry in definition["metadata"].get("managedFields") or ()}
    return managers <= {"fairway", "kube-apiserver"}


def doomed(definition: Obj, now: str) -> Obj:
    """A definition that is being deleted: it stays until the objects of its kind are gone."""
    meta = {**definition["metadata"], "deletionTimestamp": now}
    meta["finalizers"] = list(dict.fromkeys([*meta.get("finalizers", ()), CLEANUP]))
    status = definition.get("status") or {}
    terminating = {"type": "Terminating", "status": "True", "lastTransitionTime": now, "reason": "InstanceDeletionPending",
                   "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"}
    return {**definition, "metadata": meta,
            "status": {**status, "conditions": [*(status.get("conditions") or ()), terminating]}}


@lru_cache(maxsize=1)
def own_definitions() -> tuple[Obj, ...]:
    """The definitions that Fairway brings: Argo's kinds, ServiceMonitor, and its own. Shared: do not change them."""
    text = (files("fairway.kube") / "data" / "crds.yaml").read_text()
    return tuple(yaml.load_all(text, Loader=_Loader))
