"""From a folder to objects: a chart where there is one, a kustomization where there is one, else its YAML, JSON and Jsonnet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fairway.kube.objects import Obj
from fairway.manifests import jsonnet, yaml
from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.files import FileTree, join, normal
from fairway.manifests.globs import matches
from fairway.manifests.helm import HelmCharts, HelmOptions, engine_on_this_machine, render_chart
from fairway.manifests.helm.chart_files import files_below, read_chart
from fairway.manifests.kustomize.build import build
from fairway.manifests.kustomize.building import objects_in
from fairway.manifests.kustomize.spec import find_file
from fairway.manifests.rendering import Directory, Rendering
from fairway.manifests.values import copied, without_collector
from fairway.manifests.write_back import manifest_files

_AS_IT_LIES = Rendering()


def render(tree: FileTree, path: str = "", how: Rendering = _AS_IT_LIES) -> list[Obj]:
    """The objects that the folder (or file) `path` describes. `ManifestError` names file, line, mistake and mend.

    Charts and Jsonnet are rendered in processes of their own and block until those are done: call it in a thread.
    """
    folder = normal(path)
    if folder.startswith("..") or not (tree.is_file(folder) or tree.is_dir(folder)):
        raise ManifestError(Place(path or "."), f"app path does not exist: {path}", "correct `path`, or push the folder")
    if tree.is_file(folder):
        return _plain(tree, folder, how.directory)
    if how.helm is not None or tree.is_file(join(folder, "Chart.yaml")):
        return _chart(tree, folder, how)
    if find_file(tree, folder) is not None:
        engine = how.engine
        charts = how.kustomize.charts or HelmCharts(engine_on_this_machine if engine is None else lambda: engine)
        return build(tree, folder, load_restrictions=how.load_restrictions, outside=replace(how.kustomize, charts=charts))
    return _plain(tree, folder, how.directory)


def _chart(tree: FileTree, folder: str, how: Rendering) -> list[Obj]:
    if not tree.is_file(join(folder, "Chart.yaml")):
        raise ManifestError(Place(join(folder, "Chart.yaml")), "no such file, and the source has helm options",
                            "correct `path`, or remove `helm:`")
    options = how.helm or HelmOptions(release=str(read_chart(tree, folder)["name"]))
    return render_chart(tree, folder, options, how.engine)


def _plain(tree: FileTree, path: str, directory: Directory) -> list[Obj]:
    """Objects of the files of a folder, in the order of the files' names."""
    found: list[Obj] = []
    with without_collector():
        for file in _files(tree, path, directory):
            if file.endswith(".jsonnet"):
                value = jsonnet.evaluate(tree, file, directory.jsonnet)
                documents = [(one, Place(file)) for one in (value if isinstance(value, list) else [value])]
            else:
                documents = list(yaml.load_all(tree.read(file), file))
            found += [copied(obj) for obj, _ in objects_in(documents)]
    return found


def _files(tree: FileTree, path: str, directory: Directory) -> Iterator[str]:
    if tree.is_file(path):
        yield path
        return
    every = files_below(tree, path) if directory.recurse else manifest_files(tree, path)
    for file in every:
        inner = file[len(path) :].lstrip("/") if path else file
        if not file.endswith((".yaml", ".yml", ".json", ".jsonnet")):
            continue
        if (directory.include and not matches(directory.include, inner)) or (
                directory.exclude and matches(directory.exclude, inner)):
            continue
        yield file
