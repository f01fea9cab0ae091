"""What an Application says over its kustomization: as if `kustomize edit` had written it into the file at the top."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fairway.manifests.kustomize.spec import Kustomization

_REPLACED = ("namespace", "namePrefix", "nameSuffix")
_MERGED = ("commonLabels", "commonAnnotations")
_BY_NAME = ("images", "replicas")
_ADDED = ("patches", "components", "labels")


def overruled(kustomization: Kustomization, overrides: Mapping[str, Any]) -> Kustomization:
    """The kustomization with these values in place of its own."""
    if not overrides:
        return kustomization
    fields = dict(kustomization.fields)
    for name in _REPLACED:
        if overrides.get(name):
            fields[name] = overrides[name]
    for name in _MERGED:
        if overrides.get(name):
            fields[name] = {**(fields.get(name) or {}), **overrides[name]}
    for name in _BY_NAME:
        said = overrides.get(name) or ()
        taken = {str(entry.get("name")) for entry in said}
        if said:
            fields[name] = [*(entry for entry in fields.get(name) or () if str(entry.get("name")) not in taken), *said]
    for name in _ADDED:
        if overrides.get(name):
            fields[name] = [*(fields.get(name) or ()), *overrides[name]]
    return replace(kustomization, fields=fields)
