"""From one source of an Application to objects: what `kustomize`, `directory` and `helm` in the source ask of the renderer.

The Application's own kustomize options become a kustomization above the one in git, so that they mean what they mean there.
What the tree is asked for is recorded: a commit that touches none of it renders to the same objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fairway.gitops.globs import matches
from fairway.gitops.spec import Source
from fairway.kube.objects import Obj
from fairway.manifests import FileTree, ManifestError, Place, render, yaml

_OVERLAY = ".fairway-application"
_MANIFESTS = (".yaml", ".yml", ".json")
_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")


@dataclass(frozen=True, slots=True)
class Ask:
    """What is to be rendered. `refs` are the trees of the other sources, by the name that `$name/…` uses."""

    source: Source
    tree: FileTree
    app: str
    namespace: str
    refs: Mapping[str, FileTree] = field(default_factory=dict)


Renderer = Callable[[Ask], list[Obj]]


class RecordingTree:
    """A tree that remembers what it was asked for."""

    def __init__(self, base: FileTree) -> None:
        self._base = base
        self.paths: set[str] = set()
        self.folders: set[str] = set()

    def read(self, path: str) -> bytes:
        self.paths.add(path)
        return self._base.read(path)

    def is_file(self, path: str) -> bool:
        self.paths.add(path)
        return self._base.is_file(path)

    def is_dir(self, path: str) -> bool:
        self.folders.add(path)
        return self._base.is_dir(path)

    def names(self, folder: str = "") -> Sequence[str]:
        self.folders.add(folder)
        return self._base.names(folder)

    def concerned(self, changed: Iterable[str]) -> bool:
        """Whether one of these files was asked for, or lies in a folder that was listed."""
        return any(path in self.paths or path.rpartition("/")[0] in self.folders for path in changed)


class _WithFolder:
    """A tree with one more folder, which is nowhere written."""

    def __init__(self, base: FileTree, folder: str, files: Mapping[str, bytes]) -> None:
        self._base = base
        self._folder = folder
        self._files = {f"{folder}/{name}": data for name, data in files.items()}

    def read(self, path: str) -> bytes:
        return self._files[path] if path in self._files else self._base.read(path)

    def is_file(self, path: str) -> bool:
        return path in self._files or self._base.is_file(path)

    def is_dir(self, path: str) -> bool:
        return path == self._folder or self._base.is_dir(path)

    def names(self, folder: str = "") -> Sequence[str]:
        if folder == self._folder:
            return sorted(path.rpartition("/")[2] for path in self._files)
        return self._base.names(folder)


def render_source(ask: Ask) -> list[Obj]:
    """`ManifestError` where the source asks for what the tree cannot give."""
    said, tree, path = ask.source.said, ask.tree, ask.source.path
    if ask.source.chart or _given(said.get("helm")) or tree.is_file(f"{path}/Chart.yaml" if path else "Chart.yaml"):
        raise ManifestError(Place(path or "."), "Helm charts are not rendered here", "commit what `helm template` prints")
    kustomize, directory = said.get("kustomize") or {}, said.get("directory") or {}
    if _given(kustomize) and any(tree.is_file(f"{path}/{name}" if path else name) for name in _KUSTOMIZATIONS):
        overlay = yaml.dump(_kustomization(kustomize, path, ask.namespace)).encode()
        return render(_WithFolder(tree, _OVERLAY, {"kustomization.yaml": overlay}), _OVERLAY)
    if directory.get("recurse") or directory.get("include") or directory.get("exclude"):
        return _directory(tree, path, directory)
    return render(tree, path)


def _given(options: Any) -> bool:
    return bool(options) and any(value not in (None, "", [], {}, False) for value in options.values())


# --- kustomize ------------------------------------------------------------------------------------------------------------


def _kustomization(options: Mapping[str, Any], path: str, namespace: str) -> Obj:
    found: Obj = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": [f"../{path}"]}
    for key in ("namePrefix", "nameSuffix", "namespace", "commonAnnotations", "patches", "components"):
        if options.get(key):
            found[key] = options[key]
    if options.get("components"):
        found["components"] = [f"../{path}/{component}" for component in options["components"]]
    labels = options.get("commonLabels")
    if labels and options.get("labelWithoutSelector"):
        found["labels"] = [{"pairs": labels, "includeSelectors": False,
                            "includeTemplates": bool(options.get("labelIncludeTemplates"))}]
    elif labels:
        found["commonLabels"] = labels
    if options.get("replicas"):
        found["replicas"] = [{"name": entry["name"], "count": int(entry["count"])} for entry in options["replicas"]]
    if options.get("images"):
        found["images"] = [image_override(str(text)) for text in options["images"]]
    return found


def image_override(text: str) -> Obj:
    """`name=new:tag`, `name:tag`, `name@digest` as an entry of `images`."""
    name, equals, new = text.partition("=")
    if not equals:
        new = name
        name = _without_version(name)
    found: Obj = {"name": name}
    rest, at, digest = new.partition("@")
    if at:
        found["digest"] = digest
    repository = _without_version(rest)
    if repository != name:
        found["newName"] = repository
    if rest != repository:
        found["newTag"] = rest[len(repository) + 1:]
    return found


def _without_version(reference: str) -> str:
    rest = reference.partition("@")[0]
    return rest[: rest.rfind(":")] if rest.rfind(":") > rest.rfind("/") else rest


# --- directory ------------------------------------------------------------------------------------------------------------


def _directory(tree: FileTree, path: str, options: Mapping[str, Any]) -> list[Obj]:
    include, exclude = str(options.get("include") or ""), str(options.get("exclude") or "")
    found: list[Obj] = []
    if not tree.is_dir(path):
        raise ManifestError(Place(path or "."), f"app path does not exist: {path}", "correct `path`, or push the folder")
    for file in _files(tree, path, recurse=bool(options.get("recurse"))):
        inner = file[len(path):].lstrip("/")
        if (include and not matches(include, inner)) or (exclude and matches(exclude, inner)):
            continue
        found += render(tree, file)
    return found


def _files(tree: FileTree, folder: str, *, recurse: bool) -> list[str]:
    found: list[str] = []
    for name in tree.names(folder):
        path = f"{folder}/{name}" if folder else name
        if tree.is_dir(path):
            found += _files(tree, path, recurse=True) if recurse else []
        elif name.endswith(_MANIFESTS) and not name.startswith("."):
            found.append(path)
    return found
