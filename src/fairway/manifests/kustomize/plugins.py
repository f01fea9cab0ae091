"""Built-in transformers and generators that stand as objects under `transformers:`, `validators:` and `generators:`.

An object says all: no field specs are added to those that it names. Programs and containers are not run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fairway.kube.objects import Obj
from fairway.manifests import yaml
from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.files import FileTree
from fairway.manifests.kustomize import charts, order, transform
from fairway.manifests.kustomize.field_paths import FieldSpec, update
from fairway.manifests.kustomize.generate import content_hash, generate
from fairway.manifests.kustomize.patch import apply_patch, select
from fairway.manifests.kustomize.ports import Charts
from fairway.manifests.kustomize.replacements import replace
from fairway.manifests.kustomize.resource import Resource, Resources
from fairway.manifests.kustomize.schemas import Schemas
from fairway.manifests.kustomize.spec import in_known_case

Documents = Callable[[str], list[tuple[Any, Place]]]
_FIELDS = ("path", "paths", "patch", "patches", "jsonOp", "target", "options", "fieldSpecs", "labels", "annotations",
           "imageTag", "replica", "replacements", "targets", "targetFilePath", "value", "prefix", "suffix", "unsetOnly",
           "setRoleBindingSubjects", "sortOptions")
_IMAGE = ("name", "newName", "newTag", "digest", "tagSuffix")


def generated_by(config: Obj, place: Place, files: FileTree, locate: Callable[[Any], str], folder: str,
                 port: Charts | None) -> list[Resource]:
    """What a generator of `generators:` makes."""
    kind, meta = str(config.get("kind")), config.get("metadata") or {}
    match kind:
        case "ConfigMapGenerator" | "SecretGenerator":
            args = {**config, "name": config.get("name") or meta.get("name")}
            if not args.get("namespace") and meta.get("namespace"):
                args["namespace"] = meta["namespace"]
            return [generate(kind.removesuffix("Generator"), args, config.get("options") or {}, files, locate, place)]
        case "IAMPolicyGenerator":
            return [_service_account(config, place)]
        case "HelmChartInflationGenerator":
            own = ("apiVersion", "kind", "metadata", "helmGlobals")
            known = {key: value for key, value in config.items() if key not in own}
            entry = charts.entry_of(known, config.get("helmGlobals") or {}, "", place)
            return [Resource(obj, place, by_helm=True)
                    for obj in charts.inflate(entry, folder, files, port, locate, place)]
    raise ManifestError(place, f"generator plugin {kind!r} is not built in",
                        "only Kustomize's own generators run here; programs and containers do not")


def _service_account(config: Obj, place: Place) -> Resource:
    """The account that a workload uses to act as one of Google's."""
    if config.get("cloud") != "gke":
        raise ManifestError(place, f"cloud provider {config.get('cloud')!r} not supported; supported: gke", "use gke")
    here, there = config.get("kubernetesService") or {}, config.get("serviceAccount") or {}
    account = f"{there.get('name')}@{there.get('projectId')}.iam.gserviceaccount.com"
    meta: Obj = {"name": here.get("name"), "annotations": {"iam.gke.io/gcp-service-account": account}}
    if here.get("namespace"):
        meta["namespace"] = here["namespace"]
    return Resource({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}, place)


def transform_by(resources: Resources, config: Obj, place: Place, documents: Documents, schemas: Schemas) -> None:
    """Run one configured transformer over the objects of the layer."""
    config = in_known_case(config, _FIELDS)
    specs = tuple(FieldSpec.of(one) for one in config.get("fieldSpecs") or ())
    match config.get("kind"):
        case "PrefixTransformer" | "PrefixSuffixTransformer" | "SuffixTransformer":
            prefix, suffix = str(config.get("prefix") or ""), str(config.get("suffix") or "")
            transform.add_prefix_and_suffix(resources, prefix, suffix, specs)
        case "NamespaceTransformer":
            _namespace(resources, config, specs, place)
        case "LabelTransformer":
            transform.set_entries(resources, config.get("labels") or {}, specs)
        case "AnnotationsTransformer":
            transform.set_entries(resources, config.get("annotations") or {}, specs)
        case "ImageTagTransformer":
            transform.set_images(resources, [in_known_case(config.get("imageTag") or {}, _IMAGE)], specs)
        case "ReplicaCountTransformer":
            replica: Mapping[str, Any] = config.get("replica") or {}
            transform.set_replicas(resources, str(replica.get("name")), int(replica.get("count") or 0), specs, place)
        case "PatchTransformer" | "PatchJson6902Transformer" | "PatchStrategicMergeTransformer" as kind:
            apply_patch(resources, _patches(config, str(kind), place, documents), config.get("target") or None,
                        config.get("options") or {}, schemas)
        case "ReplacementTransformer":
            for entry in config.get("replacements") or ():
                for value, at in documents(str(entry["path"])) if "path" in entry else [(entry, place)]:
                    for one in value if isinstance(value, list) else [value]:
                        replace(resources, one, at)
        case "ValueAddTransformer":
            _add_value(resources, config, place, documents)
        case "HashTransformer":
            _hash_names(resources)
        case "LegacyOrderTransformer":
            _sort(resources, {})
        case "SortOrderTransformer":
            options = order.checked(config.get("sortOptions") or {}, place)
            if options.get("order") == "legacy":
                _sort(resources, options.get("legacySortOptions") or {})
        case kind:
            raise ManifestError(place, f"transformer plugin {kind!r} is not built in",
                                "only Kustomize's own transformers run here; programs and containers do not")


