"""How a folder is to be rendered, beyond what lies in it: the options of one source of an Application, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fairway.manifests.kustomize.ports import Outside

if TYPE_CHECKING:
    from fairway.manifests.helm.engine import HelmEngine
    from fairway.manifests.helm.options import HelmOptions
    from fairway.manifests.kustomize.build import Notice


@dataclass(frozen=True, slots=True)
class Jsonnet:
    """Variables as text, and (`_code`) as Jsonnet; `libraries` are folders that imports are also looked for in."""

    variables: Mapping[str, str] = field(default_factory=dict)
    variables_code: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)
    arguments_code: Mapping[str, str] = field(default_factory=dict)
    libraries: tuple[str, ...] = ()


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
    notice: Notice | None = None
    """Told of what in a kustomization changes nothing."""
