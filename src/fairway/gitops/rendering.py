"""From one source of an Application to objects: what `kustomize`, `helm` and `directory` in it mean to the renderer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fairway.gitops.spec import Source
from fairway.kube.objects import Obj
from fairway.manifests import (
    Directory,
    FetchChart,
    FileTree,
    HelmOptions,
    Jsonnet,
    Outside,
    Parameter,
    RemoteBases,
    Rendering,
    render,
    yaml,
)


@dataclass(frozen=True, slots=True)
class Ask:
    """What is to be rendered. `refs` are the trees of the other sources, by the name that `$name/…` uses."""

    source: Source
    tree: FileTree
    app: str
    namespace: str
    refs: Mapping[str, FileTree] = field(default_factory=dict)
    charts: FetchChart | None = None
    """Gets charts that a chart depends on; None: they are committed beside it."""
    bases: RemoteBases | None = None
    """Gets bases of kustomizations that lie in other repositories; None: there are none."""


Renderer = Callable[[Ask], list[Obj]]


def render_source(ask: Ask) -> list[Obj]:
    """`ManifestError` where the source asks for what the tree cannot give.

    The tree of a `chart` is the chart itself. Charts and Jsonnet block: see `takes_time`.
    """
    said, path = ask.source.said, ask.source.path
    kustomize, directory = said.get("kustomize") or {}, said.get("directory") or {}
    helm = _helm(ask) if _given(said.get("helm")) or ask.tree.is_file(_in(path, "Chart.yaml")) else None
    return render(ask.tree, path, Rendering(
        kustomize=Outside(remotes=ask.bases, overrides=_overrides(kustomize) if _given(kustomize) else {}), helm=helm,
        directory=Directory(bool(directory.get("recurse")), str(directory.get("include") or ""),
                            str(directory.get("exclude") or ""), _jsonnet(directory.get("jsonnet") or {})),
    ))  # fmt: skip


def takes_time(ask: Ask) -> bool:
    """Whether the rendering is done by another process, so that it is to be waited for elsewhere than in the loop."""
    said, path = ask.source.said, ask.source.path
    return bool(_given(said.get("helm")) or _given((said.get("directory") or {}).get("jsonnet"))
                or ask.tree.is_file(_in(path, "Chart.yaml")) or any(n.endswith(".jsonnet") for n in ask.tree.names(path)))


def source_type(ask: Ask) -> str:
    """Helm, Kustomize or Directory, as `status.sourceType` says it."""
    said, path = ask.source.said, ask.source.path
    if ask.source.chart or _given(said.get("helm")) or ask.tree.is_file(_in(path, "Chart.yaml")):
        return "Helm"
    names = ("kustomization.yaml", "kustomization.yml", "Kustomization")
    return "Kustomize" if any(ask.tree.is_file(_in(path, name)) for name in names) else "Directory"


def _in(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def _helm(ask: Ask) -> HelmOptions:
    """In the words of `helm:`; the release is called as the Application unless it says otherwise."""
    said: Mapping[str, Any] = ask.source.said.get("helm") or {}
    values = said.get("valuesObject")
    if values is None and said.get("values"):
        values = yaml.load(str(said["values"]), "spec.source.helm.values")
    parameters = [Parameter(str(p["name"]), str(p.get("value") or ""), text=bool(p.get("forceString")))
                  for p in said.get("parameters") or ()]
    parameters += [Parameter(str(p["name"]), str(p.get("path") or ""), file=True) for p in said.get("fileParameters") or ()]
    return HelmOptions(
        str(said.get("releaseName") or ask.app), str(said.get("namespace") or ask.namespace or "default"),
        tuple(str(file) for file in said.get("valueFiles") or ()), bool(said.get("ignoreMissingValueFiles")), values or {},
        tuple(parameters), ask.refs, str(said.get("kubeVersion") or ""),
        tuple(str(version) for version in said.get("apiVersions") or ()), not said.get("skipCrds"),
        tests=not said.get("skipTests"), check_schema=not said.get("skipSchemaValidation"), fetch=ask.charts)


def _jsonnet(said: Mapping[str, Any]) -> Jsonnet:
    def variables(key: str, *, code: bool) -> dict[str, str]:
        return {str(v["name"]): str(v.get("value") or "") for v in said.get(key) or () if bool(v.get("code")) is code}

    return Jsonnet(variables("extVars", code=False), variables("extVars", code=True), variables("tlas", code=False),
                   variables("tlas", code=True), tuple(str(lib) for lib in said.get("libs") or ()))


def _given(options: Any) -> bool:
    return bool(options) and any(value not in (None, "", [], {}, False) for value in options.values())


# --- kustomize ------------------------------------------------------------------------------------------------------------


def _overrides(options: Mapping[str, Any]) -> Obj:
    """What the Application says over the kustomization, in a kustomization's words."""
    found: Obj = {key: options[key] for key in (
        "namePrefix", "nameSuffix", "namespace", "commonAnnotations", "patches", "components") if options.get(key)}
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