def _namespace(resources: Resources, config: Obj, specs: tuple[FieldSpec, ...], place: Place) -> None:
    namespace = (config.get("metadata") or {}).get("namespace") or config.get("namespace")
    subjects = str(config.get("setRoleBindingSubjects") or "defaultOnly")
    if subjects not in transform.SUBJECT_MODES:
        raise ManifestError(place, f"invalid value {subjects!r} for setRoleBindingSubjects",
                            f"one of {', '.join(transform.SUBJECT_MODES)}")
    if namespace:
        transform.set_namespace(resources, str(namespace), specs, subjects=subjects, unset_only=bool(config.get("unsetOnly")))


_PATCH_FIELDS = {
    "PatchTransformer": ("path", "patch", "must specify one of patch and path", "patch and path can't be set at the same time"),
    "PatchJson6902Transformer": ("path", "jsonOp", "empty file path and empty jsonOp",
                                 "must specify a file path or jsonOp, not both"),
    "PatchStrategicMergeTransformer": ("paths", "patches", "empty file path and empty patch content", ""),
}


def _patches(config: Obj, kind: str, place: Place, documents: Documents) -> list[tuple[Any, Place]]:
    by_path, inline, neither, both = _PATCH_FIELDS[kind]
    failed = f"plugin {kind}.builtin.[noGrp]/{(config.get('metadata') or {}).get('name')}.[noNs] fails configuration"
    if not config.get(by_path) and not str(config.get(inline) or "").strip():
        raise ManifestError(place, f"{failed}: {neither}", "add one of the two")
    if both and config.get(by_path) and config.get(inline):
        raise ManifestError(place, f"{failed}: {both}", "remove one of the two")
    if kind == "PatchJson6902Transformer" and not (config.get("target") or {}).get("name"):
        raise ManifestError(place, f"{failed}: must specify the target name", "add `target: {name: …}`")
    found: list[tuple[Any, Place]] = []
    said = config.get(by_path) or []
    for path in said if isinstance(said, list) else [said]:
        if "\n" in str(path):
            found += [(value, place) for value, _ in yaml.load_all(str(path), place.file, words=False)]
        else:
            found += documents(str(path))
    if config.get(inline):
        found += [(value, place) for value, _ in yaml.load_all(str(config[inline]), place.file, words=False)]
    return found


def _add_value(resources: Resources, config: Obj, place: Place, documents: Documents) -> None:
    """Put a value into fields, or between the slashes of what they hold."""
    value = str(config.get("value") or "")
    targets: list[Any] = list(config.get("targets") or ())
    if config.get("targetFilePath"):
        for document, _ in documents(str(config["targetFilePath"])):
            targets += document.get("targets") or ()
    if not value:
        raise ManifestError(place, "ValueAddTransformer: value must be specified", "add `value:`")
    if not targets:
        raise ManifestError(place, "ValueAddTransformer: must specify at least one target", "add `targets:`")
    for target in targets:
        position = int(target.get("filePathPosition") or 0)
        if not target.get("fieldPath"):
            raise ManifestError(place, "ValueAddTransformer: a target must specify fieldPath", "add it")

        def put(old: Any, at: int = position) -> Any:
            if at <= 0:
                return value
            parts = [part for part in str(old or "").strip("/").split("/") if part]
            leading = "/" if str(old or "").startswith("/") else ""
            return leading + "/".join([*parts[: at - 1], value, *parts[at - 1 :]])

        for item in select(resources, target.get("selector") or {}, place):
            item.remember()
            update(item.obj, str(target["fieldPath"]), put, create=True)
    resources.renamed()


def _hash_names(resources: Iterable[Resource]) -> None:
    for item in resources:
        if item.needs_hash:
            item.remember()
            item.meta()["name"] = f"{item.name}-{content_hash(item.obj)}"
            item.needs_hash = False


def _sort(resources: Resources, options: Mapping[str, Any]) -> None:
    place = {id(item.obj): item for item in resources.items}
    resources.items = [place[id(obj)] for obj in order.in_order([i.obj for i in resources.items], "legacy", options)]
