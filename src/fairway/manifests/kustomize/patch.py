"""Patches: strategic merge and JSON 6902, at the object that the patch names or at all that a target selects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fairway.kube.objects import Obj
from fairway.kube.patches import json_patch
from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.kustomize.merge import Deleted, strategic_merge
from fairway.manifests.kustomize.resource import Resource, Resources, id_of
from fairway.manifests.kustomize.schemas import Schemas

if TYPE_CHECKING:
    from fairway.kube.selectors import Selector

MAX_COPIES = 12
"""Of `copy` operations on one object: each can double it, and twelve make four thousand of one."""

_LITERAL = re.compile(r"^[A-Za-z0-9-]+\Z")


def apply_patch(resources: Resources, documents: Iterable[tuple[Any, Place]], target: Mapping[str, Any] | None,
                options: Mapping[str, Any], schemas: Schemas) -> None:
    """Apply the documents of one patch entry."""
    for document, place in documents:
        for name, value in (("target", target), ("options", options)):
            if value is not None and not isinstance(value, Mapping):
                raise ManifestError(place, f"the {name} of a patch is a mapping, not {value!r}", "write its fields below it")
        if isinstance(document, list):
            if not target:
                raise ManifestError(place, "must specify a target for JSON patch", "add `target:` with kind and name")
            for item in select(resources, target, place):
                _json(resources, item, document, place)
        elif isinstance(document, dict):
            chosen = select(resources, target, place) if target else _named(resources, document, place)
            _merge(resources, chosen, document, options, schemas)
        else:
            raise ManifestError(place, "a patch is a mapping (strategic merge) or a list of operations (JSON 6902)",
                                "write one of the two")


def _json(resources: Resources, item: Resource, operations: list[Any], place: Place) -> None:
    if sum(1 for operation in operations if isinstance(operation, dict) and operation.get("op") == "copy") > MAX_COPIES:
        raise ManifestError(place, f"patch of {item.id}: more than {MAX_COPIES} copy operations", "write the values out")
    try:
        patched = json_patch.apply_operations(item.obj, operations)
    except json_patch.PatchFailed as error:
        raise ManifestError(place, f"patch of {item.id}: {error}", "correct the path or the order of operations") from error
    changed = id_of(patched) != item.id
    if changed:
        item.remember()
    item.obj = patched
    if changed:
        resources.renamed()


def _merge(resources: Resources, chosen: list[Resource], patch: Obj, options: Mapping[str, Any],
           schemas: Schemas) -> None:
    gone: set[int] = set()
    renamed = False
    for item in chosen:
        try:
            patched = strategic_merge(item.obj, patch, schemas.of(item.obj))
        except Deleted:
            gone.add(id(item))
            continue
        meta, old = dict(patched.get("metadata") or {}), item.obj.get("metadata") or {}
        patched["metadata"] = meta
        if not options.get("allowNameChange"):
            meta["name"] = old.get("name")
        elif meta.get("name") != old.get("name"):
            item.remember()
        if "namespace" in old:
            meta["namespace"] = old["namespace"]
        elif "namespace" in meta:
            del meta["namespace"]
        if not options.get("allowKindChange"):
            patched["apiVersion"], patched["kind"] = item.obj.get("apiVersion"), item.obj.get("kind")
        elif patched.get("kind") != item.obj.get("kind"):
            item.remember()
        renamed = renamed or id_of(patched) != item.id
        item.obj = patched
    if gone:
        resources.remove(gone)
    elif renamed:
        resources.renamed()


def _named(resources: Resources, patch: Obj, place: Place) -> list[Resource]:
    wanted = id_of(patch)
    if not wanted.name or not wanted.kind:
        raise ManifestError(place, "a patch without target names its object by apiVersion, kind and metadata.name",
                            "add what is missing, or a `target:`")
    found = resources.by_any_id(wanted)
    if not found:
        raise ManifestError(place, f"no resource matches strategic merge patch {str(wanted)!r}: no matches for Id "
                                   f"{wanted}; failed to find unique target for patch {wanted}",
                            "correct the name, or add the object to `resources:`")
    if len(found) > 1:
        raise ManifestError(place, f"multiple matches for Id {wanted}; failed to find unique target for patch {wanted}",
                            "name the namespace too")
    return found


def select(resources: Resources, target: Mapping[str, Any], place: Place) -> list[Resource]:
    """The objects that a target means: each given field is a regular expression for the whole present or former value."""
    patterns: dict[str, re.Pattern[str]] = {}
    for key in ("group", "version", "kind", "name", "namespace"):
        if target.get(key):
            try:
                patterns[key] = re.compile(f"(?:{target[key]})\\Z")
            except re.error as error:
                raise ManifestError(place, f"target {key} {target[key]!r} is no regular expression: {error}") from error
    from fairway.kube.selectors import parse_labels  # only where a target is given: a start takes 3 ms longer

    labels = parse_labels(str(target.get("labelSelector") or ""))
    annotations = parse_labels(str(target.get("annotationSelector") or ""))
    kind, name = str(target.get("kind") or ""), str(target.get("name") or "")
    exact = _LITERAL.match(kind) and _LITERAL.match(name)  # then an index answers: a thousand patches stay linear
    chosen = resources.called(kind, name) if exact else resources
    return [item for item in chosen if _selected(item, patterns, labels, annotations)]


def _selected(item: Resource, patterns: Mapping[str, re.Pattern[str]], labels: Selector, annotations: Selector) -> bool:
    meta = item.obj.get("metadata") or {}
    if not labels.matches(meta.get("labels") or {}) or not annotations.matches(meta.get("annotations") or {}):
        return False
    return any(
        all(
            pattern.match(getattr(one, key) or ("default" if key == "namespace" and not one.cluster_scoped else ""))
            or (key == "namespace" and pattern.match(one.namespace))
            for key, pattern in patterns.items()
        )
        for one in item.ids
    )
