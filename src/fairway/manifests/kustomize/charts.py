"""`helmCharts:` entries: which chart, with which values. Rendering is done by whoever fills the port `Charts`."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from typing import Any

from fairway.kube.objects import Obj
from fairway.manifests import yaml
from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.files import FileTree, join
from fairway.manifests.kustomize.ports import Charts
from fairway.manifests.kustomize.spec import in_known_case

_FIELDS = frozenset((
    "name", "repo", "version", "releaseName", "namespace", "valuesFile", "additionalValuesFiles", "valuesInline", "valuesMerge",
    "includeCRDs", "skipHooks", "skipTests", "apiVersions", "kubeVersion", "nameTemplate", "debug", "devel", "chartHome",
    "configHome",
))  # fmt: skip
_OLD_NAMES = {"chartName": "name", "chartRepoUrl": "repo", "chartVersion": "version", "values": "valuesFile",
              "chartRepoName": "", "chartDir": "chartHome", "helmHome": "configHome", "helmBin": "",
              "releaseNamespace": "namespace", "extraArgs": ""}
_MERGES = ("override", "merge", "replace")


def entry_of(entry: Any, globals_: Mapping[str, Any], namespace: str, place: Place) -> dict[str, Any]:
    """An entry in today's words, the old names of its fields translated, with the globals and the namespace filled in."""
    if not isinstance(entry, dict):
        raise ManifestError(place, "helmCharts: an entry is a mapping", "name the chart with `name:`")
    found = {_OLD_NAMES.get(key, key): value for key, value in in_known_case(entry, (*_FIELDS, *_OLD_NAMES)).items()}
    found.pop("", None)
    if unknown := set(found) - _FIELDS:
        raise ManifestError(place, f"invalid Kustomization: unknown field {sorted(unknown)[0]!r} in `helmCharts`",
                            f"known fields: {', '.join(sorted(_FIELDS))}")
    if not found.get("name"):
        raise ManifestError(place, "chart name cannot be empty", "add `name:`")
    if found.get("valuesMerge") not in (None, "", *_MERGES):
        raise ManifestError(place, f"valuesMerge: {found['valuesMerge']!r}", f"one of {', '.join(_MERGES)}")
    found.setdefault("chartHome", globals_.get("chartHome") or "charts")
    if namespace and not found.get("namespace"):
        found["namespace"] = namespace
    return found


def inflate(entry: Mapping[str, Any], folder: str, files: FileTree, charts: Charts | None, locate: Callable[[Any], str],
            place: Place) -> list[Obj]:
    """The objects of one entry, as read from the tree: charts are never downloaded in a build."""
    chart = _chart_folder(entry, folder, files, place)
    if charts is None:
        raise ManifestError(place, "helmCharts are not rendered here", "render the chart in an Application of its own")
    return charts.objects(files, chart, entry, _values(entry, chart, files, locate))


def _chart_folder(entry: Mapping[str, Any], folder: str, files: FileTree, place: Place) -> str:
    home, name, version = str(entry["chartHome"]), str(entry["name"]), str(entry.get("version") or "")
    places = [posixpath.join(home, f"{name}-{version}", name), posixpath.join(home, name)] if version else [
        posixpath.join(home, name)]
    for at in (join(folder, path) for path in places):
        if at.startswith(".."):
            raise ManifestError(place, f"the chart {name} lies outside of this repository", "copy it in")
        if files.is_file(f"{at}/Chart.yaml"):
            return at
    where = f" from {entry['repo']}" if entry.get("repo") else ""
    raise ManifestError(place, f"the chart {name} is not in {posixpath.join(folder, home)}",
                        f"put it there (`helm pull {name}{where} --untar -d {home}`): a build downloads nothing")


def _values(entry: Mapping[str, Any], chart: str, files: FileTree, locate: Callable[[Any], str]) -> dict[str, Any]:
    """Values files in order, and inline values over them (override), under them (merge) or alone (replace)."""
    inline = entry.get("valuesInline") or {}
    paths = [entry["valuesFile"]] if entry.get("valuesFile") else []
    paths += list(entry.get("additionalValuesFiles") or ())
    if entry.get("valuesMerge") == "replace" and inline:
        return dict(inline)
    found: dict[str, Any] = {}
    for path in paths:
        in_chart = join(chart, str(path))
        file = in_chart if not files.is_file(join("", str(path))) and _is_chart_values(in_chart, chart, files) else locate(path)
        value = yaml.load(files.read(file), file) or {}
        if not isinstance(value, dict):
            raise ManifestError(Place(file), "a values file is a mapping", "write keys and values")
        found = laid_over(found, value)
    return laid_over(inline, found) if entry.get("valuesMerge") == "merge" else laid_over(found, inline)


def _is_chart_values(path: str, chart: str, files: FileTree) -> bool:
    return path.startswith(f"{chart}/") and files.is_file(path)


def laid_over(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Maps merged key by key, everything else replaced; None stays, for Helm deletes a default by it."""
    found = dict(base)
    for key, value in over.items():
        old = found.get(key)
        found[key] = laid_over(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return found
