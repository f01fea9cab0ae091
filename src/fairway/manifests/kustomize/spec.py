"""A kustomization file, decoded strictly: an unknown or misspelt field is an error with its line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from yaml.nodes import MappingNode, Node

from fairway.manifests import yaml
from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.files import FileTree, join

KUSTOMIZATION_FILES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_LISTS = (
    "resources", "components", "crds", "bases", "configurations", "generators", "transformers", "validators",
    "configMapGenerator", "secretGenerator", "patches", "patchesStrategicMerge", "patchesJson6902", "images",
    "imageTags", "replicas", "replacements", "vars", "labels", "helmCharts", "helmChartInflationGenerator",
    "buildMetadata",
)  # fmt: skip
_MAPS = ("commonLabels", "commonAnnotations", "generatorOptions", "helmGlobals", "openapi", "sortOptions", "metadata")
_TEXTS = ("namespace", "namePrefix", "nameSuffix", "apiVersion", "kind")
FIELDS = frozenset((*_LISTS, *_MAPS, *_TEXTS))
_CANONICAL = {field.lower(): field for field in FIELDS}
"""Field names are matched whatever their case, as upstream's decoder does."""
_NESTED: Mapping[str, frozenset[str]] = {
    "vars": frozenset(("name", "objref", "fieldref")),
    "images": frozenset(("name", "newName", "newTag", "digest", "tagSuffix")),
    "replicas": frozenset(("name", "count")),
    "patches": frozenset(("path", "patch", "target", "options")),
    "patchesJson6902": frozenset(("path", "patch", "target", "options")),
    "labels": frozenset(("pairs", "includeSelectors", "includeTemplates", "includeVolumeClaimTemplates", "fields")),
    "configMapGenerator": frozenset(("name", "namespace", "behavior", "literals", "files", "envs", "env", "options",
                                     "kind", "apiVersion", "metadata")),
    "secretGenerator": frozenset(("name", "namespace", "behavior", "literals", "files", "envs", "env", "options", "type",
                                  "kind", "apiVersion", "metadata")),
}
_API_VERSIONS = {
    "Kustomization": ("kustomize.config.k8s.io/v1beta1", "kustomize.config.k8s.io/v1"),
    "Component": ("kustomize.config.k8s.io/v1alpha1",),
}


@dataclass(frozen=True, slots=True)
class Kustomization:
    """`fields` holds what the file says; `place(field, index)` where it says so.

    `inherited` is the namespace of the layers above, which a chart here is released into where nobody says otherwise.
    """

    folder: str
    file: str
    fields: Mapping[str, Any]
    node: Node | None
    inherited: str = ""

    @property
    def namespace(self) -> str:
        return self.text("namespace") or self.inherited

    @property
    def kind(self) -> str:
        return str(self.fields.get("kind") or "Kustomization")

    def list(self, field: str) -> list[Any]:
        return self.fields.get(field) or []

    def map(self, field: str) -> Mapping[str, Any]:
        return self.fields.get(field) or {}

    def text(self, field: str) -> str:
        return str(self.fields.get(field) or "")

    def place(self, field: str = "", index: int | None = None) -> Place:
        path: tuple[str | int, ...] = tuple(p for p in (field, index) if p not in ("", None))
        at = yaml.find(self.node, *path) or yaml.find(self.node, *path[:1])
        return yaml.place_of(at, self.file) if at is not None else Place(self.file)


def find_file(files: FileTree, folder: str) -> str | None:
    """The kustomization file of a folder, if it has one; more than one is an error."""
    found = [name for name in KUSTOMIZATION_FILES if files.is_file(join(folder, name))]
    if len(found) > 1:
        raise ManifestError(Place(folder or "."), f"Found multiple kustomization files under: /{folder}",
                            f"keep one of {', '.join(found)}")
    return join(folder, found[0]) if found else None


