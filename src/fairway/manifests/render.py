"""From a folder to objects: a kustomization where there is one, else the YAML files that lie in it."""

from __future__ import annotations

import copy

from fairway.kube.objects import Obj
from fairway.manifests import yaml
from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.files import FileTree, normal
from fairway.manifests.kustomize.build import build, objects_in
from fairway.manifests.kustomize.spec import find_file
from fairway.manifests.write_back import manifest_files


def render(tree: FileTree, path: str = "") -> list[Obj]:
    """The objects that the folder (or file) `path` describes. `ManifestError` names file, line, mistake and mend."""
    folder = normal(path)
    if tree.is_file(folder):
        return _plain(tree, folder)
    if not tree.is_dir(folder) or folder.startswith(".."):
        raise ManifestError(Place(path or "."), f"app path does not exist: {path}", "correct `path`, or push the folder")
    if find_file(tree, folder) is not None:
        return build(tree, folder)
    return _plain(tree, folder)


def _plain(tree: FileTree, path: str) -> list[Obj]:
    """Objects of the YAML and JSON files of one folder, in the order of the files' names."""
    found: list[Obj] = []
    for file in manifest_files(tree, path):
        documents = list(yaml.load_all(tree.read(file), file))
        found += [copy.deepcopy(obj) for obj, _ in objects_in(documents)]
    return found
