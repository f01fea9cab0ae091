"""A layer: resources, generators, components, transformers; and at the top hashes and references."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from fairway.kube.objects import Obj
from fairway.manifests import yaml
from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.files import FileTree, join
from fairway.manifests.kustomize import field_tables as tables
from fairway.manifests.kustomize import spec, transform
from fairway.manifests.kustomize.configuration import Configuration
from fairway.manifests.kustomize.field_paths import FieldSpec
from fairway.manifests.kustomize.generate import content_hash, generate, merged
from fairway.manifests.kustomize.patch import apply_patch
from fairway.manifests.kustomize.plugins import generated_by, transform_by
from fairway.manifests.kustomize.references import follow_names
from fairway.manifests.kustomize.replacements import replace
from fairway.manifests.kustomize.resource import Resource, Resources
from fairway.manifests.kustomize.spec import Kustomization

_UNSUPPORTED = {
    "vars": "use `replacements:`, which replaced them upstream",
    "helmCharts": "render the chart in an Application of its own",
    "helmChartInflationGenerator": "render the chart in an Application of its own",
    "validators": "run the validation in CI",
}


@dataclass(slots=True)
class _Layers:
    """What all layers of one build share."""

    files: FileTree
    restricted: bool
    documents: dict[str, list[tuple[Any, Place]]] = field(default_factory=dict)


def build(files: FileTree, path: str = "", *, load_restrictions: bool = True, sort: str = "") -> list[Obj]:
    """The objects of a folder with a kustomization. `load_restrictions`: files only from the folder that names them."""
    layers = _Layers(files, load_restrictions)
    configuration = Configuration()
    found = _layer(layers, path, (), configuration)
    for item in found:
        if item.needs_hash:
            item.remember()
            meta = item.meta()
            meta["name"] = f"{meta.get('name', '')}-{content_hash(item.obj)}"
    found.renamed()
    follow_names(found, (*tables.REFERENCES, *configuration.references))
    objects = transform.drop_local([item.obj for item in found])
    options = spec.read(files, path).map("sortOptions")
    return in_order(objects, str(options.get("order") or sort), options.get("legacySortOptions") or {})


# --- accumulate ---------------------------------------------------------------------------------------------------


def _layer(layers: _Layers, folder: str, above: tuple[str, ...], configuration: Configuration) -> Resources:
    kustomization = spec.read(layers.files, folder)
    if folder in above:
        cycle = " -> ".join((*above, folder))
        raise ManifestError(kustomization.place(), f"cycle detected: {cycle}", "a base must not include its overlay")
    return _accumulate(layers, kustomization, Resources(), (*above, folder), configuration)


def _accumulate(layers: _Layers, k: Kustomization, found: Resources, above: tuple[str, ...],
                configuration: Configuration) -> Resources:
    for name, mend in _UNSUPPORTED.items():
        if k.list(name):
            raise ManifestError(k.place(name), f"`{name}` is not built here", mend)
    for name in ("resources", "bases"):
        for index, path in enumerate(k.list(name)):
            found.extend(_resource(layers, k, path, k.place(name, index), above, configuration))
    for index, path in enumerate(k.list("configurations")):
        file = _file(layers, k, path, k.place("configurations", index))
        configuration.read(yaml.load(layers.files.read(file), file), file)
    for index, path in enumerate(k.list("crds")):
        configuration.read_crd(_documents(layers, _file(layers, k, path, k.place("crds", index))))
    _generators(layers, k, found, above, configuration)
    for index, path in enumerate(k.list("components")):
        place = k.place("components", index)
        folder = _folder(layers, k, path, place)
        component = spec.read(layers.files, folder)
        if component.kind != "Component":
            raise ManifestError(place, f"expected kind 'Component' for path '{path}' but got {component.kind!r}",
                                "list it under `resources:`")
        if folder in above:
            raise ManifestError(place, f"cycle detected: {' -> '.join((*above, folder))}")
        _accumulate(layers, component, found, (*above, folder), configuration)
    _transformers(layers, k, found, above, configuration)
    return found


def _resource(layers: _Layers, k: Kustomization, path: Any, place: Place, above: tuple[str, ...],
              configuration: Configuration) -> list[Resource]:
    if not isinstance(path, str) or not path:
        raise ManifestError(place, "a resource is the path of a file or a folder")
    at = join(k.folder, path)
    if layers.files.is_dir(at) and not at.startswith(".."):
        base = spec.read(layers.files, at)
        if base.kind == "Component":
            raise ManifestError(place, f"expected kind != 'Component' for path '{path}'", "list it under `components:`")
        return _layer(layers, at, above, configuration).items
    file = _file(layers, k, path, place)
    return [Resource(_with_text_entries(value), where) for value, where in objects_in(_documents(layers, file), lenient=True)]


def _with_text_entries(obj: Obj) -> Obj:
    """A copy whose labels and annotations are text, as upstream makes them on reading."""
    found = copy.deepcopy(obj)
    for key in ("labels", "annotations"):
        entries = found["metadata"].get(key)
        if isinstance(entries, dict):
            found["metadata"][key] = {k: v if v is None else transform.as_text(v) for k, v in entries.items()}
    return found


def objects_in(documents: Sequence[tuple[Any, Place]], *, lenient: bool = False) -> list[tuple[Obj, Place]]:
    """Objects, lists of objects taken apart; each must say what it is and how it is called.

    `lenient` lets an apiVersion be absent, as upstream does: a patch or the API has the last word.
    """
    found: list[tuple[Obj, Place]] = []
    for value, place in documents:
        if not isinstance(value, dict):
            raise ManifestError(place, "not a Kubernetes object", "an object is a mapping with apiVersion, kind, metadata")
        kind = value.get("kind")
        if isinstance(kind, str) and kind.endswith("List") and isinstance(value.get("items"), list):
            found += objects_in([(item, place) for item in value["items"]], lenient=lenient)
            continue
        meta = value.get("metadata")
        if not isinstance(kind, str) or not kind:
            raise ManifestError(place, "missing Resource metadata: the object has no `kind`", "add `kind:`")
        if not isinstance(value.get("apiVersion"), str) and not lenient:
            raise ManifestError(place, f"{kind}: the object has no `apiVersion`", "add `apiVersion:`")
        if not isinstance(meta, dict) or not (meta.get("name") or meta.get("generateName")):
            raise ManifestError(place, f"{kind}: missing metadata.name in object", "add `metadata: {name: …}`")
        if not isinstance(meta.get("name", ""), str):
            raise ManifestError(place, f"{kind}: metadata.name {meta['name']!r} is not text", "quote it")
        found.append((value, place))
    return found


def _documents(layers: _Layers, file: str) -> list[tuple[Any, Place]]:
    if file not in layers.documents:
        layers.documents[file] = list(yaml.load_all(layers.files.read(file), file))
    return layers.documents[file]


def _file(layers: _Layers, k: Kustomization, path: Any, place: Place) -> str:
    at = join(k.folder, str(path))
    if "://" in str(path) or str(path).startswith("git@") or at.startswith("../") or at == "..":
        raise ManifestError(place, f"{path}: outside of this repository", "copy it in: a build depends on one commit only")
    if not layers.files.is_file(at):
        what = "is a folder, not a file" if layers.files.is_dir(at) else "no such file or directory"
        raise ManifestError(place, f"accumulating resources: {path}: {what}", "correct the path, or add the file")
    if layers.restricted and k.folder and not at.startswith(f"{k.folder}/"):
        raise ManifestError(place, f"security; file '{at}' is not in or below '{k.folder}'",
                            "move it into the folder, or make its folder a base")
    return at


def _folder(layers: _Layers, k: Kustomization, path: Any, place: Place) -> str:
    at = join(k.folder, str(path))
    if not layers.files.is_dir(at) or at.startswith(".."):
        raise ManifestError(place, f"accumulating components: {path}: no such folder", "correct the path")
    return at


# --- generators -----------------------------------------------------------------------------------------------------


def _generators(layers: _Layers, k: Kustomization, found: Resources, above: tuple[str, ...],
                configuration: Configuration) -> None:
    common = k.map("generatorOptions")
    for name, kind in (("configMapGenerator", "ConfigMap"), ("secretGenerator", "Secret")):
        for index, args in enumerate(k.list(name)):
            place = k.place(name, index)
            options = _options(common, args.get("options") or {})
            new = generate(kind, args, options, layers.files, partial(_file, layers, k, place=place), place)
            absorb(found, new)
    for index, path in enumerate(k.list("generators")):
        for config, place in _plugin_configs(layers, k, path, k.place("generators", index), above, configuration):
            for new in generated_by(config, place, layers.files, partial(_file, layers, k, place=place)):
                absorb(found, new)


def _options(common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    found = {**common, **{key: value for key, value in own.items() if value is not None}}
    for key in ("labels", "annotations"):
        both = {**(common.get(key) or {}), **(own.get(key) or {})}
        if both:
            found[key] = both
    found["disableNameSuffixHash"] = bool(common.get("disableNameSuffixHash") or own.get("disableNameSuffixHash"))
    return found


def absorb(found: Resources, new: Resource) -> None:
    """Put a generated object in: as a new one, or over the one of that name."""
    same = found.by_any_id(new.id)
    if new.behavior in ("merge", "replace"):
        if not same:
            raise ManifestError(new.place, f"id {new.id} does not exist; cannot merge or replace",
                                "use behavior create, or correct the name")
        if len(same) > 1:
            raise ManifestError(new.place, f"found multiple objects {new.id} that could accept merge of it")
        base = same[0]
        base.obj = merged(new.behavior, base, new)
    else:
        found.add(new)


def _plugin_configs(layers: _Layers, k: Kustomization, path: Any, place: Place, above: tuple[str, ...],
                    configuration: Configuration) -> list[tuple[Obj, Place]]:
    """The configurations that `generators:` and `transformers:` name: inline YAML, a file, or a folder that builds them."""
    text = str(path)
    if "\n" in text:
        return [(v, place) for v, _ in yaml.load_all(text, k.file) if isinstance(v, dict)]
    if layers.files.is_dir(join(k.folder, text)):
        return [(item.obj, item.place) for item in _layer(layers, join(k.folder, text), above, configuration)]
    return [(copy.deepcopy(v), at) for v, at in objects_in(_documents(layers, _file(layers, k, path, place)))]


# --- transformers ---------------------------------------------------------------------------------------------------


def _transformers(layers: _Layers, k: Kustomization, found: Resources, above: tuple[str, ...],
                  configuration: Configuration) -> None:
    for index, path in enumerate(k.list("patchesStrategicMerge")):
        place = k.place("patchesStrategicMerge", index)
        apply_patch(found, _patch_documents(layers, k, {"patch": path} if "\n" in str(path) else {"path": path}, place),
                    None, {})
    _patches(layers, k, found, "patches")
    if k.text("namespace"):
        transform.set_namespace(found, k.text("namespace"), (*tables.NAMESPACE, *configuration.of("namespace")))
    for prefix, suffix in ((k.text("namePrefix"), ""), ("", k.text("nameSuffix"))):
        if prefix or suffix:
            specs = configuration.of("namePrefix" if prefix else "nameSuffix")
            transform.add_prefix_and_suffix(found, prefix, suffix, (*tables.NAMES, *specs))
            found.renamed()
    _labels(k, found, configuration)
    if k.map("commonAnnotations"):
        specs = (*tables.ANNOTATIONS, *configuration.of("commonAnnotations"))
        transform.set_entries(found, k.map("commonAnnotations"), specs)
    _patches(layers, k, found, "patchesJson6902")
    for index, entry in enumerate(k.list("replicas")):
        count = entry.get("count")
        if not isinstance(count, int) or isinstance(count, bool):
            raise ManifestError(k.place("replicas", index), f"replicas: count {count!r} is not a number")
        transform.set_replicas(found, str(entry.get("name")), count, (*tables.REPLICAS, *configuration.of("replicas")),
                               k.place("replicas", index))
    images = [*k.list("images"), *k.list("imageTags")]
    if images:
        transform.set_images(found, images, configuration.of("images"))
    for index, entry in enumerate(k.list("replacements")):
        place = k.place("replacements", index)
        for one, at in _replacement_entries(layers, k, entry, place):
            replace(found, one, at)
    for index, path in enumerate(k.list("transformers")):
        for config, place in _plugin_configs(layers, k, path, k.place("transformers", index), above, configuration):
            transform_by(found, config, place, configuration, partial(_plugin_file, layers, k, place=place))


def _plugin_file(layers: _Layers, k: Kustomization, path: str, place: Place) -> list[tuple[Any, Place]]:
    return _documents(layers, _file(layers, k, path, place))


def _replacement_entries(layers: _Layers, k: Kustomization, entry: Any, place: Place) -> list[tuple[Any, Place]]:
    if not isinstance(entry, dict) or "path" not in entry:
        return [(entry, place)]
    found = []
    for value, at in _documents(layers, _file(layers, k, entry["path"], place)):
        found += [(one, at) for one in (value if isinstance(value, list) else [value])]
    return found


def _labels(k: Kustomization, found: Resources, configuration: Configuration) -> None:
    for index, entry in enumerate(k.list("labels")):
        specs: list[FieldSpec] = [FieldSpec.of(one) for one in entry.get("fields") or ()]
        specs += tables.LABELS
        if entry.get("includeSelectors"):
            specs += [*tables.COMMON_LABELS, *configuration.of("commonLabels")]
        else:
            if entry.get("includeTemplates"):
                specs += [*tables.TEMPLATE_LABELS, *configuration.of("templateLabels")]
            if entry.get("includeVolumeClaimTemplates"):
                specs += tables.CLAIM_LABELS
        pairs = entry.get("pairs")
        if not isinstance(pairs, dict):
            raise ManifestError(k.place("labels", index), "labels: an entry needs `pairs:`, a mapping of labels")
        transform.set_entries(found, pairs, specs)
    if k.map("commonLabels"):
        transform.set_entries(found, k.map("commonLabels"), (*tables.COMMON_LABELS, *configuration.of("commonLabels")))


def _patches(layers: _Layers, k: Kustomization, found: Resources, name: str) -> None:
    for index, entry in enumerate(k.list(name)):
        place = k.place(name, index)
        if bool(entry.get("path")) == bool(entry.get("patch")):
            raise ManifestError(place, f"{name}: specify one and only one of patch and path")
        target = entry.get("target") or None
        if name == "patchesJson6902" and not target:
            raise ManifestError(place, "patchesJson6902: must specify a target for a JSON patch")
        apply_patch(found, _patch_documents(layers, k, entry, place), target, entry.get("options") or {})


def _patch_documents(layers: _Layers, k: Kustomization, entry: Mapping[str, Any], place: Place) -> list[tuple[Any, Place]]:
    if entry.get("path"):
        file = _file(layers, k, entry["path"], place)
        return _documents(layers, file)
    try:
        return [(value, place) for value, _ in yaml.load_all(str(entry["patch"]), k.file)]
    except ManifestError as error:
        raise ManifestError(place, f"unable to parse SM or JSON patch: {error.mistake}", error.mend) from error


# --- order ----------------------------------------------------------------------------------------------------------

_FIRST = ("Namespace", "ResourceQuota", "StorageClass", "CustomResourceDefinition", "ServiceAccount",
          "PodSecurityPolicy", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "ConfigMap", "Secret",
          "Endpoints", "Service", "LimitRange", "PriorityClass", "PersistentVolume", "PersistentVolumeClaim",
          "Deployment", "StatefulSet", "CronJob", "PodDisruptionBudget")
_LAST = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


def in_order(objects: list[Obj], order: str, options: Mapping[str, Any]) -> list[Obj]:
    """As accumulated, or for `legacy` by kind."""
    if order != "legacy":
        return objects
    first = list(options.get("orderFirst") or _FIRST)
    last = list(options.get("orderLast") or _LAST)

    def rank(obj: Obj) -> tuple[Any, ...]:
        kind, meta = str(obj.get("kind")), obj.get("metadata") or {}
        at = first.index(kind) - len(first) if kind in first else last.index(kind) + 1 if kind in last else 0
        return at, str(obj.get("apiVersion")), kind, str(meta.get("namespace") or ""), str(meta.get("name") or "")

    return sorted(objects, key=rank)
