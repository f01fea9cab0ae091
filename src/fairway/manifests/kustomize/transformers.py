"""The transformers of one layer as steps in upstream's order, each of which can say who it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from fairway.kube.objects import Obj
from fairway.manifests import yaml
from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.kustomize import field_tables as tables
from fairway.manifests.kustomize import transform
from fairway.manifests.kustomize.building import Building, Documents, ImageEntry, Layer, file_of
from fairway.manifests.kustomize.configuration import with_more
from fairway.manifests.kustomize.field_paths import FieldSpec
from fairway.manifests.kustomize.patch import apply_patch
from fairway.manifests.kustomize.plugins import transform_by
from fairway.manifests.kustomize.replacements import replace
from fairway.manifests.kustomize.spec import Kustomization


@dataclass(frozen=True, slots=True)
class Step:
    """One transformer: upstream's name of it, the file (and the object in it) that configures it, and the work."""

    kind: str
    file: str
    run: Callable[[], None]
    meta: Mapping[str, Any] = field(default_factory=dict)


def steps_of(building: Building, k: Kustomization, layer: Layer) -> Iterator[Step]:
    """What the fields of a kustomization ask for."""
    found, configuration = layer.resources, layer.configuration

    def step(kind: str, work: Callable[[], None]) -> Step:
        return Step(kind, k.file, work)

    if k.list("patchesStrategicMerge"):
        yield step("PatchStrategicMergeTransformer", partial(_merge_patches, building, k, layer))
    for index, entry in enumerate(k.list("patches")):
        yield step("PatchTransformer", partial(_patch, building, k, layer, "patches", index, entry))
    if k.text("namespace"):
        specs = configuration.specs("namespace", tables.NAMESPACE)
        yield step("NamespaceTransformer", partial(transform.set_namespace, found, k.text("namespace"), specs))
    for name, kind, section in (("namePrefix", "PrefixTransformer", "namePrefix"),
                                ("nameSuffix", "SuffixTransformer", "nameSuffix")):
        if k.text(name):
            prefix, suffix = (k.text(name), "") if name == "namePrefix" else ("", k.text(name))
            specs = configuration.specs(section, tables.NAMES)
            yield step(kind, partial(transform.add_prefix_and_suffix, found, prefix, suffix, specs))
    yield from _labels(k, layer)
    if k.map("commonAnnotations"):
        specs = configuration.specs("commonAnnotations", tables.ANNOTATIONS)
        yield step("AnnotationsTransformer", partial(transform.set_entries, found, k.map("commonAnnotations"), specs))
    for index, entry in enumerate(k.list("patchesJson6902")):
        yield step("PatchJson6902Transformer", partial(_patch, building, k, layer, "patchesJson6902", index, entry))
    for index, entry in enumerate(k.list("replicas")):
        yield step("ReplicaCountTransformer", partial(_replicas, k, layer, index, entry))
    for name in ("images", "imageTags"):
        for index, image in enumerate(k.list(name)):
            yield step("ImageTagTransformer", partial(_image, building, k, layer, image, k.place(name, index)))
    if k.list("replacements"):
        yield step("ReplacementTransformer", partial(_replace_all, building, k, layer))


def configured(building: Building, k: Kustomization, layer: Layer, config: Obj, place: Place, file: str) -> Step:
    """A transformer that stands as an object in a file."""

    def documents(path: str) -> Documents:
        return building.read(file_of(building, k, path, place))

    work = partial(transform_by, layer.resources, config, place, documents, building.schemas)
    return Step(str(config.get("kind")), file, work, config.get("metadata") or {})


def _merge_patches(building: Building, k: Kustomization, layer: Layer) -> None:
    for index, path in enumerate(k.list("patchesStrategicMerge")):
        place = k.place("patchesStrategicMerge", index)
        entry = {"patch": path} if "\n" in str(path) else {"path": path}
        apply_patch(layer.resources, _documents(building, k, entry, place), None, {}, building.schemas)


def _patch(building: Building, k: Kustomization, layer: Layer, name: str, index: int, entry: Mapping[str, Any]) -> None:
    place = k.place(name, index)
    if bool(entry.get("path")) == bool(entry.get("patch")):
        raise ManifestError(place, f"{name}: specify one and only one of patch and path", "remove one, or add one")
    target = entry.get("target") or None
    if name == "patchesJson6902" and not target:
        raise ManifestError(place, "patchesJson6902: must specify a target for a JSON patch", "add `target:`")
    documents = _documents(building, k, entry, place)
    apply_patch(layer.resources, documents, target, entry.get("options") or {}, building.schemas)


def _documents(building: Building, k: Kustomization, entry: Mapping[str, Any], place: Place) -> Documents:
    if entry.get("path"):
        return building.read(file_of(building, k, entry["path"], place))
    try:
        return [(value, place) for value, _ in yaml.load_all(str(entry["patch"]), k.file, words=False)]
    except ManifestError as error:
        raise ManifestError(place, f"unable to parse SM or JSON patch: {error.mistake}", error.mend) from error


def _labels(k: Kustomization, layer: Layer) -> Iterator[Step]:
    configuration = layer.configuration
    for index, entry in enumerate(k.list("labels")):
        place = k.place("labels", index)
        specs: tuple[FieldSpec, ...] = tuple(FieldSpec.of(one) for one in entry.get("fields") or ())
        if entry.get("includeSelectors"):
            specs = with_more(specs, configuration.specs("commonLabels", tables.COMMON_LABELS), place)
        else:
            if entry.get("includeTemplates"):
                specs = with_more(specs, configuration.specs("templateLabels", tables.TEMPLATE_LABELS), place)
            if entry.get("includeVolumeClaimTemplates"):
                specs = with_more(specs, tables.CLAIM_LABELS, place)
            specs = with_more(specs, configuration.specs("labels", tables.LABELS), place)
        pairs = entry.get("pairs")
        if not isinstance(pairs, dict):
            raise ManifestError(place, "labels: an entry needs `pairs:`, a mapping of labels", "add it")
        yield Step("LabelTransformer", k.file, partial(transform.set_entries, layer.resources, pairs, specs))
    if k.map("commonLabels"):
        specs = configuration.specs("commonLabels", tables.COMMON_LABELS)
        work = partial(transform.set_entries, layer.resources, k.map("commonLabels"), specs)
        yield Step("LabelTransformer", k.file, work)


def _replicas(k: Kustomization, layer: Layer, index: int, entry: Mapping[str, Any]) -> None:
    count, place = entry.get("count"), k.place("replicas", index)
    if not isinstance(count, int) or isinstance(count, bool):
        raise ManifestError(place, f"replicas: count {count!r} is not a number", "write a number, without quotes")
    specs = layer.configuration.specs("replicas", tables.REPLICAS)
    transform.set_replicas(layer.resources, str(entry.get("name")), count, specs, place)


def _image(building: Building, k: Kustomization, layer: Layer, image: Mapping[str, Any], place: Place) -> None:
    met = transform.set_images(layer.resources, [image], layer.configuration.specs("images", ()))
    name = str(image.get("name"))
    building.image_entries.append(ImageEntry(name, str(image.get("newName") or name), k.folder, place, met))


def _replace_all(building: Building, k: Kustomization, layer: Layer) -> None:
    for index, entry in enumerate(k.list("replacements")):
        place = k.place("replacements", index)
        if not isinstance(entry, dict) or "path" not in entry:
            replace(layer.resources, entry, place)
            continue
        for value, at in building.read(file_of(building, k, entry["path"], place)):
            for one in value if isinstance(value, list) else [value]:
                replace(layer.resources, one, at)
