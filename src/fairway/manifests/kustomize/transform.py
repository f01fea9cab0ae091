"""The transformers that need nothing but the object and their arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fairway.kube.objects import Obj
from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.image_reference import ImageReference
from fairway.manifests.kustomize.field_paths import FieldSpec, update
from fairway.manifests.kustomize.field_tables import NOT_RENAMED
from fairway.manifests.kustomize.resource import Resource, Resources


def set_namespace(resources: Resources, namespace: str, specs: Sequence[FieldSpec]) -> None:
    """Put every namespaced object into `namespace`, and the default service account of role bindings with it."""
    for item in resources:
        item.remember()
        if item.id.cluster_scoped:
            for spec in specs:
                if spec.selects(item.obj):
                    update(item.obj, spec.path, lambda _: namespace, create=spec.create)
        else:
            item.meta()["namespace"] = namespace
        if item.obj.get("kind") in ("RoleBinding", "ClusterRoleBinding"):
            for subject in item.obj.get("subjects") or ():
                if subject.get("kind") == "ServiceAccount" and subject.get("name") == "default":
                    subject["namespace"] = namespace
    resources.renamed()
    _refuse_twins(resources, "namespace transformation produces ID conflict")


def _refuse_twins(resources: Resources, mistake: str) -> None:
    seen: set[tuple[str, ...]] = set()
    for item in resources:
        one = item.id
        key = (one.group, one.version, one.kind, one.space, one.name)
        if one.name and key in seen:
            raise ManifestError(item.place, f"{mistake}: {one}", "two objects would have the same name")
        seen.add(key)


def add_prefix_and_suffix(resources: Iterable[Resource], prefix: str, suffix: str, specs: Sequence[FieldSpec]) -> None:
    for item in resources:
        one = item.id
        if (one.group, one.kind) in NOT_RENAMED:
            continue
        for spec in specs:
            if not spec.selects(item.obj):
                continue
            if spec.path == "metadata/name":
                item.remember()
                if prefix:
                    item.prefixes.append(prefix)
                if suffix:
                    item.suffixes.append(suffix)
            update(item.obj, spec.path, lambda name: f"{prefix}{name}{suffix}")


def set_entries(resources: Iterable[Resource], entries: Mapping[str, Any], specs: Sequence[FieldSpec]) -> None:
    """Put labels or annotations into every map that the specs name."""
    texts = {key: as_text(value) for key, value in entries.items()}
    if not texts:
        return
    for item in resources:
        for spec in specs:
            if spec.selects(item.obj):
                update(item.obj, spec.path, lambda old: {**(old or {}), **texts}, create=spec.create, empty=dict)


def as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def set_replicas(resources: Resources, name: str, count: int, specs: Sequence[FieldSpec], place: Place) -> None:
    found = False
    for item in resources:
        if not any(one.name == name for one in item.ids):
            continue
        for spec in specs:
            if spec.selects(item.obj):
                update(item.obj, spec.path, lambda _: count, create=spec.create)
                found = True
    if not found:
        kinds = ", ".join(sorted({spec.kind for spec in specs if spec.kind}))
        raise ManifestError(place, f"replicas: resource with name {name} does not match a config with the following GVK "
                                   f"[{kinds}]", "correct the name, or remove the entry")


def set_images(resources: Iterable[Resource], images: Sequence[Mapping[str, Any]], specs: Sequence[FieldSpec]) -> None:
    """`images:` in every list of containers, however deep, and where a configuration says so."""
    wanted = {str(image.get("name")): image for image in images}

    def renamed(value: Any) -> Any:
        image = wanted.get(ImageReference.parse(value).name) if isinstance(value, str) else None
        return _with_image(value, image) if image is not None else value

    for item in resources:
        if item.obj.get("kind") == "CustomResourceDefinition":
            continue
        _containers(item.obj, renamed)
        for spec in specs:
            if spec.selects(item.obj):
                update(item.obj, spec.path, renamed)


def _containers(value: Any, renamed: Any) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("containers", "initContainers") and isinstance(inner, list):
                for container in inner:
                    if isinstance(container, dict) and "image" in container:
                        container["image"] = renamed(container["image"])
            _containers(inner, renamed)
    elif isinstance(value, list):
        for inner in value:
            _containers(inner, renamed)


def _with_image(value: str, image: Mapping[str, Any]) -> str:
    old = ImageReference.parse(value)
    tag, digest = str(image.get("newTag") or ""), str(image.get("digest") or "")
    name = str(image.get("newName") or old.name)
    if not tag and not digest:
        tag, digest = old.tag, old.digest
        if image.get("tagSuffix") and tag:
            tag += str(image["tagSuffix"])
    return str(ImageReference(name, tag, digest))


def drop_local(objects: list[Obj]) -> list[Obj]:
    """Objects that are only for the build (`config.kubernetes.io/local-config`) go."""
    key = "config.kubernetes.io/local-config"
    return [o for o in objects if key not in ((o.get("metadata") or {}).get("annotations") or {})
            or (o["metadata"]["annotations"][key] == "false")]
