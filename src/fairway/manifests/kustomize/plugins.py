"""Built-in transformers and generators that stand as objects under `transformers:` and `generators:`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fairway.kube.objects import Obj
from fairway.manifests import yaml
from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.files import FileTree
from fairway.manifests.kustomize import field_tables as tables
from fairway.manifests.kustomize import transform
from fairway.manifests.kustomize.configuration import Configuration
from fairway.manifests.kustomize.field_paths import FieldSpec
from fairway.manifests.kustomize.generate import generate
from fairway.manifests.kustomize.patch import apply_patch
from fairway.manifests.kustomize.replacements import replace
from fairway.manifests.kustomize.resource import Resource, Resources

Documents = Callable[[str], list[tuple[Any, Place]]]


def generated_by(config: Obj, place: Place, files: FileTree, locate: Callable[[Any], str]) -> list[Resource]:
    kind = str(config.get("kind"))
    if kind not in ("ConfigMapGenerator", "SecretGenerator"):
        raise ManifestError(place, f"generator plugin {kind!r} is not built in", "use configMapGenerator, secretGenerator")
    args = {**config, "name": (config.get("metadata") or {}).get("name")}
    namespace = (config.get("metadata") or {}).get("namespace")
    if namespace:
        args["namespace"] = namespace
    return [generate(kind.removesuffix("Generator"), args, config.get("options") or {}, files, locate, place)]


def transform_by(resources: Resources, config: Obj, place: Place, configuration: Configuration,
                 documents: Documents) -> None:
    """Run one configured transformer over the objects of the layer."""
    specs = tuple(FieldSpec.of(one) for one in config.get("fieldSpecs") or ())
    match config.get("kind"):
        case "PrefixTransformer" | "PrefixSuffixTransformer" | "SuffixTransformer":
            transform.add_prefix_and_suffix(resources, str(config.get("prefix") or ""), str(config.get("suffix") or ""),
                                            specs or tables.NAMES)
            resources.renamed()
        case "NamespaceTransformer":
            namespace = (config.get("metadata") or {}).get("namespace")
            if namespace:
                transform.set_namespace(resources, str(namespace), specs or tables.NAMESPACE)
        case "LabelTransformer":
            transform.set_entries(resources, config.get("labels") or {}, specs)
        case "AnnotationsTransformer":
            transform.set_entries(resources, config.get("annotations") or {}, specs)
        case "ImageTagTransformer":
            transform.set_images(resources, [config.get("imageTag") or {}], specs)
        case "ReplicaCountTransformer":
            replica: Mapping[str, Any] = config.get("replica") or {}
            transform.set_replicas(resources, str(replica.get("name")), int(replica.get("count") or 0),
                                   specs or tables.REPLICAS, place)
        case "PatchTransformer" | "PatchJson6902Transformer" | "PatchStrategicMergeTransformer" as kind:
            _patch(resources, config, str(kind), place, documents)
        case "ReplacementTransformer":
            for entry in config.get("replacements") or ():
                entries = documents(str(entry["path"])) if "path" in entry else [(entry, place)]
                for value, at in entries:
                    for one in value if isinstance(value, list) else [value]:
                        replace(resources, one, at)
        case kind:
            raise ManifestError(place, f"transformer plugin {kind!r} is not built in",
                                "only Kustomize's own transformers run here; programs and containers do not")


def _patch(resources: Resources, config: Obj, kind: str, place: Place, documents: Documents) -> None:
    target = config.get("target") or None
    options = config.get("options") or {}
    found: list[tuple[Any, Place]] = []
    paths: Sequence[Any] = config.get("paths") or ([config["path"]] if config.get("path") else ())
    for path in paths:
        if "\n" in str(path):
            found += [(value, place) for value, _ in yaml.load_all(str(path), place.file)]
        else:
            found += documents(str(path))
    inline = config.get("jsonOp") or config.get("patch") or config.get("patches")
    if inline:
        found += [(value, place) for value, _ in yaml.load_all(str(inline), place.file)]
    apply_patch(resources, found, target, options)
