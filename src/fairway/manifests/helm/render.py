"""From a chart in a tree to objects, in the order in which `helm template` prints them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from fairway.kube.facts import facts
from fairway.kube.objects import Obj
from fairway.manifests import yaml
from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.files import FileTree, join
from fairway.manifests.helm.chart_files import read_chart, write_chart
from fairway.manifests.helm.engine import HelmEngine, HelmRefused, Rendered, Request, engine_on_this_machine
from fairway.manifests.helm.options import HelmOptions, with_parameter
from fairway.manifests.kustomize.building import objects_in
from fairway.manifests.kustomize.charts import laid_over

HOOK = "helm.sh/hook"
_TESTS = frozenset(("test", "test-success", "test-failure"))
_WHERE = re.compile(r"(?:template: |at <.*> in |execution error at \(|parse error at \()?"
                    r"(?P<file>[\w.+-]+/(?:templates|charts)/[^\s:()]+):(?P<line>\d+)(?::(?P<column>\d+))?")
_ORDER = {kind: n for n, kind in enumerate((
    "PriorityClass", "Namespace", "NetworkPolicy", "ResourceQuota", "LimitRange", "PodSecurityPolicy",
    "PodDisruptionBudget", "ServiceAccount", "Secret", "SecretList", "ConfigMap", "StorageClass", "PersistentVolume",
    "PersistentVolumeClaim", "CustomResourceDefinition", "ClusterRole", "ClusterRoleList", "ClusterRoleBinding",
    "ClusterRoleBindingList", "Role", "RoleList", "RoleBinding", "RoleBindingList", "Service", "DaemonSet", "Pod",
    "ReplicationController", "ReplicaSet", "Deployment", "HorizontalPodAutoscaler", "StatefulSet", "Job", "CronJob",
    "IngressClass", "Ingress", "APIService", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"))}
"""Helm's order of installation; kinds that it does not name come after them, by kind."""


def render_chart(tree: FileTree, folder: str, options: HelmOptions, engine: HelmEngine | None = None) -> list[Obj]:
    """The objects of the chart in `folder`. It blocks for as long as rendering takes: not for an event loop.

    `ManifestError` names the template and line, or the path of the value that the schema refuses.
    """
    chosen = engine or engine_on_this_machine()
    if read_chart(tree, folder).get("type") == "library":
        raise ManifestError(Place(join(folder, "Chart.yaml")), "library charts are not installable",
                            "name it as a dependency of a chart of type application")
    values = merged_values(tree, folder, options)
    with tempfile.TemporaryDirectory(prefix="fairway-chart-") as scratch:
        chart = write_chart(tree, folder, Path(scratch), options.fetch)
        for schema in () if options.check_schema else chart.glob("**/values.schema.json"):
            schema.unlink()
        request = Request(chart, options.release, options.namespace, values, options.kube_version or f"v{facts().version}.0",
                          (*known_api_versions(), *options.api_versions), options.upgrade)
        try:
            rendered = chosen.render(request)
        except HelmRefused as error:
            raise _translated(str(error), folder, chart) from error
    return list(_objects(rendered, folder, options))


@lru_cache(maxsize=1)
def known_api_versions() -> tuple[str, ...]:
    """What `.Capabilities.APIVersions` holds: `apps/v1` and `apps/v1/Deployment`, for all that Fairway serves."""
    kinds = [(version, kind) for version, kind, _ in facts().kinds()]
    return tuple(sorted({version for version, _ in kinds} | {f"{version}/{kind}" for version, kind in kinds}))


def merged_values(tree: FileTree, folder: str, options: HelmOptions) -> dict[str, Any]:
    """Values files, then inline values, then parameters; the chart's own defaults are Helm's to add."""
    found: dict[str, Any] = {}
    for name in options.value_files:
        data, place = _file(tree, folder, name, options)
        if data is None:
            if options.ignore_missing_value_files:
                continue
            raise ManifestError(Place(place), f"the values file {name} does not exist", "correct the path, or push the file")
        found = laid_over(found, _mapping(yaml.load(data, place), place))
    found = laid_over(found, options.values)
    for parameter in options.parameters:
        if parameter.file:
            data, place = _file(tree, folder, parameter.value, options)
            if data is None:
                raise ManifestError(Place(place), f"the file {parameter.value} of {parameter.name} does not exist", "push it")
            found = with_parameter(found, type(parameter)(parameter.name, data.decode(), text=True))
        else:
            found = with_parameter(found, parameter)
    return found


