"""How a folder is to be rendered, beyond what lies in it: the options of one source of an Application, as values."""

from __future__ import annotations

from dataclasses import dataclass, field

from fairway.manifests.helm.engine import HelmEngine
from fairway.manifests.helm.options import HelmOptions
from fairway.manifests.jsonnet import Jsonnet
from fairway.manifests.kustomize.ports import Outside


@dataclass(frozen=True, slots=True)
class Directory:
    """A plain folder: `include` and `exclude` are globs over the path from the folder ("" for none)."""

    recurse: bool = False
    include: str = ""
    exclude: str = ""
    jsonnet: Jsonnet = field(default_factory=Jsonnet)


@dataclass(frozen=True, slots=True)
class Rendering:
    """`kustomize`, `helm` and `directory` count for the folders that are such; `helm` None takes the chart's own name.

    `kustomize.charts` renders `helmCharts:`; without it they are rendered by `engine`, or by what this machine has.
    """

    kustomize: Outside = field(default_factory=Outside)
    helm: HelmOptions | None = None
    directory: Directory = field(default_factory=Directory)
    engine: HelmEngine | None = None
    load_restrictions: bool = True
