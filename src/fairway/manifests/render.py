"""From a folder to objects: a chart where there is one, a kustomization where there is one, else its YAML, JSON and Jsonnet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fairway.kube.objects import Obj
from fairway.manifests import yaml
from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.files import FileTree, files_below, join, manifest_files, normal
from fairway.manifests.globs import matches
from fairway.manifests.kustomize.build import build
from fairway.manifests.kustomize.building import objects_in
from fairway.manifests.kustomize.spec import find_file
from fairway.manifests.rendering import Directory, Rendering
from fairway.manifests.values import copied, without_collector

if TYPE_CHECKING:
    from fairway.manifests.helm.engine import HelmEngine

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
        charts = how.kustomize.charts or ChartsOfThisMachine(how.engine)
        return build(tree, folder, load_restrictions=how.load_restrictions, outside=replace(how.kustomize, charts=charts),
                     notice=how.notice)
    return _plain(tree, folder, how.directory)


def _chart(tree: FileTree, folder: str, how: Rendering) -> list[Obj]:
    from fairway.manifests.helm.chart_files import read_chart  # only where there is a chart: a start takes a tenth longer
    from fairway.manifests.helm.options import HelmOptions
    from fairway.manifests.helm.render import render_chart

    if not tree.is_file(join(folder, "Chart.yaml")):
        raise ManifestError(Place(join(folder, "Chart.yaml")), "no such file, and the source has helm options",
                            "correct `path`, or remove `helm:`")
    options = how.helm or HelmOptions(release=str(read_chart(tree, folder)["name"]))
    return render_chart(tree, folder, options, how.engine)


class ChartsOfThisMachine:
    """The kustomize port for `helmCharts:`, by the engine that is given or found here."""

    def __init__(self, engine: HelmEngine | None = None) -> None:
        self._engine = engine

    def objects(self, files: FileTree, chart_folder: str, entry: Mapping[str, Any], values: Mapping[str, Any]) -> list[Obj]:
        from fairway.manifests.helm.render import objects_of_entry

        return objects_of_entry(files, chart_folder, entry, values, self._engine)


def _plain(tree: FileTree, path: str, directory: Directory) -> list[Obj]:
    """Objects of the files of a folder, in the order of the files' names."""
    found: list[Obj] = []
    with without_collector():
        for file in _files(tree, path, directory):
            if file.endswith(".jsonnet"):
                from fairway.manifests import jsonnet

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