def _file(tree: FileTree, folder: str, name: str, options: HelmOptions) -> tuple[bytes | None, str]:
    """Contents (None: absent) and place of a file from the chart's folder, from the root (`/x`) or in another source."""
    if name.startswith("$"):
        ref, _, path = name[1:].partition("/")
        if ref not in options.refs:
            known = ", ".join(f"${key}" for key in options.refs) or "none"
            raise ManifestError(Place(name), f"no source is called ${ref}", f"sources with `ref`: {known}")
        tree, at = options.refs[ref], join("", path)
    else:
        at = join("", name) if name.startswith("/") else join(folder, name)
    if "://" in name or at.startswith(".."):
        raise ManifestError(Place(name), f"{name}: outside of this repository", "copy it in, or name its source with `ref`")
    return (tree.read(at) if tree.is_file(at) else None), at


def _mapping(value: Any, place: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ManifestError(Place(place, 1), "a values file is a mapping", "write keys and values")
    return value


def _objects(rendered: Rendered, folder: str, options: HelmOptions) -> Iterator[Obj]:
    if options.crds:
        for path, text in sorted(rendered.crds.items()):
            yield from _read(text, _source(path, folder))
    plain: list[Obj] = []
    hooks: list[Obj] = []
    for path, text in sorted(rendered.templates.items()):
        if path.endswith("/NOTES.txt") or path.rpartition("/")[2].startswith("_"):
            continue
        for obj in _read(text, _source(path, folder)):
            (hooks if _hooks_of(obj) else plain).append(obj)
    yield from sorted(plain, key=_rank)
    if options.hooks:
        yield from (obj for obj in sorted(hooks, key=_rank) if options.tests or not _hooks_of(obj) <= _TESTS)


def _read(text: str, file: str) -> list[Obj]:
    try:
        return [obj for obj, _ in objects_in(list(yaml.load_all(text, file)))]
    except ManifestError as error:
        line = text.splitlines()[error.place.line - 1].strip() if 0 < error.place.line <= len(text.splitlines()) else ""
        raise ManifestError(Place(file), f"the rendered template is no manifest: {error.mistake}"
                            + (f" at {line!r}" if line else ""), error.mend) from error


def _rank(obj: Obj) -> tuple[int, str]:
    kind = str(obj.get("kind"))
    return (_ORDER[kind], "") if kind in _ORDER else (len(_ORDER), kind)


def _hooks_of(obj: Obj) -> frozenset[str]:
    said = ((obj.get("metadata") or {}).get("annotations") or {}).get(HOOK)
    return frozenset(part.strip() for part in str(said).split(",")) if said else frozenset()


def _source(path: str, folder: str) -> str:
    """`web/templates/x.yaml` of the rendered chart as the path in the tree."""
    return join(folder, path.partition("/")[2])


def _translated(words: str, folder: str, chart: Path) -> ManifestError:
    text = words.replace(f"{chart.parent}/", "").strip()
    if "specifications of the schema" in text:
        details = "; ".join(line.strip("- ") for line in text.splitlines()[1:] if line.strip())
        return ManifestError(Place(join(folder, "values.schema.json")), f"the schema refuses these values: {details}",
                             "correct the value at that path")
    if m := _WHERE.search(text):
        place = Place(_source(m["file"], folder), int(m["line"]), int(m["column"] or 0))
        return ManifestError(place, text.replace("\n", " "), "correct the template, or the value that it reads")
    return ManifestError(Place(join(folder, "Chart.yaml")), text.replace("\n", " "), "correct the chart")


def objects_of_entry(tree: FileTree, folder: str, entry: Mapping[str, Any], values: Mapping[str, Any],
                     engine: HelmEngine | None) -> list[Obj]:
    """The objects of an entry of `helmCharts:` in a kustomization, whose values have been merged."""
    options = HelmOptions(
        release=str(entry.get("releaseName") or entry.get("nameTemplate") or entry["name"]),
        namespace=str(entry.get("namespace") or "default"), values=values,
        kube_version=str(entry.get("kubeVersion") or ""), api_versions=tuple(map(str, entry.get("apiVersions") or ())),
        crds=bool(entry.get("includeCRDs")), hooks=not entry.get("skipHooks"), tests=not entry.get("skipTests"))
    return render_chart(tree, folder, options, engine)
