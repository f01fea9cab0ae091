"""The transformers that need nothing but the object and their arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from fairway.kube.objects import Obj, annotations_of
from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.image_reference import ImageReference
from fairway.manifests.kustomize.field_paths import FieldSpec, update
from fairway.manifests.kustomize.field_tables import NOT_RENAMED
from fairway.manifests.kustomize.resource import Resource, Resources

SUBJECT_MODES = ("defaultOnly", "allServiceAccounts", "none")


def set_namespace(resources: Resources, namespace: str, specs: Sequence[FieldSpec], *, subjects: str = "defaultOnly",
                  unset_only: bool = False) -> None:
    """Put every namespaced object into `namespace`, and the service accounts of role bindings as `subjects` says.

    `unset_only` leaves a namespace alone that somebody has set. What Helm rendered has its namespace from Helm.
    """
    def put(old: Any) -> Any:
        if isinstance(old, (dict, list)):
            raise ManifestError(item.place, "namespace field specs must target scalar nodes", "name the field of the text")
        return old if unset_only and old else namespace

    for item in resources:
        if item.by_helm:
            continue
        item.remember()
        binding = item.obj.get("kind") in ("RoleBinding", "ClusterRoleBinding")
        if not item.id.cluster_scoped:
            item.meta()["namespace"] = put(item.meta().get("namespace"))
        for spec in specs:
            own = spec.path == "metadata/namespace" or (binding and spec.path in ("subjects/namespace", "subjects/name"))
            if not own and spec.selects(item.obj):
                update(item.obj, spec.path, put, create=spec.create)
        for subject in (item.obj.get("subjects") or ()) if binding else ():
            if _moves(subject, subjects):
                subject["namespace"] = put(subject.get("namespace"))
    resources.renamed()
    _refuse_twins(resources, "namespace transformation produces ID conflict")


def _moves(subject: Any, mode: str) -> bool:
    if not isinstance(subject, dict) or subject.get("kind") != "ServiceAccount" or mode == "none":
        return False
    return mode == "allServiceAccounts" or subject.get("name") == "default"


def _refuse_twins(resources: Resources, mistake: str) -> None:
    seen: set[tuple[str, ...]] = set()
    for item in resources:
        one = item.id
        key = (one.group, one.version, one.kind, one.space, one.name)
        if one.name and key in seen:
            raise ManifestError(item.place, f"{mistake}: {one}", "two objects would have the same name")
        seen.add(key)


def add_prefix_and_suffix(resources: Resources, prefix: str, suffix: str, specs: Sequence[FieldSpec]) -> None:
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
    resources.renamed()


def set_entries(resources: Iterable[Resource], entries: Mapping[str, Any], specs: Sequence[FieldSpec]) -> None:
    """Put labels or annotations into every map that the specs name."""
    texts = {key: as_text(value) for key, value in entries.items()}
    if not texts:
        return
    for item in resources:
        for spec in specs:
            if spec.selects(item.obj):
                update(item.obj, spec.path, partial(_joined, item, spec.path, texts), create=spec.create, empty=dict)


def _joined(item: Resource, path: str, texts: Mapping[str, str], old: Any) -> dict[str, Any]:
    if old and not isinstance(old, dict):
        raise ManifestError(item.place, f"{item.id}: {path} is a mapping, not {old!r}", "write `name: value` lines")
    return {**(old or {}), **texts}


def as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def set_replicas(resources: Resources, name: str, count: int, specs: Sequence[FieldSpec], place: Place) -> None:
    found = False
    for item in resources:
        if item.name != name and not any(one.name == name for one in item.previous):
            continue
        for spec in specs:
            if spec.selects(item.obj):
                update(item.obj, spec.path, lambda _: count, create=spec.create)
                found = True
    if not found:
        kinds = ", ".join(sorted({spec.kind for spec in specs if spec.kind}))
        raise ManifestError(place, f"replicas: resource with name {name} does not match a config with the following GVK "
                                   f"[{kinds}]", "correct the name, or remove the entry")


def set_images(resources: Iterable[Resource], images: Sequence[Mapping[str, Any]], specs: Sequence[FieldSpec], *,
               deep: bool = True) -> int:
    """`images:` where the specs say, and (`deep`) in every list of containers, wherever it lies. How many it found."""
    wanted = {str(image.get("name")): image for image in images}
    met = 0

    def renamed(value: Any) -> Any:
        nonlocal met
        image = wanted.get(ImageReference.parse(value).name) if isinstance(value, str) else None
        if image is None:
            return value
        met += 1
        return _with_image(value, image)

    for item in resources:
        if deep and item.obj.get("kind") != "CustomResourceDefinition":
            _containers(item.obj, renamed)
        for spec in specs:
            if spec.selects(item.obj):
                update(item.obj, spec.path, renamed, create=spec.create)
    return met


def image_names(value: Any) -> set[str]:
    """Names of the images in every list of containers, however deep."""
    found: set[str] = set()

    def take(image: Any) -> Any:
        if isinstance(image, str):
            found.add(ImageReference.parse(image).name)
        return image

    _containers(value, take)
    return found


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
    return [o for o in objects if annotations_of(o).get(key, "false") == "false"]