def read(files: FileTree, folder: str) -> Kustomization:
    file = find_file(files, folder)
    if file is None:
        if not files.is_dir(folder):
            raise ManifestError(Place(folder or "."), f"must build at directory: not a valid directory: '{folder}' doesn't "
                                "exist", "correct the path")
        raise ManifestError(Place(folder or "."), "unable to find one of 'kustomization.yaml', 'kustomization.yml' or "
                            f"'Kustomization' in directory '/{folder}'", "add one, or correct the path")
    documents = yaml.nodes(files.read(file), file)
    if len(documents) > 1:
        raise ManifestError(yaml.place_of(documents[1], file), "a second document", "a kustomization has one")
    node = documents[0] if documents else None
    value = yaml.value_of(node, file, last_wins=True) if node is not None else None  # as upstream's decoder has it
    if value is not None and not isinstance(value, dict):
        raise ManifestError(Place(file, 1), "a kustomization is a mapping")
    given: dict[str, Any] = value or {}
    fields = {_CANONICAL.get(name.lower(), name): inner for name, inner in given.items()}
    if not any(inner for name, inner in fields.items() if name not in ("apiVersion", "kind")):
        raise ManifestError(Place(file), "kustomization.yaml is empty", "list what belongs to it under `resources:`")
    for name, known in _NESTED.items():
        if isinstance(fields.get(name), list):
            fields[name] = [in_known_case(entry, known) for entry in fields[name]]
    found = Kustomization(folder, file, fields, node)
    _check(found)
    return found


def in_known_case(entry: Any, known: Iterable[str]) -> Any:
    """An entry whose keys are spelt as `known` has them: `Digest` and `digest` are the same field."""
    if not isinstance(entry, dict):
        return entry
    names = {name.lower(): name for name in known}
    return {names.get(key.lower(), key): value for key, value in entry.items()}


def _check(kustomization: Kustomization) -> None:
    assert isinstance(kustomization.node, MappingNode)
    lines = {_CANONICAL.get(key.value.lower(), key.value): yaml.place_of(key, kustomization.file)
             for key, _ in kustomization.node.value}
    for field, value in kustomization.fields.items():
        place = lines.get(field, Place(kustomization.file))
        if field not in FIELDS:
            raise ManifestError(place, f"invalid Kustomization: unknown field {field!r}", _did_you_mean(field, FIELDS))
        if value is None:
            continue
        want = list if field in _LISTS else dict if field in _MAPS else str
        if not isinstance(value, want) and not (field == "replacements" and isinstance(value, list)):
            kinds = {list: "a list", dict: "a mapping", str: "text"}
            raise ManifestError(place, f"invalid Kustomization: `{field}` is {kinds[want]}, not {type(value).__name__}",
                                "quote it" if want is str and not isinstance(value, (dict, list)) else "")
        for index, entry in enumerate(value if field in _NESTED and isinstance(value, list) else ()):
            _check_entry(kustomization, field, index, entry)
    known = _API_VERSIONS.get(kustomization.kind)
    if known is None:
        raise ManifestError(lines.get("kind", Place(kustomization.file)), f"kind {kustomization.kind!r}",
                            "Kustomization or Component")
    version = kustomization.text("apiVersion")
    if version and version not in known:
        raise ManifestError(lines["apiVersion"], f"apiVersion for {kustomization.kind} should be {known[0]}")


def _check_entry(kustomization: Kustomization, field: str, index: int, entry: Any) -> None:
    place = kustomization.place(field, index)
    if not isinstance(entry, dict):
        raise ManifestError(place, f"invalid Kustomization: an entry of `{field}` is a mapping")
    for key in entry:
        if key not in _NESTED[field]:
            raise ManifestError(place, f"invalid Kustomization: unknown field {key!r} in `{field}`",
                                _did_you_mean(key, _NESTED[field]))


def _did_you_mean(word: str, words: frozenset[str]) -> str:
    import difflib

    close = difflib.get_close_matches(word, sorted(words), n=1)
    return f"did you mean {close[0]!r}?" if close else f"known fields: {', '.join(sorted(words))}"
