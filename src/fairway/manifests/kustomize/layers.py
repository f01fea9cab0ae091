"""Layers: what a kustomization and everything below it comes to, in upstream's order.

Resources, then configurations and CRDs, generators, components, transformers, validators, variables. A base is a layer of its
own that is merged into the one that names it; a component works on the layer that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from fairway.kube.objects import Obj
from fairway.manifests import yaml
from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.files import join
from fairway.manifests.kustomize import charts, spec, transform
from fairway.manifests.kustomize.building import Building, Layer, file_of, folder_of, objects_in
from fairway.manifests.kustomize.generate import generate, merged
from fairway.manifests.kustomize.origin import take_internal
from fairway.manifests.kustomize.plugins import generated_by
from fairway.manifests.kustomize.remote import RemoteAddress, leaves
from fairway.manifests.kustomize.resource import Resource, Resources
from fairway.manifests.kustomize.spec import Kustomization
from fairway.manifests.kustomize.transformers import Step, configured, steps_of
from fairway.manifests.values import copied

MAX_DEPTH = 100
"""Of layers that lie on one another: trees of teams have four or five."""
MAX_LAYERS = 10_000
"""Of one build, each as often as it is named: two bases that both name two bases, and so on, double with every level."""


def top_layer(building: Building, kustomization: Kustomization) -> Layer:
    return _layer(building, kustomization, ())


def _layer(building: Building, k: Kustomization, above: tuple[str, ...]) -> Layer:
    if k.folder in above:
        raise ManifestError(k.place(), f"cycle detected: {' -> '.join((*above, k.folder))}",
                            "a base must not include its overlay")
    return _accumulate(building, k, Layer(), (*above, k.folder))


def _accumulate(building: Building, k: Kustomization, layer: Layer, above: tuple[str, ...]) -> Layer:
    building.layers += 1
    if len(above) > MAX_DEPTH or building.layers > MAX_LAYERS:
        raise ManifestError(k.place(), f"more than {MAX_DEPTH} layers on one another, or {MAX_LAYERS} in all",
                            "name a base once, in the layer that needs it")
    _choose_schema(building, k)
    for name in ("resources", "bases"):
        for index, path in enumerate(k.list(name)):
            _resource(building, k, layer, path, k.place(name, index), above)
    for index, path in enumerate(k.list("configurations")):
        file = file_of(building, k, path, k.place("configurations", index))
        layer.configuration.read(yaml.load(building.files.read(file), file), file)
    for index, path in enumerate(k.list("crds")):
        layer.configuration.read_crd(building.read(file_of(building, k, path, k.place("crds", index))))
    _generators(building, k, layer, above)
    for index, path in enumerate(k.list("components")):
        _component(building, k, layer, path, k.place("components", index), above)
    _run(building, k, layer, above)
    layer.variables.declare(k.list("vars"), layer.resources, k.place("vars"))
    return layer


def _choose_schema(building: Building, k: Kustomization) -> None:
    openapi = k.map("openapi")
    if not openapi:
        return
    place, document = k.place("openapi"), None
    if openapi.get("path"):
        file = file_of(building, k, openapi["path"], place)
        document = yaml.load(building.files.read(file), file)
    building.schemas.choose(str(openapi.get("version") or ""), document, place)


def _component(building: Building, k: Kustomization, layer: Layer, path: Any, place: Place, above: tuple[str, ...]) -> None:
    folder = folder_of(building, k, str(path), place)
    component = replace(spec.read(building.files, folder), inherited=k.namespace)
    if component.kind != "Component":
        raise ManifestError(place, f"expected kind 'Component' for path '{path}' but got {component.kind!r}",
                            "list it under `resources:`")
    if folder in above:
        raise ManifestError(place, f"cycle detected: {' -> '.join((*above, folder))}", "a component must not name itself")
    _accumulate(building, component, layer, (*above, folder))


# --- resources --------------------------------------------------------------------------------------------------------


def _resource(building: Building, k: Kustomization, layer: Layer, path: Any, place: Place, above: tuple[str, ...]) -> None:
    if not isinstance(path, str) or not path:
        raise ManifestError(place, "a resource is the path of a file or a folder", "name one")
    at = join(k.folder, path)
    remote = RemoteAddress.parse(path) if not building.files.is_file(at) else None
    if remote is not None or (building.files.is_dir(at) and not leaves(k.folder, at)):
        base = replace(spec.read(building.files, folder_of(building, k, path, place)), inherited=k.namespace)
        if base.kind == "Component":
            raise ManifestError(place, f"expected kind != 'Component' for path '{path}'", "list it under `components:`")
        layer.merge(_layer(building, base, above))
        return
    file = file_of(building, k, path, place)
    whence = building.whence(file)
    for value, where in objects_in(building.read(file), lenient=True):
        layer.resources.add(_taken_in(Resource(_with_text_entries(value), where, origin=whence.of_file(file))))


def _taken_in(item: Resource) -> Resource:
    take_internal(item)
    return item


def _with_text_entries(obj: Obj) -> Obj:
    """A copy whose labels and annotations are text, as upstream makes them on reading."""
    found: Obj = copied(obj)
    for key in ("labels", "annotations"):
        entries = found["metadata"].get(key)
        if isinstance(entries, dict):
            found["metadata"][key] = {k: v if v is None else transform.as_text(v) for k, v in entries.items()}
    return found


# --- generators -----------------------------------------------------------------------------------------------------


def _generators(building: Building, k: Kustomization, layer: Layer, above: tuple[str, ...]) -> None:
    common, whence = k.map("generatorOptions"), building.whence(k.folder)
    for name, kind in (("configMapGenerator", "ConfigMap"), ("secretGenerator", "Secret")):
        for index, args in enumerate(k.list(name)):
            place = k.place(name, index)
            options = _options(common, args.get("options") or {})
            new = generate(kind, args, options, building.files, partial(file_of, building, k, place=place), place)
            new.origin = whence.of_config(k.file, f"{kind}Generator")
            absorb(layer.resources, new)
    for name in ("helmCharts", "helmChartInflationGenerator"):
        for index, entry in enumerate(k.list(name)):
            place = k.place(name, index)
            locate = partial(file_of, building, k, place=place)
            one = charts.entry_of(entry, k.map("helmGlobals"), k.namespace, place)
            for obj in charts.inflate(one, k.folder, building.files, building.outside.charts, locate, place):
                item = Resource(_with_text_entries(obj), place, by_helm=True,
                                origin=whence.of_config(k.file, "HelmChartInflationGenerator"))
                layer.resources.add(_taken_in(item))
    for index, path in enumerate(k.list("generators")):
        for config, place, file in plugin_configs(building, k, path, k.place("generators", index), above):
            locate = partial(file_of, building, k, place=place)
            for new in generated_by(config, place, building.files, locate, k.folder, building.outside.charts):
                new.origin = whence.of_config(file, str(config.get("kind")), config.get("metadata"))
                absorb(layer.resources, _taken_in(new))


def _options(common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    found = {**common, **{key: value for key, value in own.items() if value is not None}}
    for key in ("labels", "annotations"):
        both = {**(common.get(key) or {}), **(own.get(key) or {})}
        if both:
            found[key] = both
    for key in ("disableNameSuffixHash", "immutable"):
        found[key] = bool(common.get(key) or own.get(key))
    return found


def absorb(found: Resources, new: Resource) -> None:
    """Put a generated object in: as a new one, or over the one of that name."""
    same = found.by_any_id(new.id)
    if new.behavior not in ("merge", "replace"):
        if same:
            raise ManifestError(new.place, f"id {new.id} exists; can not use behavior: {new.behavior!r}, behavior must be "
                                           "merge or replace", "say `behavior: merge` or `replace`, or give it another name")
        found.add(new)
        return
    if not same:
        raise ManifestError(new.place, f"id {new.id} does not exist; cannot merge or replace",
                            "use behavior create, or correct the name")
    if len(same) > 1:
        raise ManifestError(new.place, f"found multiple objects {new.id} that could accept merge of it",
                            "name the namespace too")
    base = same[0]
    base.obj = merged(new.behavior, base, new)
    base.needs_hash = base.needs_hash and new.needs_hash
    if new.behavior == "replace":
        base.origin = new.origin


def plugin_configs(building: Building, k: Kustomization, path: Any, place: Place,
                   above: tuple[str, ...]) -> list[tuple[Obj, Place, str]]:
    """The configurations that `generators:` and the like name, with their file: inline YAML, a file, or a folder."""
    text = str(path)
    if "\n" in text:
        return [(v, place, k.file) for v, _ in yaml.load_all(text, k.file, words=False) if isinstance(v, dict)]
    if building.files.is_dir(join(k.folder, text)) or RemoteAddress.parse(text):
        below = _layer(building, spec.read(building.files, folder_of(building, k, text, place)), above)
        return [(item.obj, item.place, item.place.file) for item in below.resources]
    file = file_of(building, k, path, place)
    return [(copied(v), at, file) for v, at in objects_in(building.read(file))]


# --- transformers ---------------------------------------------------------------------------------------------------


def _run(building: Building, k: Kustomization, layer: Layer, above: tuple[str, ...]) -> None:
    whence = building.whence(k.folder)
    steps: list[Step] = [*steps_of(building, k, layer)]
    for index, path in enumerate(k.list("transformers")):
        for config, place, file in plugin_configs(building, k, path, k.place("transformers", index), above):
            steps.append(configured(building, k, layer, config, place, file))
    for step in steps:
        step.run()
        if "transformerAnnotations" in building.wanted:
            for item in layer.resources:
                item.transformations.append(whence.of_config(step.file, step.kind, step.meta))
    for index, path in enumerate(k.list("validators")):
        for config, place, file in plugin_configs(building, k, path, k.place("validators", index), above):
            _validate(layer, configured(building, k, layer, config, place, file).run, place)


def _validate(layer: Layer, run: Callable[[], None], place: Place) -> None:
    before = [copied(item.obj) for item in layer.resources]
    run()
    if before != [item.obj for item in layer.resources]:
        raise ManifestError(place, "validator shouldn't modify the resource map", "list it under `transformers:`")
